"""Reasons of recommended items."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from components.data.dataset import DAY, Interactions
from components.recommenders.models.repeat import RepeatPurchases
from components.settings import Repeat
from serving.profiles.history import History
from serving.recommend.engine import Engine
from serving.recommend.explanations import RELATED
from serving.recommend.types import RankedList, Request
from tests.serving.recommend.requests import history_of as history


def test_reasons_are_facts(engine: Engine) -> None:
    code = next(i for i, title in enumerate(engine.titles) if "T-LIGHT HOLDER" in title)
    asker = replace(history(code), kinds={code: "purchase"})
    (answer,) = engine.recommend([Request(asker, 20)])
    texts = engine.explanations.reasons(answer, asker)
    assert len(texts) == 20
    assert all(texts)
    like_it = engine.similar([code], 20)
    because = f"because you bought {engine.titles[code]}"
    named = [text == because for text in engine.explanations.reasons(like_it, asker)]
    assert any(named)
    assert engine.vectors is not None
    assert named == (engine.vectors[like_it.items] @ engine.vectors[code] >= RELATED).tolist()
    (cold,) = engine.recommend([Request(history(), 5)])
    assert not any("because" in text for text in engine.explanations.reasons(cold, history()))


def test_a_disliked_product_is_no_reason(engine: Engine) -> None:
    code = next(i for i, title in enumerate(engine.titles) if "T-LIGHT HOLDER" in title)
    liked = replace(history(code), kinds={code: "rating"})
    like_it = engine.similar([code], 20)
    because = f"because you rated {engine.titles[code]}"
    assert because in engine.explanations.reasons(like_it, liked)
    one_star = replace(liked, strengths=np.array([-1], dtype=np.float32))
    assert not any("rated" in text for text in engine.explanations.reasons(like_it, one_star))


def test_a_regular_purchase_is_the_reason(engine: Engine) -> None:
    """An item bought twice, and one that was given up, have other reasons."""
    regular, twice, given_up = 3, 5, 8
    days = {regular: (62, 41, 20), twice: (30, 10), given_up: (400, 395, 390)}
    now = 1_600_000_000
    events = sorted((now - ago * DAY, item) for item, agos in days.items() for ago in agos)
    items = np.array([item for _, item in events], dtype=np.int32)
    asker = History(
        items, np.array([time for time, _ in events]), now=now, kinds={twice: "purchase"}
    )
    train = Interactions.from_arrays(np.zeros(8, int), items, asker.times, 1, engine.n_items)
    catalogue = engine.model.catalogue
    model = RepeatPurchases(Repeat()).fit(train, catalogue)
    explanations = replace(engine.explanations, repeats=model)
    shown = RankedList([regular, twice, given_up], [3.0, 2.0, 1.0], ["hybrid"] * 3)
    assert explanations.reasons(shown, asker) == [
        "you buy this about every 3 weeks",
        "you bought this before",
        "you had this before",
    ]
    viewed = replace(asker, kinds={regular: "view"})
    assert explanations.reasons(shown, viewed)[0] == "you come back to this about every 3 weeks"
    assert engine.explanations.reasons(shown, asker)[0] == "you had this before"
    assert not any("every" in text for text in explanations.reasons(shown, history()))
