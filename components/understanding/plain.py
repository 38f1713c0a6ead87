"""The plain form of a text, in which words of any spelling are compared."""

from __future__ import annotations

from components.words.segmentation import normalise, simplified, without_accents


def words(text: str) -> list[str]:
    """Return the words of a list written as text."""
    return text.split()


def plain(text: str) -> str:
    """Return a text in lower case, without accents, Chinese simplified, with single blanks.

    >>> plain("  Théière  FÜR Fußmatten 馬克杯 cœur")
    'theiere fur fussmatten 马克杯 coeur'
    """
    return " ".join(without_accents(simplified(normalise(text.replace("’", "'")))).split())
