"""The plain form of a text, in which words of any spelling are compared."""

from __future__ import annotations

import unicodedata


def words(text: str) -> list[str]:
    """Return the words of a list written as text."""
    return text.split()


def plain(text: str) -> str:
    """Return a text in lower case, without accents, with single blanks.

    >>> plain("  Théière  FÜR Fußmatten ")
    'theiere fur fussmatten'
    """
    decomposed = unicodedata.normalize("NFKD", text.casefold().replace("œ", "oe"))
    kept = "".join(sign for sign in decomposed if not unicodedata.combining(sign))
    return " ".join(kept.replace("’", "'").split())
