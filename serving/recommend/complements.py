"""Complements: what goes with a product, apart from what could replace it.

In: item codes. Out: items of another kind, best first: what the shop's rules offer with them, then
what is bought with them (by the candidates that can tell, fused), without products of the
same kind. Products of a kind share one of the given words.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np
from numpy.typing import NDArray

from components.recommenders.base import ExplainsByRules, FindsCompanions
from serving.profiles.history import History, stack
from serving.recommend.engine import Engine
from serving.recommend.types import Mask

DEPTH = 200
"""Places of each model's list that count."""
BY_RULE = 1.0
"""Weight of the rules' scores; by purchases an item has at most the number of models / 60."""


def complements(
    engine: Engine, items: Sequence[int], allowed: Mask, same_kind: Collection[Mask]
) -> NDArray[np.int64]:
    """Return the codes of ``allowed`` that go with ``items``, best first.

    same_kind: bool (items,) each, the products of the kinds that ``items`` are of.
    """
    mask = allowed.copy()
    for kind in same_kind:
        mask &= ~kind
    mask[list(items)] = False
    if not mask.any() or not len(items):
        return np.empty(0, dtype=np.int64)
    batch = stack([History(np.array(items, np.int32), np.zeros(len(items), np.int64))])
    rules = [one for one in engine.model.candidates.values() if isinstance(one, ExplainsByRules)]
    by_rule = np.sum([model.score(batch)[0] for model in rules], axis=0) + np.zeros(len(mask))
    mask &= np.isfinite(by_rule)  # what a rule forbids next to them
    among = np.flatnonzero(mask)
    fused = BY_RULE * by_rule[among]
    for model in engine.model.candidates.values():
        if not isinstance(model, FindsCompanions):
            continue
        scores = model.score_companions(batch, np.arange(engine.n_items))[0]
        lowest = scores[np.isfinite(scores)].min(initial=np.inf)  # of all: it says "not together"
        scores = scores[among]
        best = np.argsort(-scores, kind="stable")[:DEPTH]
        best = best[scores[best] > lowest]
        fused[best] += 1.0 / (60.0 + np.arange(len(best)))
    best = np.argsort(-fused, kind="stable")
    return among[best[fused[best] > 0]]
