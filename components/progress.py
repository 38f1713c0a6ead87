"""Progress of long work: a bar on a terminal, plain lines in a file or a pipe.

In a file or a pipe the states of a bar, each of which overwrites the one before on a terminal,
would become one line of tens of thousands of characters.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator
from typing import Generic, TypeAlias, TypeVar

from tqdm import tqdm

T = TypeVar("T")

OFTEN = 1.0
"""Seconds that lie between two lines at least. Work that is done sooner prints none."""

SELDOM = 10.0
"""Seconds after which a line comes though less than a tenth of the work was done."""


class PlainProgress(Generic[T]):
    """Lines on stderr with what is left, one each tenth of the work or each ten seconds.

    As much of tqdm's interface as is used here: iteration, ``update``, ``set_postfix``, ``close``.

    >>> lines = PlainProgress("iALS", "sweep", iterable=range(3))
    >>> list(lines), lines.line(elapsed=10.0)
    ([0, 1, 2], 'iALS: 100 %, sweep 3 of 3, took 00:10')
    """

    def __init__(
        self,
        title: str,
        unit: str,
        iterable: Iterable[T] | None = None,
        total: int | None = None,
        initial: int = 0,
    ) -> None:
        self.title, self.unit = title, unit
        self.iterable = () if iterable is None else iterable
        self.total = len(iterable) if total is None else total  # type: ignore[arg-type]
        self.done = self.initial = self.shown = initial
        self.closed = False
        self.start = self.last = time.monotonic()
        self.postfix = ""

    def __iter__(self) -> Iterator[T]:
        try:
            for one in self.iterable:
                yield one
                self.update()
        finally:
            self.close()

    def update(self, n: int = 1) -> None:
        """Count ``n`` more units as done, and print a line if it is time."""
        self.done += n
        now = time.monotonic()
        waited = now - self.last
        tenth = 10 * (self.done - self.shown) >= self.total
        if self.done < self.total and waited >= OFTEN and (tenth or waited >= SELDOM):
            self.last, self.shown = now, self.done
            print(self.line(now - self.start), file=sys.stderr, flush=True)

    def set_postfix(self, **values: str) -> None:
        """Set what stands at the end of the following lines: name=value."""
        self.postfix = "".join(f", {name}={value}" for name, value in values.items())

    def close(self) -> None:
        """Print the last line, unless the work was done at once."""
        elapsed = time.monotonic() - self.start
        if elapsed >= OFTEN and not self.closed:
            print(self.line(elapsed, ended=True), file=sys.stderr, flush=True)
        self.closed = True

    def line(self, elapsed: float, ended: bool = False) -> str:
        """Return title, percentage, units done and the time left, or taken once it ended.

        elapsed: seconds since the start.
        """
        percent = 100 * self.done // max(self.total, 1)
        if ended or self.done >= self.total:
            when = f"took {tqdm.format_interval(elapsed)}"
        else:
            each = elapsed / max(self.done - self.initial, 1)
            when = f"{tqdm.format_interval(each * (self.total - self.done))} left"
        done = f"{percent} %, {self.unit} {self.done} of {self.total}"
        return f"{self.title}: {done}, {when}{self.postfix}"


Progress: TypeAlias = "tqdm[T] | PlainProgress[T]"


def progress(
    iterable: Iterable[T] | None = None,
    *,
    desc: str,
    unit: str,
    total: int | None = None,
    initial: int = 0,
    disable: bool = False,
) -> Progress[T]:
    """Return ``iterable`` whose progress is shown on stderr while it is iterated.

    desc: what is done. unit: of what, in the singular. total: units, by default the iterable's
    length; with it ``update`` can count work that is no iterable, then ``close``. initial: units
    done before, as in a training that is resumed. disable: show nothing.
    """
    if disable or sys.stderr.isatty():
        return tqdm(iterable, desc=desc, unit=unit, total=total, initial=initial, disable=disable)
    return PlainProgress(desc, unit, iterable, total, initial)
