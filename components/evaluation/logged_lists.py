"""Off-policy evaluation of all models on the served lists: part of the stage ``evaluate``.

In: fitted models and the ``Log`` of lists that were served after their training data. Out: one
``off_policy.Estimate`` for each model and estimator. There is no estimate for a model whose lists
differ too much from the served ones: only logs with exploration support other policies.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from components.arrays import DoubleArray, IntArray
from components.data.impressions import Log
from components.evaluation.off_policy import Estimate, doubly_robust, ips, snips
from components.recommenders.base import MISSING, Recommender

FOLDS = 5
PRIOR = 5.0
"""Pseudo-count of the shrinkage of an item's reward rate to that of its position."""


def complete(log: Log) -> Log:
    """Return the lists with known propensities, truncated to the most frequent length; shorter ones
    are dropped."""
    lengths = (log.ids != MISSING).sum(axis=1)
    if not len(log) or not lengths.any():
        return log.pick(np.arange(0))
    k = int(np.bincount(lengths[lengths > 0]).argmax())
    known = (log.ids[:, :k] != MISSING) & (log.propensities[:, :k] > 0)
    rows = log.pick(np.flatnonzero(known.all(axis=1)))
    return Log(rows.histories, rows.ids[:, :k], rows.propensities[:, :k], rows.rewards[:, :k])


def rates(log: Log, n_items: int, seed: int) -> DoubleArray:
    """Return float64 (folds, items, k): an item's reward at a position, from the other folds.

    The position's mean reward times the item's factor, which is shrunk to 1: Σ rewards / Σ mean
    rewards of its positions, with ``PRIOR`` added to both sums.
    """
    n, k = log.ids.shape
    out = np.empty((FOLDS, n_items, k))
    for fold in range(FOLDS):
        others = folds(n, seed) != fold
        ids, rewards = log.ids[others], log.rewards[others]
        place = rewards.mean(axis=0)  # (k,)
        usual = np.broadcast_to(place, ids.shape)
        earned = np.bincount(ids.ravel(), rewards.ravel(), minlength=n_items)
        expected = np.bincount(ids.ravel(), usual.ravel(), minlength=n_items)
        out[fold] = ((earned + PRIOR) / (expected + PRIOR))[:, None] * place
    return out


def folds(n: int, seed: int) -> IntArray:
    """Return int (n,): the fold of each decision."""
    return np.random.default_rng(seed).permutation(n) % FOLDS


def estimates(
    model: Recommender, log: Log, n_items: int, exclude_seen: bool, seed: int
) -> dict[str, Estimate]:
    """Return IPS, SNIPS and DR estimates of the rewards of the model's own best lists.

    log: ``complete``. n_items: of the catalogue.
    """
    k = log.ids.shape[1]
    ids, _ = model.recommend(log.histories, k, exclude_seen=exclude_seen)
    judged = (ids == log.ids).astype(np.float64)  # no exploration: one item per position
    common = log.rewards, log.propensities, judged
    table, fold = rates(log, n_items, seed), folds(len(log), seed)[:, None]
    predicted = table[fold, log.ids, np.arange(k)]
    expected = np.where(ids == MISSING, 0.0, table[fold, np.maximum(ids, 0), np.arange(k)])
    return {
        "IPS": ips(*common),
        "SNIPS": snips(*common),
        "DR": doubly_robust(*common, predicted, expected),
    }


def evaluate_served(
    models: dict[str, Recommender], log: Log, n_items: int, exclude_seen: bool, seed: int
) -> list[dict[str, Any]]:
    """Return a row for the served lists and one for each model and estimator; [] without lists.

    value, low, high: rewards per list, None if the estimate is not reliable.
    """
    log = complete(log)
    if not len(log):
        return []
    own = ips(log.rewards, np.ones(log.ids.shape), np.ones(log.ids.shape), least=0)
    found = {"served lists": {"mean": own}} | {
        name: estimates(model, log, n_items, exclude_seen, seed) for name, model in models.items()
    }
    return [
        {
            "model": name,
            "estimator": estimator,
            **{
                key: getattr(one, key) if one.reliable else None for key in ("value", "low", "high")
            },
            "reason": one.reason,
        }
        for name, each in found.items()
        for estimator, one in each.items()
    ]
