"""Weights of events: a pair counts by its heaviest event, and keeps them through every cut."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from components.data.dataset import DAY, Interactions


def weighted() -> Interactions:
    """User 0 met item 0 by a list and later without, item 1 by a list only; user 1 item 1."""
    users, items = np.array([0, 0, 0, 1]), np.array([0, 0, 1, 1])
    weights = np.array([0.5, 1, 0.5, 1], dtype=np.float32)
    return Interactions.from_arrays(users, items, np.array([0, 10, 5, 10]) * DAY, weights=weights)


def test_a_pair_counts_by_its_heaviest_event() -> None:
    x = weighted()  # sorted by user and time: (0, 0), (0, 1), (0, 0), (1, 1)
    assert x.items.tolist() == [0, 1, 0, 1]
    assert x.matrix().toarray().tolist() == [[1.0, 0.5], [0.0, 1.0]]
    halved = x.matrix(half_life_days=5).toarray()
    assert halved == pytest.approx(np.array([[1.0, 0.25], [0.0, 1.0]]))
    assert replace(x, weights=None).matrix().toarray().tolist() == [[1, 1], [0, 1]]


def test_a_weight_of_0_leaves_nothing_of_a_pair() -> None:
    x = weighted()
    without = replace(x, weights=np.where(x.weights == 1, 1, 0).astype(np.float32))
    assert without.matrix().nnz == 2
    assert without.matrix().toarray().tolist() == [[1, 0], [0, 1]]


def test_weights_follow_their_events() -> None:
    x = weighted()
    assert x.weights is not None
    assert x.where(x.users == 0).weights.tolist() == x.weights[:3].tolist()
    assert x.newest(1).weights.tolist() == [1, 1]
    nothing = x.where(np.zeros(len(x), dtype=bool))
    assert nothing.matrix().nnz == 0
