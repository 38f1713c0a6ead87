"""The alarm: silent on ordinary weeks, loud on injected drift, honest about too little."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from components.data.dataset import load_prepared
from components.settings import Settings
from monitoring import calibration
from monitoring.calibration import detect, load_reference
from monitoring.features import by_shop_ids
from monitoring.run import judge


@pytest.fixture(scope="module")
def watched(trained: tuple[Path, Settings], tmp_path_factory) -> tuple[Path, Settings]:
    """The trained small shop after the stage watch; fortnights, because the shop is small."""
    source, settings = trained
    root = tmp_path_factory.mktemp("watched")
    for name in ("data", "models"):
        shutil.copytree(source / name, root / name)
    (root / "reports").mkdir()
    monitor = settings.monitor.model_copy(update={"window_days": 14, "reference_weeks": 4})
    settings = settings.model_copy(update={"monitor": monitor})
    calibration.run(settings, root)
    return root, settings


@pytest.fixture(scope="module")
def newest(watched) -> pd.DataFrame:
    """The newest fortnight as the contract's interactions."""
    prepared = load_prepared(watched[0] / "data/prepared")
    frame = by_shop_ids(prepared)
    return frame[frame["timestamp"] > frame["timestamp"].max() - pd.Timedelta(days=14)]


def verdict(watched, frame: pd.DataFrame):
    return detect(frame, load_reference(watched[0] / "models/reference"))


def named(found) -> set[str]:
    return {one.name for one in found.statistics if one.drifted}


def test_the_calibration_says_its_false_alarm_rate(watched) -> None:
    figures = json.loads((watched[0] / "reports/calibration.json").read_text())
    assert 0 <= figures["false_alarm_rate"] <= 0.2
    assert figures["weeks"] >= 10


def test_an_ordinary_fortnight_is_no_drift(watched, newest) -> None:
    found = verdict(watched, newest)
    assert found.enough
    assert not found.drifted, found.reasons
    assert found.reasons == ["every statistic is as on ordinary weeks"]


def test_prices_that_triple_are_drift_in_price(watched, newest) -> None:
    found = verdict(watched, newest.assign(price=newest["price"] * 3))
    assert found.drifted
    assert "price" in named(found)
    assert any("price" in reason for reason in found.reasons)


def test_unknown_products_are_drift(watched, newest) -> None:
    other = newest.assign(item_id=[f"NEW{n % 200}" for n in range(len(newest))])
    assert "unseen_items" in named(verdict(watched, other))


def test_one_category_alone_is_drift_in_the_mix(watched, newest) -> None:
    items = pd.read_parquet(watched[0] / "data/prepared/items.parquet")
    common = items["main_category"].value_counts().index[0]
    ids = items.loc[items["main_category"] == common, "item_id"].to_numpy()
    drawn = np.random.default_rng(0).choice(ids, len(newest))
    found = verdict(watched, newest.assign(item_id=drawn))
    assert {"category", "item"} <= named(found)
    assert (found.score or 0) > (found.threshold or 0)


def test_too_little_to_judge_is_said_and_is_no_alarm(watched, newest) -> None:
    few = newest[newest["user_id"].isin(newest["user_id"].unique()[:5])]
    found = verdict(watched, few.assign(price=1000.0))
    assert not found.enough
    assert not found.drifted
    assert "not enough data" in found.reasons[0]
    empty = verdict(watched, newest.iloc[:0])
    assert not empty.enough
    json.loads(empty.to_json())


def test_a_missing_column_is_named(watched, newest) -> None:
    with pytest.raises(ValueError, match="item_id"):
        verdict(watched, newest.drop(columns="item_id"))


def test_large_windows_are_sampled_and_say_so(watched, newest) -> None:
    reference = load_reference(watched[0] / "models/reference")
    small = replace(reference, sample_rows=500)
    found = detect(newest, small)
    assert found.sampled
    assert found.rows_used <= 500 < found.rows


def test_judge_writes_report_and_alert(watched, newest, tmp_path: Path) -> None:
    root, settings = tmp_path, watched[1]
    shutil.copytree(watched[0] / "models", root / "models")
    hostile = newest.assign(item_id="<script>alert(1)</script>", price=newest["price"] * 5)
    file = root / "window.parquet"
    hostile.to_parquet(file)
    found = judge(settings, root, file)
    assert found.retrain
    page = (found.folder / "index.html").read_text()
    assert "<script>alert(1)</script>" not in page
    assert json.loads((found.folder / "verdict.json").read_text())["drifted"]
    assert len((root / "var/monitoring/alerts.jsonl").read_text().splitlines()) == 1
    calm = root / "calm.parquet"
    newest.to_parquet(calm)
    assert not judge(settings, root, calm).retrain
    with pytest.raises(FileNotFoundError, match="no such window"):
        judge(settings, root, root / "nowhere.parquet")


def test_judge_takes_the_newest_feedback_and_its_impressions(watched, newest, tmp_path) -> None:
    root, settings = tmp_path, watched[1]
    shutil.copytree(watched[0] / "models", root / "models")
    feedback = root / settings.ingest.feedback
    feedback.mkdir(parents=True)
    frame = newest.drop_duplicates(["user_id", "item_id"], ignore_index=True).assign(
        client=None, authentication="shop"
    )
    frame["impression_id"] = [f"i{n}" if n < 30 else None for n in range(len(frame))]
    older = frame.assign(timestamp=frame["timestamp"] - pd.Timedelta(days=200))
    older.to_parquet(feedback / "a.parquet")
    frame.to_parquet(feedback / "b.parquet")
    impressions = pd.DataFrame(
        {
            "impression_id": [f"i{n}" for n in range(100)],
            "model_version": ["1", "2"] * 50,
            "timestamp": frame["timestamp"].sort_values().iloc[len(frame) // 2],
        }
    )
    (root / "data/impressions").mkdir(parents=True)
    impressions.to_parquet(root / "data/impressions/impressions-2010-12-01.parquet")
    found = judge(settings, root).verdict
    assert found.rows + found.rows_left_out == len(frame)
    assert found.outcomes["impressions"] == 100
    assert found.outcomes["click_through_rate"] == pytest.approx(0.3)
    assert set(found.outcomes["by_model_version"]) == {"1", "2"}


def test_one_client_without_a_key_raises_no_alarm_and_hides_none(watched, newest, tmp_path) -> None:
    root, settings = tmp_path, watched[1]
    shutil.copytree(watched[0] / "models", root / "models")
    feedback = root / settings.ingest.feedback
    feedback.mkdir(parents=True)
    newest.assign(client=None, authentication="shop").to_parquet(feedback / "a.parquet")
    n = 5000
    flood = pd.DataFrame(
        {
            "user_id": [f"session:{one}" for one in range(n)],
            "item_id": newest["item_id"].iloc[0],
            "event": "purchase",
            "timestamp": newest["timestamp"].max(),
            "quantity": 1e6,
            "price": 1e6,
            "client": "a",
            "authentication": "none",
        }
    )
    flood.to_parquet(feedback / "b.parquet")
    future = flood.assign(timestamp=pd.Timestamp.now(tz="UTC") + pd.Timedelta(days=400))
    future.to_parquet(feedback / "c.parquet")
    found = judge(settings, root).verdict
    assert found.rows <= len(newest) + settings.validate_.max_client_item_day
    assert not found.drifted, found.reasons


def test_before_training_it_says_what_to_do(tmp_path, newest) -> None:
    with pytest.raises(FileNotFoundError, match="bowerbird watch"):
        detect(newest, tmp_path / "models/reference")
