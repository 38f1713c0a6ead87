"""A dislike pushes down what is like the product, in the lists of the whole model."""

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
