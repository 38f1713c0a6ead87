"""Files on disk, and each file's columns as they are written.

In: a path of the settings and how its files are written. Out: the files, and of each file the
columns that a source names, as ``Cells``, or all columns as a table.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path, PurePath

import duckdb
import ibis
import ibis.expr.types as ir
import pyarrow as pa
import pyarrow.parquet as pq

from components.data.sources import databases, sheets
from components.data.sources.cells import Cells, of_json, of_native, of_text
from components.data.sources.compression import name_within
from components.data.sources.delimited import stage_all_delimited, stage_delimited
from components.data.sources.encoding import as_utf8
from components.data.sources.hints import Also, check_names, with_others
from components.data.sources.json_files import stage_all_json, stage_json
from components.data.sources.patterns import is_pattern
from components.data.sources.remote import Remote
from components.data.sources.sheets import stage_sheet
from components.data.sources.sql import literal
from components.data.sources.values import Values
from components.settings import FileFormat

ROW = "row of the file"  # from 0
TABLE_COLUMNS = ("source_file", "source_row")
"""Columns that a table of a query has in addition: the file, and the row in it from 0."""

TEXT_ENDINGS = {
    **dict.fromkeys((".csv", ".tsv"), "csv"),
    **dict.fromkeys((".jsonl", ".ndjson", ".json"), "json"),
}
"""Format of text files by the end of their names, before that of a compression."""

COMPRESSED = (".gz", ".bz2", ".zst", ".zip")


def _has_uuids(file: str) -> bool:
    """Return whether a Parquet file has a column of 16 bytes, which are no text."""
    try:
        types = pq.read_schema(file).types
    except (pa.ArrowException, OSError):  # DuckDB says what is wrong with the file
        return False
    return any(pa.types.is_fixed_size_binary(one) and one.byte_width == 16 for one in types)


def read_parquet(con: ibis.BaseBackend, file: str) -> ir.Table:
    """Return the rows of a Parquet file with their numbers."""
    options = f"binary_as_string={str(not _has_uuids(file)).lower()}, hive_partitioning=false"
    try:
        rows = con.sql(
            f"SELECT * FROM read_parquet({literal(file)}, file_row_number=true, {options})"
        )
    except duckdb.BinderException:  # the file has a column of that name
        rows = con.sql(f"SELECT * FROM read_parquet({literal(file)}, {options})")
        return rows.mutate(**{ROW: ibis.row_number()})
    return rows.rename({ROW: "file_row_number"})


Stage = Callable[[Path, str, FileFormat, Sequence[str] | None, Path, Also | None], Values]
"""Of a path, as it is shown, the settings of its source, columns (None: all), a Parquet file, and
which other columns are read."""

READERS: dict[str, Callable[[ibis.BaseBackend, str], ir.Table]] = {".parquet": read_parquet}
"""How to open a file of typed columns, by the end of its name.

More can be added, see docs/recipes/add-a-data-source.md.
"""

STAGED: dict[str, Stage] = {
    **dict.fromkeys(sheets.ENDINGS, stage_sheet),
    databases.SQLITE: databases.stage_sqlite,
}
"""How to write the values of a file as Parquet, by the end of its name."""

READ = (*TEXT_ENDINGS, *READERS, *sheets.ENDINGS, *databases.ENDINGS, ".db")
UNREAD_TABLES = (
    ".avro",
    ".orc",
    ".feather",
    ".arrow",
)
"""Endings of files that hold tables and are not read: a folder with one is refused."""


@dataclass(frozen=True)
class StoredFile:
    """One file and how it is written.

    shown: its path or URL in messages. staging: folder for copies of it. partitions: the values of
    ``key=value`` folders above it. remote: where it is copied from when it is read; then ``path``
    is the place of the copy.
    """

    path: Path
    shown: str
    form: FileFormat
    staging: Path
    partitions: tuple[tuple[str, str | None], ...] = ()
    remote: Remote | None = None

    def tables(self) -> dict[str, StoredFile]:
        """Return each table of a database, and each sheet of a workbook that has several, by name;
        {} if the settings name one, or for a file of another kind."""
        kind = self._kind()
        if self.form.table or self.form.sheet:
            return {}
        if kind in databases.ENDINGS.values():
            names, setting = databases.table_names(self.path, self.shown, kind), "table"
        elif kind in sheets.ENDINGS:
            names, setting = sheets.sheet_names(self.path, self.shown), "sheet"
            names = names if len(names) > 1 else []
        else:
            return {}
        forms = {name: self.form.model_copy(update={setting: name}) for name in names}
        return {name: replace(self, form=form) for name, form in forms.items()}

    def paths(self) -> list[Path]:
        """Return the file and, of a database, the file with its latest changes."""
        database = self._kind() in databases.ENDINGS.values()
        return [self.path, *(databases.change_files(self.path) if database else [])]

    def columns(
        self, con: ibis.BaseBackend, wanted: Sequence[str], also: Also | None = None
    ) -> tuple[ir.Table, dict[str, Cells]]:
        """Return the file's rows (with the column ROW), and its wanted columns by name.

        also: which other columns are returned, too.

        Raises:
            ValueError: the file cannot be read, or a column is missing.
        """
        given = dict(self.partitions)
        own = [name for name in wanted if name not in given]
        kind = self._kind()
        if kind == "csv":
            with self._staged_text() as (text, staged):
                names = stage_delimited(con, text, self.shown, self.form, own, staged, also)
            rows = read_parquet(con, str(staged))
            cells = {name: of_text(rows[f"c{n}"]) for n, name in enumerate(names)}
        elif kind == "json":
            with self._staged_text() as (text, staged):
                names = stage_json(con, text, self.shown, own, staged, also)
            rows = read_parquet(con, str(staged))
            cells = {
                name: of_json(rows[f"c{n}"], rows[f"k{n}"], rows[f"l{n}"])
                for n, name in enumerate(names)
            }
        elif kind in STAGED:
            rows, found = self._staged_values(con, kind, own, also)
            cells = found.cells(rows)
        else:
            rows = self._typed(con)
            known = [name for name in rows.columns if name != ROW]
            check_names(own, known, self.shown)
            cells = {name: of_native(rows[name]) for name in with_others(own, known, also)}
        values = {
            f"key{n}": ibis.literal(value, "string")
            for n, (key, value) in enumerate(self.partitions)
            if key in wanted
        }
        rows = rows.mutate(**values) if values else rows
        cells |= {self.partitions[int(name[3:])][0]: of_text(rows[name]) for name in values}
        return rows, cells

    def table(self, con: ibis.BaseBackend) -> ir.Table:
        """Return the file's rows (with the column ROW) and all its columns.

        The columns of delimited text are texts, those of JSON have the type JSON, and those of
        other formats their own. A name that several columns have (in any case) gets numbers.

        Raises:
            ValueError: the file cannot be read.
        """
        kind = self._kind()
        if kind == "csv" or kind == "json":
            with self._staged_text() as (text, staged):
                stage = stage_all_delimited if kind == "csv" else stage_all_json
                names = stage(con, text, self.shown, self.form, staged)
            rows = read_parquet(con, str(staged))
            columns = [rows[f"c{n}"] for n in range(len(names))]
        elif kind in STAGED:
            rows, found = self._staged_values(con, kind, None, None)
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

    def _kind(self) -> str:
        """Return the kind of the file, which is copied here if it is elsewhere.

        Raises:
            ValueError: it cannot be copied, is of no known format, or has no sheets or tables
                although the settings name one.
        """
        if self.remote and not self.path.exists():
            self.path.parent.mkdir(parents=True, exist_ok=True)
            partial = self.path.with_name(f".{self.path.name}.partial")
            self.remote.fetch(partial)
            partial.replace(self.path)
        kind = kind_of(self.path, self.form)
        if not kind:
            raise ValueError(unknown_format(self.shown))
        if self.form.sheet and kind not in sheets.ENDINGS:
            raise ValueError(f"{self.shown} has no sheets: take `sheet` out of the source")
        if self.form.table and kind not in databases.ENDINGS.values():
            raise ValueError(f"{self.shown} is no database: take `table` out of the source")
        return kind

    def _path(self) -> Path:
        """Return a path without signs that DuckDB takes for a pattern."""
        if not is_pattern(self.path):
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
        self,
        con: ibis.BaseBackend,
        kind: str,
        wanted: Sequence[str] | None,
        also: Also | None,
    ) -> tuple[ir.Table, Values]:
        """Return the rows of a file that is read value by value, and its columns (None: all)."""
        self.staging.mkdir(parents=True, exist_ok=True)
        out = self.staging / f"{ibis.util.gen_name('file')}.parquet"
        values = STAGED[kind](self.path, self.shown, self.form, wanted, out, also)
        rows = read_parquet(con, str(out))
        return rows.mutate(**{ROW: rows["row"]}), values

    def _typed(self, con: ibis.BaseBackend) -> ir.Table:
        """Return the rows of a file of typed columns."""
        if self._kind() == databases.DUCKDB:
            self.staging.mkdir(parents=True, exist_ok=True)
            staged = self.staging / f"{ibis.util.gen_name('file')}.parquet"
            databases.stage_duckdb(self.path, self.shown, self.form, staged)
            return read_parquet(con, str(staged))
        reader = read_parquet if self.form.format == "parquet" else READERS[ending(self.path)]
        path = str(self._path())
        try:
            rows = reader(con, path)
        except duckdb.Error as error:
            reason = str(error).splitlines()[0].replace(path, self.path.name)
            raise ValueError(f"{self.shown} cannot be read ({reason}): export it again") from error
        if reader is not read_parquet:  # but an added one, whose rows have no numbers
            numbered = rows.mutate(**{ROW: ibis.row_number()})
            rows = con.create_table(ibis.util.gen_name("rows"), numbered, temp=True)
        return rows


def unknown_format(shown: str | Path) -> str:
    """Return that the file is of no known format, and what to do."""
    return (
        f"ingest: {shown} has no known format; known formats are {', '.join(READ)}, "
        f"the text formats also with {', '.join(COMPRESSED)}. Save tables of other "
        "programs as CSV (UTF-8); set `format: csv` for delimited text with another ending"
    )


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


def ending(file: Path) -> str:
    """Return the end of the name, in small letters, without that of a compression."""
    name = PurePath(file.name.lower())
    if name.suffix == ".zip" and PurePath(name.stem).suffix not in TEXT_ENDINGS:
        name = PurePath(name_within(file).lower())  # orders.zip holds orders.csv
    while name.suffix in COMPRESSED:
        name = PurePath(name.stem)
    return name.suffix


def kind_of(file: Path, form: FileFormat) -> str:
    """Return csv, json, the ending of a typed format, or "" if the file is not read."""
    if form.format != "auto":
        return form.format
    end = ending(file)
    if end == ".db":
        return databases.kind_by_content(file)
    known = end if end in (*READERS, *STAGED) else ""
    return (TEXT_ENDINGS | databases.ENDINGS).get(end, known)
