"""Judging the newest traffic: the files of the window and no older ones, report and alert."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from components.alerts import open_alerts
from components.data.held_days import load_held_days, release_days
from components.evaluation.promotion_hold import (
    SUSPECTS,
    read_promotion_hold,
    release_promotions,
)
from components.settings import Settings
from components.timeline import read_timeline
from monitoring.run import (
    check_drift,
    newest_traffic,
    served_impressions,
    users_between,
)

DAYS = 7
NEWEST = pd.Timestamp("2023-11-20", tz="UTC")


def events(name: str, *times: str) -> pd.DataFrame:
    """Return purchases at ``times``, each of a product named after the file and its row."""
    return pd.DataFrame(
        {
            "user_id": [f"user {n}" for n in range(len(times))],
            "item_id": [f"{name} {n}" for n in range(len(times))],
            "event": "purchase",
            "timestamp": pd.to_datetime(list(times), utc=True, format="ISO8601"),
            "quantity": 1.0,
            "price": 2.0,
            "client": None,
            "authentication": "shop",
        }
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Sixty days of feedback, one event at noon of each; what is older than 9 days is torn."""
    for age in range(60):
        day = f"{NEWEST - pd.Timedelta(days=age):%Y-%m-%d}"
        file = tmp_path / f"events-{day}.parquet"
        if age > DAYS + 1:  # a day more than the window: an event may be dated a day early
            file.write_bytes(b"PAR1 torn")
        else:
            events(f"age {age}", f"{day} 12:00").to_parquet(file)
    return tmp_path


def judged(folder: Path, settings: Settings) -> list[str]:
    now = pd.Timestamp.now(tz="UTC")
    return newest_traffic(folder, DAYS, settings.validate_, now).window["item_id"].tolist()


def test_only_the_files_of_the_window_are_opened(folder: Path, settings: Settings) -> None:
    assert judged(folder, settings) == [f"age {age} 0" for age in range(DAYS - 1, -1, -1)]


def test_a_torn_file_of_the_window_is_named(folder: Path, settings: Settings) -> None:
    file = folder / "events-2023-11-18.parquet"
    file.write_bytes(b"PAR1 torn")
    with pytest.raises(ValueError, match=r"events-2023-11-18.parquet cannot be read .*export it"):
        judged(folder, settings)


def test_events_received_late_or_dated_early_count(folder: Path, settings: Settings) -> None:
    # Received today: of the window's first minutes, of just before it, and of long ago.
    late = events(
        "late", "2023-11-20 11:00", "2023-11-13 12:01", "2023-11-13 12:00", "2022-01-01 00:00"
    )
    late.to_parquet(folder / "events-2023-11-21.parquet")
    # The last event is of 11-20 12:00. Received on the last day before the window, by a fast clock.
    events("early", "2023-11-13 12:02").to_parquet(folder / "events-2023-11-12.parquet")
    found = judged(folder, settings)
    assert [name for name in found if "age" not in name] == ["early 0", "late 0", "late 1"]


def test_an_upload_of_old_events_does_not_hide_the_newest(folder: Path, settings: Settings) -> None:
    old = events("old", *[f"2021-0{month}-01" for month in range(1, 10)])
    old.to_parquet(folder / "events-2023-11-21.parquet")
    events("future", "2126-01-01").to_parquet(folder / "events-2023-11-22.parquet")
    assert judged(folder, settings) == [f"age {age} 0" for age in range(DAYS - 1, -1, -1)]


def test_files_without_a_day_in_their_name_are_read(folder: Path, settings: Settings) -> None:
    (folder / "shop").mkdir()
    events("own", "2023-11-19 10:00", "2023-10-01").to_parquet(folder / "shop/own.parquet")
    events("odd", "2023-11-18 10:00").to_parquet(folder / "events-2023-99-99.parquet")
    found = judged(folder, settings)
    assert [name for name in found if "age" not in name] == ["odd 0", "own 0"]


def test_no_feedback_is_an_empty_window(tmp_path: Path, settings: Settings) -> None:
    assert judged(tmp_path, settings) == []
    events("none").to_parquet(tmp_path / "events-2023-11-20.parquet")
    assert judged(tmp_path, settings) == []


def test_only_impressions_of_the_windows_days_are_opened(tmp_path: Path) -> None:
    window = events("window", "2023-11-18 12:00", "2023-11-20 12:00")
    for day in ("2023-11-17", "2023-11-21"):
        (tmp_path / f"impressions-{day}.parquet").write_bytes(b"PAR1 torn")
    for day in ("2023-11-18", "2023-11-19", "2023-11-20"):
        times = pd.to_datetime([f"{day} 11:00", f"{day} 13:00", f"{day} 11:30"], utc=True)
        pd.DataFrame(
            {
                "impression_id": [f"{day} 11", f"{day} 13", f"{day} 14"],
                "model_version": "1",
                "source": ["hybrid", "hybrid", "batch"],  # an e-mail may never be opened
                "timestamp": times,
            }
        ).to_parquet(tmp_path / f"impressions-{day}.parquet")
    served = served_impressions(tmp_path, window)
    assert served is not None
    hours = ["18 13", "19 11", "19 13", "20 11"]
    assert served["impression_id"].tolist() == [f"2023-11-{hour}" for hour in hours]
    assert served_impressions(tmp_path, window.iloc[:0]) is None
    before = events("before", "2023-11-01 12:00")
    assert served_impressions(tmp_path, before) is None


def test_check_drift_writes_report_and_alert(referenced, newest, tmp_path: Path) -> None:
    root, settings = tmp_path, referenced[1]
    shutil.copytree(referenced[0] / "models", root / "models")
    rare = newest["item_id"].value_counts().index[-60:]
    other = np.random.default_rng(0).choice(rare, len(newest))
    other[:30] = "<script>alert(1)</script>"
    file = root / "window.parquet"
    newest.assign(item_id=other, price=np.nan).to_parquet(file)
    assert check_drift(settings, root, file).verdict.kind == "broken"  # no prices
    shutil.rmtree(root / "var")
    shutil.rmtree(root / "data/held")
    newest.assign(item_id=other).drop(columns="price").assign(price=2.0).to_parquet(file)
    found = check_drift(settings, root, file)
    assert found.retrain, found.verdict.reasons
    assert not found.held
    page = (found.folder / "index.html").read_text()
    assert "<script>alert(1)</script>" not in page
    assert "Products that moved the statistics" in page
    assert "products that moved most" in (found.folder / "report.html").read_text()
    assert json.loads((found.folder / "verdict.json").read_text())["drifted"]
    assert [one.kind for one in open_alerts(root)] == ["drift"]
    calm = root / "calm.parquet"
    newest.to_parquet(calm)
    assert not check_drift(settings, root, calm).retrain
    assert open_alerts(root) == ()
    assert [one.kind for one in read_timeline(root)] == ["alert-opened", "alert-resolved"]
    with pytest.raises(FileNotFoundError, match="no such window"):
        check_drift(settings, root, root / "nowhere.parquet")


def test_check_drift_takes_the_newest_feedback_and_its_impressions(
    referenced, newest, tmp_path
) -> None:
    root, settings = tmp_path, referenced[1]
    shutil.copytree(referenced[0] / "models", root / "models")
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
            "user_id": [f"{n}" for n in range(100)],
            "item_ids": [["a", "b"]] * 100,
            "scores": [[2.0, 1.0]] * 100,
            "model_version": ["1", "2"] * 50,
            "source": "model",
            "timestamp": frame["timestamp"].sort_values().iloc[len(frame) // 2],
        }
    )
    (root / "data/impressions").mkdir(parents=True)
    impressions.to_parquet(root / "data/impressions/impressions-2010-12-01.parquet")
    found = check_drift(settings, root).verdict
    assert found.rows + found.rows_left_out == len(frame)
    assert found.outcomes["impressions"] == 100
    assert found.outcomes["click_through_rate"] == pytest.approx(0.3)
    assert set(found.outcomes["by_model_version"]) == {"1", "2"}


@pytest.mark.slow
def test_one_client_without_a_key_raises_no_alarm_and_hides_none(
    referenced, newest, tmp_path
) -> None:
    root, settings = tmp_path, referenced[1]
    shutil.copytree(referenced[0] / "models", root / "models")
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
    found = check_drift(settings, root).verdict
    assert found.rows <= len(newest) + settings.validate_.max_client_item_day
    assert not found.drifted, found.reasons


def run_on(window: pd.DataFrame, referenced, root: Path, **options):
    """Return the result of the monitoring on a window, below ``root``."""
    if not (root / "models").exists():
        shutil.copytree(referenced[0] / "models", root / "models")
    window.to_parquet(root / "window.parquet")
    return check_drift(referenced[1], root, root / "window.parquet", **options)


def test_broken_days_are_held_alerted_once_and_left_out(referenced, newest, tmp_path: Path) -> None:
    last = newest["timestamp"].max().floor("D") - pd.Timedelta(days=2)
    broken = newest.assign(price=newest["price"].mask(newest["timestamp"] >= last))
    found = run_on(broken, referenced, tmp_path)
    assert found.verdict.kind == "broken"
    assert not found.retrain
    days = set(broken.loc[broken["timestamp"] >= last, "timestamp"].dt.date)
    assert set(found.held) == days
    assert set(load_held_days(tmp_path).reasons()) == days
    assert [one.kind for one in open_alerts(tmp_path)] == ["broken"]
    page = (found.folder / "index.html").read_text()
    assert "Broken data" in page
    assert "missing_price" in page

    again = run_on(broken, referenced, tmp_path)
    assert again.verdict.kind == "none", again.verdict.reasons
    assert again.verdict.rows_held == (broken["timestamp"] >= last).sum()
    assert [one.count for one in open_alerts(tmp_path)] == [1]

    release_days(tmp_path, min(days), max(days), "the shop has no prices now")
    released = run_on(broken, referenced, tmp_path)
    assert released.verdict.kind != "broken"
    assert not load_held_days(tmp_path).reasons()
    assert open_alerts(tmp_path) == ()
    kinds = [one.kind for one in read_timeline(tmp_path)]
    assert kinds.count("alert-opened") == kinds.count("alert-resolved") == 1
    assert {"days-held", "days-released"} <= set(kinds)


@pytest.mark.slow
def test_an_attack_holds_promotions_and_names_products_and_profiles(
    referenced, newest, tmp_path: Path
) -> None:
    target = newest["item_id"].value_counts().index[-1]
    times = newest["timestamp"].drop_duplicates().sample(20, random_state=0)
    made = (
        newest.head(1)
        .loc[lambda f: f.index.repeat(20)]
        .assign(
            user_id=[f"made-up-{n}" for n in range(20)],
            item_id=target,
            timestamp=times.to_numpy(),
        )
    )
    made["timestamp"] = times.to_numpy()
    window = pd.concat([newest, made], ignore_index=True)
    window["timestamp"] = pd.to_datetime(window["timestamp"], utc=True)
    found = run_on(window, referenced, tmp_path)
    assert found.verdict.kind == "attack", found.verdict.reasons
    assert not found.retrain
    hold = read_promotion_hold(tmp_path)
    assert hold is not None
    assert hold.products == (target,)
    suspects = pd.read_parquet(tmp_path / SUSPECTS)
    assert set(made["user_id"]) <= set(suspects["user_id"])
    report = "".join(file.read_text() for file in found.folder.glob("*.[hj]*"))
    assert target in report
    assert "made-up-" not in report + repr(read_timeline(tmp_path)) + hold.reason
    run_on(window, referenced, tmp_path)
    assert [(one.subject, one.count) for one in open_alerts(tmp_path)] == [(target, 2)]
    release_promotions(tmp_path)
    assert open_alerts(tmp_path) == ()
    run_on(window, referenced, tmp_path)
    assert [(one.subject, one.count) for one in open_alerts(tmp_path)] == [(target, 1)]


def test_days_without_any_receipt_are_silent(folder: Path, settings: Settings) -> None:
    def silent(now: str) -> list[str]:
        traffic = newest_traffic(folder, DAYS, settings.validate_, pd.Timestamp(now, tz="UTC"))
        return [str(day.date()) for day in traffic.silent]

    assert silent("2023-11-21 06:00") == []
    assert silent("2023-11-23 06:00") == ["2023-11-21", "2023-11-22"]
    assert len(silent("2024-11-23 06:00")) == 30
    # Old events that arrive today: the feed is not silent.
    file = folder / "events-2023-11-30.parquet"
    events("late", "2023-11-20 11:00").to_parquet(file)
    assert silent("2023-12-01 06:00") == []


def test_customers_since_the_training_are_known(folder: Path) -> None:
    first, last = NEWEST - pd.Timedelta(days=5), NEWEST
    assert users_between(folder, first, last).tolist() == ["user 0"]
    assert users_between(folder, last, last).tolist() == []
    with pytest.raises(ValueError, match="cannot be read"):  # not silently unknown
        users_between(folder, NEWEST - pd.Timedelta(days=20), last)
