"""Drawn places of a list."""

from __future__ import annotations

import json

import numpy as np
import pytest

from components.recommenders.exploration import EpsilonGreedy, GaussianThompson
from components.settings import Exploration
from serving.recommend.exploration import draw, explorer_of
from serving.recommend.types import RankedList, Response

IDS = [f"i{n}" for n in range(8)]


def explored(n_explored: int) -> Response:
    """Return a response of five places with eight candidates."""
    scores = [8.0 - n for n in range(8)]
    candidates = RankedList([*range(8)], scores, ["hybrid"] * 8, [b"%d" % n for n in range(8)])
    rest = {"json_tail": b"}", "version": "1", "cold": False}
    return Response.of(
        candidates.first(5),
        [1.0] * 5,
        IDS,
        n_explored=n_explored,
        exploration_pool=candidates,
        **rest,
    )


def test_the_fixed_places_stay_and_the_others_are_drawn() -> None:
    random, lists = np.random.default_rng(0), []
    for _ in range(50):
        drawn = draw(explored(2), EpsilonGreedy(0.5), IDS, random)
        assert drawn.codes[:3] == [0, 1, 2]
        assert len(set(drawn.codes)) == 5
        assert json.loads(drawn.ids) == [IDS[code] for code in drawn.codes]
        assert drawn.items == b",".join(b"%d" % code for code in drawn.codes)
        propensities = json.loads(drawn.propensities)
        assert propensities[:3] == [1.0] * 3
        assert all(0 < one < 1 for one in propensities[3:])
        lists.append(tuple(drawn.codes))
    assert len(set(lists)) > 3


def test_without_candidates_the_response_stays() -> None:
    ranked = RankedList([0], [1.0], ["popular"], [b"{}"])
    response = Response.of(ranked, [1.0], IDS, json_tail=b"}", version="1", cold=True)
    assert draw(response, EpsilonGreedy(0.5), IDS, np.random.default_rng(0)) is response


@pytest.mark.parametrize(
    ("policy", "kind"),
    [("none", type(None)), ("epsilon_greedy", EpsilonGreedy), ("thompson", GaussianThompson)],
)
def test_the_settings_name_the_policy(policy: str, kind: type) -> None:
    assert type(explorer_of(Exploration(policy=policy))) is kind  # type: ignore[arg-type]
