"""Titles of products within sentences."""

from __future__ import annotations


def readable(title: str) -> str:
    """Return a title in its own spelling; one whose words are all in capitals in small letters.

    >>> readable("iPhone 15 Pro USB-C"), readable("RED RETROSPOT BAG"), readable("LEGO")
    ('iPhone 15 Pro USB-C', 'Red retrospot bag', 'LEGO')
    """
    return title.capitalize() if title.isupper() and " " in title else title
