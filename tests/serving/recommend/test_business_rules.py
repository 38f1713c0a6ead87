"""The shop's rules over a ranked list."""

from __future__ import annotations

from datetime import date

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.settings import Boost, Rules
from serving.recommend.business_rules import BusinessRules

TODAY = date(2026, 11, 24)
TABLE = pd.DataFrame(
    {
        "item_id": [f"i{n}" for n in range(8)],
        "categories": [["Home", "Mug"]] * 3 + [["Home", "Bag"]] * 3 + [[], []],
        "main_category": ["Mug"] * 3 + ["Bag"] * 3 + [None, None],
        "brand": ["A", "B", "A", "B", "A", "B", "", None],
    }
)
SCORES = np.linspace(2.0, 0.6, 8)


def ordered(rules: Rules, k: int = 8, vectors: np.ndarray | None = None, **options: bool) -> list:
    book = BusinessRules(rules, TABLE, vectors)
    return book.order(np.arange(8), SCORES, k, TODAY, **options)[0].tolist()


def test_without_rules_the_ranking_stands() -> None:
    assert ordered(Rules(), 5) == [0, 1, 2, 3, 4]


def test_caps_hold_and_products_without_a_group_are_not_capped() -> None:
    assert ordered(Rules(max_per_category=1)) == [0, 3, 6, 7]
    assert ordered(Rules(max_per_brand=2)) == [0, 1, 2, 3, 6, 7]
    assert ordered(Rules(max_per_category=2, max_per_brand=1)) == [0, 1, 6, 7]
    assert ordered(Rules(max_per_category=1), one_category=True) == list(range(8))


@given(
    cap=st.integers(1, 3),
    brand=st.integers(0, 3),
    diversity=st.sampled_from([0.0, 0.3, 1.0]),
    k=st.integers(1, 8),
)
def test_no_page_breaks_a_cap(cap: int, brand: int, diversity: float, k: int) -> None:
    rules = Rules(max_per_category=cap, max_per_brand=brand, diversity=diversity)
    page = ordered(rules, k)
    assert len(set(page)) == len(page) <= k
    shown = TABLE.iloc[page]
    assert shown["main_category"].dropna().value_counts().max() <= cap or len(page) == 0
    if brand:
        assert shown["brand"].replace("", None).dropna().value_counts().max() <= brand


def test_diversity_brings_unlike_products_forward() -> None:
    vectors = np.eye(8, dtype=np.float32)
    vectors[:4] = vectors[0]  # the first four have the same text
    assert ordered(Rules(diversity=0.5), 3, vectors) == [0, 4, 5]
    assert ordered(Rules(diversity=0.01), 3, vectors) == [0, 1, 2]


def test_a_boost_lifts_its_products_until_its_day() -> None:
    boost = {"category": "bag", "weight": 5.0}
    assert ordered(Rules(boosts=[Boost(until=TODAY, **boost)]))[:3] == [3, 4, 5]
    assert ordered(Rules(boosts=[Boost(until=date(2026, 11, 23), **boost)]))[:3] == [0, 1, 2]
    down = Boost(until=TODAY, items=["i0"], weight=-10)
    assert ordered(Rules(boosts=[down]))[-1] == 0
    branded = Boost(until=TODAY, brand="b", weight=5)
    assert ordered(Rules(boosts=[branded]))[:3] == [1, 3, 5]


def test_a_boost_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="items, a category or a brand"):
        Boost(until=TODAY)
