"""Evaluation protocol: split by time, whole catalogue ranked, items new to each user as targets.

In: ``Prepared`` tables and models with the interface of ``recommenders.base``. Out: lists, metrics
for each user, intervals. A user's history is all events before the window, the targets are the
user's purchases in the window; a model is evaluated on a window after its training data.
"""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np
from scipy.stats import norm

from components.arrays import BoolArray, DoubleArray, Int32Array, IntArray
from components.data.dataset import Interactions
from components.data.holdout import Task
from components.evaluation.metrics import ndcg
from components.recommenders.base import Recommender

EXACT_USERS = 14
"""Users with a difference up to which a p-value is exact: 2**14 signs take milliseconds."""


def leave_one_out_task(
    x: Interactions, back: int = 1, exclude_seen: bool = False
) -> tuple[Interactions, Task]:
    """Return the events before each user's ``back``-th newest event, and that event as the target.

    The protocol of SASRec and its successors: test with ``back`` 1, validation with 2. Users with
    fewer events than ``back + 1`` are excluded. Unlike in ``window_task``, models learn from later
    events of other users: the figures are comparable with papers, not with the served model.
    exclude_seen: exclude users who had the target before.
    """
    place = np.arange(len(x.users)) - x.offsets[x.users]
    steps_back = np.diff(x.offsets)[x.users] - 1 - place
    train = x.where(steps_back >= back)
    wanted = x.where(steps_back == back - 1)
    users = wanted.users[np.isin(wanted.users, train.users)]
    times = wanted.times[np.isin(wanted.users, train.users)]
    task = Task(users, train.histories(users, times + 1), wanted.matrix()[users])
    if exclude_seen:
        had = task.targets.multiply(task.histories.seen(x.n_items))
        rows = np.flatnonzero(np.asarray(had.sum(axis=1)).ravel() == 0)
        task = Task(users[rows], task.histories.pick(rows), task.targets[rows])
    return train, task


def paired_p_value(first: DoubleArray, second: DoubleArray) -> float:
    """Return the p-value of the difference of two means: Fisher's randomisation test, two-sided.

    first, second: a metric of the same users (users,). Smucker, Allan and Carterette (CIKM 2007)
    recommend the test for such metrics: if both models are equally good, each user's difference
    could as well have the other sign. Up to EXACT_USERS users
    with a difference, all signs are enumerated. With more, the sum of the differences d under
    random signs is approximated by a normal distribution with variance Σ d² (Lehmann and Romano,
    Testing Statistical Hypotheses, 2005, section 15.2). Unlike resampling, both give p-values small
    enough for a correction for many pairs.

    >>> paired_p_value(np.zeros(5), np.ones(5))  # 2 of the 2**5 signs differ as much
    0.0625
    """
    difference = np.asarray(second, dtype=np.float64) - first
    difference = difference[difference != 0]  # a difference of zero has no sign
    if not len(difference):
        return 1.0
    found = abs(difference.sum())
    if len(difference) > EXACT_USERS:
        return float(2 * norm.sf(found / np.sqrt(difference @ difference)))
    users = np.arange(len(difference))
    signs = 1 - 2 * (np.arange(2 ** len(users))[:, None] >> users & 1)  # (2**users, users)
    rounding = 1e-12 * np.abs(difference).sum()  # equal sums differ by rounding
    return float((np.abs(signs @ difference) >= found - rounding).mean())


def holm(p_values: DoubleArray) -> DoubleArray:
    """Return p-values (tests,) corrected for multiple tests (Holm 1979).

    >>> holm(np.array([0.01, 0.04, 0.03])).round(2).tolist()
    [0.03, 0.06, 0.06]
    """
    order = np.argsort(p_values)
    steps = np.maximum.accumulate(p_values[order] * np.arange(len(p_values), 0, -1))
    out = np.empty(len(p_values))
    out[order] = np.minimum(steps, 1.0)
    return out


def pairwise(each: dict[str, DoubleArray]) -> list[dict[str, Any]]:
    """Return, for every two models, the mean difference of a metric and its corrected p-value.

    each: the metric of the same users (users,), by model.
    """
    pairs = list(combinations(each, 2))
    found = np.array([paired_p_value(each[a], each[b]) for a, b in pairs])
    return [
        {"better": a, "worse": b, "difference": float(each[a].mean() - each[b].mean()), "p": p}
        if each[a].mean() >= each[b].mean()
        else {"better": b, "worse": a, "difference": float((each[b] - each[a]).mean()), "p": p}
        for (a, b), p in zip(pairs, holm(found).tolist(), strict=True)
    ]


def some_users(task: Task, most: int, seed: int) -> Task:
    """Return the task for at most ``most`` users, drawn at random; 0 is all."""
    if not most or len(task.users) <= most:
        return task
    rows = np.sort(np.random.default_rng(seed).choice(len(task.users), most, replace=False))
    return Task(task.users[rows], task.histories.pick(rows), task.targets[rows])


def lists(model: Recommender, task: Task, k: int, exclude_seen: bool) -> Int32Array:
    """Return int32 (batch, k): the model's lists, every item of the catalogue ranked."""
    return model.recommend(task.histories, k, exclude_seen=exclude_seen)[0]


def bootstrap_means(values: DoubleArray, samples: int, seed: int) -> DoubleArray:
    """Return the means of ``values`` over resampled users: (users,) → (samples,).

    (users, columns) → (samples, columns): the same resamples for all columns.
    """
    n = len(values)
    generator = np.random.default_rng(seed)
    step = max(1, 2**22 // n)  # resamples at once: their counts take 32 MB
    means = []
    for start in range(0, samples, step):
        draws = (generator.integers(0, n, n) for _ in range(min(step, samples - start)))
        means.append(np.array([np.bincount(draw, minlength=n) for draw in draws], float) @ values)
    result: DoubleArray = np.concatenate(means) / n
    return result


def interval(
    values: DoubleArray, samples: int, seed: int, level: float = 0.95
) -> tuple[float, float]:
    """Return the bootstrap interval of the mean of ``values`` (users,), resampling users."""
    if not len(values):
        return float("nan"), float("nan")
    means = bootstrap_means(values, samples, seed)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def sliced_ndcg(ids: IntArray, task: Task, items: BoolArray) -> float:
    """Return the mean NDCG of lists on targets among ``items`` only; NaN without targets."""
    rows, targets = task.only(items)
    return float(ndcg(ids[rows], targets).mean()) if len(rows) else float("nan")
