"""The ranker: it puts what is bought first, and is saved whole."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp

from components.recommenders.two_stage.features import Pairs
from components.recommenders.two_stage.ranker import Ranker, fit_ranker
from components.settings import Rank

USERS, EACH = 200, 20
SETTINGS = Rank(trees=60, min_leaf=5)


@pytest.fixture(scope="module")
def lists() -> tuple[Pairs, sp.csr_matrix]:
    """Candidates of each user; the one whose first feature is largest is bought."""
    random = np.random.default_rng(0)
    features = random.standard_normal((USERS * EACH, 3)).astype(np.float32)
    rows = np.repeat(np.arange(USERS), EACH)
    items = np.tile(np.arange(EACH, dtype=np.int32), USERS)
    bought = features[:, 0].reshape(USERS, EACH).argmax(axis=1)
    targets = sp.csr_matrix((np.ones(USERS), (np.arange(USERS), bought)), (USERS, EACH))
    return Pairs(rows, items, features), targets


def fit(pairs: Pairs, targets: sp.csr_matrix) -> Ranker:
    unsold = np.zeros(targets.shape[1], dtype=bool)
    return fit_ranker(pairs, targets, unsold, ["a", "b", "c"], SETTINGS, seed=1)


def test_what_was_bought_comes_first(lists) -> None:
    pairs, targets = lists
    scores = fit(pairs, targets).predict(pairs.features).reshape(USERS, EACH)
    assert (scores.argmax(axis=1) == targets.indices).mean() > 0.8


def test_the_same_seed_gives_the_same_trees_and_loaded_they_score_the_same(
    lists, tmp_path: Path
) -> None:
    pairs, targets = lists
    ranker = fit(pairs, targets)
    assert ranker.booster.num_trees() <= SETTINGS.trees
    again = fit(pairs, targets)
    assert again.booster.model_to_string() == ranker.booster.model_to_string()
    ranker.save(tmp_path / "ranker.txt")
    loaded = Ranker.load(tmp_path / "ranker.txt")
    assert np.array_equal(loaded.predict(pairs.features), ranker.predict(pairs.features))
    assert loaded.predict(pairs.features[:0]).shape == (0,)


def test_with_too_few_purchases_it_says_which_settings_help(lists) -> None:
    pairs, targets = lists
    few = sp.csr_matrix((np.arange(USERS) < 4).astype(np.float32)[:, None] * targets.toarray())
    with pytest.raises(ValueError, match=r"validation_days.*candidates_per_model"):
        fit(pairs, few)
