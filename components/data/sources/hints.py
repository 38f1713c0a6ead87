"""Suggestions for misspelt names in error messages."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def did_you_mean(wrong: str, known: Iterable[str]) -> str:
    """Return ``: did you mean 'x'?`` with the most similar known name, "" if none is similar.

    >>> did_you_mean("prize", ["price", "title"])
    ": did you mean 'price'?"
    """
    similar = difflib.get_close_matches(wrong, list(known), n=1, cutoff=0.6)
    return f": did you mean {similar[0]!r}?" if similar else ""
