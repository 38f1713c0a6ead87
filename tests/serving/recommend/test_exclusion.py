"""What a history excludes and pushes down, in the lists of the whole model."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from components.settings import Settings
from serving.profiles.history import History
from serving.recommend.engine import Engine
from serving.recommend.types import Request


def test_what_is_like_a_disliked_product_goes_down(
    engine: Engine, trained: tuple[Path, Settings]
) -> None:
    """Of shoppers who dislike one product of their list: compared with hiding it alone."""
    lines = pd.read_parquet(trained[0] / "data/prepared/interactions.parquet")
    assert engine.vectors is not None
    changes = []
    for _, own in list(lines.groupby("user"))[:60]:
        items = own["item"].to_numpy(np.int32)[-30:]
        history = History(items, np.arange(len(items)), now=len(items))
        (first,) = engine.recommend([Request(history, 20)])
        disliked = first.items[0]
        cosines = engine.vectors @ engine.vectors[disliked]
        near = set(np.argsort(-cosines)[1:31].tolist())
        with_dislike = History(
            np.append(items, disliked).astype(np.int32),
            np.arange(len(items) + 1),
            strengths=np.append(np.ones(len(items)), -1).astype(np.float32),
            now=len(items),
        )
        hidden = Request(history, 20, exclude=(disliked,))
        before, after = engine.recommend([hidden, replace(hidden, history=with_dislike)])
        changes.append([len(near & set(one.items)) for one in (before, after)])
    hidden_alone, with_dislike_too = np.mean(changes, axis=0)
    assert with_dislike_too < 0.85 * hidden_alone


def test_old_products_are_excluded_and_change_no_score(engine: Engine) -> None:
    """A history of 40 events that is cut to 10: models score as without the older ones."""
    items = engine.by_popularity[:40].astype(np.int32)
    whole = History(items, np.arange(40), now=40)
    cut = whole.newest(10)
    assert (cut.length, len(cut.items), set(cut.excluded)) == (10, 40, set(items))
    newest = whole.pick(np.arange(40) >= 30)
    newest = replace(newest, now=40)
    for name, model in engine.model.candidates.items():
        one, other = (model.score(engine.stacked([history])) for history in (cut, newest))
        np.testing.assert_allclose(one, other, rtol=1e-5, err_msg=name)
    (first,) = engine.recommend([Request(cut, 30)])
    assert not set(items) & set(first.items)
