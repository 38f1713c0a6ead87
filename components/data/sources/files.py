"""The files of a source: CSV, Parquet and JSON lines, one file or a folder of them.

In: a ``Source`` of the settings. Out: its files, and each file's rows as they are.
"""

from __future__ import annotations

import re
import zoneinfo
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import ibis
import ibis.expr.types as ir

from components.data.sources.hints import did_you_mean
from components.settings import Source

READERS: dict[str, Callable[[ibis.BaseBackend, str], ir.Table]] = {
    # All columns as text: type inference would drop the leading zeros of ids.
    ".csv": lambda con, file: con.read_csv(file, all_varchar=True),
    ".csv.gz": lambda con, file: con.read_csv(file, all_varchar=True),
    ".tsv": lambda con, file: con.read_csv(file, all_varchar=True, delim="\t"),
    ".parquet": lambda con, file: con.read_parquet(file),
    ".jsonl": lambda con, file: con.read_json(file, format="newline_delimited"),
    ".jsonl.gz": lambda con, file: con.read_json(file, format="newline_delimited"),
}
"""How to open a file, by the end of its name."""


@dataclass(frozen=True)
class File:
    """One file of a source. shown: its path in messages and in the column ``source``."""

    path: Path
    shown: str
    source: Source

    def open(self, con: ibis.BaseBackend) -> ir.Table:
        """Return the rows with the shop's own column names and the types of the file."""
        return READERS[_ending(self.path)](con, str(self.path))


def connect(timezone: str) -> ibis.BaseBackend:
    """Return an embedded DuckDB that reads times without an offset as times in ``timezone``.

    Raises:
        ValueError: there is no such time zone.
    """
    known = zoneinfo.available_timezones()
    if timezone not in known:
        hint = did_you_mean(timezone, known)
        raise ValueError(f"ingest.timezone: there is no time zone {timezone!r}{hint}")
    con = ibis.duckdb.connect()
    con.raw_sql(f"SET TimeZone = '{timezone}'")  # safe: one of the names checked above
    return con


def files_of(source: Source, root: Path) -> list[File]:
    """Return the files of ``source``, sorted by name. A relative path is relative to ``root``.

    Raises:
        FileNotFoundError: there is no such file or folder, or the folder has no readable file.
        ValueError: the file is of no known format.
    """
    path = root / source.path
    if path.is_dir():
        found = sorted(file for file in path.rglob("*") if _ending(file))
        if not found:
            raise FileNotFoundError(
                f"ingest: the folder {source.path} has no file that ends in {', '.join(READERS)}"
            )
        return [File(file, _shown(file, root), source) for file in found]
    if not path.exists():
        siblings = [file.name for file in path.parent.glob("*")] if path.parent.is_dir() else []
        hint = did_you_mean(path.name, siblings) or f" (looked in {path.parent.resolve()})"
        raise FileNotFoundError(f"ingest: there is no file {source.path}{hint}")
    if not _ending(path):
        raise ValueError(
            f"ingest: {source.path} has no known format; known formats are {', '.join(READERS)}"
        )
    return [File(path, str(source.path), source)]


def _shown(file: Path, root: Path) -> str:
    """Return the path relative to ``root``, or as it is for a file elsewhere."""
    return str(file.relative_to(root) if file.is_relative_to(root) else file)


def _ending(file: Path) -> str:
    """Return the key of READERS that the file's name ends in, "" if none."""
    match = re.search(r"(\.[a-z]+(\.gz)?)$", file.name.lower())
    return match[1] if match and match[1] in READERS else ""
