"""Files in the shapes that shops and public data sets have: each is right, or refused in words.

A shape is a file and the settings of its source. Its outcome is the values of a column, or the
words that the refusal holds: file, place and remedy.
"""

from __future__ import annotations

import bz2
import gzip
import io
import json
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import ibis
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from components.data.charges import charges
from components.data.schema import LINES
from components.data.sources.columns import read
from components.data.sources.files import connect, files_of
from components.project.guessing import guess
from components.project.inspection import inspect
from components.settings import Source

USER_ITEM_TIME = {"user_id": "u", "item_id": "s", "timestamp": "t"}
BY_POSITION = {"user_id": 1, "item_id": 2, "timestamp": 3}
T = "2024-03-01T12:00:00Z"
NOON = pd.Timestamp("2024-03-01 12:00", tz="UTC")


@dataclass(frozen=True)
class Shape:
    """A file, the settings of its source, and what becomes of it.

    content: text or bytes of the file ``name``, or a function that writes it. wanted: the expected
    values by column of the contract. refused: words of the refusal. printed: words of the output.
    silent: words that the output must not have. init: columns and settings are those that ``init``
    finds.
    """

    content: str | bytes | Callable[[Path], None]
    wanted: dict[str, list[Any]] | None = None
    refused: tuple[str, ...] = ()
    name: str = "o.csv"
    columns: dict[str, Any] = field(default_factory=lambda: USER_ITEM_TIME)
    settings: dict[str, Any] = field(default_factory=dict)
    table: str = "interactions"
    zone: str = "UTC"
    printed: tuple[str, ...] = ()
    silent: tuple[str, ...] = ()
    init: bool = False


def csv_of(*users: str, sep: str = ",", end: str = "\n") -> str:
    lines = [sep.join("ust"), *(sep.join((user, "x", T)) for user in users)]
    return "".join(line + end for line in lines)


def column(name: str, *values: str, sep: str = ";") -> dict[str, Any]:
    """Return content and columns of a CSV with one further column."""
    rows = [sep.join((*"ust", name)), *(sep.join(("a", "x", T, value)) for value in values)]
    return {"content": "\n".join(rows) + "\n", "columns": {**USER_ITEM_TIME, name: name}}


def versions(*values: str) -> dict[str, Any]:
    """Return content and columns of a CSV with versions of orders."""
    found = column("version", *values)
    return {**found, "columns": {**found["columns"], "order_id": "s"}}


def times(*values: str) -> dict[str, Any]:
    return {"content": "u,s,t\n" + "".join(f'a,x,"{value}"\n' for value in values)}


def lines_of(*rows: dict[str, Any]) -> str:
    return "".join(json.dumps({"u": "a", "s": "x", "t": T, **row}) + "\n" for row in rows)


def json_times(*values: Any) -> dict[str, Any]:
    return {"content": lines_of(*({"t": value} for value in values)), "name": "o.jsonl"}


def catalogue(*values: str) -> dict[str, Any]:
    rows = "".join(f"{n};mug;{value}\n" for n, value in enumerate(values))
    columns = {"item_id": "i", "title": "n", "available": "a"}
    return {"content": f"i;n;a\n{rows}", "columns": columns, "table": "items"}


def products(*columns: str, rows: tuple[str, ...], **names: Any) -> dict[str, Any]:
    """Return content and columns of an item file; every row begins with an id and a title."""
    text = "\n".join(["i;n;" + ";".join(columns), *rows]) + "\n"
    return {
        "content": text,
        "columns": {"item_id": "i", "title": "n", **names},
        "table": "items",
        "name": "items.csv",
    }


def parquet(**columns: Any) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        n = len(next(iter(columns.values())))
        own = {"u": ["a"] * n, "s": ["x"] * n, "t": [T] * n, **columns}
        pq.write_table(pa.table(own), path)

    return write


def zipped(**members: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, text in members.items():
            archive.writestr(name.replace("_", "."), text)
    return buffer.getvalue()


def zstd(text: str) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "zstd") as out:
        out.write(text.encode())
    return sink.getvalue().to_pybytes()


def extra(name: str, *values: str) -> str:
    """Return a CSV with one further column, which no setting names."""
    return "\n".join([f"u,s,t,{name}", *(f"a,x,{T},{value}" for value in values)]) + "\n"


def paths(*values: str) -> dict[str, Any]:
    """Return content, columns and settings of a catalogue with paths of categories."""
    rows = tuple(f"{n};mug;{value}" for n, value in enumerate(values))
    return {**products("c", rows=rows, categories="c"), "settings": {"category_separator": ">"}}


THREE = {"user_id": ["a"] * 3}
TWO = {"user_id": ["1", "2"]}
MUELLER = "u,s,t\nMüller,x," + T + "\n"
CHINESE = "u,s,t\n张三,红色杯子," + T + "\n"

SHAPES = {
    # delimiters and headers
    "comma": Shape(csv_of("1", "2"), TWO),
    "semicolon": Shape(csv_of("1", "2", sep=";"), TWO),
    "tab": Shape(csv_of("1", "2", sep="\t"), TWO),
    "tab in a .tsv": Shape(csv_of("1", "2", sep="\t"), TWO, name="o.tsv"),
    "comma in a .tsv": Shape(csv_of("1", "2"), TWO, name="o.tsv"),
    "bar": Shape(csv_of("1", "2", sep="|"), TWO),
    "double colon with a header": Shape(csv_of("1", "2", sep="::"), TWO),
    "caret, said": Shape(csv_of("1", "2", sep="^"), TWO, settings={"delimiter": "^"}),
    "caret, not said": Shape(
        csv_of("1", "2", sep="^"), refused=("o.csv has no column 'u'", "it has u^s^t", "delimiter")
    ),
    "tab by its name": Shape(csv_of("1", "2", sep="\t"), TWO, settings={"delimiter": "tab"}),
    "wrong delimiter said": Shape(
        csv_of("1", sep=";"), refused=("no column 'u'", "u;s;t"), settings={"delimiter": ","}
    ),
    "MovieLens": Shape(
        "1::1193::5::978300760\n1::661::3::978302109\n",
        {"user_id": ["1", "1"], "item_id": ["1193", "661"], "rating": [5, 3]},
        columns={"user_id": 1, "item_id": 2, "rating": 3, "timestamp": 4},
        settings={"header": False, "event": "rating", "format": "csv"},
        name="ratings.dat",
        printed=("column '4' (for timestamp) is read as seconds",),
    ),
    "a .dat without a format": Shape("1::2::3\n", refused=("format: csv",), name="ratings.dat"),
    "no header": Shape(f"1,x,{T}\n2,y,{T}\n", TWO, columns=BY_POSITION, settings={"header": False}),
    "no header, not said": Shape(
        f"1,x,{T}\n2,y,{T}\n", refused=("no column 'u'", "header: false", "position")
    ),
    "no header, position too high": Shape(
        f"1,x,{T}\n",
        refused=("no column '9'", "1 to 3"),
        columns={**BY_POSITION, "timestamp": 9},
        settings={"header": False},
    ),
    "no header, two delimiters fit": Shape(
        "1,5;2,5;3\n4,5;6,5;7\n",
        refused=("delimiter cannot be told", "','", "';'"),
        columns=BY_POSITION,
        settings={"header": False},
    ),
    "spaces around header names": Shape(f"u, s , t\n1,x,{T}\n", {"item_id": ["x"]}),
    "quoted header": Shape(f'"u","s","t"\n"1","x","{T}"\n', {"user_id": ["1"]}),
    "delimiter within a quoted header": Shape(
        f'u,s,t,"note, long"\n1,x,{T},"a, b"\n',
        {"country": ["a, b"]},
        columns={**USER_ITEM_TIME, "country": "note, long"},
    ),
    "duplicate name that is used": Shape(
        f"u,s,t,u\n1,x,{T},2\n", refused=("column 'u' 2 times", "columns 1, 4", "rename")
    ),
    "duplicate name that is not used": Shape(f"u,s,t,n,n\n1,x,{T},2,3\n", {"user_id": ["1"]}),
    "column of another case": Shape(
        f"U,s,t\n1,x,{T}\n", refused=("no column 'u'", "it has U, s, t")
    ),
    # lines and quotation marks
    "ragged late line, short": Shape(
        csv_of(*"1" * 30000) + "9,x\n", refused=("line 30002", "2 columns instead of 3")
    ),
    "ragged late line, long": Shape(
        csv_of(*"1" * 30000) + "9,x,y,z\n", refused=("line 30002", "4 columns instead of 3")
    ),
    "quotes first seen late": Shape(
        csv_of(*"1" * 30000) + f'"9, b","x",{T}\n', {"user_id": ["1"] * 30000 + ["9, b"]}
    ),
    "quote written twice": Shape(f'u,s,t\n1,"12"" plate",{T}\n', {"item_id": ['12" plate']}),
    "quote after a backslash, said": Shape(
        f'u,s,t\n1,"12\\" plate",{T}\n', {"item_id": ['12" plate']}, settings={"escape": "\\"}
    ),
    "quote after a backslash, not said": Shape(
        f'u,s,t\n1,"12\\" plate",{T}\n', refused=("line 2", "quotation mark", "escape")
    ),
    "quote not closed": Shape(
        f'u,s,t\n1,"x,{T}\n2,y,{T}\n', refused=("line 2", "quotation mark is not closed")
    ),
    "no quotation marks, said": Shape(
        f'u,s,t\n1,"x,{T}\n2,y,{T}\n', {"item_id": ['"x', "y"]}, settings={"quote": ""}
    ),
    "single quotes, said": Shape(
        f"u,s,t\n1,'a,b',{T}\n", {"item_id": ["a,b"]}, settings={"quote": "'"}
    ),
    "line break within quotes": Shape(f'u,s,t\n1,"a\nb",{T}\n', {"item_id": ["a\nb"]}),
    "CRLF": Shape(csv_of("1", "2", end="\r\n"), TWO),
    "CR": Shape(csv_of("1", "2", end="\r"), TWO),
    "CRLF with LF within quotes": Shape(
        f'u,s,t\r\n1,"a\nb",{T}\r\n2,y,{T}\r\n', {"item_id": ["a\nb", "y"]}
    ),
    "mixed line ends": Shape(csv_of("1", end="\r\n") + f"2,x,{T}\n", TWO),
    "mixed line ends, late": Shape(
        csv_of(*"1" * 30000) + f"9,x,{T}\r\n8,y,{T}\n", {"user_id": ["1"] * 30000 + ["9", "8"]}
    ),
    "no line end at the end": Shape(csv_of("1", "2").rstrip(), TWO),
    "blank lines": Shape(f"\n\nu,s,t\n1,x,{T}\n\n2,y,{T}\n\n", TWO),
    "Excel's first line": Shape(f"sep=;\r\nu;s;t\r\n1;x;{T}\r\n2;x;{T}\r\n", TWO),
    "spaces that are not seen": Shape(csv_of("1\u00a0", "\u200b2"), TWO),
    "a name with signs of patterns": Shape(csv_of("1", "2"), TWO, name="o [1]*.csv"),
    "empty": Shape("", refused=("o.csv is empty",)),
    "white space only": Shape("\n\n", refused=("o.csv holds no line",)),
    "header only": Shape("u,s,t\n", {"user_id": []}, printed=("o.csv has no rows",)),
    "zero bytes": Shape(b"u,s,t\n1,\0,3\n", refused=("line 2", "zero byte")),
    "a Parquet file named .csv": Shape(parquet(u=["1"]), refused=("is a Parquet file",)),
    # encodings
    "UTF-8 with a mark": Shape(b"\xef\xbb\xbf" + MUELLER.encode(), {"user_id": ["Müller"]}),
    "UTF-16": Shape(MUELLER.encode("utf-16"), {"user_id": ["Müller"]}),
    "UTF-16 without a mark": Shape(MUELLER.encode("utf-16-le"), refused=("utf-16-le",)),
    "UTF-16 without a mark, said": Shape(
        MUELLER.encode("utf-16-be"), {"user_id": ["Müller"]}, settings={"encoding": "utf-16-be"}
    ),
    "Latin-1, said": Shape(
        MUELLER.encode("latin-1"), {"user_id": ["Müller"]}, settings={"encoding": "latin-1"}
    ),
    "Latin-1, not said": Shape(
        MUELLER.encode("latin-1"),
        refused=("line 2", "0xFC", "encoding", "cp1252 reads 'Müller"),
    ),
    "UTF-8, said to be Latin-1": Shape(
        MUELLER.encode(), refused=("is in UTF-8", "Müller"), settings={"encoding": "latin-1"}
    ),
    "GB18030, said": Shape(
        CHINESE.encode("gb18030"),
        {"user_id": ["张三"], "item_id": ["红色杯子"]},
        settings={"encoding": "gb18030"},
    ),
    "GB18030, not said": Shape(
        CHINESE.encode("gb18030"), refused=("line 2", "gb18030 reads '张三")
    ),
    "wrong byte late": Shape(
        csv_of(*"1" * 30000).encode() + b"\xff,x,y\n", refused=("line 30002", "0xFF")
    ),
    "cut within a letter": Shape(MUELLER.encode()[:8], refused=("o.csv, line 2", "encoding")),
    # compression
    "gz": Shape(gzip.compress(csv_of("1", "2").encode()), TWO, name="o.csv.gz"),
    "bz2": Shape(bz2.compress(csv_of("1", "2").encode()), TWO, name="o.csv.bz2"),
    "zst": Shape(zstd(csv_of("1", "2")), TWO, name="o.csv.zst"),
    "zip": Shape(zipped(o_csv=csv_of("1", "2")), TWO, name="o.csv.zip"),
    "zip by what it holds": Shape(zipped(o_csv=csv_of("1", "2")), TWO, name="orders.zip"),
    "zip of two files": Shape(
        zipped(a_csv="x", b_csv="y"), refused=("holds 2 files", "a.csv, b.csv"), name="o.csv.zip"
    ),
    "zip of two files by what it holds": Shape(
        zipped(a_csv="x", b_csv="y"), refused=("holds 2 files", "a.csv, b.csv"), name="shop.zip"
    ),
    "gz without its ending": Shape(gzip.compress(csv_of("1", "2").encode()), TWO),
    "gz cut off": Shape(
        gzip.compress(csv_of("1", "2").encode())[:-12], refused=("cut off",), name="o.csv.gz"
    ),
    "xlsx": Shape(
        zipped(**{"[Content]_xml": ""}), refused=("no workbook that can be read",), name="o.xlsx"
    ),
    "a page named .xls": Shape(
        "<html><table><tr><td>u</td></tr></table></html>",
        refused=("o.xls is no workbook", "it is an HTML or XML page", "as xlsx"),
        name="o.xls",
    ),
    "text named .xls": Shape(
        csv_of("1", sep="\t"), refused=("it is text", "the ending .csv"), name="o.xls"
    ),
    "a sheet of a CSV": Shape(
        csv_of("1"), refused=("o.csv has no sheets", "`sheet`"), settings={"sheet": "Orders"}
    ),
    "a table of a CSV": Shape(
        csv_of("1"), refused=("o.csv is no database", "`table`"), settings={"table": "orders"}
    ),
    # JSON
    "JSON array": Shape(
        f"[{lines_of({'u': '1'}, {'u': '2'}).strip().replace(chr(10), ',')}]", TWO, name="o.json"
    ),
    "JSON lines named .json": Shape(lines_of({"u": "1"}, {"u": "2"}), TWO, name="o.json"),
    "JSON lines as gz": Shape(
        gzip.compress(lines_of({"u": "1"}, {"u": "2"}).encode()), TWO, name="o.jsonl.gz"
    ),
    "ids of two types": Shape(
        lines_of({"u": 1}, {"u": "C1"}), {"user_id": ["1", "C1"]}, name="o.jsonl"
    ),
    "7 and 7.0 and '7'": Shape(
        lines_of({"u": 7}, {"u": 7.0}, {"u": "7"}),
        {"user_id": ["7", "7.0", "7"]},
        name="o.jsonl",
        printed=("1 of 3 ids end in .0", "integral: true"),
    ),
    "ids above 2^64": Shape(
        lines_of(*({"u": 2**64 + n} for n in range(3))),
        {"user_id": [str(2**64 + n) for n in range(3)]},
        name="o.jsonl",
    ),
    "decimals as ids": Shape(
        '{"u":1.10,"s":"x","t":"' + T + '"}\n{"u":1.1,"s":"x","t":"' + T + '"}\n',
        refused=("column 'u' (for user_id)", "1.10 and 1.1 are one", "or as text"),
        name="o.jsonl",
    ),
    "ids that a spreadsheet rounded": Shape(
        csv_of("4.00638E+12", "4.00638E+12"),
        refused=("column 'u' (for user_id)", "4.00638E+12", "or as text"),
    ),
    "years of two digits": Shape(
        times("05.01.26", "17.02.25")["content"],
        refused=("column 't' (for timestamp)", "'05.01.26'", '"%d.%m.%y"'),
    ),
    "years of two digits in their format": Shape(
        times("05.01.25", "17.02.24")["content"],
        {"timestamp": [pd.Timestamp(day, tz="UTC") for day in ("2025-01-05", "2024-02-17")]},
        settings={"timestamp_format": "%d.%m.%y"},
    ),
    "years of two digits in the format of four": Shape(
        times("05.01.25", "17.02.24")["content"],
        refused=("'05.01.25'", '"%d.%m.%y"'),
        settings={"timestamp_format": "%d.%m.%Y"},
    ),
    "commas before three digits": Shape(
        **column("price", "1,200", "1,331"),
        refused=('`decimal: ","` or `decimal: "."` and `thousands: ","`', "'1,200'"),
    ),
    "states in other languages": Shape(
        **column("status", "Anulowane", "Zwrócone", "キャンセル", "Levererad"),
        wanted={"status": ["cancelled", "returned", "cancelled", "kept"]},
    ),
    "escaped letters": Shape(
        '{"u":"M\\u00fcller","s":"x","t":"' + T + '"}\n', {"user_id": ["Müller"]}, name="o.jsonl"
    ),
    "name first seen late": Shape(
        lines_of(*[{}] * 25000, {"land": "DE"}),
        {"country": [None] * 25000 + ["DE"]},
        columns={**USER_ITEM_TIME, "country": "land"},
        name="o.jsonl",
    ),
    "no such name": Shape(
        lines_of({}),
        refused=("no column 'user'", "it has s, t, u"),
        name="o.jsonl",
        columns={**USER_ITEM_TIME, "user_id": "user"},
    ),
    "cut JSON": Shape(
        lines_of({}, {})[:-20], refused=("o.jsonl, line 2", "no whole JSON"), name="o.jsonl"
    ),
    "a row that is no object": Shape(
        lines_of({}) + "[1]\n", refused=("line 2", "no object"), name="o.jsonl"
    ),
    "a name twice": Shape('{"u":1,"u":2}\n', refused=("'u' is there twice",), name="o.jsonl"),
    "lines over several lines": Shape(
        json.dumps({"u": 1}, indent=1), refused=("line 1", "one object a line"), name="o.json"
    ),
    "rows within an object": Shape(
        json.dumps({"data": [{"u": 1}]}), refused=("no column 'u'", "it has data"), name="o.json"
    ),
    "JSON in UTF-16": Shape(
        lines_of({"u": "1"}).encode("utf-16"), {"user_id": ["1"]}, name="o.jsonl"
    ),
    "CSV named .json": Shape(csv_of("1"), refused=("no JSON", "'u,s,t"), name="o.json"),
    "an object as text": Shape(
        lines_of({"u": {"id": 1}}), refused=("(for user_id)", "objects", "row 1"), name="o.jsonl"
    ),
    "a list as text": Shape(
        lines_of({"n": "a"}, {"n": ["a", "b"]}),
        refused=("(for title)", "lists", "row 2"),
        columns={**USER_ITEM_TIME, "title": "n"},
        name="o.jsonl",
    ),
    "lists of categories": Shape(
        lines_of({"c": ["A/V Equipment", "TV"]}, {"c": None}, {"c": "Home"}),
        {"categories": [["A/V Equipment", "TV"], None, ["Home"]]},
        columns={**USER_ITEM_TIME, "categories": "c"},
        name="o.jsonl",
    ),
    "lists of objects as categories": Shape(
        lines_of({"c": [{"name": "Home"}]}),
        refused=("(for categories)", "objects"),
        columns={**USER_ITEM_TIME, "categories": "c"},
        name="o.jsonl",
    ),
    "printed lists as categories": Shape(
        **column("categories", "['Home', 'Tea']"), refused=("printed lists", "Parquet")
    ),
    # ids
    "ids NULL": Shape(
        csv_of("1", "NULL"), refused=("(for user_id)", "'NULL' in row 2", "nulls: ['NULL']")
    ),
    "ids NULL, said": Shape(
        csv_of("1", "NULL"), {"user_id": ["1", None]}, settings={"nulls": ["NULL"]}
    ),
    "ids that are such words": Shape(
        csv_of("NA", "None"), {"user_id": ["NA", "None"]}, settings={"nulls": []}
    ),
    **{
        f"ids {word}": Shape(csv_of("1", word), refused=(f"'{word}' in row 2", "nulls"))
        for word in ("NA", "None", "nan", "null", "N/A", "\\N")
    },
    "texts for Excel": Shape(
        f'u,s,t\n="007",x,{T}\n"=""008""",=y,{T}\n',
        {"user_id": ["007", "008"], "item_id": ["x", "=y"]},
    ),
    "leading zeros": Shape(csv_of("007", "7"), {"user_id": ["007", "7"]}),
    "leading zeros, joined": Shape(
        csv_of("007", "7"),
        {"user_id": ["7", "7"]},
        settings={"user_ids": {"leading_zeros": "strip"}},
    ),
    "width": Shape(
        csv_of("7", "000007", "12345678"),
        {"user_id": ["000007", "000007", "12345678"]},
        settings={"user_ids": {"width": 6}},
    ),
    "7.0 and 7": Shape(csv_of("7.0", "7"), {"user_id": ["7.0", "7"]}),
    "7.0 and 7, joined": Shape(
        csv_of("7.0", "7"), {"user_id": ["7", "7"]}, settings={"user_ids": {"integral": True}}
    ),
    "letters in two forms": Shape(
        csv_of("e\u0301", "\u00e9"),
        {"user_id": ["\u00e9", "\u00e9"]},
        settings={"user_ids": {"unicode": "NFC"}},
    ),
    "case, joined": Shape(
        csv_of("aB", "Ab"), {"user_id": ["ab", "ab"]}, settings={"user_ids": {"case": "lower"}}
    ),
    "floats with gaps (Parquet)": Shape(
        parquet(u=[12345.0, None, 7.0]), {"user_id": ["12345", None, "7"]}, name="o.parquet"
    ),
    "floats beyond 2^53 (Parquet)": Shape(
        parquet(u=[1e17]), refused=("(for user_id)", "whole numbers"), name="o.parquet"
    ),
    "ids as bytes (Parquet)": Shape(
        parquet(u=[b"M\xc3\xbcller"]), {"user_id": ["Müller"]}, name="o.parquet"
    ),
    "16 bytes (Parquet)": Shape(
        parquet(u=pa.array([bytes(range(200, 216))], pa.binary(16))),
        {"user_id": ["c8c9cacb-cccd-cecf-d0d1-d2d3d4d5d6d7"]},
        name="o.parquet",
    ),
    "ids rounded by a German spreadsheet": Shape(
        csv_of("4,00638E+12", sep=";"), refused=("(for user_id)", "4,00638E+12", "as text")
    ),
    "ids that a spreadsheet took for dates": Shape(
        csv_of("9-39", "02. Jan", "Mrz 10"), refused=("'02. Jan' in row 2", "'9-39'", "as text")
    ),
    "ids that look like dates alone": Shape(
        csv_of("2-Jan"), {"user_id": ["2-Jan"]}, printed=("look like dates",)
    ),
    "dictionaries (Parquet)": Shape(
        parquet(u=pa.array(["a", "b"]).dictionary_encode()),
        {"user_id": ["a", "b"]},
        name="o.parquet",
    ),
    "structs (Parquet)": Shape(
        parquet(u=[{"id": 1}]), refused=("(for user_id)", "objects"), name="o.parquet"
    ),
    "columns named as ours (Parquet)": Shape(
        parquet(row=["a", "b"], file_row_number=["c", "d"]),
        {"user_id": ["a", "b"], "item_id": ["c", "d"], "source_row": [0, 1]},
        columns={"user_id": "row", "item_id": "file_row_number", "timestamp": "t"},
        name="o.parquet",
    ),
    "damaged Parquet": Shape(
        b"PAR1xxxxPAR1", refused=("o.parquet cannot be read",), name="o.parquet"
    ),
    # times
    "an offset with a zone set": Shape(
        **json_times(T), wanted={"timestamp": [NOON]}, zone="Europe/Berlin"
    ),
    "an offset in a CSV": Shape(csv_of("1"), {"timestamp": [NOON]}, zone="Europe/Berlin"),
    "no offset with a zone set": Shape(
        **json_times("2024-03-01 13:00"), wanted={"timestamp": [NOON]}, zone="Europe/Berlin"
    ),
    "minutes with an offset": Shape(
        **times("2024-03-01T12:00Z", "2024-03-01T13:00+01:00"), wanted={"timestamp": [NOON, NOON]}
    ),
    "a format in JSON": Shape(
        **json_times("04/03/2024"),
        settings={"timestamp_format": "%d/%m/%Y"},
        wanted={"timestamp": [pd.Timestamp("2024-03-04", tz="UTC")]},
    ),
    "two formats": Shape(
        **times("01.03.2024 12:00", "2024-03-01 12:00"),
        settings={"timestamp_format": ["%d.%m.%Y %H:%M", "%Y-%m-%d %H:%M"]},
        wanted={"timestamp": [NOON, NOON]},
    ),
    "a format that ends in Z": Shape(
        **times("01.03.2024 12:00Z"),
        settings={"timestamp_format": "%d.%m.%Y %H:%MZ"},
        wanted={"timestamp": [NOON]},
        zone="Europe/Berlin",
    ),
    "a format with an offset": Shape(
        **times("01.03.2024 14:00 +0200"),
        settings={"timestamp_format": "%d.%m.%Y %H:%M %z"},
        wanted={"timestamp": [NOON]},
    ),
    "no such sign in a format": Shape(
        **times("x"), settings={"timestamp_format": "%Q"}, refused=("'%Q'", "not known")
    ),
    "a format is missing": Shape(
        **times("31/12/2023", "01/02/2024"), refused=("'31/12/2023' in row 1", '"%d/%m/%Y"')
    ),
    "a format is missing for a few": Shape(
        **times("2024-03-01", "2024-03-02", "31/12/2023"),
        wanted={"unreadable": [None, None, "timestamp: '31/12/2023'"]},
        printed=("1 of 3 values cannot be read", "row 3", "quarantine"),
    ),
    **{
        f"{unit} since 1970 as {kind}": Shape(
            **make(1709294400 * scale),
            wanted={"timestamp": [NOON]},
            printed=(f"timestamp_unit: {unit}",),
        )
        for unit, scale in (("s", 1), ("ms", 10**3), ("us", 10**6), ("ns", 10**9))
        for kind, make in (("text", lambda n: times(str(n))), ("number", json_times))
    },
    "units mixed": Shape(
        **times("1709294400", "1709294400000"), refused=("1 in seconds, 1 in milliseconds",)
    ),
    "zero among the times": Shape(
        **times("1709294400", "0"), refused=("'0' in row 2", "timestamp_unit")
    ),
    "zero among the times, unit said": Shape(
        **times("1709294400", "0"),
        settings={"timestamp_unit": "s"},
        wanted={"timestamp": [NOON, pd.Timestamp(0, tz="UTC")]},
    ),
    "a wrong unit": Shape(
        **times("1709294400000000"),
        settings={"timestamp_unit": "ms"},
        refused=("in milliseconds", "set timestamp_unit: us"),
    ),
    "a day as a number": Shape(
        **json_times(20240301),
        refused=("look like dates", 'timestamp_format, for example "%Y%m%d"'),
    ),
    "a day as a number with its format": Shape(
        **json_times(20240301),
        settings={"timestamp_format": "%Y%m%d"},
        wanted={"timestamp": [pd.Timestamp("2024-03-01", tz="UTC")]},
    ),
    "a day as a number (Parquet)": Shape(
        parquet(t=[20240301]),
        settings={"timestamp_format": "%Y%m%d"},
        wanted={"timestamp": [pd.Timestamp("2024-03-01", tz="UTC")]},
        name="o.parquet",
    ),
    "AM and PM": Shape(**times("03/01/2024 01:05 PM"), refused=('"%m/%d/%Y %I:%M %p"',)),
    "a time that no year has": Shape(
        **times("1709294400", "9" * 23),
        settings={"timestamp_unit": "s"},
        wanted={"unreadable": [None, f"timestamp: '{'9' * 23}'"]},
    ),
    "order numbers for times": Shape(**times("1", "2"), refused=("timestamp_unit",)),
    "years for times": Shape(**times("2023", "2024"), refused=("timestamp_unit",)),
    "infinity": Shape(
        **times("infinity", "epoch", T), refused=("2 of 3 values", "'infinity' in row 1")
    ),
    "times with a type (Parquet)": Shape(
        parquet(t=pd.to_datetime(["2024-03-01 13:00"])),
        {"timestamp": [NOON]},
        zone="Europe/Berlin",
        name="o.parquet",
    ),
    "times with a type and a zone (Parquet)": Shape(
        parquet(t=pd.to_datetime(["2024-03-01 12:00"]).tz_localize("UTC")),
        {"timestamp": [NOON]},
        zone="Europe/Berlin",
        name="o.parquet",
    ),
    "days and months in two orders": Shape(
        **times(*(f"{day:02}/04/2024" for day in range(1, 29)), "04/13/2024"),
        settings={"timestamp_format": "%d/%m/%Y"},
        refused=(
            "two orders: 16 values",
            "'13/04/2024' in row 13",
            "1 such as '04/13/2024' in row",
        ),
    ),
    "one day and month in another order": Shape(
        **times("04/13/2024", *["13/04/2024"] * 200),
        settings={"timestamp_format": "%d/%m/%Y"},
        wanted={"unreadable": ["timestamp: '04/13/2024'", *[None] * 200]},
        printed=("day and month in another order than the rest", "quarantine"),
    ),
    "days and months in the wrong order": Shape(
        **times("03/04/2024", "04/04/2024", "04/13/2024"),
        settings={"timestamp_format": "%d/%m/%Y"},
        refused=("'04/13/2024' in row 3", "all may have it", '"%m/%d/%Y"'),
    ),
    "days before months in ISO 8601": Shape(
        **times("2024-03-04", "2024-04-04", "2024-13-04"),
        refused=("'2024-13-04' in row 3", '"%Y-%d-%m"'),
    ),
    "both orders said": Shape(
        **times("03/04/2024"),
        settings={"timestamp_format": ["%d/%m/%Y", "%m/%d/%Y"]},
        refused=("timestamp_format has both", "a source of their own"),
    ),
    "dates that a spreadsheet program took for others": Shape(
        **times(*(f"2024-{day:02}-04" for day in range(1, 13)), "13/04/2024", "14/04/2024"),
        refused=("the first 12 days of a month", "'13/04/2024' in row 13", "as text"),
    ),
    "days of a spreadsheet": Shape(
        **times("45385.5", "45386"), refused=("days of a spreadsheet", "1899-12-30")
    ),
    "times that a spreadsheet rounded": Shape(
        **times("1.70929E+12", "1.70930E+12"), refused=("rounded numbers", "as text")
    ),
    "afternoons in Spanish": Shape(
        **times("03/01/2024 01:35 p. m."),
        wanted={"timestamp": [pd.Timestamp("2024-01-03 13:35", tz="UTC")]},
        settings={"timestamp_format": "%d/%m/%Y %I:%M %p"},
    ),
    "Pacific time in winter and summer": Shape(
        **times("2024-01-03 14:35:00 PST", "2024-07-03 14:35:00 PDT"),
        wanted={
            "timestamp": [
                pd.Timestamp("2024-01-03 22:35", tz="UTC"),
                pd.Timestamp("2024-07-03 21:35", tz="UTC"),
            ]
        },
        settings={"timestamp_format": "%Y-%m-%d %H:%M:%S %z"},
    ),
    "a zone as letters of a format": Shape(
        **times("2024-03-01 12:00 CST"),
        wanted={"timestamp": [NOON]},
        settings={"timestamp_format": "%Y-%m-%d %H:%M CST"},
        printed=("'CST' must stand in each time", "%z"),
    ),
    "a zone of several": Shape(
        **times("2024-03-01 12:00 CST"), refused=("row 1", "'CST'", "writes its offset")
    ),
    "Reiwa": Shape(**times("令和6年1月3日"), refused=("row 1", "'令和'", "Reiwa + 2018")),
    "Buddhist years": Shape(**times("2567-02-28"), refused=("row 1", "Buddhist", "`query`")),
    "Persian years": Shape(**times("1403/02/28"), refused=("row 1", "Persian", "`query`")),
    "minutes since 1970": Shape(
        **times("28404875"), refused=("row 1", "minutes since 1970", "make_timestamp(t::BIGINT")
    ),
    "ticks of .NET": Shape(
        **times("638398893000000000"), refused=("row 1", "ticks of .NET", "621355968000000000")
    ),
    # numbers
    "prices of whole amounts": Shape(
        **column("price", "39,-", "39.–", "39,--", "12-"),
        wanted={"price": [39.0, 39.0, 39.0, -12.0]},
    ),
    "numbers below zero": Shape(
        **column("quantity", "(2)", "1-", "\u22123", "-4", "5"),
        wanted={"quantity": [-2, -1, -3, -4, 5]},
    ),
    "ratings of ten": Shape(
        **column("rating", "8", "3", "10", "4"),
        refused=("2 of 4 ratings are not within 1 to 5", "1 + (rating - 1) * 4.0 / 9", "`query`"),
    ),
    "ratings of a hundred": Shape(
        **column("rating", "0", "35", "90"), refused=("3 of 3", "1 + rating * 4.0 / 100")
    ),
    "ratings from 0 to 5": Shape(
        **column("rating", "0", "3", "5"),
        wanted={"rating": [0, 3, 5]},
        printed=("1 of 3 ratings", "'0' in row 1", "quarantine", "nullif(rating, 0)"),
    ),
    "thumbs": Shape(**column("rating", "1", "-1"), refused=("1 + (rating - -1) * 4.0 / 2",)),
    "stars as text": Shape(
        **column("rating", "4/5", "5/5"), refused=("a number", "'4/5'", "in a `query`")
    ),
    "a word for no price, not said": Shape(
        **column("price", "NULL", "1", "2"),
        wanted={"price": [None, 1, 2]},
        printed=("1 of 3", "nulls: ['NULL']"),
    ),
    "nan as a float, said": Shape(
        parquet(price=[float("nan"), 1.0]),
        {"price": [None, 1], "unreadable": [None, None]},
        columns={**USER_ITEM_TIME, "price": "price"},
        settings={"nulls": ["nan"]},
        name="o.parquet",
    ),
    "prices": Shape(
        **column("price", "1.5", "1e2", "", ".5"), wanted={"price": [1.5, 100, None, 0.5]}
    ),
    "decimal comma, said": Shape(
        **column("price", "12,50", "3"), settings={"decimal": ","}, wanted={"price": [12.5, 3]}
    ),
    "decimal comma": Shape(
        **column("price", "12,50", "3,20", "1"), refused=("'12,50' in row 1", 'decimal: ","')
    ),
    "decimal comma in under half": Shape(
        **column("price", "12,50", "3", "1"),
        wanted={"price": [None, 3, 1], "unreadable": ["price: '12,50'", None, None]},
        printed=("1 of 3", 'decimal: ","'),
    ),
    "German thousands": Shape(
        **column("price", "1.299", "2.499"),
        refused=("'1.299' in row 1", 'thousands: "."', 'decimal: "."'),
    ),
    "German thousands and decimals": Shape(
        **column("price", "1.299", "5", "12,50"), refused=("thousands",)
    ),
    "German thousands, said": Shape(
        **column("price", "1.299", "1.299,95"),
        settings={"decimal": ",", "thousands": "."},
        wanted={"price": [1299, 1299.95]},
    ),
    "three decimals, said": Shape(
        **column("price", "1.299"), settings={"decimal": "."}, wanted={"price": [1.299]}
    ),
    "English thousands": Shape(
        **column("price", "1,299.00", "2,499.50"), refused=('thousands: ","',)
    ),
    "English thousands, said": Shape(
        **column("price", "1,299.00", "5"), settings={"thousands": ","}, wanted={"price": [1299, 5]}
    ),
    "French thousands, said": Shape(
        **column("price", "1 299,50", "1\u00a0299,50"),
        settings={"decimal": ",", "thousands": " "},
        wanted={"price": [1299.5, 1299.5]},
    ),
    "three digits after a point in a rating": Shape(
        **column("rating", "4.125"), wanted={"rating": [4.125]}
    ),
    "JSON number with a decimal comma said": Shape(
        lines_of({"price": 1.299}, {"price": "1.299,50"}),
        settings={"decimal": ",", "thousands": "."},
        columns={**USER_ITEM_TIME, "price": "price"},
        wanted={"price": [1.299, 1299.5]},
        name="o.jsonl",
    ),
    "inf and nan are no prices": Shape(
        **column("price", "inf", "nan", "1e39", "1", "2", "3"),
        wanted={
            "price": [None, None, None, 1, 2, 3],
            "unreadable": ["price: 'inf'", "price: 'nan'", "price: '1e39'", None, None, None],
        },
    ),
    "inf and nan as floats": Shape(
        parquet(price=[float("inf"), float("nan"), 1.0, 2.0]),
        {"price": [None, None, 1, 2], "unreadable": ["price: 'inf'", "price: 'nan'", None, None]},
        columns={**USER_ITEM_TIME, "price": "price"},
        name="o.parquet",
    ),
    "a word for no price": Shape(
        **column("price", "n/a", "1"),
        settings={"nulls": ["n/a"]},
        wanted={"price": [None, 1], "unreadable": [None, None]},
    ),
    "currency signs": Shape(
        **column("price", "$1.50", "$2"),
        refused=("has unknown words", "'$' (2)", 'currencies: {"$": …}'),
    ),
    "currency signs, said": Shape(
        **column("price", "$1.50", "-$2", "3"),
        settings={"currencies": {"$": "USD"}},
        wanted={"price": [1.5, -2, 3], "currency": ["USD", "USD", None]},
    ),
    "prices with their currency": Shape(
        **column("price", "1.299,00 €", "€ 12,50", "12,50 EUR", "12,50\u00a0zł", "Kč 3", "n/a €"),
        settings={"decimal": ",", "thousands": "."},
        wanted={
            "price": [1299, 12.5, 12.5, 12.5, 3, None],
            "currency": ["EUR", "EUR", "EUR", "PLN", "CZK", None],
        },
    ),
    "prices with points and a currency": Shape(
        **column("price", "1.299 €", "2.499 €"), refused=("'1.299' in row 1", 'thousands: "."')
    ),
    "decimals (Parquet)": Shape(
        parquet(price=pa.array([12.5]).cast(pa.decimal128(10, 2))),
        {"price": [12.5]},
        columns={**USER_ITEM_TIME, "price": "price"},
        name="o.parquet",
    ),
    # availability
    **{
        f"available {word}": Shape(**catalogue(word, "yes"), wanted={"available": [value, True]})
        for word, value in {
            "in_stock": True,
            "In Stock": True,
            "available": True,
            "active": True,
            "Ja": True,
            "17": True,
            "1.0000": True,
            "1": True,
            "TRUE": True,
            "oui": True,
            "si": True,
            "t": True,
            "https://schema.org/InStock": True,
            "": None,
            "out of stock": False,
            "0": False,
            "0.0000": False,
            "-3": False,
            "Nein": False,
            "archived": False,
            "sold-out": False,
            "false": False,
            "N": False,
        }.items()
    },
    "available on_backorder": Shape(
        **catalogue("on_backorder", "on_backorder", "yes"),
        refused=("'on_backorder' (2)", "available:"),
    ),
    "available on_backorder, said": Shape(
        **catalogue("on_backorder", "yes"),
        settings={"available": {"on_backorder": True}},
        wanted={"available": [True, True]},
    ),
    "available 3 in stock": Shape(**catalogue("3 in stock"), refused=("'3 in stock' (1)",)),
    "available as bool (Parquet)": Shape(
        lambda path: pq.write_table(
            pa.table({"i": ["1", "2"], "n": ["a", "b"], "a": [True, False]}), path
        ),
        {"available": [True, False]},
        columns={"item_id": "i", "title": "n", "available": "a"},
        table="items",
        name="o.parquet",
    ),
    "codes of a status": Shape(
        **products("status", rows=("1;mug;1", "2;cup;2"), available="status"),
        refused=("'2' in row 2", "`available: {"),
    ),
    "codes of a status, said": Shape(
        **products("status", rows=("1;mug;1", "2;cup;2"), available="status"),
        wanted={"available": [True, False]},
        settings={"available": {"1": True, "2": False}},
    ),
    "pieces as a stock status": Shape(
        **products("stock_status", rows=("1;mug;0", "2;cup;7"), available="stock_status"),
        wanted={"available": [False, True]},
    ),
    # events
    "common words for events": Shape(
        **column("event", "add_to_cart", "transaction", "buy", "pv", "fav", "Purchase", ""),
        wanted={"event": ["cart", "purchase", "purchase", "view", "cart", "purchase", "view"]},
        settings={"event": "view"},
    ),
    "unknown words for events": Shape(
        **column("event", "view", "refund", "refund", "wish"),
        refused=("'refund' (2), 'wish' (1)", "events:", "ignore"),
    ),
    "numbers for events, said": Shape(
        **column("event", "1", "4"),
        settings={"events": {1: "view", 4: "purchase"}},
        wanted={"event": ["view", "purchase"]},
    ),
    "numbers for no customer, said": Shape(
        csv_of("-1", "2"), {"user_id": [None, "2"]}, settings={"nulls": [-1]}
    ),
    "words for events, said": Shape(
        **column("event", "view", "refund", "fav"),
        settings={"events": {"Refund": "ignore", "fav": "click"}},
        wanted={"event": ["view", "click"], "source_row": [0, 2]},
        printed=("1 rows of ignored events",),
    ),
    # columns that are joined
    "a text of two columns": Shape(
        **products(
            *"sl",
            rows=("1;a;short;long", "2;b;;long", "3;c;short;", "4;d;;"),
            description=["s", "l"],
        ),
        wanted={"description": ["short\nlong", "long", "short", None]},
    ),
    "a title of two columns": Shape(
        **products("c", rows=("1;Mug;red", "2;Cup;"))
        | {"columns": {"item_id": "i", "title": ["n", "c"]}},
        wanted={"title": ["Mug red", "Cup"]},
    ),
    "a category path of three columns": Shape(
        **products(
            *"abc",
            rows=("1;x;Home;Kitchen > Cups;Mugs", "2;x;Home;;Mugs", "3;x;;;"),
            categories=["a", "b", "c"],
        ),
        settings={"category_separator": ">"},
        wanted={"categories": [["Home", "Kitchen", "Cups", "Mugs"], ["Home", "Mugs"], []]},
    ),
    "a price of two columns": Shape(
        **products(*"pq", rows=("1;a;1;2",), price=["p", "q"]),
        refused=("several columns for 'price'", "title, description, text"),
    ),
    "a missing column among several": Shape(
        **products("s", rows=("1;a;x",), description=["s", "l"]), refused=("no column 'l'",)
    ),
    # categories
    "genres": Shape(
        **products(
            "g", rows=("1;a;Comedy|Action", "2;b;Action| Comedy|Action", "3;c;"), category="g"
        ),
        settings={"categories": "set", "category_separator": "|"},
        wanted={"categories": [["Action", "Comedy"], ["Action", "Comedy"], None]},
    ),
    "a list of tags": Shape(
        "".join(
            json.dumps({"i": n, "n": "x", "g": tags}) + "\n"
            for n, tags in enumerate([["b", "a"], []])
        ),
        {"categories": [["a", "b"], []]},
        name="items.jsonl",
        columns={"item_id": "i", "title": "n", "categories": "g"},
        settings={"categories": "set"},
        table="items",
    ),
    # HTML
    "HTML": Shape(
        **products(
            "d",
            rows=(),
            description="d",
        )
        | {
            "content": 'i,n,d\n1,Salt &amp; pepper,"<p>Two <b>mills</b><br>of steel</p>"\n'
            "2,a < b,R&D <3\n3,Caf&eacute;,&lt;p&gt;Hot&lt;/p&gt;\n"
        },
        wanted={
            "title": ["Salt & pepper", "a < b", "Café"],
            "description": ["Two mills\nof steel", "R&D <3", "Hot"],
        },
        printed=(
            "column 'n' (for title): 2 values have HTML tags or entities, for example '&amp;' in "
            "row 1",
            "column 'd' (for description): 2 values",
            "html: keep",
        ),
    ),
    "HTML, kept": Shape(
        "i,n\n1,Salt &amp; pepper\n",
        {"title": ["Salt &amp; pepper"]},
        columns={"item_id": "i", "title": "n"},
        settings={"html": "keep"},
        table="items",
    ),
    "entities in categories": Shape(
        "i,n,c\n1,x,Toys &amp; Games &gt; Puzzles\n2,x,\n",
        {"categories": [["Toys & Games", "Puzzles"], None]},
        columns={"item_id": "i", "title": "n", "categories": "c"},
        settings={"category_separator": ">"},
        table="items",
    ),
    "entities in lists of categories": Shape(
        "".join(
            json.dumps({"i": n, "n": "x", "c": names}) + "\n"
            for n, names in enumerate([["Toys &amp; Games", "A"], None, ["B"]])
        ),
        {"categories": [["Toys & Games", "A"], None, ["B"]]},
        name="items.jsonl",
        columns={"item_id": "i", "title": "n", "categories": "c"},
        table="items",
    ),
    "HTML in reviews": Shape(
        "i,n\n1,Great<br />mug\n",
        {"text": ["Great\nmug"]},
        columns={"item_id": "i", "text": "n"},
        table="reviews",
    ),
    # the state and the version of orders
    "common words for states": Shape(
        **column("status", "paid", "Partially_Refunded", "Cancelled", "wc-refunded", "ON HOLD", ""),
        wanted={"status": ["kept", "kept", "cancelled", "returned", "kept", None]},
    ),
    "unknown words for states": Shape(
        **column("status", "paid", "closed", "closed", "x"),
        refused=("'closed' (2), 'x' (1)", "statuses:", "kept, cancelled or returned"),
    ),
    "words for states, said": Shape(
        **column("status", "Closed", "4"),
        settings={"statuses": {"closed": "returned", 4: "cancelled"}},
        wanted={"status": ["returned", "cancelled"]},
    ),
    "order ids of floats": Shape(
        **column("order_id", "7.0", "8"),
        wanted={"order_id": ["7.0", "8"]},
        printed=("1 of 2 ids end in .0; export them as whole numbers or as text if 7.0 is 7",),
    ),
    "versions as numbers": Shape(**versions("1", "10", ""), wanted={"version": [1, 10, None]}),
    "versions as times": Shape(
        **versions("2024-03-01", "2024-03-01T00:00:10Z", "never"),
        wanted={
            "version": [1709251200, 1709251210, None],
            "unreadable": [None, None, "version: 'never'"],
        },
    ),
    "versions of both kinds": Shape(
        **versions("1", "2024-03-01"),
        refused=("numbers, for example '1' in row 1", "times, for example '2024-03-01' in row 2"),
    ),
    "versions that are no finite numbers": Shape(
        parquet(v=[1.5, 2.0, 3.0, float("nan"), float("inf")]),
        {
            "version": [1.5, 2, 3, None, None],
            "unreadable": [None] * 3 + ["version: 'nan'", "version: 'inf'"],
        },
        name="o.parquet",
        columns={**USER_ITEM_TIME, "order_id": "s", "version": "v"},
    ),
    "a version that is too large for a number": Shape(
        **versions("1", "2", "1e999"), wanted={"version": [1, 2, None]}
    ),
    "versions of more digits than floats have": Shape(
        **versions("1", "9007199254740993"),
        refused=("(for version)", "'9007199254740993' in row 2", "times or of smaller numbers"),
    ),
    "ids of floats with gaps that are not null": Shape(
        parquet(u=[7.0, float("nan")]),
        {"user_id": ["7", None]},
        name="o.parquet",
        settings={"nulls": ["nan"]},
    ),
    # currencies
    "codes and signs of currencies": Shape(
        **column("currency", "eur", "USD", "£", "zł", "US$", ""),
        wanted={"currency": ["EUR", "USD", "GBP", "PLN", "USD", None]},
    ),
    "a sign of several currencies": Shape(
        **column("currency", "$", "€"), refused=("'$' (1)", 'currencies: {"$": …}', "ISO 4217")
    ),
    "a sign of several currencies, said": Shape(
        **column("currency", "$", "kr"),
        settings={"currencies": {"$": "usd", "kr": "SEK"}},
        wanted={"currency": ["USD", "SEK"]},
    ),
    "no code of a currency": Shape(
        **column("currency", "EUR", "XXE"), refused=("'XXE' (1)", "currencies:")
    ),
    # columns that no source names
    "columns that say what rows mean": Shape(
        f"u,s,t,Order Status,qty,currency,type\n1,x,{T},cancelled,2,USD,new\n2,x,{T},paid,1,EUR,\n",
        TWO,
        printed=(
            "column 'Order Status' is not used, so all purchases are read as ones that stand; 1 ro",
            "'cancelled' in row 1: name it as `status` in `columns`",
            "column 'qty' is not used, so rows are read as one piece; 1 rows say otherwise",
            "column 'currency' is not used",
        ),
        silent=("'type'",),
    ),
    "a state that is another thing": Shape(
        f"u,s,t,state\n1,x,{T},Texas\n2,x,{T},Ohio\n", TWO, silent=("state",)
    ),
    "JSON with a state": Shape(
        lines_of({"u": "1", "status": "paid"}, {"u": "2", "status": "refunded"}),
        TWO,
        name="o.jsonl",
        printed=("column 'status' is not used", "'refunded' in row 2"),
    ),
    "a stock that is not used": Shape(
        **products("stock", rows=("1;a;0", "2;b;5")),
        wanted={"item_id": ["1", "2"]},
        printed=("column 'stock' is not used, so all products are read as available; 1 rows",),
    ),
    "documents and returns by codes": Shape(
        extra("Belegart", "RE", "RE", "GS"),
        THREE,
        printed=("column 'Belegart' ('RE' 2, 'GS' 1) is not used, so all rows count", "`status`"),
    ),
    "documents and returns by codes, said": Shape(
        extra("Belegart", "RE", "RE", "GS"),
        {"status": ["kept", "kept", "returned"]},
        columns={**USER_ITEM_TIME, "status": "Belegart"},
        settings={"statuses": {"RE": "kept", "GS": "returned"}},
        silent=("Belegart",),
    ),
    "sales and returns by letters": Shape(
        extra("type", "S", "S", "R"),
        THREE,
        printed=("column 'type' ('S' 2, 'R' 1) is not used", "credit notes"),
    ),
    "states of orders as numbers": Shape(
        extra("order_status", "5", "5", "7"),
        THREE,
        printed=("column 'order_status' ('5' 2, '7' 1) is not used", "words in `statuses`"),
    ),
    "states of orders as numbers, of a shop": Shape(
        extra("current_state", "5", "5", "6"),
        THREE,
        printed=("column 'current_state' ('5' 2, '6' 1) is not used",),
    ),
    "lines that are no products by their kind": Shape(
        extra("line_type", "product", "product", "shipping"),
        THREE,
        printed=("column 'line_type'", "leaves out rows of no product, such as shipping"),
    ),
    "signs of sales and returns": Shape(
        extra("sign", "+", "+", "-"), THREE, printed=("column 'sign' ('+' 2, '-' 1) is not used",)
    ),
    "debit and credit": Shape(
        extra("S/H", "S", "S", "H"), THREE, printed=("column 'S/H' ('S' 2, 'H' 1) is not used",)
    ),
    "times of cancellations": Shape(
        extra("cancelled_at", "", "2024-03-02", ""),
        THREE,
        printed=("('2024-03-02' 1, none 2) is not used", 'WHERE "cancelled_at" IS NULL'),
    ),
    "pieces that came back": Shape(
        extra("refunded_qty", "0", "0", "1"), THREE, printed=('"refunded_qty" = 0',)
    ),
    "a flag in a name without signs": Shape(
        extra("OXSTORNO", "0", "0", "1"),
        THREE,
        printed=("column 'OXSTORNO' ('0' 2, '1' 1) is not used",),
    ),
    "orders that are tests": Shape(
        extra("test", "false", "false", "true"),
        THREE,
        printed=("column 'test' ('false' 2, 'true' 1) is not used", "a `query` leaves them out"),
    ),
    "columns that change no row": Shape(
        "u,s,t,country,type,customer_type,refunded_qty,test,status,returning,ab_test\n"
        f"1,x,{T},DE,online,B2B,0,false,paid,yes,A\n2,x,{T},FR,store,B2C,0,false,shipped,no,B\n",
        TWO,
        silent=("is not used",),
    ),
    "products that a mark takes out": Shape(
        **products("Auslauf", rows=("1;a;X", "2;b;")),
        wanted={"item_id": ["1", "2"]},
        printed=("column 'Auslauf' ('X' 1, none 1) is not used", '"Auslauf" IS NULL AS available'),
    ),
    "products that sales has blocked": Shape(
        **products("sales_status", rows=("1;a;free", "2;b;blocked")),
        wanted={"item_id": ["1", "2"]},
        printed=("column 'sales_status'", "so all products are available"),
    ),
    "products that were deleted": Shape(
        **products("deleted_at", rows=("1;a;2024-02-01", "2;b;")),
        wanted={"item_id": ["1", "2"]},
        printed=("column 'deleted_at' ('2024-02-01' 1, none 1)", "IS NULL AS available"),
    ),
    "products that are shown nowhere": Shape(
        **products("visibility", rows=("1;a;both", "2;b;search", "3;c;none")),
        wanted={"item_id": ["1", "2", "3"]},
        printed=("column 'visibility'", "so all products are available", "words in `available`"),
    ),
    "products that are shown nowhere, with a column of stock": Shape(
        **products("stock", "online", rows=("1;a;3;0", "2;b;5;1"), available="stock"),
        wanted={"available": [True, True]},
        printed=("column 'online' ('0' 1, '1' 1) is not used, so only another column",),
    ),
    "products that were sold until a day": Shape(
        **products("valid_to", rows=("1;a;2024-02-01", "2;b;9999-12-31")),
        wanted={"item_id": ["1", "2"]},
        printed=("column 'valid_to'", "until when they can be bought"),
    ),
    "columns that change no product": Shape(
        **products(
            *("colour", "hidden", "online", "valid_to", "units_sold", "state"),
            rows=("1;a;red;0;1;9999-12-31;7;new", "2;b;blue;0;1;9999-12-31;9;used"),
        ),
        wanted={"item_id": ["1", "2"]},
        silent=("is not used",),
    ),
    "categories of several paths": Shape(
        **paths("Kitchen > Mugs, Gifts > Tea", "Gifts > Tea", "Table"),
        wanted={"categories": [["Kitchen", "Mugs, Gifts", "Tea"], ["Gifts", "Tea"], ["Table"]]},
        printed=("1 values hold several paths", "'Kitchen > Mugs, Gifts > Tea' in row 1"),
    ),
    "categories with a comma in a name": Shape(
        **paths("Food, Beverages & Tobacco > Tea", "Clothing > Shirts, Tops", "Garden"),
        wanted={
            "categories": [
                ["Food, Beverages & Tobacco", "Tea"],
                ["Clothing", "Shirts, Tops"],
                ["Garden"],
            ]
        },
        silent=("several paths",),
    ),
    # what init takes columns for
    "init: a mark of cancellations": Shape(
        "Kunde;Artikel;Datum;Storno\nK1;A1;2024-03-01;X\nK2;A2;2024-03-02;\n",
        {"user_id": ["K1", "K2"], "status": ["cancelled", None]},
        printed=("status is column 'Storno'",),
        init=True,
    ),
    "init: a mark of products that cannot be bought": Shape(
        "Artikelnr;Bezeichnung;Gesperrt\nA1;Mug;J\nA2;Cup;N\n",
        {"item_id": ["A1", "A2"], "available": [False, True]},
        table="items",
        printed=("available is column 'Gesperrt'",),
        init=True,
    ),
    "init: a currency in the name of a column": Shape(
        "customer,sku,date,Price (USD)\nK1,A1,2024-03-01,1.50\nK2,A2,2024-03-02,2\n",
        {"price": [1.5, 2]},
        printed=("prices are in USD",),
        init=True,
    ),
    "init: a kind of row is no category": Shape(
        "customer,sku,date,type\nK1,A1,2024-03-01,S\nK2,A2,2024-03-02,R\n",
        {"item_id": ["A1", "A2"]},
        printed=("column 'type' ('R' 1, 'S' 1) is not used",),
        init=True,
    ),
    "init: states of products at several times": Shape(
        "sku,title,snapshot_date\nA1,Mug,2024-03-01\nA1,Mug 2,2024-04-01\n",
        refused=("'snapshot_date'", "QUALIFY", 'ORDER BY "snapshot_date" DESC'),
        name="items.csv",
        table="items",
        init=True,
    ),
    "init: several products in a cell": Shape(
        "customer,skus,date\nK1,A1|A2,2024-03-01\nK2,A2|A3,2024-03-02\n",
        refused=("several products in a cell", "unnest"),
        init=True,
    ),
    # lines that are no products
    "lines of shipping": Shape(
        f"u,s,t,n\n1,VERSAND,{T},Versandkosten DHL\n2,7,{T},Mug\n",
        {"item_id": ["VERSAND", "7"]},
        columns={**USER_ITEM_TIME, "title": "n"},
        printed=("'VERSAND' (Versandkosten DHL)", "validate.non_product_codes: ['VERSAND']"),
    ),
    "lines of vouchers": Shape(
        f"u,s,t,n\n1,GC-50,{T},Gift card\n2,7,{T},Card holder\n",
        {"item_id": ["GC-50", "7"]},
        columns={**USER_ITEM_TIME, "title": "n"},
        printed=("validate.non_product_codes: ['GC-50']",),
        silent=("'7'",),
    ),
    "names that stand again": Shape(
        f"u,s,t,event\n1,x,{T},view\nu,s,t,event\n",
        refused=("(for event)", "the line of names stands in the file again"),
        columns={**USER_ITEM_TIME, "event": "event"},
    ),
    # texts
    "text that was read in a wrong encoding": Shape(
        "i,n\n1,MÃ¼hle\n2,São Paulo\n",
        {"title": ["MÃ¼hle", "São Paulo"]},
        columns={"item_id": "i", "title": "n"},
        table="items",
        printed=("column 'n' (for title): 1 values are garbled, for example 'MÃ¼hle' in row 1",),
    ),
    # languages
    "codes of languages": Shape(
        **products("l", rows=("1;a;DE", "2;b;de_AT", "3;c;"), language="l"),
        wanted={"language": ["de", "de-at", None]},
    ),
}


def outcome(shape: Shape, root: Path) -> pd.DataFrame:
    """Return the rows of the shape's file as the contract's columns, and print what is said of
    other columns and of lines that are no products."""
    path = root / shape.name
    if callable(shape.content):
        shape.content(path)
    else:
        data = shape.content
        path.write_bytes(data.encode() if isinstance(data, str) else data)
    source = Source.model_validate(
        _found_by_init(shape, path)
        if shape.init
        else {"path": shape.name, "columns": shape.columns, **shape.settings}
    )
    (file,) = files_of(source, root)
    rows = read(connect(shape.zone), file, shape.table).order_by("source_row")
    print(*file.notes.values(), sep="\n")
    if shape.table == "interactions" and "title" in shape.columns:
        print(*charges(rows, rows.mutate(source=ibis.literal(LINES))), sep="\n")
    return rows.execute()


def _found_by_init(shape: Shape, path: Path) -> dict[str, Any]:
    """Return the source that ``init`` writes, and print its doubts."""
    found = guess(shape.table, inspect(path)[0], shape.name)
    print(*found.doubts, sep="\n")
    if found.todo:
        raise ValueError(f"ingest.{shape.table}: {shape.name}: {found.todo[0]}")
    return found.source


# A third of them is a minute's work less for each change; the slow tests have all.
@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[pytest.mark.slow] if number % 3 else [])
        for number, name in enumerate(SHAPES)
    ],
)
def test_a_file_is_right_or_refused_in_words(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shape = SHAPES[name]
    if shape.refused:
        with pytest.raises(ValueError, match=r"ingest") as caught:
            outcome(shape, tmp_path)
        message = str(caught.value)
        assert shape.name in message
        assert "\n" not in message
        assert not [word for word in shape.refused if word not in message], message
        return
    found = outcome(shape, tmp_path)
    assert shape.wanted
    for column_name, values in shape.wanted.items():
        given = [
            list(value)
            if hasattr(value, "__len__") and not isinstance(value, str)
            else None
            if pd.isna(value)
            else value
            for value in found[column_name]
        ]
        expected = [pytest.approx(v, rel=1e-6) if isinstance(v, float) else v for v in values]
        assert given == expected
    printed = capsys.readouterr().out
    assert not [word for word in shape.printed if word not in printed], printed
    assert not [word for word in shape.silent if word in printed], printed
