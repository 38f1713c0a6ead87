"""A replay of a year: the closed loop follows a range that moves, and nothing sees the future."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.feature_extraction.text import HashingVectorizer

from benchmarks.replay import report, training
from benchmarks.replay.__main__ import run, settings_of_replay
from benchmarks.replay.judging import in_service, judge
from benchmarks.replay.shop import SeesTheFuture, Shop
from benchmarks.replay.strategies import PROMOTED, REFUSED, Life
from benchmarks.replay.work import NotComputed
from benchmarks.replay.work import Work as WorkFolder
from components.arrays import FloatArray
from components.settings import Settings

WEEKS, EVERY = 3, 2
START = pd.Timestamp("2011-03-04")
NAMES = ["frozen", "popularity", "old", "drift", "often", "often-refresh"]


def moving_lines(weeks_before: int, weeks: int) -> pd.DataFrame:
    """Return the lines of 120 customers of a shop with 24 products, of which 10 a week are new."""
    random = np.random.default_rng(0)
    parts = []
    for week in range(-weeks_before, weeks):
        visitors = np.flatnonzero(random.random(120) < 0.6)
        newest = 10 * (week + weeks_before) + 24
        # A customer buys from one half of the range.
        bought = np.array([random.choice(12, 3, replace=False) for _ in visitors])
        items = newest - 2 * bought - (visitors % 2)[:, None]
        days = START + pd.to_timedelta(7 * week + random.integers(0, 7, len(visitors)), "D")
        parts.append(
            pd.DataFrame(
                {
                    "Invoice": np.repeat(1000 * (week + 100) + np.arange(len(visitors)), 3),
                    "StockCode": items.ravel(),
                    "InvoiceDate": np.repeat(days + pd.Timedelta(hours=10), 3),
                    "Customer ID": np.repeat(visitors + 100.0, 3),
                }
            )
        )
    lines = pd.concat(parts, ignore_index=True)
    names = np.array(["mug", "lamp", "bag", "clock", "bowl"], dtype=object)
    code = lines["StockCode"]
    return lines.assign(
        Invoice=lines["Invoice"].astype(str),
        StockCode=code.astype(str).str.zfill(5),
        Description=np.where(code % 2, "red ", "blue ") + names[code % 5] + " " + code.astype(str),
        Quantity=1,
        Price=2.0,
        Country="France",
    )


def by_words(texts: list[str]) -> FloatArray:
    return HashingVectorizer(n_features=32).fit_transform(texts).toarray().astype(np.float32)


def moving_shop(settings: Settings, folder: Path) -> Shop:
    changed = {
        "preprocess": settings.preprocess.model_copy(
            update={"validation_days": 14, "test_days": 14}
        ),
        "train": settings.train.model_copy(
            update={"candidates": ["popularity", "item_neighbours", "content"]}
        ),
        "rank": settings.rank.model_copy(update={"trees": 15, "min_leaf": 20}),
        "register_": settings.register_.model_copy(update={"min_users": 20}),
        "monitor": settings.monitor.model_copy(update={"reference_weeks": 2, "reference_age": 1}),
    }
    small = settings_of_replay(settings.model_copy(update=changed))
    return Shop(moving_lines(16, WEEKS + 1), START, small, folder, WorkFolder(folder), by_words)


@pytest.fixture(scope="module")
def shop(settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Shop:
    return moving_shop(settings, tmp_path_factory.mktemp("replay"))


@pytest.fixture(scope="module")
def lives(shop: Shop) -> dict[str, Life]:
    return {life.name: life for life in run(shop, NAMES, WEEKS, EVERY)}


@pytest.mark.slow
def test_the_closed_loop_follows_a_range_that_moves(lives: dict[str, Life]) -> None:
    assert all(len(life.judged) == WEEKS for life in lives.values())
    part = report.part_of(list(lives.values()), range(1, WEEKS))
    for other in ("frozen", "old"):
        ratio, low, _ = part.ratio("often-refresh", other)
        assert ratio > 1.3, other
        assert low > 1, other
    assert part.means()["often-refresh"] >= part.means()["often"]
    trained = [event["week"] for event in lives["often"].events if event["what"] == PROMOTED]
    refused = [event["week"] for event in lives["often"].events if event["what"] == REFUSED]
    assert sorted(trained + refused) == [2]
    assert lives["frozen"].events == []
    new = {
        name: np.mean([one["new_products"] for one in life.judged[1:]])
        for name, life in lives.items()
    }
    assert new["often-refresh"] > new["old"]
    assert sum(lives["frozen"].cpu) < sum(lives["often"].cpu) < sum(lives["often-refresh"].cpu)


@pytest.mark.slow
def test_a_model_that_was_trained_on_the_week_is_not_judged(
    shop: Shop, lives: dict[str, Life]
) -> None:
    later = training.model_of(shop, 2, training.SERVED)
    with pytest.raises(SeesTheFuture, match="products of a later week"):
        in_service(later, shop.prepared(1))
    served = in_service(training.model_of(shop, 0, training.SERVED), shop.prepared(1))
    judge(shop, 1, served)
    begins = shop.begins(1)
    with pytest.raises(SeesTheFuture, match="trained on events until"):
        judge(shop, 1, replace(served, until=begins))


def test_tables_with_events_of_the_week_are_refused(
    shop: Shop, lives: dict[str, Life], tmp_path: Path
) -> None:
    for part in ("weeks/02/data", "weeks/02/models/vectors"):
        shutil.copytree(shop.work.folder / part, tmp_path / part.replace("02", "01"))
    for done in ("all/validated.json", "weeks/02/tables.json"):
        copy = tmp_path / done.replace("02", "01")
        copy.parent.mkdir(exist_ok=True)
        shutil.copy(shop.work.folder / done, copy)
    with pytest.raises(SeesTheFuture, match="tables of week 1"):
        replace(shop, work=WorkFolder(tmp_path)).prepared(1)


def test_a_run_continues_and_its_page_needs_no_computation(
    shop: Shop, lives: dict[str, Life], tmp_path: Path
) -> None:
    only_read = replace(shop, work=replace(shop.work, compute=False))
    again = run(only_read, NAMES, WEEKS, EVERY)
    assert [life.judged for life in again] == [lives[name].judged for name in NAMES]
    report.write(only_read, again, WEEKS, EVERY, tmp_path)
    page = (tmp_path / "replay.md").read_text()
    assert (tmp_path / "replay.png").stat().st_size > 10_000
    assert "Partial" not in page
    assert all(life.strategy.title in page for life in again)
    with pytest.raises(NotComputed):
        only_read.tables(WEEKS + 1)
    record = shop.work.folder / "weeks/02/judged-popularity.json"
    record.unlink()
    partial = run(only_read, NAMES, WEEKS, EVERY)
    assert [len(life.judged) for life in partial] == [3, 2, 3, 3, 3, 3]
    report.write(only_read, partial, WEEKS, EVERY, tmp_path)
    page = (tmp_path / "replay.md").read_text()
    assert "not that far yet: popularity of the last days (2 weeks)" in page
    assert "| popularity of the last days" not in page
