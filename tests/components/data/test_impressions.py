"""Exported impressions and feedback, coded and joined."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from components.data.dataset import Prepared, load_prepared
from components.data.impressions import load_log
from components.recommenders.base import MISSING

REWARDS = {"click": 1.0, "purchase": 5.0}


@pytest.fixture
def prepared(prepared_folder: Path) -> Prepared:
    return load_prepared(prepared_folder)


def write(folder: Path, prepared: Prepared, **changes: object) -> pd.DataFrame:
    """Two lists: three places with an unknown product for a known user, one for a stranger."""
    a, b, c = prepared.catalogue.ids[[3, 1, 2]]
    start = pd.Timestamp(prepared.validation_start, unit="s", tz="UTC")
    impressions = pd.DataFrame(
        {
            "impression_id": ["second", "first"],
            "user_id": [prepared.users["user_id"].iloc[5], "session:x"],
            "item_ids": [[a, "unknown", b], [c]],
            "propensities": [[0.5, 0.25, 0.125], [1.0]],
            "timestamp": [start + pd.Timedelta(seconds=1), start],
        }
    ).assign(**changes)
    events = pd.DataFrame(
        {
            "impression_id": [*["second"] * 3, "first", None, "elsewhere", "second", "first"],
            "item_id": [b, b, a, c, a, a, a, c],
            "event": [
                *("click", "purchase", "view", "click", "purchase", "click", "purchase"),
                "purchase",
            ],
            "authentication": ["session", "shop", "shop", "session", None, "shop", "none", None],
        }
    )
    (folder / "impressions").mkdir(exist_ok=True)
    impressions.to_parquet(folder / "impressions/one.parquet")
    events.to_parquet(folder / "valid.parquet")
    return impressions


def test_a_log_is_what_was_shown_and_what_came_of_it(prepared: Prepared, tmp_path: Path) -> None:
    write(tmp_path, prepared)
    log = load_log(tmp_path / "impressions", tmp_path / "valid.parquet", prepared, REWARDS)
    assert log.ids.tolist() == [[2, MISSING, MISSING], [3, MISSING, 1]]  # in the order of time
    assert log.rewards.tolist() == [[5, 0, 0], [0, 0, 5]]
    assert log.propensities[1].tolist() == [0.5, 0.25, 0.125]
    assert np.isnan(log.propensities[0, 1:]).all()
    own = prepared.interactions.histories(np.array([5]), prepared.validation_start + 1)
    assert log.histories.lengths().tolist() == [0, len(own.items)]
    assert log.histories.items.tolist() == own.items.tolist()
    assert len(log.before(prepared.validation_start + 1)) == 1
    turned = log.pick(np.array([1, 0, 1]))
    assert turned.histories.items.tolist() == own.items.tolist() * 2
    assert turned.ids[0].tolist() == [3, MISSING, 1]


def test_places_that_rules_decided_are_marked_and_earn_nothing(
    prepared: Prepared, tmp_path: Path
) -> None:
    rules = '{"rules":[7],"placed":[3]}'
    write(tmp_path, prepared, rules=[rules, None])
    log = load_log(tmp_path / "impressions", tmp_path / "valid.parquet", prepared, REWARDS)
    assert log.placed is not None
    assert log.placed.tolist() == [[False] * 3, [False, False, True]]
    assert log.rewards.tolist() == [[5, 0, 0], [0, 0, 0]]
    assert log.ids[1].tolist() == [3, MISSING, 1]
    learned = log.pick(np.array([1])).without_placed()
    assert learned.ids.tolist() == [[3, MISSING, MISSING]]
    assert np.isnan(learned.propensities[0, 2])


def test_without_files_the_log_is_empty(prepared: Prepared, tmp_path: Path) -> None:
    assert len(load_log(tmp_path / "none", tmp_path / "none", prepared, REWARDS)) == 0


def test_bad_files_are_named(prepared: Prepared, tmp_path: Path) -> None:
    write(tmp_path, prepared, propensities=[[0.5], [1.0]])
    with pytest.raises(ValueError, match=r"impression second.*as many as item_ids"):
        load_log(tmp_path / "impressions", tmp_path / "valid.parquet", prepared, REWARDS)
    frame = write(tmp_path, prepared)
    frame.drop(columns="propensities").to_parquet(tmp_path / "impressions/one.parquet")
    with pytest.raises(ValueError, match=r"one\.parquet.*propensities.*export again"):
        load_log(tmp_path / "impressions", tmp_path / "valid.parquet", prepared, REWARDS)
