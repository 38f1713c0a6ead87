"""A small world for SASRec's tests: users who walk round a ring of items."""

from __future__ import annotations

import numpy as np
import pandas as pd

from components.data.dataset import Catalogue, Interactions
from components.settings import Sequential as SequentialSettings

SMALL = SequentialSettings(
    dimensions=16, layers=1, heads=2, dropout=0.1, epochs=4, batch_size=16, learning_rate=5e-3,
    max_length=8, words=0,
)  # fmt: skip
N_ITEMS = 40


def in_a_ring(n_users: int = 120, length: int = 8) -> tuple[Interactions, Catalogue]:
    """Users who walk round a ring of items, and text that tells the place in it."""
    random = np.random.default_rng(5)
    users = np.repeat(np.arange(n_users), length)
    steps = np.tile(np.arange(length), n_users)
    items = (np.repeat(random.integers(N_ITEMS, size=n_users), length) + steps) % N_ITEMS
    angle = 2 * np.pi * np.arange(N_ITEMS) / N_ITEMS
    waves = np.concatenate([[np.cos(k * angle), np.sin(k * angle)] for k in (1, 2, 3, 5)])
    table = pd.DataFrame({"item_id": np.arange(N_ITEMS)})
    vectors = (waves.T / 2).astype(np.float32)
    return Interactions.from_arrays(users, items, steps, n_items=N_ITEMS), Catalogue(table, vectors)
