"""The stages ``ingest`` and ``validate`` on small shops whose files do not fit each other."""

from __future__ import annotations

import shutil
import zipfile
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from components.settings import Settings
from tests.components.data.shop_files import ingest, quarantined, validate

LINE_COLUMNS = {"user_id": "u", "item_id": "i", "timestamp": "t", "price": "p", "event": "e"}
ITEM_COLUMNS = {"item_id": "i", "title": "n", "price": "p", "available": "a"}


def lines(items: list[str], **columns: Any) -> pd.DataFrame:
    """Return one purchase a minute, each of another customer."""
    n = len(items)
    times = pd.Timestamp("2024-03-01") + pd.to_timedelta(range(n), unit="min")
    times = times.astype(str).tolist()
    same = {"u": [f"c{one}" for one in range(n)], "i": items, "t": times, "p": "2", "e": "purchase"}
    return pd.DataFrame({**same, **columns})


def catalogue(items: list[str], **columns: Any) -> pd.DataFrame:
    return pd.DataFrame({"i": items, "n": "Mug", "p": "2", "a": "yes", **columns})


def run(
    settings: Settings,
    root: Path,
    bought: pd.DataFrame,
    listed: pd.DataFrame | None = None,
    limits: dict[str, Any] | None = None,
    **changes: Any,
) -> dict[str, Any]:
    """Run both stages and return reports/validation.json."""
    bought.to_csv(root / "lines.csv", index=False)
    sources = {"interactions": [{"path": "lines.csv", "columns": LINE_COLUMNS}]}
    if listed is not None:
        listed.to_csv(root / "items.csv", index=False)
        sources["items"] = [{"path": "items.csv", "columns": ITEM_COLUMNS}]
    ingest(settings, root, **(sources | changes))
    return validate(settings, root, **{"non_product_codes": [], **(limits or {})})


@pytest.mark.slow
def test_ids_with_and_without_zeros_stop_the_run(settings: Settings, tmp_path: Path) -> None:
    bought = lines([str(n % 5) for n in range(20)])
    listed = catalogue([f"{n:06}" for n in range(5)])
    with pytest.raises(ValueError, match=r"0\.0% of 20 events find their product") as caught:
        run(settings, tmp_path, bought, listed)
    message = str(caught.value)
    for word in ("'0', '1'", "'000000', '000001'", "zeros on the left", "min_known_items"):
        assert word in message
    items = pd.read_parquet(tmp_path / "data/raw/items.parquet")
    assert items["item_id"].tolist() == [f"{n:06}" for n in range(5)]


def test_the_setting_that_the_refusal_names_joins_them(settings: Settings, tmp_path: Path) -> None:
    source = {
        "path": "lines.csv",
        "columns": LINE_COLUMNS,
        "item_ids": {"width": 6},
    }
    bought, listed = (
        lines([str(n % 5) for n in range(20)]),
        catalogue([f"{n:06}" for n in range(5)]),
    )
    report = run(settings, tmp_path, bought, listed, interactions=[source])
    assert report["interactions"]["kept"] == 20
    assert report["interactions"]["known_items"]["share"] == 1


@pytest.mark.slow
def test_old_orders_bring_no_removed_product_back(
    settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bought = lines(["a"] * 6 + ["gone"] * 4)
    limits = {"max_bad_share": 0.1}  # such rows are no fault of the file
    report = run(settings, tmp_path, bought, catalogue(["a", "b"]), limits)
    assert report["interactions"]["reasons"] == {"not in the catalogue": 4}
    assert report["interactions"]["known_items"]["not_found"] == ["gone"]
    items = pd.read_parquet(tmp_path / "data/valid/items.parquet")
    assert items["item_id"].tolist() == ["a", "b"]
    printed = capsys.readouterr().out
    assert "1 products of the interactions are in no item file, for example 'gone'" in printed
    assert "4 not in the catalogue (for example lines.csv row 7)" in printed


@pytest.mark.slow
def test_products_of_put_items_add_to_those_of_the_lines(
    settings: Settings, tmp_path: Path
) -> None:
    (tmp_path / "data/catalogue").mkdir(parents=True)
    path = "data/catalogue/items.parquet"
    catalogue(["new"], a="no").to_parquet(tmp_path / path)  # one product, withdrawn
    source = {"path": path, "columns": ITEM_COLUMNS}
    report = run(settings, tmp_path, lines(["a", "b"]), items=[source])
    assert report["items"]["kept"] == 3
    assert report["interactions"]["kept"] == 2
    with pytest.raises(ValueError, match=r"interactions: 100% of 2 rows are bad|0\.0% of 2 events"):
        run(settings, tmp_path, lines(["a", "b"]), items=[source], items_from_lines="never")


@pytest.mark.slow
def test_a_catalogue_price_of_0_keeps_the_product_and_its_purchases(
    settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = run(settings, tmp_path, lines(["a", "b"] * 5), catalogue(["a", "b"], p=["0", "2"]))
    assert report["interactions"]["kept"] == 10
    assert report["items"] == report["items"] | {"kept": 2, "without_price": 1}
    items = pd.read_parquet(tmp_path / "data/valid/items.parquet").set_index("item_id")["price"]
    assert items.isna().to_dict() == {"a": True, "b": False}
    assert "1 kept without a price" in capsys.readouterr().out


def test_a_value_that_cannot_be_read_quarantines_its_row_and_says_where(
    settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    prices = ["2"] * 16 + ["12,50", "inf", "3", "4"]
    bought = lines(["a"] * 20, p=prices)
    bought.loc[19, "t"] = "never"
    report = run(settings, tmp_path, bought)["interactions"]
    assert report["reasons"] == {"price cannot be read": 2, "timestamp cannot be read": 1}
    assert report["examples"]["price cannot be read"] == {
        "source": "lines.csv",
        "source_row": 16,
        "unreadable": "price: '12,50'",
    }
    bad = quarantined(tmp_path)
    assert bad["unreadable"].tolist() == ["price: '12,50'", "price: 'inf'", "timestamp: 'never'"]
    assert "2 price cannot be read (for example lines.csv row 17, price: '12,50')" in (
        capsys.readouterr().out
    )
    assert report["empty"]["rating"] == 17


@pytest.mark.slow
def test_purchases_of_a_product_in_quarantine_say_so(settings: Settings, tmp_path: Path) -> None:
    listed = catalogue(["a", "b", "c", "d", "e"], p=["2", "2", "2", "2", "free"])
    report = run(settings, tmp_path, lines(list("abcde") * 4), listed, {"max_bad_share": 0.5})
    assert report["items"]["reasons"] == {"price cannot be read": 1}
    assert report["interactions"]["reasons"] == {"product in quarantine: price cannot be read": 4}


@pytest.mark.slow
def test_a_kind_of_event_that_is_lost_entirely_stops_the_run(
    settings: Settings, tmp_path: Path
) -> None:
    kinds = ["view"] * 90 + ["transaction"] * 15
    prices = ["2"] * 90 + ["-1"] * 15
    with pytest.raises(ValueError, match=r"all 15 events 'purchase' are bad: price not positive"):
        run(settings, tmp_path, lines(["a"] * 105, e=kinds, p=prices))


def test_a_catalogue_of_which_nothing_is_available_is_refused(
    settings: Settings, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=r"items\.csv: of 2 items none is available.*`available`"):
        run(settings, tmp_path, lines(["a"]), catalogue(["a", "b"], a="no"))


@pytest.mark.slow
def test_few_known_customers_stop_the_run(settings: Settings, tmp_path: Path) -> None:
    users = pd.DataFrame({"id": [f"C{n}" for n in range(9)]})
    users.to_csv(tmp_path / "users.csv", index=False)
    source = {"path": "users.csv", "columns": {"user_id": "id"}}
    with pytest.raises(
        ValueError, match=r"find their customer.*capitals.*user_ids.*min_known_users"
    ):
        run(settings, tmp_path, lines(["a"] * 9), users=[source])


FOLDER = {"user_id": "u", "item_id": "i", "timestamp": "t"}


def folder(root: Path) -> None:
    """Write a folder of CSV files, one of them zipped, and a file that is no table."""
    (root / "in/month=02").mkdir(parents=True)
    lines(["a"]).to_csv(root / "in/a.csv", index=False)
    lines(["c"]).to_csv(root / "in/month=02/c.csv", index=False)
    with zipfile.ZipFile(root / "in/b.csv.zip", "w") as archive:
        archive.writestr("b.csv", lines(["b"]).to_csv(index=False))
    (root / "in/notes.txt").write_text("ask Ann")
    (root / "in/_SUCCESS").touch()


def test_every_file_of_a_folder_is_read_or_named(
    settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder(tmp_path)
    rows = ingest(settings, tmp_path, interactions=[{"path": "in", "columns": FOLDER}])
    assert rows["interactions"]["item_id"].tolist() == ["a", "b", "c"]
    assert "1 files of unread kinds are left out: notes.txt" in capsys.readouterr().out
    (tmp_path / "in/old.avro").touch()
    with pytest.raises(
        ValueError, match=r"folder in has old\.avro, a kind of file that is not read"
    ):
        ingest(settings, tmp_path, interactions=[{"path": "in", "columns": FOLDER}])


def test_a_pattern_names_files(settings: Settings, tmp_path: Path) -> None:
    folder(tmp_path)
    rows = ingest(settings, tmp_path, interactions=[{"path": "in/**/*.csv", "columns": FOLDER}])
    assert rows["interactions"]["item_id"].tolist() == ["a", "c"]
    with pytest.raises(FileNotFoundError, match=r"no file matches in/\*\.json"):
        ingest(settings, tmp_path, interactions=[{"path": "in/*.json", "columns": FOLDER}])


def test_a_partitions_key_is_a_column(settings: Settings, tmp_path: Path) -> None:
    folder(tmp_path)
    source = {"path": "in/month=02", "columns": {**FOLDER, "country": "month"}}
    users = ingest(settings, tmp_path, interactions=[source])["users"]
    assert users["country"].tolist() == ["02"]
    with pytest.raises(ValueError, match=r"in/a\.csv has no column 'month'"):
        ingest(settings, tmp_path, interactions=[{**source, "path": "in"}])


def test_nothing_is_left_of_the_copies(settings: Settings, tmp_path: Path) -> None:
    folder(tmp_path)
    ingest(settings, tmp_path, interactions=[{"path": "in", "columns": FOLDER}])
    assert sorted(path.name for path in (tmp_path / "data").iterdir()) == ["raw"]


@pytest.mark.slow
def test_reviews_of_other_products_are_counted(
    settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    listed = catalogue([f"{n:06}" for n in range(20)])
    rows = {"i": [*map(str, range(15)), "x", "y"], "text": "well made and a good size"}
    pd.DataFrame(rows).to_csv(tmp_path / "reviews.csv", index=False)
    source = {"path": "reviews.csv", "columns": {"item_id": "i", "text": "text"}}
    report = run(settings, tmp_path, lines(listed["i"].tolist()), listed, reviews=[source])
    found = report["reviews"]["known_items"]
    assert (found["reviews"], found["known"]) == (17, 0)
    assert "zeros on the left" in found["likely_cause"]
    assert "0.0% of 17 reviews find their product in the item files" in capsys.readouterr().out
    assert report["reviews"]["kept"] == 17


@pytest.mark.slow
def test_what_a_reader_should_look_at_is_printed_and_in_the_report(
    settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    guests = ["99999" if n % 5 < 2 else f"c{n % 30}" for n in range(200)]
    bought = lines([f"i{n % 9}" for n in range(200)], u=guests, Belegart=["RE", "GS"] * 100)
    (tmp_path / "in").mkdir()
    bought[:100].to_csv(tmp_path / "in/1.csv", index=False)
    bought[100:].to_csv(tmp_path / "in/2.csv", index=False)
    shutil.copy(tmp_path / "in/2.csv", tmp_path / "in/3.csv")
    source = {"path": "in", "columns": LINE_COLUMNS}
    listed = catalogue([f"i{n}" for n in range(9)], hidden=["x"] + [None] * 8)
    found = run(settings, tmp_path, bought, listed, {"max_bad_share": 0.5}, interactions=[source])
    printed = capsys.readouterr().out
    notes = found["interactions"]["notes"] + found["items"]["notes"]
    wanted = [
        ("in/1.csv: column 'Belegart' ('GS' 50, 'RE' 50)", "(the same in 2 more files)"),
        ("in/3.csv: the file has the same content as in/2.csv", "delete one"),
        ("customer '99999' has 40% of the events", "`nulls`"),
        ("items.csv: column 'hidden' ('x' 1, none 8)", "count as available"),
    ]
    assert len(notes) == len(wanted)
    for note, (start, words) in zip(notes, wanted, strict=True):
        assert note.startswith(start)
        assert words in note
        assert note in printed
