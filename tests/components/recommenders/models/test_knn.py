"""Neighbour models: weights of users, similarities, and the nearest without scoring all."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from components.data.dataset import Catalogue, Histories, Interactions
from components.recommenders.models.knn import ItemNeighbours, UserNeighbours, weighted
from components.settings import Neighbours

N_USERS, N_ITEMS = 60, 12


@pytest.fixture(scope="module")
def shop() -> tuple[Interactions, Catalogue]:
    random = np.random.default_rng(1)
    users = np.repeat(np.arange(N_USERS), 4)
    items = np.concatenate([random.permutation(N_ITEMS)[:4] for _ in range(N_USERS)])
    train = Interactions.from_arrays(users, items, np.arange(len(users)), N_USERS, N_ITEMS)
    return train, Catalogue(pd.DataFrame({"item_id": np.arange(N_ITEMS).astype(str)}))


def test_a_user_with_many_items_tells_less() -> None:
    matrix = sp.csr_matrix(np.array([[1, 1, 1, 0], [1, 0, 0, 0]], dtype=np.float32))
    assert weighted(matrix, "cosine").toarray().tolist() == matrix.toarray().tolist()
    found = weighted(matrix, "tfidf").toarray()
    assert found[0, 0] == pytest.approx(np.log(4 / 3))
    assert found[1, 0] == pytest.approx(np.log(4))
    saturated = weighted(matrix, "bm25").toarray()
    assert saturated[0, 0] < saturated[0, 1]  # the popular item weighs less


def test_similarities_are_cosines_without_the_item_itself(shop) -> None:
    train, catalogue = shop
    settings = Neighbours(neighbours=N_ITEMS, weighting="cosine", decay=1.0)
    model = ItemNeighbours(settings).fit(train, catalogue)
    x = train.matrix().toarray()
    cosine = (x.T @ x) / np.outer(np.linalg.norm(x, axis=0), np.linalg.norm(x, axis=0))
    np.fill_diagonal(cosine, 0)
    np.testing.assert_allclose(model.matrix.toarray(), cosine, atol=1e-6)
    history = Histories.from_lists([[3, 7]])
    np.testing.assert_allclose(model.score(history)[0], cosine[3] + cosine[7], atol=1e-6)
    assert np.array_equal(
        model.score_similar(history, np.array([1, 2])), model.score(history)[:, 1:3]
    )


def test_the_nearest_items_are_those_with_the_highest_scores(shop) -> None:
    model = ItemNeighbours(Neighbours(neighbours=5)).fit(*shop)
    history = Histories.from_lists([[2, 9]])
    found = model.nearest_items(history, 4)
    assert sorted(found) == sorted(np.argsort(-model.score(history)[0])[:4])


def test_similar_users_recommend_what_they_have(shop) -> None:
    train, catalogue = shop
    model = UserNeighbours(Neighbours(neighbours=1, weighting="cosine", decay=1.0)).fit(
        train, catalogue
    )
    own = train.items[train.offsets[5] : train.offsets[6]]
    scores = model.score(Histories.from_lists([own.tolist()]))[0]
    assert set(np.flatnonzero(scores)) == set(own)  # the nearest user is this one
