"""Validate: every bad row is quarantined with its reason, and no row is lost."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import great_expectations as gx
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from components.data import validation
from components.data.engine import DuckDB, database
from components.data.schema import INTERACTIONS, TABLES
from components.data.table_check import Places, check_table
from components.data.whole_table import gates_of_interactions
from components.settings import Settings

Check = Callable[[list[dict[str, object]]], tuple[pd.DataFrame, pd.DataFrame]]
NOW = pd.Timestamp("2021-01-01", tz="UTC")
GOOD = {
    "user_id": "u",
    "item_id": "22423",
    "event": "purchase",
    "rating": None,
    "quantity": 1.0,
    "price": 2.0,
    "timestamp": pd.Timestamp("2020-06-01", tz="UTC"),
    "order_id": "500001",
    "impression_id": None,
    "list_source": None,
    "position": None,
    "client": None,
    "authentication": None,
    "source": "x",
    "source_row": 0,
}


@pytest.fixture
def check(settings: Settings, tmp_path: Path) -> Check:
    """Return a function: one change for each row of a table → its good and quarantined rows."""

    def checked(changes: list[dict[str, object]]) -> tuple[pd.DataFrame, pd.DataFrame]:
        rows = [{**GOOD, "order_id": f"{n}", **change} for n, change in enumerate(changes)]
        frame = pd.DataFrame(rows)[INTERACTIONS.names]
        frame["rating"] = frame["rating"].astype("float32")
        places = Places.below(tmp_path, "interactions")
        for place in (places.raw, places.valid, places.quarantine):
            place.parent.mkdir(parents=True)
        pq.write_table(pa.Table.from_pandas(frame, schema=INTERACTIONS), places.raw)
        limits = settings.validate_
        with database(tmp_path, 1) as con:
            products = con.create_table(
                "products", pd.DataFrame({"item_id": ["22423", "POSTCARD"]})
            )
            others = con.create_table("others", schema={"item_id": "string", "why": "string"})
            gates = gates_of_interactions(limits, products, others)
            context = gx.get_context(mode="ephemeral")
            check_table(DuckDB(con), context, "interactions", places, limits, NOW, gates)
        return pd.read_parquet(places.valid), pd.read_parquet(places.quarantine)

    return checked


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"user_id": None}, "no customer"),
        ({"item_id": None}, "no item"),
        ({"item_id": "POST"}, "not a product"),
        ({"item_id": "m"}, "not a product"),
        ({"item_id": "gift_0001_20"}, "not a product"),
        ({"order_id": "C500001"}, "cancellation"),
        ({"quantity": -3.0}, "quantity not positive"),
        ({"price": 0.0}, "price not positive"),
        ({"price": -1.0}, "price not positive"),
        ({"timestamp": pd.NaT}, "no time"),
        ({"timestamp": pd.Timestamp("1970-01-01", tz="UTC")}, "impossible time"),
        ({"timestamp": pd.Timestamp("2021-02-01", tz="UTC")}, "impossible time"),
        ({"event": "purchas"}, "unknown event"),
        ({"event": "rating", "rating": 6.0}, "rating not within 1 to 5"),
        ({"event": "rating"}, "rating event without a rating"),
    ],
)
def test_a_bad_row_is_quarantined_with_its_reason(
    check: Check, change: dict[str, object], reason: str
) -> None:
    good, bad = check([{}, change, {"item_id": "POSTCARD"}])
    assert good["item_id"].tolist() == ["22423", "POSTCARD"]
    assert [list(told) for told in bad["reasons"]] == [[reason]]


def test_a_price_the_shop_does_not_know_is_fine(check: Check) -> None:
    good, bad = check([{"price": None}, {}])
    assert (len(good), len(bad)) == (2, 0)


def test_of_equal_rows_the_first_is_kept(check: Check) -> None:
    same = {"order_id": "1", "user_id": "a"}
    good, bad = check([same, {**same, "source_row": 9, "source": "y"}, {**same, "quantity": 2.0}])
    assert good["source"].tolist() == ["x", "x"]
    assert [list(told) for told in bad["reasons"]] == [["duplicate"]]


def test_every_reason_of_a_row_is_told(check: Check) -> None:
    _, bad = check([{}, {"price": 0.0, "user_id": None}])
    assert sorted(bad["reasons"].iloc[0]) == ["no customer", "price not positive"]


def test_the_real_shop_loses_no_row(small_shop: tuple[Path, Settings]) -> None:
    root, _ = small_shop
    report = json.loads((root / "reports/validation.json").read_text())
    for table in TABLES:
        counts = report[table]
        frames = {
            place: pd.read_parquet(root / "data" / place / f"{table}.parquet")
            for place in ("raw", "valid", "quarantine")
        }
        assert counts["rows"] == counts["kept"] + counts["quarantined"] == len(frames["raw"])
        assert counts["kept"] == len(frames["valid"])
        assert (frames["quarantine"]["reasons"].str.len() > 0).all()
    rows = [
        pd.read_parquet(root / "data" / place / "interactions.parquet")["source_row"]
        for place in ("valid", "quarantine")
    ]
    assert sorted(pd.concat(rows)) == list(range(report["interactions"]["rows"]))
    raw = pd.read_parquet(root / "data/raw/interactions.parquet")
    reasons = report["interactions"]["reasons"]
    assert reasons["no customer"] == raw["user_id"].isna().sum()
    assert reasons["cancellation"] == raw["order_id"].str.startswith("C").sum()
    assert reasons["price not positive"] == (raw["price"] <= 0).sum()


def test_the_pages_can_be_opened(small_shop: tuple[Path, Settings]) -> None:
    docs = small_shop[0] / "reports/data_docs"
    assert "interactions" in (docs / "index.html").read_text()
    pages = [page.read_text() for page in docs.glob("validations/**/*.html")]
    assert len(pages) == len(TABLES)
    assert any("no customer" in page or "user_id" in page for page in pages)


def test_too_many_bad_rows_stop_the_run(small_shop: tuple[Path, Settings], tmp_path: Path) -> None:
    root, settings = small_shop
    (tmp_path / "reports").mkdir()
    (tmp_path / "data").mkdir()
    (tmp_path / "data/raw").symlink_to(root / "data/raw")
    strict = settings.validate_.model_copy(update={"max_bad_share": 0.1})
    with pytest.raises(ValueError, match=r"interactions: 2\d% .*no customer") as caught:
        validation.run(settings.model_copy(update={"validate_": strict}), tmp_path)
    assert "data/quarantine" in str(caught.value)
    assert (tmp_path / "data/quarantine/interactions.parquet").exists()  # to look at


@pytest.mark.slow
def test_bad_feedback_never_stops_a_run(
    small_shop: tuple[Path, Settings], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """202,000 events with a price of 0 stopped every later training of the whole shop."""
    root, settings = small_shop
    raw = pd.read_parquet(root / "data/raw/interactions.parquet")
    valid = pd.read_parquet(root / "data/valid/interactions.parquet")
    file = "data/feedback/events-2026-11-24.parquet"
    honest = valid.drop_duplicates("item_id").tail(150)  # within the limits of one client
    honest = honest.assign(client="honest", authentication="session", source=file)
    # Not the shop's own lines again.
    honest["timestamp"] += pd.Timedelta(seconds=1)
    honest["order_id"] += "-web"
    n = 30_000
    flood = pd.DataFrame(
        {
            "user_id": "x",
            "item_id": raw["item_id"].iloc[0],
            "event": "purchase",
            "quantity": 1.0,
            "price": np.where(np.arange(n) < n - 1000, 0.0, 1.0),
            "timestamp": raw["timestamp"].min() + pd.to_timedelta(np.arange(n), unit="min"),
            "client": "attacker",
            "authentication": "none",
            "source": file,
        }
    )
    (tmp_path / "reports").mkdir()
    shutil.copytree(root / "data/raw", tmp_path / "data/raw")
    columns = pd.concat([raw, honest, flood], ignore_index=True)
    pq.write_table(
        pa.Table.from_pandas(columns, schema=INTERACTIONS, preserve_index=False),
        tmp_path / "data/raw/interactions.parquet",
    )
    validation.run(settings, tmp_path)
    report = json.loads((tmp_path / "reports/validation.json").read_text())
    before = json.loads((root / "reports/validation.json").read_text())
    found = report["interactions"]
    assert found["rows"] == found["kept"] + found["quarantined"] == len(columns)
    assert found["kept"] == before["interactions"]["kept"] + len(honest)
    feedback = found["feedback"]
    assert (feedback["rows"], feedback["kept"]) == (len(honest) + n, len(honest))
    assert feedback["reasons"]["price not positive"] == n - 1000
    assert feedback["reasons"]["from a client whose feedback is mostly bad"] == 1000
    assert feedback["bad_clients"] == 1
    assert "1,000 from a client whose feedback is mostly bad" in capsys.readouterr().out
