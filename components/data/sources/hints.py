"""Error messages about names that are not there, with suggestions for misspelt ones."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence


def did_you_mean(wrong: str, known: Iterable[str]) -> str:
    """Return ``: did you mean 'x'?`` with the most similar known name, "" if none is similar.

    >>> did_you_mean("prize", ["price", "title"])
    ": did you mean 'price'?"
    """
    similar = difflib.get_close_matches(wrong, list(known), n=1, cutoff=0.6)
    return f": did you mean {similar[0]!r}?" if similar else ""


def missing(name: str, known: Sequence[str]) -> str:
    """Return that there is no column ``name``, the most similar one, and those that there are."""
    listed = ", ".join(known[:40]) + (" …" if len(known) > 40 else "")
    return f"has no column {name!r}{did_you_mean(name, known)}; it has {listed}"


def check_column(name: str, known: Sequence[str], whose: str) -> None:
    """Check that there is one column ``name``.

    known: the names of all columns. whose: the file, table or result that has them, in the message.

    Raises:
        ValueError: there is none, or several.
    """
    if name not in known:
        raise ValueError(f"{whose} {missing(name, known)}")
    times = list(known).count(name)
    if times > 1:
        raise ValueError(f"{whose} has the column {name!r} {times} times: name each by AS")
