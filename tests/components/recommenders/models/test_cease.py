"""The linear model of purchases and words: its closed form, and what was never sold."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from components.data.dataset import Catalogue, Histories, Interactions
from components.recommenders.models.cease import CEASE
from components.recommenders.models.tfidf import word_vectors
from components.settings import CEASE as Settings

TITLES = [
    "red mug", "blue mug", "green mug",
    "oak chair", "pine chair", "oak table",
    "wool scarf", "silk scarf", "red scarf", "yellow mug",
]  # fmt: skip
NEVER = 9


@pytest.fixture(scope="module")
def shop() -> tuple[Interactions, Catalogue]:
    random = np.random.default_rng(0)
    items = np.concatenate([random.permutation(3)[:2] + 3 * (user % 3) for user in range(90)])
    users = np.repeat(np.arange(90), 2)
    table = pd.DataFrame({"item_id": TITLES, "title": TITLES, "brand": None, "description": None})
    table = table.assign(categories=[[]] * len(TITLES), categories_inferred=False)
    train = Interactions.from_arrays(users, items, np.arange(len(users)), 90, len(TITLES))
    return train, Catalogue(table)


def settings(**values: object) -> Settings:
    base = {"regularisation": 5.0, "half_life_days": 1e9, "decay": 1.0, "text_weight": 4.0}
    return Settings(**{**base, **values})


def test_is_the_ridge_regression_of_purchases_and_words_stacked(shop) -> None:
    train, catalogue = shop
    model = CEASE(settings(cold_boost=0.0)).fit(train, catalogue)
    words = word_vectors(TITLES).toarray()
    stacked = np.vstack([train.matrix().toarray(), 2.0 * words.T])  # 2 = sqrt(4)
    for item in (0, 5, NEVER):
        others = np.delete(np.arange(len(TITLES)), item)
        x, y = stacked[:, others], stacked[:, item]
        expected = np.linalg.solve(x.T @ x + 5.0 * np.eye(len(others)), x.T @ y)
        np.testing.assert_allclose(model.weights[others, item], expected, atol=1e-4)


@pytest.mark.parametrize("form", ["dense", "sparse"])
def test_an_item_never_sold_is_found_by_its_words_and_its_neighbours_sales(shop, form) -> None:
    train, catalogue = shop
    mugs = Histories.from_lists([[0, 1]])
    with_boost = CEASE(settings(form=form, cold_boost=1.0)).fit(train, catalogue)
    without = CEASE(settings(form=form, cold_boost=0.0)).fit(train, catalogue)
    ids, _ = with_boost.recommend(mugs, k=2)
    assert NEVER in ids
    assert with_boost.score(mugs)[0, NEVER] > without.score(mugs)[0, NEVER] > 0
    sold = np.arange(NEVER)
    np.testing.assert_allclose(with_boost.score(mugs)[0, sold], without.score(mugs)[0, sold])


def test_the_sparse_form_orders_as_the_dense_one_where_every_item_is_a_neighbour(shop) -> None:
    train, catalogue = shop
    histories = Histories.from_lists([[0], [4], [7]])
    dense = CEASE(settings(form="dense")).fit(train, catalogue)
    sparse = CEASE(settings(form="sparse", neighbours=50)).fit(train, catalogue)
    np.testing.assert_array_equal(
        dense.recommend(histories, k=2)[0], sparse.recommend(histories, k=2)[0]
    )


def test_a_dense_form_of_too_many_items_is_refused(shop) -> None:
    train, catalogue = shop
    with pytest.raises(ValueError, match=r"train\.cease\.max_items"):
        CEASE(settings(form="dense", max_items=5)).fit(train, catalogue)


def test_is_the_same_after_saving(shop, tmp_path) -> None:
    train, catalogue = shop
    model = CEASE(settings()).fit(train, catalogue)
    model.save(tmp_path)
    histories = Histories.from_lists([[0, 3]])
    np.testing.assert_array_equal(CEASE.load(tmp_path).score(histories), model.score(histories))
