"""The judge: the same checks and the same metrics for the lists of every contender."""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks.peers.common import K
from components.arrays import DoubleArray, IntArray
from components.data.holdout import Task
from components.evaluation.metrics import coverage, hit_rate, ndcg, recall
from components.evaluation.protocol import interval, paired_p_value
from components.recommenders.base import MISSING

METRICS = {"ndcg": ndcg, "recall": recall, "hit_rate": hit_rate}
SAMPLES, SEED = 1000, 0


def check(ids: IntArray, task: Task, exclude_seen: bool, n_items: int, title: str) -> None:
    """Raise an error where lists (users, k) break the rules that hold for all.

    Raises:
        ValueError: of another shape than users and K, an unknown item, an item twice in a list, or
            an item that is excluded for its user; the message names the contender and the user.
    """
    if ids.shape != (len(task.users), K):
        raise ValueError(f"{title}: lists of shape {ids.shape}, not {(len(task.users), K)}")
    given = ids != MISSING
    if ((ids < 0) & given).any() or (ids >= n_items).any():
        raise ValueError(f"{title}: an item code outside 0 to {n_items - 1}")
    ordered = np.sort(ids, axis=1)
    twice = ((ordered[:, 1:] == ordered[:, :-1]) & (ordered[:, 1:] != MISSING)).any(axis=1)
    if twice.any():
        raise ValueError(f"{title}: user {task.users[twice.argmax()]} has an item twice")
    histories = task.histories
    excluded = histories.where(histories.excluded(exclude_seen)).seen(n_items)
    rows = np.broadcast_to(np.arange(len(ids))[:, None], ids.shape)
    found = (np.asarray(excluded[rows, np.maximum(ids, 0)].todense()) > 0) & given
    if found.any():
        row = np.flatnonzero(found.any(axis=1))[0]
        raise ValueError(
            f"{title}: {found.any(axis=1).sum():,} lists have an excluded item, the first is "
            f"that of user {task.users[row]}"
        )


def each(ids: IntArray, task: Task) -> dict[str, DoubleArray]:
    """Return the metrics of each user (users,)."""
    return {name: metric(ids, task.targets) for name, metric in METRICS.items()}


def mean(values: DoubleArray) -> dict[str, float]:
    """Return a mean over users with its 95 % interval."""
    low, high = interval(values, SAMPLES, SEED)
    return {"mean": float(values.mean()), "low": low, "high": high}


def figures(ids: IntArray, task: Task, n_items: int) -> dict[str, Any]:
    """Return the means of the metrics with intervals, and the coverage of the catalogue."""
    found: dict[str, Any] = {name: mean(values) for name, values in each(ids, task).items()}
    return found | {"coverage": coverage(ids, n_items)}


def difference(ids: IntArray, base: IntArray, task: Task) -> dict[str, float]:
    """Return the paired difference of NDCG, lists minus ``base``, with interval and p-value."""
    values, of_base = (ndcg(one, task.targets) for one in (ids, base))
    return mean(values - of_base) | {"p": paired_p_value(of_base, values)}
