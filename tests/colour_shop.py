"""A made-up shop whose customers buy their own colour, which their age tells: for attributes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from components.data.attribute_codes import UserAttributes
from components.data.dataset import Catalogue, Histories, Interactions, Prepared
from components.data.profiles import write_profiles
from components.recommenders.factory import build
from components.recommenders.two_stage.hybrid import Hybrid
from components.settings import Settings

N_USERS, N_ITEMS = 400, 60
COLOURS = np.array(["blue", "red", "green"])
CANDIDATES = ("popularity", "item_neighbours", "demographic")


def ages() -> pd.DataFrame:
    """Return the users: their ids, and young or old; nothing is known of the first."""
    young = np.random.default_rng(0).random(N_USERS) < 0.5
    table = pd.DataFrame(
        {
            "user_id": [f"u{one}" for one in range(N_USERS)],
            "category:age": np.where(young, "young", "old").astype(object),
        }
    )
    table.loc[0, "category:age"] = None
    return table


def colour_shop() -> tuple[Interactions, Catalogue]:
    """Return eight purchases of each user, nine of ten of the own colour: blue of the young, red or
    green of the old. The last item has no attributes."""
    random = np.random.default_rng(1)
    people = ages()
    young = (people["category:age"] == "young").to_numpy()
    favourite = np.where(young, 0, random.integers(1, 3, N_USERS))
    users = np.repeat(np.arange(N_USERS), 8)
    own = random.random(len(users)) < 0.9
    rows = random.integers(0, N_ITEMS // 3, len(users)) * 3
    items = np.where(own, rows + favourite[users], random.integers(0, N_ITEMS, len(users)))
    table = pd.DataFrame(
        {
            "item_id": [f"i{one}" for one in range(N_ITEMS)],
            "title": [f"Cup {one}" for one in range(N_ITEMS)],
            "description": "",
            "brand": "",
            "categories": [[] for _ in range(N_ITEMS)],
            "categories_inferred": False,
            "price": np.float32(1),
            "currency": "EUR",
            "available": True,
            "main_category": None,
            "category:colour": COLOURS[np.arange(N_ITEMS) % 3],
            "set:use": [["kitchen"], ["kitchen", "garden"], ["garden"]] * (N_ITEMS // 3),
            "number:margin": np.arange(N_ITEMS, dtype=np.float32),
        }
    )
    table.loc[N_ITEMS - 1, ["category:colour", "set:use", "number:margin"]] = None
    times = 1_700_000_000 + np.arange(len(users))
    train = Interactions.from_arrays(users, items, times, N_USERS, N_ITEMS)
    return replace(train, attributes=UserAttributes.of(people)), Catalogue(table)


def newcomers(train: Interactions, users: np.ndarray) -> Histories:
    """Return histories of users of whom only the attributes are known."""
    assert train.attributes is not None
    empty = Histories.from_lists([[]] * len(users), now=int(train.times.max()))
    return replace(empty, attributes=train.attributes.take(users))


def colour_hybrid(
    train: Interactions,
    catalogue: Catalogue,
    settings: Settings,
    names: Sequence[str] = CANDIDATES,
) -> Hybrid:
    """Return a hybrid whose ranker learned from newcomers and what they bought."""
    candidates = {name: build(name, settings).fit(train, catalogue) for name in names}
    rank = settings.rank.model_copy(update={"trees": 20, "min_leaf": 20})
    model = Hybrid(rank, candidates, seed=1).fit(train, catalogue)
    users = np.arange(1, N_USERS)
    return model.fit_ranker(newcomers(train, users), train.matrix()[users], exclude_seen=False)


def write_colour_model(root: Path, settings: Settings) -> None:
    """Write the shop's model and profiles into a folder; of the user ``known`` only the age is
    known."""
    train, catalogue = colour_shop()
    colour_hybrid(train, catalogue, settings).save(root / "models/hybrid")
    newcomer = pd.DataFrame({"user_id": ["known"], "category:age": ["young"]})
    prepared = Prepared(train, catalogue, ages(), 0, 0, 0, newcomer)
    write_profiles(prepared, root / "models/profiles/profiles.parquet")
