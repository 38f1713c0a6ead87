"""Error messages about names that are not there, with suggestions for misspelt ones."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Callable, Iterable, Sequence

Also = Callable[[str], bool]
"""Whether a column is read that no source names."""


def did_you_mean(wrong: str, known: Iterable[str]) -> str:
    """Return ``: did you mean 'x'?`` with the most similar known name, "" if none is similar.

    >>> did_you_mean("prize", ["price", "title"])
    ": did you mean 'price'?"
    """
    similar = difflib.get_close_matches(wrong, list(known), n=1, cutoff=0.6)
    return f": did you mean {similar[0]!r}?" if similar else ""


def missing(wanted: Sequence[str], known: Sequence[str]) -> str:
    """Return which of the wanted columns are not there, and which are; "" if all are.

    Of a single one, also the most similar name.
    """
    absent = [name for name in wanted if name not in known]
    if not absent:
        return ""
    listed = ", ".join(known[:40]) + (" …" if len(known) > 40 else "")
    *others, last = map(repr, absent)
    named = f"{', '.join(others)} or {last}" if others else last + did_you_mean(absent[0], known)
    return f"has no column {named}; it has {listed}"


def check_names(wanted: Sequence[str], known: Sequence[str], whose: str) -> None:
    """Check that each of the wanted columns is there once.

    known: the names of all columns. whose: the file, table or result that has them, in the message.

    Raises:
        ValueError: one is not there, or several have its name.
    """
    if absent := missing(wanted, known):
        raise ValueError(f"{whose} {absent}")
    for name in wanted:
        times = list(known).count(name)
        if times > 1:
            raise ValueError(f"{whose} has the column {name!r} {times} times: name each by AS")


def with_others(wanted: Sequence[str], known: Sequence[str], also: Also | None) -> list[str]:
    """Return the wanted columns, then the others that ``also`` takes, unless several columns have
    the name, in any case."""
    if not also:
        return list(wanted)
    times = Counter(name.lower() for name in known)
    others = [name for name in known if name not in wanted and times[name.lower()] == 1]
    return [*wanted, *filter(also, others)]
