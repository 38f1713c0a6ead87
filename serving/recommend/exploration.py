"""Exploration: draw the last places of a list at random, with known propensities."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from components.recommenders.exploration import EpsilonGreedy, Explorer, GaussianThompson
from components.settings import Exploration
from serving.recommend.types import Response


def explorer_of(settings: Exploration) -> Explorer | None:
    """Return the exploration policy that ``serve.exploration`` names, None for none."""
    if settings.policy == "epsilon_greedy":
        return EpsilonGreedy(settings.epsilon)
    if settings.policy == "thompson":
        return GaussianThompson(settings.deviation)
    return None


def drawn_scores(scores: Sequence[float]) -> NDArray[np.float64]:
    """Return the scores that candidates are drawn by: in the order that the business rules made,
    whatever the scores, and in units of their standard deviation."""
    given = np.array(scores, dtype=np.float64)
    spread = float(given.std()) or 1.0
    return np.minimum.accumulate(given) / spread - 1e-6 * np.arange(len(given))


def draw(
    response: Response, explorer: Explorer, item_ids: Sequence[str], random: np.random.Generator
) -> Response:
    """Return the response with its last places drawn, each with its propensity.

    item_ids: code → item id. A response without a pool is returned as it is.
    """
    pool = response.exploration_pool
    if pool is None:
        return response
    fixed = len(response.codes) - response.n_explored
    scores = drawn_scores(pool.scores[fixed:])
    drawn, propensities = explorer.choose(scores[None, :], response.n_explored, random)
    places = [*range(fixed), *(fixed + drawn[0]).tolist()]
    return Response.of(
        pool.take(places),
        [1.0] * fixed + propensities[0].tolist(),
        item_ids,
        json_tail=response.json_tail,
        version=response.version,
        cold=response.cold,
        rules=response.rules,
    )
