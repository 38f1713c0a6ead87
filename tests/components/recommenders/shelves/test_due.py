"""Intervals between purchases, compared with those counted one by one on a real shop."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from components.data.dataset import DAY, Interactions, load_prepared
from components.recommenders.shelves.due import LEAST_INTERVALS, Intervals


@pytest.fixture(scope="module")
def train(prepared_folder: Path) -> Interactions:
    return load_prepared(prepared_folder).interactions


@pytest.fixture(scope="module")
def gaps(train: Interactions) -> pd.Series:
    """The median gap of each user and item with one, in days."""
    frame = pd.DataFrame({"user": train.users, "item": train.items, "time": train.times})
    frame["day"] = frame["time"] // DAY
    frame = frame.drop_duplicates(["user", "item", "day"]).sort_values("time")
    frame["gap"] = frame.groupby(["user", "item"])["time"].diff() / DAY
    return frame.dropna().groupby(["user", "item"])["gap"].median()


def test_intervals_are_the_customers_else_the_products(
    train: Interactions, gaps: pd.Series
) -> None:
    intervals = Intervals.of(train, train.n_items)
    users = np.arange(train.n_users)
    due = intervals.due(train.histories(users, int(train.times.max()) + 1))
    of_items = gaps.groupby("item").agg(["median", "size"])
    for row, item, count, interval in list(
        zip(due.rows, due.items, due.counts, due.interval, strict=True)
    )[::37]:
        if count > 1:
            expected = gaps[(row, item)]
        elif item in of_items.index and of_items.loc[item, "size"] >= LEAST_INTERVALS:
            expected = of_items.loc[item, "median"]
        else:
            expected = gaps.median()
        assert interval == pytest.approx(max(expected, 1), rel=1e-4)


def test_what_is_due_comes_before_what_was_just_bought() -> None:
    """Two products that are bought weekly: one last week, one yesterday."""
    days = np.array([0, 7, 14, 21, 6, 13, 20, 27])
    items = np.array([0, 0, 0, 0, 1, 1, 1, 1])
    train = Interactions.from_arrays(np.zeros(8, int), items, days * DAY)
    due = Intervals.of(train, 2).due(train.histories([0], 28 * DAY))
    assert due.interval.tolist() == [7, 7]
    assert due.last.tolist() == [7, 1]
    assert due.score[0] > due.score[1]


def test_products_added_after_the_training_have_the_shops_interval() -> None:
    train = Interactions.from_arrays(np.zeros(3, int), np.zeros(3, int), np.array([0, 9, 20]) * DAY)
    intervals = Intervals.of(train, 1)
    later = Interactions.from_arrays(np.zeros(1, int), np.array([5]), np.array([21 * DAY]))
    assert intervals.due(later.histories([0], 30 * DAY)).interval.tolist() == [10.0]
