"""The files of a source, and each file's columns as they are written.

In: a ``Source`` of the settings. Out: its files, and of each file the columns that the source
names, as ``Cells``.
"""

from __future__ import annotations

import re
import urllib.parse
import zoneinfo
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath

import duckdb
import ibis
import ibis.expr.types as ir

from components.data.engine import staging
from components.data.sources.cells import Cells, of_json, of_native, of_text
from components.data.sources.compression import name_within
from components.data.sources.delimited import missing, stage_delimited
from components.data.sources.encoding import as_utf8
from components.data.sources.hints import did_you_mean
from components.data.sources.json_files import stage_json
from components.data.sources.sql import literal
from components.settings import Source

ROW = "row of the file"  # from 0
PATTERN = "*?["  # signs that make a path a pattern

TEXT_ENDINGS = {
    **dict.fromkeys((".csv", ".tsv"), "csv"),
    **dict.fromkeys((".jsonl", ".ndjson", ".json"), "json"),
}
"""Format of text files by the end of their names, before that of a compression."""

COMPRESSED = (".gz", ".bz2", ".zst", ".zip")


def _read_parquet(con: ibis.BaseBackend, file: str) -> ir.Table:
    """Return the rows of a Parquet file with their numbers."""
    options = "binary_as_string=true, hive_partitioning=false"
    try:
        rows = con.sql(
            f"SELECT * FROM read_parquet({literal(file)}, file_row_number=true, {options})"
        )
    except duckdb.BinderException:  # the file has a column of that name
        rows = con.sql(f"SELECT * FROM read_parquet({literal(file)}, {options})")
        return rows.mutate(**{ROW: ibis.row_number()})
    return rows.rename({ROW: "file_row_number"})


READERS: dict[str, Callable[[ibis.BaseBackend, str], ir.Table]] = {".parquet": _read_parquet}
"""How to open a file of typed columns, by the end of its name."""

READ = (*TEXT_ENDINGS, *READERS)
_TABLES = (
    ".xlsx",
    ".xls",
    ".ods",
    ".avro",
    ".orc",
    ".feather",
    ".arrow",
    ".db",
    ".sqlite",
    ".duckdb",
)
"""Endings of files that hold tables and are not read: a folder with one is refused."""


@dataclass(frozen=True)
class File:
    """One file of a source.

    shown: its path in messages and in the column ``source``. staging: folder for copies of it.
    partitions: the values of ``key=value`` folders above it.
    """

    path: Path
    shown: str
    source: Source
    staging: Path
    partitions: tuple[tuple[str, str | None], ...] = ()

    def columns(
        self, con: ibis.BaseBackend, wanted: Sequence[str]
    ) -> tuple[ir.Table, dict[str, Cells]]:
        """Return the file's rows (with the column ROW), and its wanted columns by name.

        Raises:
            ValueError: the file cannot be read, or a column is missing.
        """
        given = dict(self.partitions)
        own = [name for name in wanted if name not in given]
        kind = _kind(self.path, self.source)
        if kind == "csv" or kind == "json":
            rows, cells = self._text(con, own, kind)
        else:
            rows, cells = self._typed(con, own)
        values = {
            f"key{n}": ibis.literal(value, "string")
            for n, (key, value) in enumerate(self.partitions)
            if key in wanted
        }
        rows = rows.mutate(**values) if values else rows
        cells |= {self.partitions[int(name[3:])][0]: of_text(rows[name]) for name in values}
        return rows, {name: cells[name] for name in wanted}

    def _path(self) -> Path:
        """Return a path without signs that DuckDB takes for a pattern."""
        if not any(sign in str(self.path) for sign in PATTERN):
            return self.path
        self.staging.mkdir(parents=True, exist_ok=True)
        link = self.staging / ibis.util.gen_name("link")
        link.symlink_to(self.path.resolve())
        return link

    def _text(
        self, con: ibis.BaseBackend, wanted: list[str], kind: str
    ) -> tuple[ir.Table, dict[str, Cells]]:
        self.staging.mkdir(parents=True, exist_ok=True)
        place = self.staging / ibis.util.gen_name("file")
        staged = place.with_suffix(".parquet")
        copy = place.with_suffix(".txt")
        text = as_utf8(self._path(), self.shown, self.source.encoding, copy)
        if kind == "csv":
            stage_delimited(con, text, self.shown, self.source, wanted, staged)
        else:
            stage_json(con, text, self.shown, wanted, staged)
        copy.unlink(missing_ok=True)
        rows = _read_parquet(con, str(staged))
        if kind == "csv":
            return rows, {name: of_text(rows[f"c{n}"]) for n, name in enumerate(wanted)}
        return rows, {
            name: of_json(rows[f"c{n}"], rows[f"k{n}"], rows[f"l{n}"])
            for n, name in enumerate(wanted)
        }

    def _typed(self, con: ibis.BaseBackend, wanted: list[str]) -> tuple[ir.Table, dict[str, Cells]]:
        reader = _read_parquet if self.source.format == "parquet" else READERS[_ending(self.path)]
        try:
            rows = reader(con, str(self._path()))
        except duckdb.Error as error:
            raise ValueError(
                f"{self.shown} cannot be read ({str(error).splitlines()[0]}): export it again"
            ) from error
        if reader is not _read_parquet:
            numbered = rows.mutate(**{ROW: ibis.row_number()})
            rows = con.create_table(ibis.util.gen_name("rows"), numbered, temp=True)
        for name in wanted:
            if name not in rows.columns or name == ROW:
                known = [one for one in rows.columns if one != ROW]
                raise ValueError(f"{self.shown} {missing(name, known)}")
        return rows, {name: of_native(rows[name]) for name in wanted}


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
    con.raw_sql("SET autoinstall_known_extensions = false")  # nothing is downloaded
    return con


def files_of(source: Source, root: Path) -> list[File]:
    """Return the files of ``source``, sorted by name. A relative path is relative to ``root``.

    Files of a folder that are not read are named in the output.

    Raises:
        FileNotFoundError: there is no such file or folder, or the folder has no readable file.
        ValueError: the file is of no known format, or the folder has tables of an unread one.
    """
    path = root / source.path
    if any(sign in str(source.path) for sign in PATTERN) and not path.exists():
        return _matching(source, root)
    if path.is_dir():
        found = [
            file for file in sorted(path.rglob("*")) if file.is_file() and _visible(file, path)
        ]
        return _readable(found, source, root, f"the folder {source.path} has")
    if not path.exists():
        siblings = [file.name for file in path.parent.glob("*")] if path.parent.is_dir() else []
        hint = did_you_mean(path.name, siblings) or f" (looked in {path.parent.resolve()})"
        raise FileNotFoundError(f"ingest: there is no file {source.path}{hint}")
    if not _kind(path, source):
        raise ValueError(
            f"ingest: {source.path} has no known format; known formats are {', '.join(READ)}, the "
            f"text formats also with {', '.join(COMPRESSED)}. Save tables of other programs as CSV "
            "(UTF-8); set `format: csv` for delimited text with another ending"
        )
    return [_file(path, source, root)]


def _matching(source: Source, root: Path) -> list[File]:
    """Return the files that the source's pattern matches."""
    anchor = Path(source.path.anchor) if source.path.is_absolute() else root
    pattern = str(source.path.relative_to(source.path.anchor))
    found = sorted(file for file in anchor.glob(pattern) if file.is_file())
    if not found:
        raise FileNotFoundError(
            f"ingest: no file matches {source.path} (looked in {anchor.resolve()})"
        )
    return _readable(found, source, root, f"{source.path} matches")


def _readable(found: list[Path], source: Source, root: Path, what: str) -> list[File]:
    """Return the files that are read; name the others, or refuse them if they hold tables."""
    read = [file for file in found if _kind(file, source)]
    others = [file for file in found if not _kind(file, source)]
    tables = [file.name for file in others if file.suffix.lower() in _TABLES]
    if tables:
        raise ValueError(
            f"ingest: {what} {tables[0]}, a kind of file that is not read: save its table as CSV "
            "(UTF-8) or Parquet, or move it elsewhere"
        )
    if not read:
        raise FileNotFoundError(f"ingest: {what} no file that ends in {', '.join(READ)}")
    if others:
        names = ", ".join(file.name for file in others[:5]) + (" …" if len(others) > 5 else "")
        print(f"{source.path}: {len(others)} files of unread kinds are left out: {names}")
    return [_file(file, source, root) for file in read]


def _visible(file: Path, folder: Path) -> bool:
    """Return whether no part of the path is hidden, as programs mark their own files."""
    return not any(part.startswith((".", "_")) for part in file.relative_to(folder).parts)


def _file(path: Path, source: Source, root: Path) -> File:
    shown = str(path.relative_to(root)) if path.is_relative_to(root) else str(path)
    return File(path, shown, source, staging(root), _partitions(path.parent))


def _partitions(folder: PurePath) -> tuple[tuple[str, str | None], ...]:
    """Return the keys and values of Hive partitions in a folder's path.

    >>> _partitions(PurePath("orders/year=2024/shop=A%20B"))
    (('year', '2024'), ('shop', 'A B'))
    """
    parts = [part.partition("=") for part in folder.parts if re.match(r"[^=]+=", part)]
    return tuple(
        (key, None if value == "__HIVE_DEFAULT_PARTITION__" else urllib.parse.unquote(value))
        for key, _, value in parts
    )


def _ending(file: Path) -> str:
    """Return the end of the name, in small letters, without that of a compression."""
    name = PurePath(file.name.lower())
    if name.suffix == ".zip" and PurePath(name.stem).suffix not in TEXT_ENDINGS:
        name = PurePath(name_within(file).lower())  # orders.zip holds orders.csv
    while name.suffix in COMPRESSED:
        name = PurePath(name.stem)
    return name.suffix


def _kind(file: Path, source: Source) -> str:
    """Return csv, json, the ending of a typed format, or "" if the file is not read."""
    if source.format != "auto":
        return source.format
    ending = _ending(file)
    return TEXT_ENDINGS.get(ending, ending if ending in READERS else "")
