"""The learned ranker: LambdaMART over the features of candidates.

In: ``Pairs`` and which of them were bought. Out: a score of each pair. LambdaMART (Burges 2010) by
LightGBM; inference by ``tree_inference``, with the same sums bit for bit.
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

import lightgbm as lgb
import numpy as np
import scipy.sparse as sp

from components.arrays import BoolArray, FloatArray, IntArray
from components.recommenders.two_stage.features import Pairs
from components.recommenders.two_stage.tree_inference import Forest
from components.settings import Rank

FOLDS = 5
"""Parts of the users in the cross-validation."""
MANY_USERS = 20_000
"""From so many users on, one part is held out instead of each in turn."""
PATIENCE = 40
"""Trees without a better NDCG@10 that end a cross-validation."""


class Ranker:
    """A fitted LambdaMART model."""

    def __init__(self, booster: lgb.Booster) -> None:
        self.booster = booster

    @cached_property
    def _forest(self) -> Forest | None:
        return Forest.of(self.booster)

    @cached_property
    def _n_features(self) -> int:
        return int(self.booster.num_feature())

    def predict(self, features: FloatArray) -> FloatArray:
        """Return float32 (pairs,): higher is better. features: float32 (pairs, features).

        Raises:
            ValueError: there are not as many features as the ranker was fitted on.
        """
        if not len(features):
            return np.empty(0, dtype=np.float32)
        if features.shape[1] != self._n_features:
            raise ValueError(
                f"the ranker was fitted on {self._n_features} features and is given "
                f"{features.shape[1]}: train again (`bowerbird run`)"
            )
        return np.asarray((self._forest or self.booster).predict(features), dtype=np.float32)

    def save(self, file: str | Path) -> None:
        """Write the trees to ``file`` in LightGBM's text format."""
        self.booster.save_model(file)

    @classmethod
    def load(cls, file: str | Path) -> Ranker:
        """Return the ranker that ``save`` wrote."""
        return cls(lgb.Booster(model_file=file))


def fit_ranker(
    pairs: Pairs,
    targets: sp.csr_matrix,
    unsold: BoolArray,
    names: list[str],
    settings: Rank,
    seed: int,
    trees: int | None = None,
) -> Ranker:
    """Return a ranker that puts the targets first among the candidates.

    targets: CSR (users, items), nonzero where the user of that row bought the item. unsold: bool
    (items,). names: of the features. trees: their number; None: it is chosen, at most
    ``rank.trees``, by cross-validation over the users (NDCG@10), and then all users train that
    many. A single holdout of a fifth of the users would choose by chance: 5 to 215 trees on the
    embedded shop.

    A user who bought an unsold item has weight ``rank.unsold_weight``: these users are few, and
    without it the ranker puts all sold items before all unsold ones.

    Raises:
        ValueError: too few users bought one of their candidates.
    """
    n_users = targets.shape[0]
    labels = _entries(targets, pairs.rows, pairs.items) > 0
    # Without a purchase among the candidates there is nothing to order.
    hits = np.bincount(pairs.rows, weights=labels, minlength=n_users) > 0
    n_hits = np.count_nonzero(hits)
    if n_hits < FOLDS:
        raise ValueError(
            "the ranker has nothing to learn from: hardly a candidate was bought in the "
            "validation window; use a longer preprocess.validation_days or more "
            "rank.candidates_per_model"
        )
    weights = np.where(targets @ unsold.astype(np.float32) > 0, settings.unsold_weight, 1.0)
    chosen = hits[pairs.rows]
    rows = pairs.rows[chosen]
    data = lgb.Dataset(
        pairs.features[chosen],
        label=labels[chosen].astype(np.int8),
        group=np.bincount(rows, minlength=n_users)[hits],
        weight=weights[rows],
        feature_name=names,
        free_raw_data=False,
    )
    parameters = {
        "objective": "lambdarank",
        "metric": "ndcg",
        "eval_at": [10],
        "lambdarank_truncation_level": settings.truncation,
        "learning_rate": settings.learning_rate,
        "num_leaves": settings.leaves,
        "min_data_in_leaf": settings.min_leaf,
        "feature_fraction": 0.7,
        "bagging_fraction": 0.8,
        "bagging_freq": 1,
        "lambda_l2": 5.0,
        "seed": seed,
        "deterministic": True,
        "force_row_wise": True,
        "verbosity": -1,
    }
    if trees is None:
        fold = np.zeros(n_users, dtype=np.int64)
        fold[hits] = np.random.default_rng(seed).permutation(n_hits) % FOLDS  # none is empty
        validated = lgb.cv(
            parameters,
            data,
            num_boost_round=settings.trees,
            folds=[
                (np.flatnonzero(fold[rows] != one), np.flatnonzero(fold[rows] == one))
                for one in range(FOLDS if n_hits < MANY_USERS else 1)
            ],
            callbacks=[lgb.early_stopping(PATIENCE, verbose=False)],
        )
        by_round = validated["valid ndcg@10-mean"]
        assert isinstance(by_round, list)
        trees = len(by_round)
    return Ranker(lgb.train(parameters, data, num_boost_round=trees))


def _entries(matrix: sp.csr_matrix, rows: IntArray, columns: IntArray) -> FloatArray:
    """Return float32 (pairs,): the entries of a CSR matrix at the pairs, 0 where it has none."""
    return np.asarray(matrix[rows, columns], dtype=np.float32).ravel()
