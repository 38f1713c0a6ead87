"""The contenders: other libraries' models with what is tried of each, and ours.

Of each library the one to three models that are known as its strongest for lists from implicit
feedback and that train on a CPU in minutes. The first value of each parameter makes the first
configuration; more are drawn at random, without repetition, with the same seed for all.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import product
from typing import Any

import numpy as np

SEED = 0


@dataclass(frozen=True)
class Contender:
    """A model of another library.

    peer: its name in ``benchmarks/peers/run.py``. space: the values of each parameter that are
    tried. most: configurations at most, below that of the budget where one fit takes minutes.
    most_items: catalogue size past which it does not fit into memory, since it keeps a value for
    (nearly) every pair of items.
    """

    title: str
    library: str
    peer: str
    space: dict[str, list[Any]] = field(default_factory=dict)
    most: int | None = None
    most_items: int | None = None

    def configurations(self, n: int) -> list[dict[str, Any]]:
        """Return at most ``n`` configurations, the first one first.

        >>> Contender("", "", "", {"k": [20, 50]}).configurations(6)
        [{'k': 20}, {'k': 50}]
        """
        n = n if self.most is None else min(n, self.most)
        every = [
            dict(zip(self.space, values, strict=True)) for values in product(*self.space.values())
        ]
        rest = np.random.default_rng(SEED).permutation(len(every) - 1)[: n - 1] + 1
        return [every[0], *(every[place] for place in rest)]


REGULARISATIONS = [200.0, 50.0, 100.0, 500.0, 1000.0, 2000.0]
"""Of EASE."""
OF_ALS = {
    "dimensions": [128, 64],
    "epochs": [15],
    "confidence": [10.0, 2.0, 40.0],
    "regularisation": [0.1, 1.0, 10.0],
}
NEIGHBOURS = [100, 20, 50, 200, 500]

THEIRS = (
    Contender("implicit ALS", "implicit", "als", OF_ALS),
    Contender(
        "implicit BM25",
        "implicit",
        "bm25",
        {"neighbours": NEIGHBOURS, "k1": [1.2, 0.4, 2.0], "b": [0.2, 0.5, 0.8]},
    ),
    Contender(
        "LightFM WARP",
        "lightfm",
        "warp",
        {
            "dimensions": [64, 128],
            "epochs": [30],
            "learning_rate": [0.05, 0.02],
            "regularisation": [0.0, 1e-6, 1e-5],
        },
    ),
    Contender(
        "RecTools EASE",
        "rectools",
        "ease",
        {"regularisation": REGULARISATIONS},
        most_items=20_000,
    ),
    Contender(
        "RecTools eSASRec",
        "rectools",
        "esasrec",
        {
            "dimensions": [64],
            "layers": [2],
            "heads": [2],
            "dropout": [0.3],
            "learning_rate": [1e-3],
            "max_length": [30],
            "negatives": [256],
            "epochs": [8],
        },
        most=1,
    ),
    Contender(
        "LensKit item neighbours",
        "lenskit",
        "lenskit_items",
        {"neighbours": NEIGHBOURS},
        most_items=20_000,
    ),
    Contender("LensKit user neighbours", "lenskit", "lenskit_users", {"neighbours": NEIGHBOURS}),
    Contender("LensKit ALS", "lenskit", "lenskit_als", OF_ALS),
    Contender(
        "Cornac BPR",
        "cornac",
        "bpr",
        {
            "dimensions": [64, 128],
            "epochs": [100, 200],
            "learning_rate": [0.05, 0.02],
            "regularisation": [0.01, 0.001],
        },
    ),
)
HYBRID = "hybrid"
BASES = (HYBRID, "cease")
"""Ours that the others are compared with: the first one that was fitted."""
OURS = ("cease", "matrix_factorisation", "item_neighbours", "ease", "popularity", HYBRID)
"""Our contenders: single models, fitted with the data set's own settings, and the hybrid."""


def title_of(name: str) -> str:
    """Return the title of one of ours.

    >>> title_of("item_neighbours")
    'Bowerbird item neighbours'
    """
    return f"Bowerbird {name.replace('_', ' ')}"
