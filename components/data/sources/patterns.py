"""Patterns of paths."""

from __future__ import annotations

from pathlib import Path


def is_pattern(path: str | Path) -> bool:
    """Return whether a path, or that of a URL, has signs of a pattern.

    >>> is_pattern("orders/*.csv"), is_pattern(Path("orders.csv"))
    (True, False)
    """
    return any(sign in str(path) for sign in "*?[")
