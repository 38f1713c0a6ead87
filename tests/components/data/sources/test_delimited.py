"""Delimited files that are read in several pieces."""

from __future__ import annotations

import csv
from pathlib import Path

import ibis
import pytest

from components.data.sources import delimited
from components.data.sources.columns import read
from components.data.sources.files import connect, files_of
from components.settings import Source

COLUMNS = {"user_id": "u", "item_id": "s", "timestamp": "t", "title": "n"}
TITLES = ["a", "b\nc,d\n", '"q" \n1,2,3,4\n5,6,7,8', "x" * 150]


@pytest.fixture
def lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file of several buffers, most of whose line ends are within quotation marks."""
    monkeypatch.setattr(delimited, "_LONGEST_LINE", 1 << 15)
    with (tmp_path / "o.csv").open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow("ustn")
        writer.writerows((n, "x", "2024-03-01", TITLES[n % 4]) for n in range(20_000))
    return tmp_path / "o.csv"


def rows_of(path: Path) -> ibis.Table:
    (file,) = files_of(Source(path=Path(path.name), columns=COLUMNS), path.parent)
    return read(connect("UTC"), file, "interactions").order_by("source_row")


def test_line_ends_within_quotation_marks(lines: Path) -> None:
    found = rows_of(lines).execute()
    assert found["user_id"].tolist() == [str(n) for n in range(20_000)]
    assert found["title"].tolist() == [TITLES[n % 4].strip() for n in range(20_000)]
    assert found["source_row"].tolist() == list(range(20_000))


@pytest.mark.parametrize("end", ['20001,x,2024-03-01,"a\n', '20001,"x,2024-03-01,a\n1,2,3,4\n'])
def test_a_quotation_mark_that_is_not_closed(lines: Path, end: str) -> None:
    with lines.open("a") as file:
        file.write(end)
    with pytest.raises(ValueError, match=r"o\.csv.*quotation mark is not closed"):
        rows_of(lines)


def test_a_ragged_line(lines: Path) -> None:
    with lines.open("a") as file:
        file.write("20001,x,2024-03-01\n")
    with pytest.raises(ValueError, match=r"o\.csv, line \d+: 3 columns instead of 4"):
        rows_of(lines)
