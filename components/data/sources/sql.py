"""Text for DuckDB's SQL."""

from __future__ import annotations

import re
from pathlib import Path

_KEPT = re.compile(
    r"(U?(TINY|SMALL|BIG)INT|U?INTEGER|FLOAT|DOUBLE|DECIMAL\(.*\)|BOOLEAN|VARCHAR|BLOB|DATE|JSON"
    r"|TIMESTAMP.*|STRUCT.*|MAP.*|.*\[\d*\])"
)
"""Types of DuckDB that a Parquet file keeps."""


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


def exported(value: str, kind: str) -> str:
    """Return an expression of this type as a Parquet file keeps it: a type that it has not as text.

    A Parquet file has no whole numbers of 128 bits; DuckDB would write them as floats.

    >>> exported("n", "HUGEINT"), exported("n", "BIGINT")
    ('CAST(n AS VARCHAR)', 'n')
    """
    if kind in ("HUGEINT[]", "UHUGEINT[]"):
        return f"CAST({value} AS VARCHAR[])"
    return value if _KEPT.fullmatch(kind) else f"CAST({value} AS VARCHAR)"
