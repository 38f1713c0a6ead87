"""Vectors from co-occurrences: neighbours are near, and a training that starts there is ahead."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from components.data.dataset import Interactions
from components.recommenders.models.sasrec.cooccurrence import cooccurrence_vectors
from components.recommenders.models.sasrec.network import Training
from tests.components.recommenders.models.sasrec.ring import N_ITEMS, SMALL, in_a_ring


def test_items_near_in_histories_have_near_vectors() -> None:
    train, _ = in_a_ring()
    vectors = cooccurrence_vectors(train, 16)
    assert vectors.dtype == np.float32
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(1)
    similar = vectors @ vectors.T
    steps = np.abs(np.arange(N_ITEMS)[:, None] - np.arange(N_ITEMS))
    steps = np.minimum(steps, N_ITEMS - steps)  # round the ring
    assert similar[steps == 1].mean() > 0.5 > similar[steps > 10].max()


def test_items_without_a_neighbour_have_no_vector_and_start_at_random() -> None:
    train, _ = in_a_ring()
    alone = Interactions.from_arrays(
        np.append(train.users, train.n_users), np.append(train.items, N_ITEMS),
        np.append(train.times, 0), n_items=N_ITEMS + 2,
    )  # fmt: skip
    vectors = cooccurrence_vectors(alone, 16)
    assert not vectors[N_ITEMS:].any()
    settings = SMALL.model_copy(update={"cooccurrence": True, "epochs": 1, "learning_rate": 1e-9})
    text = np.zeros((N_ITEMS + 2, 1), dtype=np.float32)
    network, _ = Training(settings).run(alone, text)
    started = network.delta.weight.detach().numpy()
    norms = np.linalg.norm(started, axis=1)
    assert norms[:N_ITEMS] == pytest.approx(0.02 * 4, rel=1e-3)  # that of random ones, 16 wide
    assert np.all(norms[N_ITEMS:] > 0)
    cosines = (started[:N_ITEMS] * vectors[:N_ITEMS]).sum(axis=1) / norms[:N_ITEMS]
    assert cosines == pytest.approx(1, abs=1e-3)


def test_users_of_one_event_give_no_vectors() -> None:
    lonely = Interactions.from_arrays(np.arange(3), np.arange(3), np.zeros(3, dtype=int), 3, 4)
    assert not cooccurrence_vectors(lonely, 2).any()
    assert not cooccurrence_vectors(replace(lonely, n_items=1).where(lonely.users < 0), 2).any()


def test_a_training_that_starts_from_cooccurrences_is_ahead() -> None:
    train, _ = in_a_ring()
    losses = {}
    for on in (False, True):
        training = Training(SMALL.model_copy(update={"cooccurrence": on}))
        training.run(train, np.zeros((N_ITEMS, 1), dtype=np.float32))
        losses[on] = training.losses
    assert losses[True][1] < losses[False][1] - 0.3
