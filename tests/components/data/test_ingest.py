"""The stage ``ingest`` as a whole: the embedded shop, feedback, erased people."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest

from components.data.schema import INTERACTIONS, RAW
from components.file_erasure import ErasedPeople, profile_hash, write_erasures
from components.settings import Settings
from tests.components.data.shop_files import COLUMNS, LINES, ingest, quarantined, validate


def test_the_real_shop(small_shop: tuple[Path, Settings]) -> None:
    root, _ = small_shop
    raw = pq.read_table(root / "data/raw/interactions.parquet")
    assert raw.schema.equals(RAW["interactions"])
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

    validate(settings, tmp_path, max_bad_share=0.9)
    bad = quarantined(tmp_path)
    phantom = bad[bad["item_id"] == "PHANTOM-1"]
    assert len(phantom) == 50
    assert {reason for told in phantom["reasons"] for reason in told} == {
        "unknown product",
        "duplicate",
    }


def erased(root: Path, *profiles: str, key: str = "ab" * 32) -> None:
    """As ``bowerbird export-feedback`` writes it: erased on the first of June 2020."""
    moment = pd.Timestamp("2020-06-01", tz="UTC").value // 1000
    times = {profile_hash(profile, key): moment for profile in profiles}
    write_erasures(root, ErasedPeople(times, key))


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
