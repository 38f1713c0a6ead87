"""The engine: rules and fallbacks over a really trained hybrid."""

from __future__ import annotations

import pytest

from serving.recommend.engine import Engine
from serving.recommend.types import Filters, Request
from tests.serving.recommend.requests import history_of as history


def test_an_empty_history_gets_a_full_answer(engine: Engine) -> None:
    (answer,) = engine.recommend([Request(history(), 10)])
    assert len(set(answer.items)) == 10


def test_together_as_alone(engine: Engine, bestseller: int) -> None:
    cheap = Filters(max_price=2.0)
    asks = [
        Request(history(), 5),
        Request(history(bestseller), 7),
        Request(history(3, bestseller), 5, cheap),
        Request(history(3), 4, exclude_seen=False),
    ]
    together = engine.recommend(asks)
    for ask, answer in zip(asks, together, strict=True):
        (alone,) = engine.recommend([ask])
        assert answer.items == alone.items
        assert len(answer.items) == ask.k


def test_the_history_changes_the_answer(engine: Engine, bestseller: int) -> None:
    first, second = engine.recommend([Request(history(), 10), Request(history(bestseller), 10)])
    assert first.items != second.items
    assert bestseller not in second.items


def test_filters_hold(engine: Engine) -> None:
    category, _ = engine.category_names()[0]
    filters = Filters(category=category.upper(), min_price=0.5, max_price=3.0)
    (answer,) = engine.recommend([Request(history(5), 20, filters)])
    assert answer.items
    for code in answer.items:
        assert 0.5 <= engine.prices[code] <= 3.0
        assert category in [name.casefold() for name in engine.categories[code]]


def test_excluded_items_never_come_and_leave_no_gap(engine: Engine) -> None:
    (before,) = engine.recommend([Request(history(5), 10)])
    (after,) = engine.recommend([Request(history(5), 10, exclude=tuple(before.items[:4]))])
    assert not set(before.items[:4]) & set(after.items)
    assert len(after.items) == 10


def test_similar_items_are_others_and_of_the_kind(engine: Engine) -> None:
    code = next(i for i, title in enumerate(engine.titles) if "T-LIGHT HOLDER" in title)
    answer = engine.similar([code], 10)
    assert len(set(answer.items)) == 10
    assert code not in answer.items
    assert any("HOLDER" in engine.titles[item] for item in answer.items)
    basket = engine.similar([code, answer.items[0]], 5, Filters(max_price=4.0))
    assert all(engine.prices[item] <= 4.0 for item in basket.items)


def test_no_model_says_what_to_do(tmp_path: object) -> None:
    with pytest.raises(FileNotFoundError, match="make run"):
        Engine.load(f"{tmp_path}/none", "x")
