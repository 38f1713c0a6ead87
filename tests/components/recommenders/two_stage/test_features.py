"""Features: the statistics of items, and the columns they have names for."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from numba import typeof

from components.data.dataset import DAY, Catalogue, Histories, Interactions
from components.recommenders.two_stage.attribute_features import (
    AttributeFeatures,
    AttributeStatistics,
)
from components.recommenders.two_stage.candidates import select_candidates
from components.recommenders.two_stage.features import (
    ITEM_STATISTICS,
    FeatureBuilder,
    ItemFacts,
    feature_names,
    item_statistics,
)

END = 1_600_000_000
NO_ATTRIBUTES = AttributeFeatures(
    Catalogue(pd.DataFrame({"item_id": list("abcd")})), AttributeStatistics.none(4)
)


@pytest.fixture
def facts() -> ItemFacts:
    """Four items: sold today and long ago, 10 days ago, 40 days ago, never."""
    days = np.array([0, 100, 10, 40])
    train = Interactions.from_arrays(
        np.array([0, 0, 1, 1]), np.array([0, 0, 1, 2]), END - days * DAY, 2, 4
    )
    price, category = [2.0, 4.0, np.nan, 8.0], ["a", "b", "b", None]
    table = pd.DataFrame({"price": price, "main_category": category})
    return ItemFacts.of(Catalogue(table), item_statistics(train, 4))


def test_statistics_count_all_sales_and_recent_ones(facts: ItemFacts) -> None:
    found = dict(zip(ITEM_STATISTICS, facts.statistics.T, strict=True))
    assert np.expm1(found["log_count"]) == pytest.approx([2, 1, 1, 0])
    assert np.expm1(found["log_count_7d"]) == pytest.approx([1, 0, 0, 0])
    assert np.expm1(found["log_count_28d"]) == pytest.approx([1, 1, 0, 0])
    assert found["age"] == pytest.approx([100, 10, 40, np.nan], nan_ok=True)
    assert found["last_sale"] == pytest.approx([0, 10, 40, np.nan], nan_ok=True)


def test_facts_of_a_fitted_and_of_a_loaded_model_are_of_one_type(facts: ItemFacts) -> None:
    """numba compiles a function once for each type of its arguments, for seconds."""
    loaded = facts.statistics.copy()
    loaded.flags.writeable = False
    table = pd.DataFrame({"price": [1.0] * 4, "main_category": ["a"] * 4})
    fitted = facts.statistics.copy()
    made = [ItemFacts.of(Catalogue(table), one).statistics for one in (fitted, loaded)]
    assert typeof(made[0]) == typeof(made[1])
    assert np.array_equal(made[0], fitted, equal_nan=True)
    assert fitted.flags.writeable


def test_statistics_count_events_by_their_weights() -> None:
    users, items = np.array([0, 0, 1, 1]), np.array([0, 0, 1, 2])
    train = Interactions.from_arrays(users, items, END - np.array([100, 0, 10, 40]) * DAY, 2, 4)
    weighted = replace(train, weights=np.array([1, 0.5, 0, 0.5], dtype=np.float32))
    found = dict(zip(ITEM_STATISTICS, item_statistics(weighted, 4).T, strict=True))
    assert train.items.tolist() == [0, 0, 2, 1]
    assert np.expm1(found["log_count"]) == pytest.approx([1.5, 0.5, 0, 0])
    assert np.expm1(found["log_count_7d"]) == pytest.approx([0.5, 0, 0, 0])
    assert found["last_sale"] == pytest.approx([0, 10, 40, np.nan], nan_ok=True)


def test_each_column_holds_what_its_name_says(facts: ItemFacts) -> None:
    scores = np.array([[[1, 2, 3, 0]], [[5, 0, 0, 0]]], dtype=np.float32)
    histories = Histories(
        np.array([1, 1], np.int32), END - np.array([3, 1]) * DAY, np.array([0, 2]), np.array([END])
    )
    counts, no = np.zeros(2, dtype=np.int64), np.zeros(2, dtype=bool)
    unsold = facts.statistics[:, 0] == 0
    pieces = select_candidates(scores, no, histories, unsold, 2, False, counts)
    pairs = FeatureBuilder(facts, NO_ATTRIBUTES).pairs((0, one) for one in pieces)
    assert pairs.items.tolist() == [0, 1, 2]
    names = feature_names(["first", "second"])
    assert pairs.features.shape == (3, len(names))
    column = dict(zip(names, pairs.features.T, strict=True))
    assert column["first_score"] == pytest.approx(
        (np.array([1, 2, 3]) - 1.5) / np.std([0, 1, 2, 3])
    )
    assert column["first_rank"] == pytest.approx([0, 1 / 2, 1])
    assert column["second_rank"] == pytest.approx([1, 0, 0])
    assert column["log_price"] == pytest.approx(np.log([2, 4, np.nan]), nan_ok=True)
    assert column["price_ratio"] == pytest.approx(np.log([1 / 2, 1, np.nan]), nan_ok=True)
    assert column["category_affinity"] == pytest.approx([0, 1, 1])
    assert column["times_seen"] == pytest.approx([0, 2, 0])
    assert np.expm1(column["history_events"]) == pytest.approx([2, 2, 2])
    assert np.expm1(column["history_items"]) == pytest.approx([1, 1, 1])
    assert column["days_since_last"] == pytest.approx([1, 1, 1])
    assert column["days_known"] == pytest.approx([3, 3, 3])


def test_no_history_gives_no_pairs(facts: ItemFacts) -> None:
    assert len(FeatureBuilder(facts, NO_ATTRIBUTES).pairs([]).rows) == 0
