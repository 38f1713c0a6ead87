"""Reasons of recommended items."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from serving.recommend.engine import Engine
from serving.recommend.explanations import RELATED
from serving.recommend.types import Request
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
