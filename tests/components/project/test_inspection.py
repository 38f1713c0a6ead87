"""What a file looks like is found from its beginning."""

from __future__ import annotations

import bz2
import gzip
import json
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.project.inspection import inspect

CELL = st.text(
    st.characters(codec="utf-8", exclude_categories=("Cc", "Cs", "Zs", "Zl", "Zp")), max_size=8
).map(lambda text: f"x{text}")


def quoted(cell: str) -> str:
    return '"' + cell.replace('"', '""') + '"'


@given(
    rows=st.lists(st.tuples(CELL, CELL, CELL), min_size=3, max_size=8),
    delimiter=st.sampled_from([",", ";", "\t", "|", "::"]),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]),
)
def test_cells_of_delimited_text_are_what_was_written(
    rows: list[tuple[str, str, str]], delimiter: str, encoding: str, tmp_path_factory: object
) -> None:
    file = tmp_path_factory.mktemp("text") / "any.csv"  # type: ignore[attr-defined]
    lines = [("user", "item", "time"), *rows]
    text = "".join(delimiter.join(map(quoted, line)) + "\r\n" for line in lines)
    file.write_bytes(text.encode(encoding))
    (found,) = inspect(file)
    assert list(found.values.columns) == ["user", "item", "time"]
    assert [tuple(row) for row in found.values.to_numpy()] == rows
    assert "encoding" not in found.reading


@pytest.mark.parametrize("encoding", ["cp1252", "gb18030", "cp1251", "utf-16-le"])
def test_an_encoding_is_named_where_the_reader_would_not_find_it(
    encoding: str, tmp_path: Path
) -> None:
    texts = {
        "cp1252": "Müller größere Schüsseln für Gäste, süße Törtchen, Übergrößen",
        "gb18030": "红色的茶壶和白色的杯子,适合每天使用,送给妈妈的礼物",
        "cp1251": "Красный чайник и белая чашка для каждого дня, подарок для мамы",
        "utf-16-le": "Müller größere Schüsseln",
    }
    file = tmp_path / "items.csv"
    text = "sku;name\n" + "".join(f"{n};{texts[encoding]} {n}\n" for n in range(200))
    file.write_bytes(text.encode(encoding))
    (found,) = inspect(file)
    assert found.reading["encoding"].replace("_", "-") in (encoding, f"utf-16-{encoding[-2:]}")
    assert found.values["name"][0] == f"{texts[encoding]} 0"


@pytest.mark.parametrize(
    ("first", "header"),
    [
        ("user_id,item_id,when", True),
        ("Kunde,Artikel,Datum", True),
        (",user,item", True),  # pandas writes its index so
        ("17,4711,2024-03-01", False),
        ("u1,i4,2024-03-01 10:00:00", False),
        ("u1,i4,pv", False),  # pv stands in that column again
    ],
)
def test_a_header_is_told_from_a_row(first: str, header: bool, tmp_path: Path) -> None:
    file = tmp_path / "events.csv"
    file.write_text(first + "\n" + "u1,i4,pv\nu2,i5,pv\nu1,i5,buy\n")
    (found,) = inspect(file)
    assert found.reading.get("header", True) is header
    assert list(found.values.columns)[1:] == (first.split(",")[1:] if header else ["2", "3"])
    assert len(found.values) == (3 if header else 4)


def test_json_lines_and_arrays_are_the_same_rows(tmp_path: Path) -> None:
    rows = [{"id": 1, "price": 1.50, "tags": ["a", "b"], "more": {"x": 1}}, {"id": 2, "new": None}]
    lines, array = tmp_path / "a.jsonl", tmp_path / "b.json"
    lines.write_text("\n".join(map(json.dumps, rows)))
    array.write_text(json.dumps(rows, indent=2))
    (one,), (two,) = inspect(lines), inspect(array)
    pd.testing.assert_frame_equal(one.values, two.values)
    assert one.lists == {"tags"}
    assert one.objects == {"more"}
    assert one.values["tags"].tolist() == ["a|b", None]
    assert one.values["price"].tolist() == ["1.5", None]


@pytest.mark.parametrize("compress", [gzip.compress, bz2.compress])
def test_compressed_text_of_any_name(compress: object, tmp_path: Path) -> None:
    file = tmp_path / "export.dat"
    file.write_bytes(compress(b"user;item\n1;2\n"))  # type: ignore[operator]
    (found,) = inspect(file)
    assert found.reading["format"] == "csv"
    assert found.values.to_dict("list") == {"user": ["1"], "item": ["2"]}


def test_parquet_keeps_whole_numbers_and_times(tmp_path: Path) -> None:
    file = tmp_path / "orders.parquet"
    when = pd.Timestamp("2024-03-01 10:00", tz="UTC")
    pd.DataFrame({"user": [7.0, None], "when": [when, when]}).to_parquet(file)
    (found,) = inspect(file)
    assert found.values["user"].tolist() == ["7", None]
    assert found.typed == {"when"}


@pytest.mark.parametrize("content", [b"", b"\n\n", b'[{"a": '])
def test_files_without_a_row_are_refused(content: bytes, tmp_path: Path) -> None:
    file = tmp_path / "orders.json"
    file.write_bytes(content)
    with pytest.raises(ValueError, match=r"orders\.json"):
        inspect(file)


def test_a_parquet_column_whose_name_is_there_twice(tmp_path: Path) -> None:
    table = pa.table([pa.array([1, 2]), pa.array(["x", "y"])], names=["a", "a"])
    pq.write_table(table, tmp_path / "o.parquet")
    (found,) = inspect(tmp_path / "o.parquet")
    assert found.values.to_dict("list") == {"a": ["1", "2"], "a (2)": ["x", "y"]}


WORDS_OF = {
    "cp1252": ("Größe weiß", "Löffel für Käse", "schön grün"),
    "cp1250": ("żółta filiżanka", "łyżka ścięta", "mąka pszenna"),
    "cp1254": ("çay bardağı", "şekerlik yeşil", "büyük kaşık ıhlamur"),
    "mac-roman": ("Größe weiß", "Löffel für Käse", "schön grün"),
    "cp1251": ("чашка белая", "ложка десертная", "чайник зелёный"),
    "cp1253": ("φλιτζάνι λευκό", "κουτάλι του γλυκού", "πράσινο τσάι"),
    "gb18030": ("白色大杯子", "绿茶壶", "中国茶叶"),
    "shift-jis": ("白い大きなカップ", "緑の急須", "日本茶"),
}


@pytest.mark.parametrize("encoding", WORDS_OF)
def test_encodings_are_told_by_enough_text(encoding: str, tmp_path: Path) -> None:
    words = WORDS_OF[encoding]
    rows = [f"{n},{words[n % 3]} {words[n // 3 % 3]}" for n in range(300)]
    (tmp_path / "i.csv").write_bytes("\n".join(["sku,title", *rows]).encode(encoding))
    (found,) = inspect(tmp_path / "i.csv")
    assert found.reading["encoding"] == encoding
    assert found.values["title"][0] == f"{words[0]} {words[0]}"


def test_a_few_accents_are_of_the_usual_encoding_and_others_are_shown(tmp_path: Path) -> None:
    rows = ["sku,title", *(f"{n},Tin box" for n in range(3000)), "x,Löffel Größe à la crème"]
    (tmp_path / "i.csv").write_bytes("\n".join(rows).encode("cp1252"))
    (found,) = inspect(tmp_path / "i.csv")
    assert found.reading["encoding"] == "cp1252"
    assert "'00,Tin box" in found.doubts[0] or "Löffel Größe" in found.doubts[0]
    assert "in cp1250 it would be" in found.doubts[0]


def test_an_encoding_is_told_by_the_names_of_columns(tmp_path: Path) -> None:
    names = "Číslo objednávky;Zákazník;Kód;Množství;Datum"
    rows = "".join(f"{n};K{n};A-{n};1;2024-01-01\n" for n in range(50))
    (tmp_path / "o.csv").write_bytes(f"{names}\n{rows}".encode("cp1250"))
    (found,) = inspect(tmp_path / "o.csv")
    assert found.reading["encoding"] == "cp1250"
    assert list(found.values.columns) == names.split(";")


def test_texts_for_excel_are_what_they_hold(tmp_path: Path) -> None:
    (tmp_path / "o.csv").write_text('sku,n\n"=""007""",1\n="008",2\n')
    (found,) = inspect(tmp_path / "o.csv")
    assert found.values["sku"].tolist() == ["007", "008"]


def test_an_encoding_of_few_bytes_is_a_guess(tmp_path: Path) -> None:
    (tmp_path / "o.csv").write_bytes("user,sku,date\nMüller,x,2024-01-01\n".encode("cp1252"))
    (found,) = inspect(tmp_path / "o.csv")
    assert found.values["user"][0] == "Müller"
    assert "a guess from 1 bytes; set `encoding`" in found.doubts[0]


def test_a_title_above_the_header_is_refused(tmp_path: Path) -> None:
    lines = ["Sales report 2024", "user,sku,date", "a,x,2024-01-01"]
    (tmp_path / "o.csv").write_text("\n".join(lines))
    with pytest.raises(ValueError, match=r"line 1 \('Sales report 2024'\) is a title"):
        inspect(tmp_path / "o.csv")


def test_bytes_and_constants_are_what_the_reader_sees(tmp_path: Path) -> None:
    ids = pa.array([bytes(range(200, 216)), b"M\xc3\xbcller-000000000"[:16]], pa.binary())
    pq.write_table(pa.table({"u": ids}), tmp_path / "o.parquet")
    values = inspect(tmp_path / "o.parquet")[0].values["u"]
    assert values.tolist() == ["c8c9cacb-cccd-cecf-d0d1-d2d3d4d5d6d7", "Müller-00000000"]
    (tmp_path / "o.jsonl").write_text('{"q": NaN}\n')
    assert inspect(tmp_path / "o.jsonl")[0].values["q"].tolist() == ["NaN"]


def test_comments_are_no_json(tmp_path: Path) -> None:
    (tmp_path / "o.json").write_text('// export of shop\n[{"u": 1}]\n')
    with pytest.raises(ValueError, match=r"o.json is no JSON: .*'// export of shop'.*comments"):
        inspect(tmp_path / "o.json")
