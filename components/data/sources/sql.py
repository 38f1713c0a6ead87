"""Text for DuckDB's SQL."""

from __future__ import annotations

from pathlib import Path


def literal(value: str | Path) -> str:
    """Return ``value`` as a text literal.

    >>> literal("it's")
    "'it''s'"
    """
    return "'" + str(value).replace("'", "''") + "'"


def identifier(name: str) -> str:
    """Return the name of a table or column as SQL writes it.

    >>> identifier('12" plate')
    '"12"" plate"'
    """
    return '"' + name.replace('"', '""') + '"'
