"""Ingest: whatever the shop's files look like, the contract's tables come out, or a clear error."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.data import expectations, sources
from components.data.schema import INTERACTIONS, TABLES
from components.erasure import Erasures, profile_hash, write_erasures
from components.settings import Ingest, Settings, Source

LINES = pd.DataFrame(
    {
        "Customer": [12345.0, None, 7.0],
        "Code": ["00123", " ab1 ", "AB1"],
        "When": ["2020-01-01 10:00", "2020-07-01 10:00", "never"],
        "Name": ["Red Mug", "Blue Mug", "Blue Mug"],
        "Cost": ["2.5", "0", "3.5"],
    }
)
COLUMNS = {
    "user_id": "Customer",
    "item_id": "Code",
    "timestamp": "When",
    "title": "Name",
    "price": "Cost",
}


def ingest(settings: Settings, root: Path, **changes: object) -> dict[str, pd.DataFrame]:
    """Run the stage in ``root`` with these ingest settings and return the raw tables."""
    section = Ingest.model_validate({"reviews": [], "items": [], "users": [], **changes})
    sources.run(settings.model_copy(update={"ingest": section}), root)
    return {name: pd.read_parquet(root / "data/raw" / f"{name}.parquet") for name in TABLES}


def test_a_csv_keeps_ids_as_the_shop_writes_them(settings: Settings, tmp_path: Path) -> None:
    LINES.to_csv(tmp_path / "lines.csv", index=False)
    tables = ingest(
        settings, tmp_path, interactions=[{"path": "lines.csv", "columns": COLUMNS}], currency="EUR"
    )
    rows = tables["interactions"]
    assert rows["user_id"].tolist() == ["12345", None, "7"]
    assert rows["item_id"].tolist() == ["00123", "ab1", "AB1"]  # zeros stay, case is the shop's
    assert rows["timestamp"].isna().tolist() == [False, False, True]  # kept, for the quarantine
    assert rows["source_row"].tolist() == [0, 1, 2]
    assert set(rows["event"]) == {"purchase"}
    items = tables["items"].set_index("item_id")
    assert items.loc["AB1", "title"] == "Blue Mug"
    assert items.loc["AB1", "price"] == pytest.approx(3.5)
    assert "ab1" not in items.index  # only ever given away: a price of 0 makes no product


def test_ids_of_two_spellings_become_one_on_request(settings: Settings, tmp_path: Path) -> None:
    LINES.to_csv(tmp_path / "lines.csv", index=False)
    source = {"path": "lines.csv", "columns": COLUMNS, "item_id_case": "upper"}
    tables = ingest(settings, tmp_path, interactions=[source])
    assert tables["interactions"]["item_id"].tolist() == ["00123", "AB1", "AB1"]


def test_times_without_offset_are_the_shops(settings: Settings, tmp_path: Path) -> None:
    LINES.to_csv(tmp_path / "lines.csv", index=False)
    source = {"path": "lines.csv", "columns": COLUMNS}
    tables = ingest(settings, tmp_path, interactions=[source], timezone="Europe/Berlin")
    times = tables["interactions"]["timestamp"]
    assert times[0] == pd.Timestamp("2020-01-01 09:00", tz="UTC")  # winter
    assert times[1] == pd.Timestamp("2020-07-01 08:00", tz="UTC")  # summer


@pytest.mark.parametrize(
    ("times", "form"),
    [
        (["31/12/2020 10:00", "01/02/2021 11:00"], "%d/%m/%Y %H:%M"),
        (["1609408800", "1612177200"], None),  # seconds, as numbers in JSON lines
        (["1609408800000", "1612177200000"], None),  # milliseconds
        (["2020-12-31T11:00:00+01:00", "2021-02-01T11:00:00Z"], None),
    ],
)
def test_times_of_many_spellings(
    settings: Settings, tmp_path: Path, times: list[str], form: str | None
) -> None:
    rows = [
        {"u": "a", "i": "x", "t": int(time) if time.isdigit() else time, "title": "mug"}
        for time in times
    ]
    (tmp_path / "lines.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    source = {
        "path": "lines.jsonl",
        "columns": {"user_id": "u", "item_id": "i", "timestamp": "t", "title": "title"},
        "timestamp_format": form,
    }
    found = ingest(settings, tmp_path, interactions=[source])["interactions"]["timestamp"]
    expected = ["2020-12-31 10:00", "2021-02-01 11:00"]
    assert found.tolist() == [pd.Timestamp(time, tz="UTC") for time in expected]


def test_a_folder_of_files_and_the_feedback_are_one_table(
    settings: Settings, tmp_path: Path
) -> None:
    (tmp_path / "in").mkdir()
    LINES.to_parquet(tmp_path / "in/a.parquet")
    LINES.to_csv(tmp_path / "in/b.csv", index=False)
    source = {"path": "in", "columns": COLUMNS}
    first = ingest(settings, tmp_path, interactions=[source])["interactions"]
    assert len(first) == 6
    (tmp_path / "data/feedback").mkdir(parents=True)
    clicks = first.head(1).assign(event="click", impression_id="rec-1")
    clicks.drop(columns=["source", "source_row"]).to_parquet(tmp_path / "data/feedback/d.parquet")
    again = ingest(settings, tmp_path, interactions=[source])["interactions"]
    assert len(again) == 7
    clicked = again[again["event"] == "click"]
    assert clicked["impression_id"].tolist() == ["rec-1"]
    assert clicked["source"].tolist() == ["data/feedback/d.parquet"]


def test_the_shops_own_catalogue_wins_over_the_lines(settings: Settings, tmp_path: Path) -> None:
    LINES.to_csv(tmp_path / "lines.csv", index=False)
    items = pd.DataFrame(
        {"sku": ["AB1", "NEW"], "name": ["Mug, blue", "Teapot"], "cat": "Home > Tea"}
    )
    items.to_csv(tmp_path / "items.csv", index=False)
    columns = {"item_id": "sku", "title": "name", "category": "cat"}
    table = ingest(
        settings,
        tmp_path,
        interactions=[{"path": "lines.csv", "columns": COLUMNS}],
        items=[{"path": "items.csv", "columns": columns}],
    )["items"].set_index("item_id")
    assert table.loc["AB1", "title"] == "Mug, blue"
    assert table.loc["NEW", "categories"].tolist() == ["Home", "Tea"]
    assert not table.loc["NEW", "categories_inferred"]
    assert table.loc["00123", "title"] == "Red Mug"  # the lines know it, the file does not


def test_feedback_sets_no_price_and_makes_no_product(settings: Settings, tmp_path: Path) -> None:
    """Also not with the shop's key, nor in a file of which nobody knows who sent it."""
    LINES.to_csv(tmp_path / "lines.csv", index=False)
    source = {"path": "lines.csv", "columns": COLUMNS}
    before = ingest(settings, tmp_path, interactions=[source])
    (tmp_path / "data/feedback").mkdir(parents=True)
    bought = before["interactions"].tail(1).drop(columns=["source", "source_row"])
    bought["timestamp"] = pd.Timestamp("2020-07-01", tz="UTC")
    sent = [
        bought.assign(user_id="x", price=0.01, item_id=item, authentication=who)
        for item in ("AB1", "PHANTOM-1")
        for who in ("shop", "session", "none", None, "root")
    ]
    pd.concat(sent * 10).to_parquet(tmp_path / "data/feedback/d.parquet")
    after = ingest(settings, tmp_path, interactions=[source])
    pd.testing.assert_frame_equal(after["items"], before["items"])
    rows = after["interactions"]
    assert rows["authentication"].isna().sum() == len(LINES)  # the shop's own, and no others
    assert set(rows["authentication"].dropna()) == {"shop", "session", "none"}

    (tmp_path / "reports").mkdir()
    limits = settings.validate_.model_copy(update={"max_bad_share": 0.9})
    changed = settings.model_copy(update={"validate_": limits})
    expectations.run(changed, tmp_path)
    bad = pd.read_parquet(tmp_path / "data/quarantine/interactions.parquet")
    phantom = bad[bad["item_id"] == "PHANTOM-1"]
    assert len(phantom) == 50
    assert {reason for told in phantom["reasons"] for reason in told} == {
        "unknown product",
        "duplicate",
    }


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"path": "line.csv"}, ["line.csv", "did you mean 'lines.csv'"]),
        ({"columns": {**COLUMNS, "price": "cost"}}, ["'cost'", "did you mean 'Cost'"]),
        ({"columns": {**COLUMNS, "prize": "Cost"}}, ["'prize'", "did you mean 'price'"]),
        ({"columns": {"user_id": "Customer"}}, ["item_id"]),
        ({"columns": {**COLUMNS, "price": "Name"}}, ["'Name'", "a number", "'Red Mug'"]),
        ({"columns": {**COLUMNS, "timestamp": "Name"}}, ["'Name'", "a time", "timestamp_format"]),
    ],
)
def test_errors_say_what_is_wrong_and_what_to_do(
    settings: Settings, tmp_path: Path, change: dict[str, object], words: list[str]
) -> None:
    LINES.to_csv(tmp_path / "lines.csv", index=False)
    source = {"path": "lines.csv", "columns": COLUMNS, **change}
    with pytest.raises((ValueError, FileNotFoundError)) as caught:
        ingest(settings, tmp_path, interactions=[source])
    for word in words:
        assert word in str(caught.value)


def test_a_wrong_time_zone_is_named(settings: Settings) -> None:
    source = Source(path=Path("x.csv"), columns={})
    with pytest.raises(ValueError, match="did you mean 'Europe/Berlin'"):
        sources.connect(Ingest(interactions=[source], timezone="Europe/Berlim"))


def test_the_real_shop(small_shop: tuple[Path, Settings]) -> None:
    root, _ = small_shop
    raw = pq.read_table(root / "data/raw/interactions.parquet")
    assert raw.schema.equals(INTERACTIONS)
    lines = pd.read_parquet(root / "lines.parquet")
    assert raw.num_rows == len(lines)
    row = raw.slice(1000, 1).to_pylist()[0]
    line = lines.iloc[row["source_row"]]
    assert row["item_id"] == line["StockCode"].upper()
    assert row["price"] == pytest.approx(line["Price"], rel=1e-6)
    items = pd.read_parquet(root / "data/raw/items.parquet").set_index("item_id")
    assert items.loc["85123A", "categories"].tolist() == ["Holder"]
    assert items.loc["85123A", "categories_inferred"]
    most_frequent = lines[lines["StockCode"] == "85123A"]["Description"].str.strip().mode()[0]
    assert items.loc["85123A", "title"] == most_frequent


def erased(root: Path, *profiles: str, key: str = "ab" * 32) -> None:
    """As ``bowerbird export-feedback`` writes it: erased on the first of June 2020."""
    moment = pd.Timestamp("2020-06-01", tz="UTC").value // 1000
    times = {profile_hash(profile, key): moment for profile in profiles}
    write_erasures(root, Erasures(times, key))


def test_rows_of_erased_people_are_left_out_and_counted(
    settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pd.DataFrame(
        [
            ("7", "AB1", "2020-01-01 10:00"),
            ("8", "AB1", "2020-01-02 10:00"),
            ("7", "00123", "2020-05-31 23:59"),
            ("7", "AB1", "2020-07-01 10:00"),  # came back
            ("9", "ZZ", "2020-01-03 10:00"),
            ("9", "ZZ", "never"),
        ],
        columns=["user", "item", "time"],
    ).to_csv(tmp_path / "lines.csv", index=False)
    pd.DataFrame({"id": ["7", "8", "9"], "land": ["DE", "FR", "IT"]}).to_csv(
        tmp_path / "users.csv", index=False
    )
    pd.DataFrame({"user": ["9", "8", None], "item": "AB1", "text": ["mine", "hers", "x"]}).to_csv(
        tmp_path / "reviews.csv", index=False
    )
    (tmp_path / "data/feedback").mkdir(parents=True)
    feedback = pd.DataFrame(
        {
            "user_id": ["session:s1", "session:s2", "7"],
            "item_id": "AB1",
            "event": "click",
            "timestamp": pd.to_datetime(["2020-02-01", "2020-02-01", "2020-02-01"], utc=True),
        }
    )
    empty = {name: None for name in INTERACTIONS.names if name not in feedback}
    feedback.assign(**empty).to_parquet(tmp_path / "data/feedback/d.parquet")
    erased(tmp_path, "user:7", "user:9", "session:s1")
    columns = {"user_id": "user", "item_id": "item"}
    tables = ingest(
        settings,
        tmp_path,
        interactions=[{"path": "lines.csv", "columns": {**columns, "timestamp": "time"}}],
        users=[{"path": "users.csv", "columns": {"user_id": "id", "country": "land"}}],
        reviews=[{"path": "reviews.csv", "columns": {**columns, "text": "text"}}],
    )
    rows = tables["interactions"]
    assert rows["user_id"].tolist() == ["8", "7", "session:s2"]
    assert rows["source_row"].tolist() == [1, 3, 1]
    users = tables["users"].set_index("user_id")["country"]
    assert sorted(users.index) == ["7", "8", "session:s2"]
    assert users["8"] == "FR"
    assert users["7"] is None  # what the users' file says of 7 is from before the erasure
    assert tables["reviews"]["text"].tolist() == ["hers", "x"]
    assert "ZZ" in set(tables["items"]["item_id"])  # a product is nobody's
    said = capsys.readouterr().out
    assert "interactions          6 rows of 3 erased people left out" in said
    assert "users                 2 rows of 2 erased people left out" in said


def test_a_list_of_erased_people_without_its_key_stops_the_run(
    settings: Settings, tmp_path: Path
) -> None:
    LINES.to_csv(tmp_path / "lines.csv", index=False)
    erased(tmp_path, "user:7")
    (tmp_path / "var/erasures/key").unlink()
    with pytest.raises(ValueError, match="bowerbird export-feedback"):
        ingest(settings, tmp_path, interactions=[{"path": "lines.csv", "columns": COLUMNS}])


def test_the_list_of_erased_people_can_be_read_with_the_key_only(tmp_path: Path) -> None:
    erased(tmp_path, "user:12345")
    listed = pd.read_parquet(tmp_path / "data/erasures/erasures.parquet")
    (kept,) = listed["profile_hash"]
    assert kept != hashlib.sha256(b"user:12345").hexdigest()
    assert kept != profile_hash("user:12345", "cd" * 32)
    key = tmp_path / "var/erasures/key"
    assert key.stat().st_mode & 0o777 == 0o600
    before = (tmp_path / "data/erasures/erasures.parquet").read_bytes()
    erased(tmp_path, "user:12345")
    assert (tmp_path / "data/erasures/erasures.parquet").read_bytes() == before


@given(st.lists(st.text(max_size=30), max_size=30))
def test_inferring_categories_never_fails(titles: list[str]) -> None:
    found = sources.infer_categories(pd.Series(titles, dtype=object))
    assert len(found) == len(titles)
    words = {word for title in titles for word in title.lower().split()}
    assert all(any(name.lower() in word for word in words) for name in found.dropna())
