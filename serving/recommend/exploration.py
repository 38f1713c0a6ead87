"""Exploration: draw the last places of a list at random, with known propensities."""

from __future__ import annotations

import numpy as np

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


def draw(
    response: Response, explorer: Explorer, item_ids: list[str], random: np.random.Generator
) -> Response:
    """Return the response with its last places drawn, each with its propensity.

    item_ids: code → item id. A response without a pool is returned as it is.
    """
    pool = response.exploration_pool
    if pool is None:
        return response
    fixed = len(response.codes) - response.n_explored
    scores = np.array(pool.scores[fixed:])
    # The draw is by the order that the business rules made, whatever the scores.
    spread = float(scores.std()) or 1.0
    scores = np.minimum.accumulate(scores) / spread - 1e-6 * np.arange(len(scores))
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
