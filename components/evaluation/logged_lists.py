"""Off-policy evaluation of all models on the served lists: part of the stage ``evaluate``.

In: fitted models and the ``Log`` of lists that were served after their training data. Out: one
``off_policy.Estimate`` for each model and estimator. There is no estimate for a model whose lists
differ too much from the served ones: only logs with exploration support other policies.

Places that merchandising rules decided are left out: their rewards count for no model, and a
model's list is compared with the other places as the rules would have left them, since a product
pinned to the first place moves the model's own first product to the second.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from components.arrays import DoubleArray, Int32Array, IntArray
from components.data.impressions import Log
from components.evaluation.off_policy import Estimate, doubly_robust, ips, snips
from components.recommenders.base import MISSING, Recommender

FOLDS = 5
PRIOR = 5.0
"""Pseudo-count of the shrinkage of an item's reward rate to that of its position."""


def complete(log: Log) -> Log:
    """Return the lists with known propensities, truncated to the most frequent length; shorter ones
    are dropped."""
    placed = np.zeros(log.ids.shape, dtype=bool) if log.placed is None else log.placed
    there = placed | (log.ids != MISSING)
    lengths = there.sum(axis=1)
    if not len(log) or not lengths.any():
        return log.pick(np.arange(0))
    k = int(np.bincount(lengths[lengths > 0]).argmax())
    known = placed[:, :k] | ((log.ids[:, :k] != MISSING) & (log.propensities[:, :k] > 0))
    rows = np.flatnonzero(known.all(axis=1))
    found, placed = log.pick(rows), placed[rows, :k]
    return Log(
        found.histories,
        found.ids[:, :k],
        # A rule decided the place whatever the policy: the same item in the lists of all.
        np.where(placed, 1.0, found.propensities[:, :k]),
        np.where(placed, 0.0, found.rewards[:, :k]),
        placed if placed.any() else None,
    )


def under_rules(ids: IntArray, log: Log) -> Int32Array:
    """Return lists of a model as the rules of the log would have left them, int32 (n, k).

    ids: int (n, wide), the model's lists, at least as wide as k and the most ``placed`` places of a
    list. An item that a rule placed stands at its place alone.

    >>> log = Log(None, np.array([[9, 1, 2]]), np.ones((1, 3)), np.zeros((1, 3)),
    ...           np.array([[True, False, False]]))
    >>> under_rules(np.array([[4, 9, 5, 6]]), log).tolist()
    [[9, 4, 5]]
    """
    k = log.ids.shape[1]
    if log.placed is None:
        return ids[:, :k].astype(np.int32)
    fixed = np.where(log.placed, log.ids, MISSING - 1)
    own = ~(ids[:, :, None] == fixed[:, None, :]).any(axis=2)
    ranked = np.take_along_axis(ids, np.argsort(~own, axis=1, kind="stable"), axis=1)
    place = np.maximum(np.cumsum(~log.placed, axis=1) - 1, 0)
    filled = np.take_along_axis(ranked, place, axis=1)
    return np.where(log.placed, log.ids, filled).astype(np.int32)


def rates(log: Log, n_items: int, seed: int) -> DoubleArray:
    """Return float64 (folds, items, k): an item's reward at a position, from the other folds.

    The position's mean reward times the item's factor, which is shrunk to 1: Σ rewards / Σ mean
    rewards of its positions, with ``PRIOR`` added to both sums.
    """
    n, k = log.ids.shape
    out = np.empty((FOLDS, n_items, k))
    counts = np.ones((n, k)) if log.placed is None else (~log.placed).astype(np.float64)
    for fold in range(FOLDS):
        others = folds(n, seed) != fold
        ids, rewards = np.maximum(log.ids[others], 0), log.rewards[others]
        shown = counts[others]
        place = rewards.sum(axis=0) / np.maximum(shown.sum(axis=0), 1.0)  # (k,)
        usual = place * shown
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
    wide = k if log.placed is None else k + int(log.placed.sum(axis=1).max(initial=0))
    ids, _ = model.recommend(log.histories, wide, exclude_seen=exclude_seen)
    ids = under_rules(ids, log)
    judged = (ids == log.ids).astype(np.float64)  # no exploration: one item per position
    common = log.rewards, log.propensities, judged
    table, fold = rates(log, n_items, seed), folds(len(log), seed)[:, None]
    predicted = table[fold, np.maximum(log.ids, 0), np.arange(k)]
    expected = np.where(ids == MISSING, 0.0, table[fold, np.maximum(ids, 0), np.arange(k)])
    if log.placed is not None:
        predicted, expected = (np.where(log.placed, 0.0, one) for one in (predicted, expected))
    free = None if log.placed is None else ~log.placed
    return {
        "IPS": ips(*common, free=free),
        "SNIPS": snips(*common, free=free),
        "DR": doubly_robust(*common, predicted, expected, free=free),
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
