"""Complements: what is bought with a product, however few products the filters leave."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from components.recommenders.models.rules import RuleBased, Rules
from serving.recommend.complements import complements
from serving.recommend.engine import Engine


@pytest.fixture(scope="module")
def engine(trained: Any) -> Engine:
    return Engine.load(trained[0] / "models/hybrid", "test")


def test_a_companion_that_is_left_alone_is_found(engine: Engine) -> None:
    seed = [int(engine.by_popularity[0])]
    everything = np.ones(engine.n_items, dtype=bool)
    found = complements(engine, seed, everything, [])
    assert len(found) >= 3
    assert seed[0] not in found
    for code in found[:3].tolist():
        alone = np.zeros(engine.n_items, dtype=bool)
        alone[code] = True
        assert complements(engine, seed, alone, []).tolist() == [code]


def test_products_of_the_same_kind_and_filtered_ones_are_left_out(engine: Engine) -> None:
    seed = [int(engine.by_popularity[0])]
    everything = np.ones(engine.n_items, dtype=bool)
    best = complements(engine, seed, everything, [])
    kind = np.zeros(engine.n_items, dtype=bool)
    kind[best[:2]] = True
    without = complements(engine, seed, everything, [kind])
    assert without.tolist() == best[2:].tolist()
    assert complements(engine, seed, ~kind, []).tolist() == best[2:].tolist()
    assert len(complements(engine, [], everything, [])) == 0


def test_rules_offer_first_and_forbid(engine: Engine) -> None:
    seed = int(engine.by_popularity[0])
    everything = np.ones(engine.n_items, dtype=bool)
    best = complements(engine, [seed], everything, [])
    rules = RuleBased(Rules())
    rules.rules = Rules.model_validate(
        {
            "goes_with": [
                {"name": "offer", "having": {}, "offer": {}},
                {"name": "never", "having": {}, "never": {}},
            ]
        }
    )
    n = engine.n_items
    rules.having, rules.offer, rules.never = np.zeros((3, 2, n), dtype=bool)
    rules.having[:, seed] = True
    offered = int(np.setdiff1d(np.arange(n), [*best, seed])[0])
    rules.offer[0, offered] = True
    rules.never[1, best[0]] = True
    engine.model.candidates["test rules"] = rules
    try:
        found = complements(engine, [seed], everything, [])
    finally:
        del engine.model.candidates["test rules"]
    assert found[0] == offered
    assert best[0] not in found
    assert best[1] in found
