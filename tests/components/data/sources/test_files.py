"""Which files a source has, how they are opened, and errors about paths."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from components.data.sources.files import connect, files_of
from components.settings import Settings, Source
from tests.components.data.shop_files import COLUMNS, LINES, ingest


def test_a_wrong_time_zone_is_named() -> None:
    with pytest.raises(ValueError, match=r"ingest\.timezone.*did you mean 'Europe/Berlin'"):
        connect("Europe/Berlim")


@pytest.mark.parametrize("ending", [".csv", ".csv.gz", ".tsv", ".parquet", ".jsonl", ".jsonl.gz"])
def test_every_format_gives_the_same_rows(settings: Settings, tmp_path: Path, ending: str) -> None:
    rows = LINES.astype({"Customer": object}).where(LINES.notna(), None)
    file = tmp_path / f"LINES{ending}"
    if ending == ".parquet":
        LINES.to_parquet(file)
    elif "json" in ending:
        text = rows.to_json(orient="records", lines=True)
        file.write_bytes(gzip.compress(text.encode()) if ending.endswith("gz") else text.encode())
    else:
        LINES.to_csv(file, index=False, sep="\t" if ending == ".tsv" else ",")
    source = {"path": file.name, "columns": COLUMNS, "user_ids": {"integral": True}}
    found = ingest(settings, tmp_path, interactions=[source])["interactions"]
    assert found["user_id"].tolist() == ["12345", None, "7"]
    assert found["item_id"].tolist() == ["00123", "ab1", "AB1"]
    assert found["price"].tolist() == [2.5, 0.0, 3.5]
    assert set(found["source"]) == {file.name}


def test_a_wildcard_matches_no_hidden_file(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for name in ("a.csv", ".a.csv", "._a.csv", "~$a.csv", "_a.csv"):
        (tmp_path / "in" / name).write_text("u\n1\n")
    for pattern, names in (
        ("in/*.csv", ["a.csv"]),
        ("in/?a.csv", []),
        ("in/_*.csv", ["_a.csv"]),
        ("in/.[a-z]*.csv", [".a.csv"]),
    ):
        source = Source(path=Path(pattern), columns=COLUMNS)
        if not names:
            with pytest.raises(FileNotFoundError, match="no file matches"):
                files_of(source, tmp_path)
        else:
            assert [Path(one.shown).name for one in files_of(source, tmp_path)] == names


def test_a_folder_gives_its_readable_files_by_name(tmp_path: Path) -> None:
    (tmp_path / "in/deep").mkdir(parents=True)
    for name in ("b.csv", "a.JSONL", "notes.txt", "deep/c.csv.gz"):
        (tmp_path / "in" / name).touch()
    found = files_of(Source(path=Path("in"), columns={}), tmp_path)
    assert [file.shown for file in found] == ["in/a.JSONL", "in/b.csv", "in/deep/c.csv.gz"]


def test_an_error_about_a_path_says_what_was_looked_for(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "lines.avro").touch()
    with pytest.raises(FileNotFoundError, match=r"folder empty has no file that ends in \.csv"):
        files_of(Source(path=Path("empty"), columns={}), tmp_path)
    with pytest.raises(ValueError, match=r"lines\.avro has no known format.*\.parquet"):
        files_of(Source(path=Path("lines.avro"), columns={}), tmp_path)
    with pytest.raises(FileNotFoundError, match=r"no file other/orders\.csv \(looked in"):
        files_of(Source(path=Path("other/orders.csv"), columns={}), tmp_path)
