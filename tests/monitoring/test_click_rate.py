"""Observed against expected clicks: ordinary weeks pass, a fall is found, and what explains it."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from components.data.held_days import hold_days, load_held_days
from monitoring.click_rate import (
    LISTS_A_DAY,
    LISTS_A_SHOPPER,
    MIN_CLICKS,
    ClickRate,
    _sampled,
    click_rate,
    read_click_rate,
)
from monitoring.detection import Verdict
from monitoring.run import check_drift, with_clicks

START = pd.Timestamp("2026-01-05", tz="UTC")
WEEKS, DAYS = 9, 7


def shown(
    seed: int,
    places: int = 5,
    last_places: int | None = None,
    last_cold: float = 0.2,
    last_appeal: float = 1.0,
    a_day: int = 60,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return nine weeks of lists and the clicks on them; ``last_…`` is what the last week has.

    A shopper with a history follows the first item with 20 %, one without with 6 %, and the item at
    place p with 1 / (1 + p) of that.
    """
    rng = np.random.default_rng(seed)
    n = WEEKS * DAYS * a_day
    day = np.arange(n) // a_day
    last = day >= (WEEKS - 1) * DAYS
    cold = rng.random(n) < np.where(last, last_cold, 0.2)
    width = np.where(last, last_places or places, places)
    lists = pd.DataFrame(
        {
            "impression_id": [f"i{k}" for k in range(n)],
            "user_id": rng.integers(0, 500, n).astype(str),
            "item_ids": [[f"p{k}" for k in range(w)] for w in width],
            "scores": [(0.5 + rng.random() - np.arange(w) / w).tolist() for w in width],
            "model_version": (day // 14).astype(str),
            "source": np.where(cold, "popular", "model"),
            "timestamp": START + pd.to_timedelta(day * 86_400 + rng.integers(0, 80_000, n), "s"),
        }
    )
    row = np.repeat(np.arange(n), width)
    place = np.arange(len(row)) - np.repeat(np.cumsum(width) - width, width)
    chance = np.where(cold, 0.06, 0.2)[row] / (1 + place) * np.where(last, last_appeal, 1.0)[row]
    clicked = rng.random(len(row)) < chance
    followed = pd.DataFrame(
        {
            "impression_id": lists["impression_id"].to_numpy()[row[clicked]],
            "item_id": [f"p{k}" for k in place[clicked]],
        }
    )
    return lists, followed


def judged(seed: int, **changes: float) -> ClickRate:
    found = click_rate(*shown(seed, **changes), DAYS, 0.05)  # type: ignore[arg-type]
    assert found is not None
    return found


def test_ordinary_weeks_pass_and_a_fall_is_found() -> None:
    ordinary = [judged(seed) for seed in range(40)]
    assert sum(one.fell for one in ordinary) <= 2
    assert np.mean([one.ratio for one in ordinary]) == pytest.approx(1.0, abs=0.03)
    fallen = [judged(seed, last_appeal=0.4) for seed in range(10)]
    assert all(one.fell for one in fallen)
    assert np.mean([one.ratio for one in fallen]) == pytest.approx(0.4, abs=0.05)


@pytest.mark.parametrize(
    "change",
    [
        {"last_places": 2},
        pytest.param({"last_places": 9}, marks=pytest.mark.slow),
        {"last_cold": 0.9},
    ],
)
def test_what_is_shown_to_whom_explains_the_clicks(change: dict[str, float]) -> None:
    """Shorter or longer lists, and shoppers without a history, are no fall."""
    found = [judged(seed, **change) for seed in range(5)]
    assert not any(one.fell for one in found)
    assert np.mean([one.ratio for one in found]) == pytest.approx(1.0, abs=0.1)
    clicks = [one.observed / one.lists for one in found]
    usual = [one.observed / one.lists for one in map(judged, range(5))]
    assert abs(np.mean(clicks) / np.mean(usual) - 1) > 0.1  # the plain rate does change


def test_too_little_is_not_judged() -> None:
    lists, followed = shown(0)
    assert click_rate(lists.iloc[:0], followed, DAYS, 0.05) is None
    assert click_rate(lists, followed.iloc[:0], DAYS, 0.05) is None
    newest = lists[lists["timestamp"] >= START + pd.Timedelta(weeks=WEEKS - 3)]
    assert click_rate(newest, followed, DAYS, 0.05) is None
    few = lists.groupby(lists["timestamp"].dt.date).head(3)
    found = click_rate(few, followed, DAYS, 0.05)
    assert found is None
    assert len(few) * 0.2 > MIN_CLICKS  # in all weeks together


def test_one_shopper_cannot_make_a_fall() -> None:
    lists, followed = shown(3)
    flood = pd.concat([lists.tail(1)] * 5000, ignore_index=True)
    flood = flood.assign(user_id="flood", impression_id=[f"f{k}" for k in range(5000)])
    found = click_rate(pd.concat([lists, flood]), followed, DAYS, 0.05)
    assert found is not None
    assert not found.fell


def export(root: Path, lists: pd.DataFrame, followed: pd.DataFrame) -> None:
    """Write the files of ``bowerbird export-feedback``: a file a day."""
    events = followed.merge(lists[["impression_id", "user_id", "timestamp"]], on="impression_id")
    events["timestamp"] += pd.Timedelta(minutes=1)
    constant = {"event": "click", "quantity": 1.0, "price": np.nan, "rating": np.nan}
    events = events.assign(**constant, client=None, authentication="shop")
    for folder, name, table in (
        ("data/impressions", "impressions", lists),
        ("data/feedback", "events", events),
    ):
        (root / folder).mkdir(parents=True, exist_ok=True)
        for day, part in table.groupby(table["timestamp"].dt.strftime("%Y-%m-%d")):
            part.to_parquet(root / folder / f"{name}-{day}.parquet", index=False)


def test_exported_files_are_read_and_held_days_left_out(tmp_path: Path) -> None:
    lists, followed = shown(1, last_appeal=0.4)
    export(tmp_path, lists, followed)
    folders = tmp_path / "data/impressions", tmp_path / "data/feedback"
    end, trained = START + pd.Timedelta(weeks=WEEKS), START - pd.Timedelta(days=1)
    found = read_click_rate(*folders, DAYS, 0.05, end, trained)
    assert found is not None
    assert found.fell
    # The last hour is left out, because its clicks are yet to come.
    assert 0 < (lists["timestamp"] >= START + pd.Timedelta(weeks=8)).sum() - found.lists < 20
    for day in pd.date_range(START + pd.Timedelta(weeks=8), periods=6):
        hold_days(tmp_path, day.date(), day.date(), "test orders", "operator")
    held = load_held_days(tmp_path).reasons()
    assert len(held) == 6
    fewer = read_click_rate(*folders, DAYS, 0.05, end, trained, held)
    assert fewer is None or fewer.lists < found.lists / 3
    assert read_click_rate(tmp_path / "none", folders[1], DAYS, 0.05, end, trained) is None
    # An old export, and a training that has learned from the window: one fall, one retraining.
    assert read_click_rate(*folders, DAYS, 0.05, end + pd.Timedelta(days=2), trained) is None
    learned = end - pd.Timedelta(days=3)
    assert read_click_rate(*folders, DAYS, 0.05, end, learned) is None


def test_strangers_neither_make_nor_hide_a_fall(tmp_path: Path) -> None:
    """As many lists again of sessions that click nothing; clicks without a signature."""
    lists, followed = shown(1)
    last = lists[lists["timestamp"] >= START + pd.Timedelta(weeks=WEEKS - 1)]
    sessions = last.assign(
        user_id=[f"session:{k}" for k in range(len(last))], impression_id="s" + last.impression_id
    )
    nobody = last.assign(user_id=None, impression_id="n" + last.impression_id)
    found = click_rate(pd.concat([lists, sessions, nobody]), followed, DAYS, 0.05)
    alone = click_rate(lists, followed, DAYS, 0.05)
    assert found == alone
    fallen, followed = shown(1, last_appeal=0.4)
    clicked = last.head(300).assign(item_id="p0")[["impression_id", "item_id"]]
    export(tmp_path, fallen, followed)
    file = tmp_path / "data/feedback/events-2026-03-08.parquet"
    fake = pd.read_parquet(file).iloc[[0] * len(clicked)].assign(authentication="none")
    fake = fake.assign(**{name: clicked[name].to_numpy() for name in clicked})
    pd.concat([pd.read_parquet(file), fake]).to_parquet(file, index=False)
    folders = tmp_path / "data/impressions", tmp_path / "data/feedback"
    end = START + pd.Timedelta(weeks=WEEKS)
    hidden = read_click_rate(*folders, DAYS, 0.05, end, START - pd.Timedelta(days=1))
    assert hidden is not None
    assert hidden.fell


def test_a_shopper_with_most_lists_of_a_day_leaves_those_of_the_others() -> None:
    day = pd.Timestamp("2026-01-05", tz="UTC")
    users = ["robot"] * 50_000 + [f"u{k}" for k in range(3000)] + [None] * 1000
    lists = pd.DataFrame({"user_id": users, "timestamp": day, "impression_id": range(len(users))})
    lists["source"] = "hybrid"
    mailed = lists.assign(source="batch", user_id=[f"m{k}" for k in range(len(users))])
    found = _sampled(pd.concat([mailed, lists]))
    assert not found["user_id"].str.startswith("m").any()
    assert len(found) == LISTS_A_DAY
    assert found["user_id"].nunique() > LISTS_A_DAY - 20
    assert (found["user_id"] == "robot").sum() <= LISTS_A_SHOPPER


def test_a_torn_file_is_named(tmp_path: Path) -> None:
    export(tmp_path, *shown(1))
    (tmp_path / "data/impressions/impressions-2026-03-01.parquet").write_bytes(b"PAR1 torn")
    with pytest.raises(ValueError, match=r"impressions-2026-03-01.parquet .*export again"):
        read_click_rate(
            tmp_path / "data/impressions",
            tmp_path / "data/feedback",
            *(DAYS, 0.05, START + pd.Timedelta(weeks=WEEKS), START),
        )


def verdict_of(kind: str) -> Verdict:
    figures = dict.fromkeys(("rows", "rows_used", "rows_left_out", "visits"), 0)
    times = dict.fromkeys(("start", "end", "reference_start", "reference_end"), "")
    return Verdict(
        kind=kind,  # type: ignore[arg-type]
        drifted=kind == "drift",
        enough=True,
        score=0.0,
        threshold=1.0,
        reasons=["as before"],
        sampled=False,
        age=0.0,
        false_alarm_rate=0.05,
        **figures,
        **times,
    )


@pytest.mark.parametrize(
    ("kind", "after"),
    [("none", "drift"), ("drift", "drift"), ("broken", "broken"), ("attack", "attack")],
)
def test_a_fall_is_drift_unless_something_else_explains_it(kind: str, after: str) -> None:
    fell = judged(2, last_appeal=0.4)
    found = with_clicks(verdict_of(kind), fell)
    assert found.kind == after
    assert found.reasons[-1] == fell.sentence
    assert "alarming below" in fell.sentence
    assert with_clicks(verdict_of(kind), judged(2)).reasons == ["as before"]


@pytest.mark.slow
def test_the_monitoring_retrains_on_a_fall_before_purchases(referenced, tmp_path: Path) -> None:
    """Clicks only: there is no purchase that the statistics of drift could judge."""
    source, settings = referenced
    root = tmp_path / "shop"
    shutil.copytree(source, root)
    monitor = settings.monitor.model_copy(update={"window_days": DAYS})
    settings = settings.model_copy(update={"monitor": monitor})
    export(root, *shown(1, last_appeal=0.4))
    result = check_drift(settings, root, now=START + pd.Timedelta(weeks=WEEKS))
    assert (result.verdict.kind, result.retrain) == ("drift", True)
    page = (result.folder / "index.html").read_text()
    assert "Clicks on what was shown" in page
    assert result.verdict.clicks is not None
    assert result.verdict.clicks.sentence in page
