"""Places that the hybrid leaves free."""

from __future__ import annotations

import pickle
from dataclasses import replace

import numpy as np

from serving.recommend.engine import Engine
from serving.recommend.types import Filters, Request
from tests.serving.recommend.requests import history_of as history


def test_more_than_the_models_propose_is_filled_up(engine: Engine) -> None:
    (answer,) = engine.recommend([Request(history(5), 900)])
    assert len(set(answer.items)) == 900
    assert answer.sources[0] == "hybrid"
    assert "content" in answer.sources


def test_there_is_an_answer_while_a_product_meets_the_filters(engine: Engine) -> None:
    price = float(np.nanmax(engine.prices))
    only = Filters(min_price=price)
    left = np.flatnonzero(engine.mask(only))
    seen_it_all = history(*left.tolist())
    (answer,) = engine.recommend([Request(seen_it_all, 10, only)])
    assert sorted(answer.items) == sorted(left.tolist())
    strict = Request(seen_it_all, 10, only, never_seen=True)
    (exhausted,) = engine.recommend([pickle.loads(pickle.dumps(strict))])
    assert exhausted.items == []
    holdout = replace(strict, popular=True)
    assert engine.recommend([holdout])[0].items == []
    (nothing,) = engine.recommend([Request(history(), 10, Filters(min_price=price + 1))])
    assert nothing.items == []


def test_a_failing_hybrid_falls_back(engine: Engine, bestseller: int) -> None:
    broken = Engine(engine.model, "broken")
    ranker = engine.model.ranker
    try:
        engine.model.ranker = None  # as from a damaged folder
        warm, cold = broken.recommend([Request(history(bestseller), 5), Request(history(), 5)])
    finally:
        engine.model.ranker = ranker
    assert warm.sources == ["content"] * 5
    assert cold.sources == ["popular"] * 5
    assert cold.items[0] == bestseller
