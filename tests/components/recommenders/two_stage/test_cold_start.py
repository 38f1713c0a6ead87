"""Items added after the training: what is known of their nearest warm items counts."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from components.data.dataset import Catalogue, Histories
from components.recommenders import rank as ranking
from components.recommenders import train as training
from components.recommenders.two_stage.cold_start import N_WARM, ColdStart, replace_cold_items
from components.recommenders.two_stage.hybrid import Hybrid
from components.settings import Settings
from serving.recommend.engine import Engine


@pytest.fixture(scope="module")
def model(trained: tuple[Path, Settings], tmp_path_factory: pytest.TempPathFactory) -> Hybrid:
    """A hybrid with models of each kind: texts, purchases, both together."""
    root, settings = tmp_path_factory.mktemp("extended"), trained[1]
    for folder in ("data/prepared", "models/vectors"):
        shutil.copytree(trained[0] / folder, root / folder)
    names = ["popularity", "item_neighbours", "matrix_factorisation", "cease", "content"]
    train = settings.train.model_copy(update={"candidates": names})
    settings = settings.model_copy(update={"train": train})
    training.run(settings, root)
    ranking.run(settings, root)
    return Hybrid.load(root / "models/hybrid")


def twins(model: Hybrid, of: np.ndarray) -> Hybrid:
    """Return the model with a new item of the same text for each of ``of``, codes."""
    table, vectors = model.catalogue.table, model.catalogue.vectors
    assert vectors is not None
    ids = [f"twin{code}" for code in of]
    new = table.iloc[of].assign(item_id=ids)
    return model.extended(
        Catalogue(pd.concat([table, new], ignore_index=True), np.vstack([vectors, vectors[of]]))
    )


def best_sellers(model: Hybrid, n: int) -> np.ndarray:
    return np.argsort(-model.item_statistics[:, 0], kind="stable")[:n]


def test_in_a_history_a_new_item_is_replaced_by_its_nearest_warm_item(model: Hybrid) -> None:
    known, sold = len(model.catalogue), best_sellers(model, 20)
    grown = twins(model, sold)
    extended = [one for one in grown.candidates.values() if isinstance(one, ColdStart)]
    assert {one.model.name for one in extended} >= {"item_neighbours", "matrix_factorisation"}
    new = Histories.from_lists([[known + at, int(sold[-1])] for at in range(10)])
    old = Histories.from_lists([[int(sold[at]), int(sold[-1])] for at in range(10)])
    for one in extended:
        assert (one.score(new)[:, :known] == one.model.score(old)).all(), one.model.name


def test_similar_items_are_asked_of_every_model_that_tells_them_new_items_included(
    model: Hybrid,
) -> None:
    expected = ["item_neighbours", "cease", "content"]
    assert list(model.similar_models()) == expected
    grown = twins(model, best_sellers(model, 20))
    assert list(grown.similar_models()) == expected
    engine = Engine(grown, "1")
    with_cease = engine.similar([3], 10).items
    del grown.candidates["cease"]
    assert engine.similar([3], 10).items != with_cease


def test_without_texts_a_new_item_is_left_out() -> None:
    histories = Histories.from_lists([[7, 1], [8], [2]], now=10)
    kept = replace_cold_items(histories, 5, None)
    assert (kept.items.tolist(), kept.offsets.tolist()) == ([1, 2], [0, 1, 1, 2])
    nearest = np.array([[0, 1], [0, 1], [3, 1], [4, 0]])
    assert replace_cold_items(histories, 5, nearest).items.tolist() == [3, 1, 4, 2]
    nearest[2] = -1  # nothing is like it
    kept = replace_cold_items(histories, 5, nearest)
    assert (kept.items.tolist(), kept.offsets.tolist()) == ([1, 4, 2], [0, 1, 2, 3])


def test_a_replaced_item_keeps_its_rating_and_one_left_out_takes_its_own_away() -> None:
    histories = Histories.from_lists([[7, 1, 8], [2]], now=10)
    rated = replace(histories, ratings=np.array([5, 4, 1, np.nan], dtype=np.float32))
    nearest = np.array([[0, 1], [0, 1], [3, 1], [-1, -1]])
    warm = replace_cold_items(rated, 5, nearest)
    assert (warm.items.tolist(), warm.offsets.tolist()) == ([3, 1, 2], [0, 2, 3])
    np.testing.assert_array_equal(warm.ratings, [5, 4, np.nan])


def test_some_scores_are_those_of_all(model: Hybrid) -> None:
    known = len(model.catalogue)
    grown = twins(model, best_sellers(model, 6))
    histories = Histories.from_lists([[3, 9], [known + 1], []])
    items = np.array([0, 4, known, known + 2, known + 5])
    for name, one in grown.candidates.items():
        if isinstance(one, ColdStart) and one.model.cold_start_weight:
            found, whole = one.score_at(histories, items), one.score(histories)[:, items]
            np.testing.assert_allclose(found, whole, rtol=1e-4, atol=1e-5, err_msg=name)


def test_a_product_without_a_known_word_is_taken_for_no_other(model: Hybrid) -> None:
    known, table, vectors = len(model.catalogue), model.catalogue.table, model.catalogue.vectors
    assert vectors is not None
    new = table.iloc[[0, 0]].assign(item_id=["silent", "twin"])
    more = np.vstack([vectors, np.zeros_like(vectors[:1]), vectors[:1]])
    grown = model.extended(Catalogue(pd.concat([table, new], ignore_index=True), more))
    cease = grown.candidates["cease"]
    liked = Histories.from_lists([[3, 9]])
    scores = cease.score(liked)[0]
    assert scores[known] == scores[:known].min()
    assert scores[known + 1] > scores[known]
    at = np.array([0, 5, known, known + 1])
    assert cease.score_at(liked, at)[0, 2] == cease.score_at(liked, at[:2])[0].min()
    asked = Histories.from_lists([[], [known], [known + 1]])
    nobody, silent, twin = (set(ids) for ids in grown.recommend(asked, 10)[0].tolist())
    assert len(nobody & silent) > len(nobody & twin)


def test_a_new_product_suits_users_of_similar_ones(model: Hybrid) -> None:
    known, sold = len(model.catalogue), best_sellers(model, 40)
    grown = twins(model, sold)
    nearest = grown.generator.nearest_warm
    assert nearest is not None
    assert nearest.shape == (40, N_WARM)
    assert (nearest[:, 0] == sold).mean() > 0.9  # itself is the nearest
    liked = Histories.from_lists(nearest.tolist())
    cease = grown.candidates["cease"]
    scores = cease.score(liked)
    share = cease.model.settings.cold_boost  # type: ignore[attr-defined]
    np.testing.assert_allclose(
        scores[:, known:], share * scores[:, nearest].mean(axis=2), rtol=1e-5
    )
    assert share * scores.max() > 0
    ranks = grown.score_items(liked, np.arange(known, known + 40))
    place = (ranks > np.diag(ranks)[:, None]).sum(axis=1)  # of the right one among the new
    assert np.median(place) <= 4


def test_who_looked_at_a_new_product_is_shown_its_like(model: Hybrid) -> None:
    known, sold = len(model.catalogue), best_sellers(model, 40)
    grown = twins(model, sold)
    vectors = np.asarray(model.catalogue.vectors)
    ids, _ = grown.recommend(Histories.from_lists([[known + at] for at in range(40)]), 10)
    nobody, _ = grown.recommend(Histories.from_lists([[]]), 10)
    cosine = vectors[sold] @ vectors.T
    nearest = np.argsort(-cosine, axis=1)[:, :50]
    to_it = np.mean([np.isin(ids[at], nearest[at]).mean() for at in range(40)])
    to_anybody = np.mean([np.isin(nobody[0], nearest[at]).mean() for at in range(40)])
    assert to_it > 2 * to_anybody
