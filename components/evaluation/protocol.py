"""How models are judged: by time, over the whole catalogue, on what was new to each user.

In: ``Prepared`` tables and models with the face of ``recommenders.base``. Out: lists, metrics for
each user, intervals. A user's history is everything before the window, the targets are what the
user bought in it; a model judged on a window was fitted on what lies before.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import scipy.sparse as sp

from components.data.dataset import Histories, Prepared
from components.evaluation.metrics import ndcg
from components.recommenders.base import Recommender

Window = Literal["validation", "test"]


@dataclass(frozen=True)
class Task:
    """users: int (batch,) codes. histories: before the window. targets: CSR (batch, items)."""

    users: np.ndarray
    histories: Histories
    targets: sp.csr_matrix

    def only(self, items: np.ndarray) -> tuple[np.ndarray, sp.csr_matrix]:
        """Return the rows that have a target among ``items`` (bool (items,)), and those targets."""
        kept = (self.targets @ sp.diags(items.astype(np.float32))).tocsr()
        kept.eliminate_zeros()
        rows = np.flatnonzero(np.diff(kept.indptr))
        return rows, kept[rows]


def window_task(prepared: Prepared, window: Window, exclude_seen: bool) -> Task:
    """Return what is asked of a model in ``window``.

    exclude_seen: targets are only the items that the history does not have. Users who are new in
    the window are asked too, with an empty history.
    """
    starts = {
        "validation": (prepared.validation_start, prepared.test_start),
        "test": (prepared.test_start, prepared.end),
    }
    start, stop = starts[window]
    x = prepared.interactions
    targets = x.where((x.times >= start) & (x.times < stop)).matrix()
    if exclude_seen:
        targets = targets - targets.multiply(x.where(x.times < start).matrix())
        targets = targets.tocsr()
        targets.eliminate_zeros()
    users = np.flatnonzero(np.diff(targets.indptr))
    return Task(users, x.histories(users, start), targets[users])


def ranker_task(
    prepared: Prepared, window: Window, exclude_seen: bool
) -> tuple[Histories, sp.csr_matrix]:
    """Return histories and targets the ranker learns from."""
    task = window_task(prepared, window, exclude_seen)
    return task.histories, task.targets


def lists(model: Recommender, task: Task, k: int, exclude_seen: bool) -> np.ndarray:
    """Return int32 (batch, k): the model's lists, every item of the catalogue ranked."""
    return model.recommend(task.histories, k, exclude_seen=exclude_seen)[0]


def interval(
    values: np.ndarray, samples: int, seed: int, level: float = 0.95
) -> tuple[float, float]:
    """Return the bootstrap interval of the mean of ``values`` (users,), users drawn anew."""
    if not len(values):
        return float("nan"), float("nan")
    generator = np.random.default_rng(seed)
    means = np.array(
        [values[generator.integers(0, len(values), len(values))].mean() for _ in range(samples)]
    )
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def sliced_ndcg(ids: np.ndarray, task: Task, items: np.ndarray) -> float:
    """Return the mean NDCG of lists judged on targets among ``items`` alone; NaN without."""
    rows, targets = task.only(items)
    return float(ndcg(ids[rows], targets).mean()) if len(rows) else float("nan")
