"""Days that nothing is learned from: the record, and the rows that it holds back.

In: decisions of the monitoring (broken data) and of the operator (``bowerbird hold``, ``bowerbird
release``). Out: ``data/held/days.json``, entries in the timeline, and for tables of interactions
which rows lie on a held day. ``validate`` puts these rows into quarantine with the reason HELD, so
that they are counted and reported; ``ingest`` makes no product of them; logged lists of held days
teach no policy.

Each decision is kept. For each day the newest one holds, except that the monitoring never holds
a day again that the operator has released.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from components.alerts import open_alerts, resolve_alerts
from components.file_lock import file_lock
from components.manifest import sync
from components.timeline import record

if TYPE_CHECKING:
    import ibis.expr.types as ir

FILE = Path("data/held/days.json")
LOCK = Path("var/monitoring/held.lock")
HELD = "on a held day"
"""Reason for quarantine."""
MOST_DAYS = 3660
"""Longest range of one decision: a longer one is a wrong date."""

Author = Literal["monitoring", "operator"]


@dataclass(frozen=True)
class Decision:
    """What was decided about the days ``first`` to ``last`` (UTC, ISO 8601, both included).

    held: learn nothing from them; false: learn from them. at: the time of the decision.
    """

    first: str
    last: str
    held: bool
    reason: str
    by: Author
    at: str

    def days(self) -> Iterator[date]:
        """Yield each day of the range."""
        first = date.fromisoformat(self.first)
        for n in range((date.fromisoformat(self.last) - first).days + 1):
            yield first + timedelta(days=n)


@dataclass(frozen=True)
class HeldDays:
    """All decisions, oldest first.

    >>> held = Decision("2026-03-01", "2026-03-02", True, "no prices", "monitoring", "")
    >>> released = Decision("2026-03-02", "2026-03-02", False, "fine", "operator", "")
    >>> sorted(map(str, HeldDays((held, released)).reasons()))
    ['2026-03-01']
    """

    decisions: tuple[Decision, ...] = ()

    def newest(self) -> dict[date, Decision]:
        """Return the newest decision about each day."""
        return {day: one for one in self.decisions for day in one.days()}

    def reasons(self) -> dict[date, str]:
        """Return the held days, each with the reason."""
        return {day: one.reason for day, one in self.newest().items() if one.held}

    def ranges(self) -> list[Decision]:
        """Return the held days as runs of days with one decision, in order."""
        found: list[Decision] = []
        for day, one in sorted(self.newest().items()):
            if not one.held:
                continue
            last = str(day)
            if found and _next(found[-1].last) == day:
                longer = replace(found[-1], last=last)
                if longer == replace(one, first=longer.first, last=last):
                    found[-1] = longer
                    continue
            found.append(replace(one, first=last, last=last))
        return found

    def released(self) -> set[date]:
        """Return the days that the operator released."""
        return {d for d, one in self.newest().items() if not one.held and one.by == "operator"}

    def rows(self, interactions: ir.Table) -> ir.BooleanValue:
        """Return whether each row is held: its day, or for exported feedback the day on which it
        was received, is a held one."""
        # Here, as the endpoint, which shows the record, does without these large libraries.
        import ibis

        from components.data.feedback import received_day

        days = sorted(self.reasons())
        if not days:
            return ibis.literal(False)
        own = interactions.timestamp.date().isin(days)
        received = received_day(interactions.source).isin(days)
        feedback = interactions.authentication.notnull()
        return own.fill_null(False) | (feedback & received.fill_null(False))


def _next(day: str) -> date:
    return date.fromisoformat(day) + timedelta(days=1)


def load_held_days(root: Path) -> HeldDays:
    """Return the record below ``root``; empty without one.

    Raises:
        ValueError: the file cannot be read. Without it, held days would be learned from.
    """
    file = root / FILE
    if not file.exists():
        return HeldDays()
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        found = tuple(Decision(**one) for one in content["decisions"])
        for one in found:
            _checked(date.fromisoformat(one.first), date.fromisoformat(one.last))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"{file} cannot be read ({error}): restore it from a backup, or remove it and hold "
            "the days again with `bowerbird hold`"
        ) from error
    return HeldDays(found)


def hold_days(root: Path, first: date, last: date, reason: str, by: Author) -> list[date]:
    """Hold the days ``first`` to ``last``, both included; return those that were not held before.

    The monitoring does not hold days that the operator released. Durable on return.

    Raises:
        ValueError: ``last`` is before ``first``, or the range is longer than MOST_DAYS.
    """

    def decide(found: HeldDays) -> list[date]:
        skipped = set(found.reasons())
        if by == "monitoring":
            skipped |= found.released()
        return [day for day in _range(first, last) if day not in skipped]

    return _decide(root, decide, True, reason, by)


def release_days(root: Path, first: date, last: date, reason: str) -> list[date]:
    """Release the days ``first`` to ``last``, both included; return those that were held.

    Days that were not held are released too: the monitoring will not hold them. Alerts of broken
    data whose newest day is among them are resolved. Durable on return.

    Raises:
        ValueError: ``last`` is before ``first``, or the range is longer than MOST_DAYS.
    """
    _checked(first, last)
    held = set(load_held_days(root).reasons())
    released = _decide(root, lambda _: list(_range(first, last)), False, reason, "operator")
    days = {str(day) for day in released}
    broken = [
        one.subject
        for one in open_alerts(root)
        if one.kind == "broken" and one.details.get("until") in days
    ]
    resolve_alerts(root, "broken", f"the operator released the days: {reason}", "operator", broken)
    return [day for day in released if day in held]


def _decide(
    root: Path,
    choose: Callable[[HeldDays], list[date]],
    held: bool,
    reason: str,
    by: Author,
) -> list[date]:
    """Record a decision about the days that ``choose`` returns; return them."""
    with file_lock(root / LOCK):
        found = load_held_days(root)
        days = choose(found)
        at = datetime.now(UTC).isoformat(timespec="seconds")
        new = [
            Decision(first.isoformat(), last.isoformat(), held, reason, by, at)
            for first, last in ranges(days)
        ]
        if new:
            _write(root / FILE, HeldDays((*found.decisions, *new)))
    for one in new:
        record(root, "days-held" if held else "days-released", _sentence(one), by, asdict(one))
    return days


def _sentence(one: Decision) -> str:
    days = one.first if one.first == one.last else f"{one.first} to {one.last}"
    act = "nothing is learned from" if one.held else "learned from after all:"
    return f"{act} {days} ({one.reason})"


def ranges(days: list[date]) -> list[tuple[date, date]]:
    """Return the first and the last day of each run of consecutive ``days`` (in order).

    >>> [(a.day, b.day) for a, b in ranges([date(2026, 3, n) for n in (1, 2, 5)])]
    [(1, 2), (5, 5)]
    """
    found: list[tuple[date, date]] = []
    for day in days:
        if found and day - found[-1][1] == timedelta(days=1):
            found[-1] = (found[-1][0], day)
        else:
            found.append((day, day))
    return found


def _range(first: date, last: date) -> list[date]:
    _checked(first, last)
    return [first + timedelta(days=n) for n in range((last - first).days + 1)]


def _checked(first: date, last: date) -> None:
    if not 0 <= (last - first).days < MOST_DAYS:
        raise ValueError(
            f"{first} to {last} is not a range of days: the first day must not be after the last, "
            f"and there can be at most {MOST_DAYS:,}"
        )


def _write(file: Path, record: HeldDays) -> None:
    """Replace the file atomically; durable on return."""
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_name(f".{file.name}")
    with partial.open("w", encoding="utf-8") as stream:
        json.dump(asdict(record), stream, indent=1, ensure_ascii=False)
        stream.flush()
        os.fsync(stream.fileno())
    partial.replace(file)
    sync(file.parent)
