"""What each model would have earned on the lists that were served: part of the stage ``evaluate``.

In: fitted models and the ``Log`` of lists served after what they were fitted on. Out: one
``offpolicy.Estimate`` for each model and estimator. A model that hardly ever shows what was served
is not judged: only exploration makes logs that can judge others.
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
"""Expected rewards that an item's own must outweigh before its rate is far from the place's."""


def complete(log: Log) -> Log:
    """Return the lists of the most frequent length, or longer and cut, with known propensities."""
    lengths = (log.ids != MISSING).sum(axis=1)
    if not len(log) or not lengths.any():
        return log.pick(np.arange(0))
    k = int(np.bincount(lengths[lengths > 0]).argmax())
    known = (log.ids[:, :k] != MISSING) & (log.propensities[:, :k] > 0)
    rows = log.pick(np.flatnonzero(known.all(axis=1)))
    return Log(rows.histories, rows.ids[:, :k], rows.propensities[:, :k], rows.rewards[:, :k])


def rates(log: Log, n_items: int, seed: int) -> DoubleArray:
    """Return float64 (folds, items, k): the reward of an item at a place, of the other folds.

    A place's mean reward times the item's, which is shrunk to 1: Σ rewards / Σ what its places
    would have earned with any item, ``PRIOR`` added to both.
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
    """Return what the model's own best lists would have earned, by IPS, SNIPS and DR.

    log: ``complete``. n_items: of the catalogue.
    """
    k = log.ids.shape[1]
    ids, _ = model.recommend(log.histories, k, exclude_seen=exclude_seen)
    judged = (ids == log.ids).astype(np.float64)  # nothing is drawn: a place has one item
    common = log.rewards, log.propensities, judged
    table, fold = rates(log, n_items, seed), folds(len(log), seed)[:, None]
    predicted = table[fold, log.ids, np.arange(k)]
    expected = np.where(ids == MISSING, 0.0, table[fold, np.maximum(ids, 0), np.arange(k)])
    return {
        "IPS": ips(*common),
        "SNIPS": snips(*common),
        "DR": doubly_robust(*common, predicted, expected),
    }


def judge_served(
    models: dict[str, Recommender], log: Log, n_items: int, exclude_seen: bool, seed: int
) -> list[dict[str, Any]]:
    """Return a row for each model and estimator, after one for what was served; [] without lists.

    value, low, high: rewards a list, None where the estimate is not judged.
    """
    log = complete(log)
    if not len(log):
        return []
    own = ips(log.rewards, np.ones(log.ids.shape), np.ones(log.ids.shape), least=0)
    found = {"what was served": {"mean": own}} | {
        name: estimates(model, log, n_items, exclude_seen, seed) for name, model in models.items()
    }
    return [
        {
            "model": name,
            "estimator": estimator,
            **{key: getattr(one, key) if one.judged else None for key in ("value", "low", "high")},
            "reason": one.reason,
        }
        for name, each in found.items()
        for estimator, one in each.items()
    ]
