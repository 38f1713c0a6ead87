"""A trained model of a large synthetic shop, for ``benchmarks.serving``.

Products form clusters in text space and sell by Zipf's law; a shopper buys within three clusters.
The ranker is trained on a shop of 20,000 products of the same kind: its features do not depend on
the size. Candidates: popularity, item_neighbours, content.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from components.data.dataset import Catalogue, Interactions
from components.manifest import write_manifest
from components.recommenders.base import Recommender
from components.recommenders.models.content import Content
from components.recommenders.models.knn import ItemNeighbours
from components.recommenders.models.popularity import Popularity
from components.recommenders.two_stage.hybrid import Hybrid
from components.settings import Rank, load_settings

WIDTH = 64
EVENTS = 10
DAY = 86_400


def shop(products: int, users: int, seed: int) -> tuple[Interactions, Catalogue]:
    """Return the interactions of a year and the catalogue."""
    random = np.random.default_rng(seed)
    clusters = max(20, products // 500)
    centres = random.standard_normal((clusters, WIDTH), dtype=np.float32)
    cluster = np.sort(random.integers(0, clusters, products))
    vectors = centres[cluster] + 0.8 * random.standard_normal((products, WIDTH), dtype=np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    start = np.searchsorted(cluster, np.arange(clusters))
    size = np.maximum(np.bincount(cluster, minlength=clusters), 1)
    favourite = random.integers(0, clusters, (users, 3))
    who = np.repeat(np.arange(users), EVENTS)
    where = favourite[who, random.integers(0, 3, len(who))]
    place = (size[where] ** random.random(len(who)) - 1).astype(np.int64)  # Zipf within a cluster
    items = np.minimum(start[where] + place, products - 1)
    times = random.integers(0, 365 * DAY, len(who))
    names = np.char.add("p", np.arange(products).astype(str))
    table = pd.DataFrame(
        {
            "item_id": names,
            "title": np.char.add("Product of kind ", cluster.astype(str)),
            "description": None,
            "brand": None,
            "categories": [[f"kind {number}"] for number in cluster],
            "categories_inferred": False,
            "main_category": pd.Series(cluster).map("kind {}".format),
            "price": random.lognormal(2, 1, products).astype(np.float32),
            "currency": "EUR",
            "available": True,
            "popularity": np.bincount(items, minlength=products),
        }
    )
    return Interactions.from_arrays(who, items, times, users, products), Catalogue(table, vectors)


def candidates(train: Interactions, catalogue: Catalogue) -> dict[str, Recommender]:
    """Return the fitted candidate models."""
    settings = load_settings().train
    models = (
        Popularity(settings.popularity),
        ItemNeighbours(settings.item_neighbours.model_copy(update={"neighbours": 50})),
        Content(settings.content),
    )
    return {model.name: model.fit(train, catalogue) for model in models}


def make(root: Path, products: int) -> None:
    """Write models/hybrid of a shop of ``products`` below ``root``."""
    settings = Rank()
    train, catalogue = shop(min(products, 20_000), 10_000, seed=1)
    split = 335 * DAY
    before, after = train.where(train.times < split), train.where(train.times >= split)
    small = Hybrid(
        settings.model_copy(update={"trees": 100}), candidates(before, catalogue), seed=1
    )
    small.fit(before, catalogue)
    buyers = np.unique(after.users)
    small.fit_ranker(before.histories(buyers, split), after.matrix()[buyers], True)
    train, catalogue = shop(products, products // 5, seed=2)
    model = Hybrid(settings, candidates(train, catalogue), small.ranker, seed=1)
    model.fit(train, catalogue).save(root / "models/hybrid")
    profiles = root / "models/profiles/profiles.parquet"
    profiles.parent.mkdir(parents=True, exist_ok=True)
    pd.DataFrame(
        {
            "user_id": np.char.add("u", train.users.astype(str)),
            "item_id": catalogue.ids[train.items],
            "timestamp": pd.to_datetime(train.times, unit="s", utc=True),
        }
    ).to_parquet(profiles)
    write_manifest(root / "models/hybrid")
