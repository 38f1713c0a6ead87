"""What a file looks like: its format, encoding, delimiter and header, and the first of its values.

Nothing is typed here: a value is the text that stands in the file. ``guessing`` decides what the
columns mean. Only the beginning of a file is read.
"""

from __future__ import annotations

import csv
import io
import json
import re
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from charset_normalizer import CharsetMatch, from_bytes

from components.data.sources import databases
from components.data.sources.cells import of_native, text_of_bytes
from components.data.sources.compression import chunks, opened
from components.data.sources.delimited import DELIMITERS
from components.data.sources.files import connect
from components.data.sources.names import KNOWN, words
from components.data.sources.places import Place
from components.data.sources.stored import ROW, STAGED, TEXT_ENDINGS, StoredFile, ending
from components.settings import Source

ROWS = 5000
"""Rows that are looked at."""
LIST_SIGN = "|"
HEAD = 1 << 21
"""Bytes of a text file, decompressed, that are looked at."""
_LATIN = ("cp1252", "cp1250", "cp1254", "cp850", "mac_roman", "iso8859_15", "latin_1")
_OTHER = ("gb18030", "big5", "shift_jis", "euc_kr", "cp1251", "cp1253")
"""Encodings without a mark of their own that are considered: of Latin letters, and of others."""

_IN_ROWS = (0.3, 0.7)
"""Share of bytes above 127 next to another below which letters are Latin, and above which not."""
_FEW = 50
"""Bytes above 127 that a script of other letters has at least."""
_MARKS = (b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")
_NO_JSON = ("//", "/*", "#")
"""How comments begin."""
_AS_TEXT = re.compile(r'^="(.*)"$')
"""A text as programs write it for Excel."""
_NAME = re.compile(r"[^\W\d]")
_VALUE = re.compile(r"^[+-]?[\d.,:/ TZ-]*\d[\d.,:/ TZ-]*$")


@dataclass
class Inspected:
    """The beginning of a file.

    reading: settings of a source that say how the file is written. values: its rows as texts, None
    where there is none; lists are joined with LIST_SIGN. lists, objects: names of columns with such
    values. doubts: what could not be told for certain.
    """

    path: Path
    values: pd.DataFrame
    reading: dict[str, Any] = field(default_factory=dict)
    lists: set[str] = field(default_factory=set)
    objects: set[str] = field(default_factory=set)
    typed: set[str] = field(default_factory=set)
    doubts: list[str] = field(default_factory=list)


def inspect(path: Path) -> list[Inspected]:
    """Return what the file looks like: each of its tables, where it is a database or workbook.

    Raises:
        ValueError: the file is empty, damaged or of an unknown kind.
    """
    end = ending(path)
    if end in STAGED or end in databases.ENDINGS or end == ".db":
        return _tables(path)
    return [_file(path)]


def _file(path: Path) -> Inspected:
    """Return what a file of one table looks like."""
    if ending(path) == ".parquet" or starts_with(path, b"PAR1"):
        return _parquet(path)
    head, doubts, encoding = _head(path)
    start = head.lstrip("\ufeff \t\r\n")
    if start.startswith(("{", "[")):
        found = _json(path, start)
    else:
        found = _delimited(path, head.lstrip("\ufeff"))
    kind = "json" if start.startswith(("{", "[")) else "csv"
    known = TEXT_ENDINGS.get(ending(path))
    if known == "json" and start.startswith(_NO_JSON):
        raise ValueError(
            f"{path} is no JSON: it begins with {start.splitlines()[0][:40]!r}, and JSON has no "
            "comments: take such lines out"
        )
    if known != kind:
        found.reading["format"] = kind
    if encoding:
        found.reading["encoding"] = encoding
    found.doubts[:0] = doubts
    return found


def starts_with(path: Path, mark: bytes) -> bool:
    """Return whether the first bytes of a file are ``mark``."""
    with path.open("rb") as file:
        return file.read(len(mark)) == mark


def _tables(path: Path) -> list[Inspected]:
    """Return the first rows of the tables of a database, or of the sheets of a workbook.

    Sheets that cannot be read are left out, with a doubt.
    """
    with tempfile.TemporaryDirectory(prefix="bowerbird-") as name:
        (file,) = Place(path, Source(path=path, columns={}), Path(), Path(name)).files()
        tables = file.tables()
        found, unread = [], []
        for table in tables.values() or [file]:
            try:
                found.append(_table(table))
            except ValueError as error:
                unread.append(str(error))
    if not found:
        raise ValueError("; ".join(unread) or f"{path} is empty: export it again")
    for one in found:
        one.doubts += [f"not read: {reason.split(': ')[0]}" for reason in unread]
    return found


def _table(file: StoredFile) -> Inspected:
    """Return the first rows of a table or sheet."""
    con = connect("UTC")
    try:
        rows = file.table(con).drop(ROW)
        texts = rows.select(**{one: of_native(rows[one]).text for one in rows.columns})
        frame = texts.limit(ROWS).execute().astype(object)
    finally:
        con.disconnect()
    found = Inspected(file.path, frame.where(frame.notna(), None))
    found.typed = {one for one, kind in rows.schema().items() if kind.is_temporal()}
    found.objects = {one for one, kind in rows.schema().items() if kind.is_nested()}
    named = {"sheet": file.form.sheet, "table": file.form.table}
    found.reading = {setting: name for setting, name in named.items() if name}
    return found


def _head(path: Path) -> tuple[str, list[str], str]:
    """Return the first text of the file, doubts about it, and its encoding, "" for UTF-8."""
    with opened(path, str(path)) as stream:
        data = b""
        for piece in chunks(stream, str(path)):
            data += piece[: HEAD - len(data)]
            if len(data) >= HEAD:
                break
    if not data.strip():
        raise ValueError(f"{path} is empty: export it again")
    if data.startswith(_MARKS):
        marked = "utf-8-sig" if data.startswith(_MARKS[0]) else "utf-16"
        return data.decode(marked, errors="ignore"), [], ""
    if data[:4000].count(0) > len(data[:4000]) / 4:
        name = "utf-16-be" if data[:1] == b"\0" else "utf-16-le"
        return data.decode(name, errors="ignore"), [], name
    try:
        return data[: _whole(data)].decode("utf-8"), [], ""
    except UnicodeDecodeError as error:
        name, others = _encoding(data)
        line = data.count(b"\n", 0, error.start) + 1
        around = data[max(0, error.start - 20) : error.start + 20]
        readings = {one: around.decode(one, errors="ignore").strip() for one in (name, *others)}
        doubt = f"encoding {name}, not UTF-8: line {line} has {readings[name]!r}"
        different = [one for one in others if readings[one] != readings[name]]
        doubt += "".join(f"; in {one} it would be {readings[one]!r}" for one in different[:2])
        if (few := int((np.frombuffer(data, np.uint8) > 127).sum())) < _FEW:
            doubt += f": a guess from {few} bytes; set `encoding` where it is wrong"
        return data.decode(name, errors="ignore"), [doubt], name


def _encoding(data: bytes) -> tuple[str, list[str]]:
    """Return the likely encoding of a text that is not UTF-8, and others that it may have.

    Letters with accents stand alone among ASCII; in other scripts bytes above 127 come in rows.
    """
    high = np.frombuffer(data, np.uint8) > 127
    next_to = np.append(high[1:], False) | np.append(False, high[:-1])
    in_rows = (high & next_to).sum() / high.sum()
    latin, other = in_rows < _IN_ROWS[0], in_rows > _IN_ROWS[1]
    latin = latin or (not other and high.sum() < _FEW)
    known = _LATIN if latin else _OTHER if other else (*_LATIN, *_OTHER)
    found = from_bytes(data[:200_000], cp_isolation=list(known))

    def rank(one: CharsetMatch) -> tuple[float, float, bool]:
        return one.chaos, -one.coherence, one.encoding != "cp1252"  # the usual one comes first

    names = [one.encoding for one in sorted(found, key=rank)] or [*known]
    # Of encodings that read the same, charset-normalizer names one.
    if data.decode(names[0], errors="ignore") == data.decode("cp1252", errors="ignore"):
        names.insert(0, "cp1252")
    # The names of columns are few and known, so they say more than letters do.
    line = data.partition(b"\n")[0]
    best = max([*names, *known], key=lambda name: _named(line, name))
    if _named(line, best) > _named(line, names[0]):
        names.insert(0, best)
    first, *others = (name.replace("_", "-") for name in dict.fromkeys(names))
    return first, others


def _named(line: bytes, encoding: str) -> int:
    """Return how many columns have a known name if the first line is in ``encoding``."""
    cells = re.split(r"[,;|\t]", line.decode(encoding, errors="ignore"))
    return sum("".join(words(cell)) in KNOWN for cell in cells)


def _whole(data: bytes) -> int:
    """Return the length of ``data`` without a character that is cut off at its end."""
    for back in range(1, min(4, len(data)) + 1):
        if data[-back] & 0xC0 == 0xC0:
            return len(data) - back
        if data[-back] < 0x80:
            break
    return len(data)


def _json(path: Path, text: str) -> Inspected:
    """Return the first objects of JSON lines or of a JSON array."""
    decoder = json.JSONDecoder(parse_float=str, parse_int=str, parse_constant=str)
    rows: list[dict[str, Any]] = []
    place = 1 if text.startswith("[") else 0
    while len(rows) < ROWS and (found := re.compile(r"[\s,]*(?=\{)").match(text, place)):
        try:
            row, place = decoder.raw_decode(text, found.end())
        except ValueError:  # cut off
            break
        rows.append(row)
    if not rows:
        raise ValueError(f"{path} holds no whole JSON object: write one object a line")
    columns: dict[str, list[Any]] = {key: [] for row in rows for key in row}
    for name, values in columns.items():
        values.extend(row.get(name) for row in rows)
    found_in = Inspected(path, pd.DataFrame())
    texts = {}
    for name, values in columns.items():
        if any(isinstance(value, dict) or _holds_objects(value) for value in values):
            found_in.objects.add(name)
        elif any(isinstance(value, list) for value in values):
            found_in.lists.add(name)
        texts[name] = [_text(value) for value in values]
    found_in.values = pd.DataFrame(texts, dtype=object)
    return found_in


def _holds_objects(value: object) -> bool:
    return isinstance(value, list) and any(isinstance(one, dict | list) for one in value)


def _text(value: object) -> str | None:
    if value is None:
        return None
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return LIST_SIGN.join(str(one) for one in value) or None
    if isinstance(value, bytes):
        return text_of_bytes(value).strip() or None
    return str(value).strip() or None


def _parquet(path: Path) -> Inspected:
    """Return the first rows of a Parquet file."""
    try:
        file = pq.ParquetFile(path)
        batch = next(file.iter_batches(batch_size=ROWS), None)
    except (pa.ArrowInvalid, OSError) as error:
        raise ValueError(f"{path} is no whole Parquet file: export it again") from error
    found = Inspected(path, pd.DataFrame())
    texts: dict[str, list[str | None]] = {}
    schema = file.schema_arrow
    for place, (one, name) in enumerate(zip(schema, _unique(schema.names), strict=True)):
        values = [] if batch is None else batch.column(place).to_pylist()
        if pa.types.is_struct(one.type) or any(_holds_objects(value) for value in values):
            found.objects.add(name)
        elif pa.types.is_list(one.type) or pa.types.is_large_list(one.type):
            found.lists.add(name)
        elif pa.types.is_floating(one.type):  # a column of whole numbers with gaps
            values = [
                int(value) if value is not None and value % 1 == 0 else value for value in values
            ]
        if pa.types.is_temporal(one.type):
            found.typed.add(name)
        texts[name] = [_text(value) for value in values]
    found.values = pd.DataFrame(texts, dtype=object)
    if ending(path) != ".parquet":
        found.reading["format"] = "parquet"
    return found


def _delimited(path: Path, text: str) -> Inspected:
    """Return the first rows of delimited text."""
    text = re.sub(r"\A[\r\n]*(?:sep=.[\t ]*(?:\r\n|\r|\n))?", "", text)
    parsed = {one: _records(text, one) for one in DELIMITERS}
    delimiter = max(DELIMITERS, key=lambda one: _fit(parsed[one]))
    records = parsed[delimiter]
    if not records:
        raise ValueError(f"{path} has no whole line that can be read")
    found = Inspected(path, pd.DataFrame())
    if len({len(record) for record in records}) > 1:
        found.doubts.append(f"lines of different lengths at the delimiter {delimiter!r}")
    # What the reader finds by itself needs no setting.
    rivals = [one for one in DELIMITERS if len(parsed[one][:1] and parsed[one][0]) > 1]
    if len(rivals) > 1:
        found.reading["delimiter"] = "tab" if delimiter == "\t" else delimiter
    _refuse_title(records, path)
    header = _has_header(records)
    if not header:
        found.reading["header"] = False
        found.doubts.append(f"no header: the first line is {delimiter.join(records[0])[:80]!r}")
    names = records[0] if header else [str(n + 1) for n in range(len(records[0]))]
    width = len(names)
    body = [(row + [""] * width)[:width] for row in records[header : ROWS + header]]
    frame = pd.DataFrame(body, columns=pd.Index(_unique(names)), dtype=object)
    if frame.empty:
        raise ValueError(f"{path} has a header and no rows: export it again")
    plain = frame.apply(lambda column: column.str.strip().str.replace(_AS_TEXT, r"\1", regex=True))
    found.values = plain.replace({"": None})
    return found


def _refuse_title(records: list[list[str]], path: Path) -> None:
    """Raise if the first line is a title, above the one that names the columns."""
    widths = [len([cell for cell in record if cell.strip()]) for record in records[:6]]
    if len(widths) > 2 and widths[0] == 1 and max(widths[1:]) > 2:
        raise ValueError(
            f"{path}: line 1 ({records[0][0].strip()!r:.80}) is a title and names no columns: "
            "delete the lines above the names"
        )


def _unique(names: list[str]) -> Iterator[str]:
    """Yield the names; the second of a name gets a number, as it cannot be chosen."""
    seen: dict[str, int] = {}
    for name in (one.strip() for one in names):
        seen[name] = seen.get(name, 0) + 1
        yield name if seen[name] == 1 else f"{name} ({seen[name]})"


def _records(text: str, delimiter: str) -> list[list[str]]:
    """Return the fields of the first lines, without one that may be cut off."""
    single = delimiter if len(delimiter) == 1 else "\ue000"
    reader = csv.reader(
        io.StringIO(text.replace(delimiter, single), newline=""), delimiter=single, strict=False
    )
    found: list[list[str]] = []
    try:
        for record in reader:
            if record:
                found.append(record)
            if len(found) > ROWS:
                return found
    except csv.Error:
        return found
    return found if len(text) < HEAD / 2 else found[:-1]


def _fit(records: list[list[str]]) -> tuple[bool, float, int]:
    """Return how well a delimiter fits: whether the first line has the usual length, which share of
    all lines has it, and that length."""
    if not records:
        return False, 0.0, 0
    lengths = pd.Series([len(record) for record in records]).value_counts()
    usual = int(lengths.index[0])
    share = round(lengths.iloc[0] / len(records), 1) if usual > 1 else 0.0
    return len(records[0]) == usual > 1, share, usual


def _has_header(records: list[list[str]]) -> bool:
    """Return whether the first line names the columns.

    It does not if a cell of it is a number or a time, or stands in the same column again.
    """
    first, rest = [cell.strip() for cell in records[0]], records[1:]
    if any(_VALUE.match(cell) for cell in first) or not all(map(_NAME.search, filter(None, first))):
        return False
    if not rest:
        return True
    repeated = [
        sum(len(row) > n and row[n].strip() == cell for row in rest) for n, cell in enumerate(first)
    ]
    return not any(cell and times > 1 for cell, times in zip(first, repeated, strict=True))
