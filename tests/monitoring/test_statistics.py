"""The statistics of two feature tables: zero for equal ones, larger with the difference."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from evidently import DataDefinition, Dataset, Report
from evidently.metrics import ValueDrift

from monitoring.statistics import LABELS, MIN_VALUES, STATISTICS, statistics


def table(n: int = 210, seed: int = 0, days: int = 7) -> pd.DataFrame:
    """Return a feature table of ``n`` events over ``days`` days."""
    rng = np.random.default_rng(seed)
    day = pd.Timestamp("2026-01-01") + pd.to_timedelta(np.arange(n) % days, unit="D")
    return pd.DataFrame(
        {
            "visit": np.arange(n),
            "user_id": [f"u{k % 50}" for k in range(n)],
            "item": [f"i{k % 40}" for k in range(n)],
            "day": day,
            "price": rng.normal(size=n),
            "quantity": rng.normal(size=n),
            "basket": rng.normal(size=n),
            "hour": rng.integers(8, 20, n),
            "weekday": day.weekday,
            "country": rng.choice(["DE", "FR"], n),
            "category": rng.choice(["a", "b", "c"], n),
            "text_0": rng.normal(size=n),
            "item: colour": rng.choice(["blue", "red"], n),
            "user: age": rng.choice(["old", "young", None], n),
            "new_text": np.arange(n) % 3 == 0,
        }
    )


def test_equal_tables_have_no_distance() -> None:
    found = statistics(table(), table(), 7)
    assert set(found) == set(STATISTICS) == set(LABELS)
    assert found.pop("new_texts") == pytest.approx(1 / 3)  # of the window itself
    assert found == pytest.approx(dict.fromkeys(found, 0.0), abs=1e-9)


def test_attributes_are_compared_where_there_are_any() -> None:
    moved = table().assign(**{"item: colour": "blue"})
    found = statistics(table(), moved, 7)
    assert found["item_attributes"] > 0.2
    assert found["user_attributes"] == pytest.approx(0.0, abs=1e-9)
    without = [one.drop(columns=["item: colour", "user: age"]) for one in (table(), moved)]
    assert not set(statistics(*without, 7)) & {"item_attributes", "user_attributes"}


def test_a_shift_of_a_standard_deviation_is_a_distance_of_one() -> None:
    reference = table()
    moved = reference.assign(price=reference["price"] + reference["price"].std())
    found = statistics(reference, moved, 7)
    assert found["price"] == pytest.approx(1.0, rel=0.01)
    assert found["quantity"] == pytest.approx(0.0, abs=1e-9)


def test_distributions_without_overlap_have_the_largest_distance() -> None:
    found = statistics(table(), table().assign(country="IT"), 7)
    assert found["country"] == pytest.approx(np.sqrt(np.log(2)), rel=1e-3)


def test_the_distances_are_those_that_evidentlys_report_shows() -> None:
    reference = table()
    current = table(180, seed=1).assign(country="FR", quantity=1.0)
    current.loc[::7, "category"] = "new"
    current.loc[::5, "price"] = np.nan
    names = {"price": "wasserstein", "quantity": "wasserstein", "category": "jensenshannon"}
    definition = DataDefinition(
        numerical_columns=["price", "quantity"], categorical_columns=["category"]
    )
    shown = Report([ValueDrift(column=name, method=names[name]) for name in names]).run(
        *(Dataset.from_pandas(one[[*names]], definition) for one in (current, reference))
    )
    found = statistics(reference, current, 7)
    for metric in shown.dict()["metrics"]:
        assert metric["value"] == pytest.approx(found[metric["config"]["column"]], rel=1e-9)
        assert metric["value"] > 0.1


def test_shares_count_events_on_what_the_reference_lacks() -> None:
    current = table()
    current.loc[:41, "item"] = "new"
    current.loc[:20, "user_id"] = "stranger"
    found = statistics(table(), current, 7)
    assert found["unseen_items"] == pytest.approx(0.2)
    assert found["new_users"] == pytest.approx(0.1)


def test_what_cannot_be_judged_is_nan() -> None:
    few = table().assign(price=np.where(np.arange(210) < MIN_VALUES - 1, 1.0, np.nan))
    assert np.isnan(statistics(table(), few, 7)["price"])
    assert np.isnan(statistics(table(), table(days=5), 7)["weekday"])  # part of a week
    assert np.isfinite(statistics(table(), table(days=6), 7)["weekday"])
    assert np.isnan(statistics(table().drop(columns="text_0"), table(), 7)["text"])
    empty = statistics(table(), table().iloc[:0], 7)
    assert all(np.isnan(value) for value in empty.values())
