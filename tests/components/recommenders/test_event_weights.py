"""Weighted and negative events in the models that score a history."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from components.data.dataset import Catalogue, Histories, Interactions, load_prepared
from components.recommenders.factory import build
from components.recommenders.models.als import RatingFactorisation
from components.recommenders.two_stage.hybrid import Hybrid
from components.settings import RatingFactorisation as RatingSettings
from components.settings import Settings

WEIGHTED = ["item_neighbours", "content", "ease", "cease", "tfidf"]
"""Candidates whose scores are sums over the history's events."""


@pytest.fixture(scope="module")
def prepared(trained: tuple[Path, Settings]):
    return load_prepared(trained[0] / "data/prepared", trained[0] / "models/vectors")


@pytest.fixture(scope="module")
def histories(prepared) -> Histories:
    """The histories of forty customers with twenty events each."""
    lengths = np.diff(prepared.interactions.offsets)
    users = np.flatnonzero(lengths >= 20)[:40]
    return prepared.interactions.histories(users, prepared.end).last(20)


def with_strength(histories: Histories, steps_back: int, strength: float) -> Histories:
    strengths = np.ones(len(histories.items), dtype=np.float32)
    strengths[histories.steps_back() == steps_back] = strength
    return replace(histories, strengths=strengths)


@pytest.mark.parametrize("name", [*WEIGHTED, "matrix_factorisation", "user_neighbours"])
def test_an_event_of_less_weight_moves_the_scores_less(
    name: str, prepared, histories: Histories, trained: tuple[Path, Settings]
) -> None:
    settings = trained[1]
    model = build(name, settings, trained[0]).fit(prepared.interactions, prepared.catalogue)
    without = model.score(histories.where(histories.steps_back() != 0))
    moved = [
        np.abs(model.score(with_strength(histories, 0, strength)) - without).mean()
        for strength in (0.1, 0.5, 1.0)
    ]
    assert 0 < moved[0] < moved[1] < moved[2], moved


def test_what_is_near_to_a_disliked_product_goes_down(
    prepared, histories: Histories, trained: tuple[Path, Settings]
) -> None:
    """Against the same history in which the event is not there."""
    model = Hybrid.load(trained[0] / "models/hybrid")
    k = 50
    neutral, _ = model.recommend(with_strength(histories, 3, 0.0), k)
    disliked, _ = model.recommend(with_strength(histories, 3, -1.0), k)
    vectors = prepared.catalogue.vectors
    of_history = histories.items[histories.steps_back() == 3]
    kept = with_strength(histories, 3, -1.0).excluded(True)
    assert kept[histories.steps_back() == 3].all()

    def nearness(ids: np.ndarray, n: int) -> np.ndarray:
        """Mean cosine of the first n items to the disliked one."""
        return np.array(
            [
                (vectors[row[row >= 0][:n]] @ vectors[item]).mean()
                for row, item in zip(ids, of_history, strict=True)
            ]
        )

    change = nearness(disliked, 10) - nearness(neutral, 10)
    assert change.mean() < -0.005
    assert (change <= 1e-6).mean() > 0.7


def test_a_disliked_product_is_never_recommended(
    histories: Histories, trained: tuple[Path, Settings]
) -> None:
    model = Hybrid.load(trained[0] / "models/hybrid")
    everything = model.recommend(histories, len(model.catalogue.ids), exclude_seen=False)[0]
    newest = histories.items[histories.steps_back() == 0]
    assert any(item in row for row, item in zip(everything, newest, strict=True))
    ids, _ = model.recommend(
        with_strength(histories, 0, -1.0), len(model.catalogue.ids), exclude_seen=False
    )
    assert not any(item in row for row, item in zip(ids, newest, strict=True))


def test_only_what_excludes_is_left_out(
    histories: Histories, trained: tuple[Path, Settings]
) -> None:
    """Viewed products may be recommended, bought ones not."""
    model = Hybrid.load(trained[0] / "models/hybrid")
    viewed = replace(histories, excluding=histories.steps_back() != 0)
    ids, _ = model.recommend(viewed, 20)
    found = [
        (np.isin(row, histories.items[histories.offsets[n] : histories.offsets[n + 1]]))
        for n, row in enumerate(ids)
    ]
    own = [set(row[hit].tolist()) for row, hit in zip(ids, found, strict=True)]
    newest = histories.items[histories.steps_back() == 0]
    assert all(items <= {item} for items, item in zip(own, newest.tolist(), strict=True))
    assert any(own)


def test_a_shopper_of_dislikes_alone_is_a_new_one(
    histories: Histories, trained: tuple[Path, Settings]
) -> None:
    model = Hybrid.load(trained[0] / "models/hybrid")
    some = histories.last(1)
    disliked = replace(some, strengths=np.full(len(some.items), -1, dtype=np.float32))
    ids, _ = model.recommend(disliked, 10)
    assert (ids >= 0).all()
    assert not (ids == some.items[:, None]).any()


def test_low_ratings_are_learned_from_where_ratings_are_predicted() -> None:
    """A product of one star has a lower predicted rating than one of five, and is no purchase."""
    users, items = np.repeat(np.arange(30), 2), np.tile([0, 1], 30)
    x = Interactions.from_arrays(users, items, np.arange(60), n_items=3)
    stars = np.where(items == 0, 1, 5).astype(np.float32)
    rated = replace(x, ratings=stars, strengths=np.where(stars == 1, -1, 1).astype(np.float32))
    catalogue = Catalogue(pd.DataFrame({"item_id": ["bad", "good", "new"]}))
    model = RatingFactorisation(RatingSettings()).fit(rated, catalogue)
    bad, good, _ = model.score(Histories.from_lists([[]]))[0]
    assert bad < 3 < good
    assert np.asarray(rated.matrix().sum(axis=0)).ravel().tolist() == [0, 30, 0]
