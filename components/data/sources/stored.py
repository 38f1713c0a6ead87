"""Files on disk, and each file's columns as they are written.

In: a path of the settings and how its files are written. Out: the files, and of each file the
columns that a source names, as ``Cells``, or all columns as a table.
"""

from __future__ import annotations

import re
import urllib.parse
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePath

import duckdb
import ibis
import ibis.expr.types as ir

from components.data.sources import databases, sheets
from components.data.sources.cells import Cells, of_json, of_native, of_text
from components.data.sources.compression import name_within
from components.data.sources.delimited import missing, stage_all_delimited, stage_delimited
from components.data.sources.encoding import as_utf8
from components.data.sources.hints import did_you_mean
from components.data.sources.json_files import stage_all_json, stage_json
from components.data.sources.sheets import stage_sheet
from components.data.sources.sql import literal
from components.data.sources.values import Values
from components.settings import FileFormat

ROW = "row of the file"  # from 0
TABLE_COLUMNS = ("source_file", "source_row")
"""Columns that a table of a query has in addition: the file, and the row in it from 0."""
PATTERN = "*?["  # signs that make a path a pattern

TEXT_ENDINGS = {
    **dict.fromkeys((".csv", ".tsv"), "csv"),
    **dict.fromkeys((".jsonl", ".ndjson", ".json"), "json"),
}
"""Format of text files by the end of their names, before that of a compression."""

COMPRESSED = (".gz", ".bz2", ".zst", ".zip")


def read_parquet(con: ibis.BaseBackend, file: str) -> ir.Table:
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


Stage = Callable[[Path, str, FileFormat, Sequence[str] | None, Path], Values]
"""Of a path, as it is shown, the settings of its source, columns (None: all) and a Parquet file."""

READERS: dict[str, Callable[[ibis.BaseBackend, str], ir.Table]] = {".parquet": read_parquet}
"""How to open a file of typed columns, by the end of its name."""

STAGED: dict[str, Stage] = {
    **dict.fromkeys(sheets.ENDINGS, stage_sheet),
    databases.SQLITE: databases.stage_sqlite,
}
"""How to write the values of a file as Parquet, by the end of its name."""

READ = (*TEXT_ENDINGS, *READERS, *sheets.ENDINGS, *databases.ENDINGS, ".db")
_TABLES = (
    ".avro",
    ".orc",
    ".feather",
    ".arrow",
)
"""Endings of files that hold tables and are not read: a folder with one is refused."""


@dataclass(frozen=True)
class StoredFile:
    """One file and how it is written.

    shown: its path in messages. staging: folder for copies of it. partitions: the values of
    ``key=value`` folders above it.
    """

    path: Path
    shown: str
    form: FileFormat
    staging: Path
    partitions: tuple[tuple[str, str | None], ...] = ()

    def tables(self) -> list[str]:
        """Return the names of the tables of a database file of which the settings name none."""
        kind = _kind(self.path, self.form)
        if kind not in databases.ENDINGS.values() or self.form.table:
            return []
        return databases.table_names(self.path, self.shown, kind)

    def paths(self) -> list[Path]:
        """Return the file and, of a database, the file with its latest changes."""
        database = _kind(self.path, self.form) in databases.ENDINGS.values()
        return [self.path, *(databases.files_beside(self.path) if database else [])]

    def columns(
        self, con: ibis.BaseBackend, wanted: Sequence[str]
    ) -> tuple[ir.Table, dict[str, Cells]]:
        """Return the file's rows (with the column ROW), and its wanted columns by name.

        Raises:
            ValueError: the file cannot be read, or a column is missing.
        """
        given = dict(self.partitions)
        own = [name for name in wanted if name not in given]
        kind = _kind(self.path, self.form)
        if kind == "csv":
            with self._staged_text() as (text, staged):
                stage_delimited(con, text, self.shown, self.form, own, staged)
            rows = read_parquet(con, str(staged))
            cells = {name: of_text(rows[f"c{n}"]) for n, name in enumerate(own)}
        elif kind == "json":
            with self._staged_text() as (text, staged):
                stage_json(con, text, self.shown, own, staged)
            rows = read_parquet(con, str(staged))
            cells = {
                name: of_json(rows[f"c{n}"], rows[f"k{n}"], rows[f"l{n}"])
                for n, name in enumerate(own)
            }
        elif kind in STAGED:
            rows, found = self._staged_values(con, kind, own)
            cells = found.cells(rows)
        else:
            rows = self._typed(con)
            for name in own:
                if name not in rows.columns or name == ROW:
                    known = [one for one in rows.columns if one != ROW]
                    raise ValueError(f"{self.shown} {missing(name, known)}")
            cells = {name: of_native(rows[name]) for name in own}
        values = {
            f"key{n}": ibis.literal(value, "string")
            for n, (key, value) in enumerate(self.partitions)
            if key in wanted
        }
        rows = rows.mutate(**values) if values else rows
        cells |= {self.partitions[int(name[3:])][0]: of_text(rows[name]) for name in values}
        return rows, {name: cells[name] for name in wanted}

    def table(self, con: ibis.BaseBackend) -> ir.Table:
        """Return the file's rows (with the column ROW) and all its columns.

        The columns of delimited text are texts, those of JSON have the type JSON, and those of
        other formats their own. A name that several columns have (in any case) gets numbers.

        Raises:
            ValueError: the file cannot be read.
        """
        kind = _kind(self.path, self.form)
        if kind == "csv" or kind == "json":
            with self._staged_text() as (text, staged):
                stage = stage_all_delimited if kind == "csv" else stage_all_json
                names = stage(con, text, self.shown, self.form, staged)
            rows = read_parquet(con, str(staged))
            columns = [rows[f"c{n}"] for n in range(len(names))]
        elif kind in STAGED:
            rows, found = self._staged_values(con, kind, None)
            names, columns = found.names, found.typed(rows)
        else:
            rows = self._typed(con)
            names = [name for name in rows.columns if name != ROW]
            columns = [rows[name] for name in names]
        keys = dict(self.partitions)
        own = [(name, one) for name, one in zip(names, columns, strict=True) if name not in keys]
        unique = _unique([name for name, _ in own], self.shown, [*TABLE_COLUMNS, *keys])
        return rows.select(
            ROW,
            **{name: one for name, (_, one) in zip(unique, own, strict=True)},
            **{key: ibis.literal(value, "string") for key, value in keys.items()},
        )

    def _path(self) -> Path:
        """Return a path without signs that DuckDB takes for a pattern."""
        if not any(sign in str(self.path) for sign in PATTERN):
            return self.path
        self.staging.mkdir(parents=True, exist_ok=True)
        link = self.staging / ibis.util.gen_name("link")
        link.symlink_to(self.path.resolve())
        return link

    @contextmanager
    def _staged_text(self) -> Iterator[tuple[Path, Path]]:
        """Yield the file as UTF-8, and the Parquet file that is to be written from it."""
        self.staging.mkdir(parents=True, exist_ok=True)
        place = self.staging / ibis.util.gen_name("file")
        copy = place.with_suffix(".txt")
        yield (
            as_utf8(self._path(), self.shown, self.form.encoding, copy),
            place.with_suffix(".parquet"),
        )
        copy.unlink(missing_ok=True)

    def _staged_values(
        self, con: ibis.BaseBackend, kind: str, wanted: Sequence[str] | None
    ) -> tuple[ir.Table, Values]:
        """Return the rows of a file that is read value by value, and its columns (None: all)."""
        self.staging.mkdir(parents=True, exist_ok=True)
        out = self.staging / f"{ibis.util.gen_name('file')}.parquet"
        values = STAGED[kind](self.path, self.shown, self.form, wanted, out)
        rows = read_parquet(con, str(out))
        return rows.mutate(**{ROW: rows["row"]}), values

    def _typed(self, con: ibis.BaseBackend) -> ir.Table:
        """Return the rows of a file of typed columns."""
        if _kind(self.path, self.form) == databases.DUCKDB:
            self.staging.mkdir(parents=True, exist_ok=True)
            staged = self.staging / f"{ibis.util.gen_name('file')}.parquet"
            databases.stage_duckdb(self.path, self.shown, self.form, staged)
            return read_parquet(con, str(staged))
        reader = read_parquet if self.form.format == "parquet" else READERS[ending(self.path)]
        try:
            rows = reader(con, str(self._path()))
        except duckdb.Error as error:
            raise ValueError(
                f"{self.shown} cannot be read ({str(error).splitlines()[0]}): export it again"
            ) from error
        if reader is not read_parquet:
            numbered = rows.mutate(**{ROW: ibis.row_number()})
            rows = con.create_table(ibis.util.gen_name("rows"), numbered, temp=True)
        return rows


def _unique(names: Sequence[str], shown: str, taken: Sequence[str]) -> list[str]:
    """Return the names, or for a column without one its position and for those that several
    columns have, in any case, the name and a number. Such names are printed.

    taken: names that the table has already.
    """
    named = [name or f"c{n}" for n, name in enumerate(names, 1)]
    times = Counter(name.lower() for name in (*named, *taken))
    seen: Counter[str] = Counter()
    found = []
    for name in named:
        seen[name.lower()] += 1
        found.append(f"{name}_{seen[name.lower()]}" if times[name.lower()] > 1 else name)
    renamed = [
        f"{n} is {name}"
        for n, (name, old) in enumerate(zip(found, names, strict=True), 1)
        if name != old
    ]
    if renamed:
        print(
            f"{shown}: columns without a name of their own are numbered: column "
            + ", column ".join(renamed)
        )
    return found


@dataclass(frozen=True)
class Place:
    """Where the files of a table are.

    path: as the settings have it; a relative path is relative to ``root``. staging: folder for
    copies of the files.
    """

    path: Path
    form: FileFormat
    root: Path
    staging: Path

    def files(self) -> list[StoredFile]:
        """Return the files, sorted by name.

        Files of a folder that are not read are named in the output.

        Raises:
            FileNotFoundError: there is no such file or folder, or the folder has no readable file.
            ValueError: the file is of no known format, or the folder has tables of an unread one.
        """
        path = self.root / self.path
        if any(sign in str(self.path) for sign in PATTERN) and not path.exists():
            return self._matching()
        if path.is_dir():
            found = [
                file for file in sorted(path.rglob("*")) if file.is_file() and _visible(file, path)
            ]
            return self._readable(found, f"the folder {self.path} has")
        if not path.exists():
            siblings = [file.name for file in path.parent.glob("*")] if path.parent.is_dir() else []
            hint = did_you_mean(path.name, siblings) or f" (looked in {path.parent.resolve()})"
            raise FileNotFoundError(f"ingest: there is no file {self.path}{hint}")
        if not _kind(path, self.form):
            raise ValueError(
                f"ingest: {self.path} has no known format; known formats are {', '.join(READ)}, "
                f"the text formats also with {', '.join(COMPRESSED)}. Save tables of other "
                "programs as CSV (UTF-8); set `format: csv` for delimited text with another ending"
            )
        return [self._file(path)]

    def _matching(self) -> list[StoredFile]:
        """Return the files that the path matches as a pattern."""
        anchor = Path(self.path.anchor) if self.path.is_absolute() else self.root
        pattern = str(self.path.relative_to(self.path.anchor))
        found = sorted(file for file in anchor.glob(pattern) if file.is_file())
        if not found:
            raise FileNotFoundError(
                f"ingest: no file matches {self.path} (looked in {anchor.resolve()})"
            )
        return self._readable(found, f"{self.path} matches")

    def _readable(self, found: list[Path], what: str) -> list[StoredFile]:
        """Return the files that are read; name the others, or refuse them if they hold tables."""
        read = [file for file in found if _kind(file, self.form)]
        others = [file for file in found if not _kind(file, self.form)]
        tables = [file.name for file in others if file.suffix.lower() in _TABLES]
        if tables:
            raise ValueError(
                f"ingest: {what} {tables[0]}, a kind of file that is not read: save its table as "
                "CSV (UTF-8) or Parquet, or move it elsewhere"
            )
        if not read:
            raise FileNotFoundError(f"ingest: {what} no file that ends in {', '.join(READ)}")
        if others:
            names = ", ".join(file.name for file in others[:5]) + (" …" if len(others) > 5 else "")
            print(f"{self.path}: {len(others)} files of unread kinds are left out: {names}")
        return [self._file(file) for file in read]

    def _file(self, path: Path) -> StoredFile:
        inside = path.is_relative_to(self.root)
        shown = str(path.relative_to(self.root)) if inside else str(path)
        return StoredFile(path, shown, self.form, self.staging, _partitions(path.parent))


def _visible(file: Path, folder: Path) -> bool:
    """Return whether no part of the path is hidden, as programs mark their own files."""
    return not any(part.startswith((".", "_", "~$")) for part in file.relative_to(folder).parts)


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


def ending(file: Path) -> str:
    """Return the end of the name, in small letters, without that of a compression."""
    name = PurePath(file.name.lower())
    if name.suffix == ".zip" and PurePath(name.stem).suffix not in TEXT_ENDINGS:
        name = PurePath(name_within(file).lower())  # orders.zip holds orders.csv
    while name.suffix in COMPRESSED:
        name = PurePath(name.stem)
    return name.suffix


def _kind(file: Path, form: FileFormat) -> str:
    """Return csv, json, the ending of a typed format, or "" if the file is not read."""
    if form.format != "auto":
        return form.format
    end = ending(file)
    if end == ".db":
        return databases.kind_by_content(file)
    known = end if end in (*READERS, *STAGED) else ""
    return (TEXT_ENDINGS | databases.ENDINGS).get(end, known)
