"""Whether anything that is learned or listed depends on the test targets.

In: interactions, and what was learned from them and from the same with other targets. Out: what
changed, and the figures on the other targets against chance.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
import scipy.sparse as sp
from scipy.stats import norm

from benchmarks.leave_one_out import mean
from components.arrays import DoubleArray, Int32Array, IntArray
from components.data.dataset import Interactions
from components.data.holdout import Task
from components.evaluation.metrics import ndcg

ALPHA = 0.0001
"""A smaller p-value is called a leak."""
ROUNDS = 1000


@dataclass(frozen=True)
class Learned:
    """What a recipe made of interactions.

    task: the test users, their histories and test items. digests: of each thing learned, by name.
    lists: int32 (users, k), by model.
    """

    task: Task
    digests: dict[str, str]
    lists: dict[str, Int32Array]


def digest(*arrays: np.ndarray | bytes) -> str:
    """Return a digest of arrays (values, types and shapes) or bytes."""
    found = hashlib.blake2b(digest_size=16)
    for one in arrays:
        if isinstance(one, np.ndarray):
            found.update(f"{one.dtype} {one.shape}".encode())
            one = np.ascontiguousarray(one).tobytes()
        found.update(one)
    return found.hexdigest()


def redrawn(x: Interactions, seed: int) -> Interactions:
    """Return interactions in which each user's newest item is one drawn evenly from the items that
    the user does not have.

    Raises:
        ValueError: users have nearly all items.
    """
    random = np.random.default_rng(seed)
    newest = (x.offsets[1:] - 1)[np.diff(x.offsets) > 0]
    users = x.users[newest].astype(np.int64)
    own = np.unique(x.users.astype(np.int64) * x.n_items + x.items)
    drawn = random.integers(0, x.n_items, len(newest), dtype=np.int32)
    for _ in range(ROUNDS):
        wrong = np.flatnonzero(np.isin(users * x.n_items + drawn, own))
        if not len(wrong):
            items = x.items.copy()
            items[newest] = drawn
            return replace(x, items=items)
        drawn[wrong] = random.integers(0, x.n_items, len(wrong))
    raise ValueError("the targets cannot be drawn again: users have nearly all items")


@dataclass(frozen=True)
class Chance:
    """The figures to be expected of lists that know nothing of the targets.

    means, variances: float64 (users,), of a user's NDCG.
    """

    means: DoubleArray
    variances: DoubleArray

    @classmethod
    def of(cls, ids: IntArray, task: Task, shares: DoubleArray) -> Self:
        """Return it for targets drawn by ``shares`` (items,) from the items that are neither in the
        user's history nor the user's target in ``task``."""
        own = (task.histories.seen(len(shares)) + task.targets).tocsr()
        possible = shares.sum() - own @ shares
        gain = 1 / np.log2(np.arange(2, ids.shape[1] + 2))
        rows = np.broadcast_to(np.arange(len(ids))[:, None], ids.shape)
        excluded = (ids < 0) | (np.asarray(own[rows, np.maximum(ids, 0)].todense()) > 0)
        drawn = np.where(excluded, 0.0, shares[np.maximum(ids, 0)])
        means = drawn @ gain / possible
        return cls(means, drawn @ gain**2 / possible - means**2)

    def p_above(self, found: DoubleArray) -> float:
        """Return the one-sided p-value (normal approximation) of figures (users,): small where they
        are too good for lists that know nothing."""
        error = np.sqrt(self.variances.sum())
        return float(norm.sf((found - self.means).sum() / error)) if error > 0 else 1.0


def shares_of(targets: sp.csr_matrix) -> DoubleArray:
    """Return float64 (items,): the share of the targets that each item is."""
    counts = np.asarray(targets.sum(axis=0), dtype=np.float64).ravel()
    result: DoubleArray = counts / counts.sum()
    return result


def check(first: Learned, second: Learned) -> tuple[list[str], list[dict[str, Any]]]:
    """Return the names of what was learned differently from other targets, and a row a model.

    first: from the data as it is. second: from ``redrawn`` data. A model that reads the test
    targets learns something else, or has a figure on the redrawn targets that is above chance
    (``leak``).
    """
    names = sorted(first.digests | second.digests)
    changed = [name for name in names if first.digests.get(name) != second.digests.get(name)]
    evenly = np.full(second.task.targets.shape[1], 1 / second.task.targets.shape[1])
    rows = []
    for name, ids in second.lists.items():
        each = ndcg(ids, second.task.targets)
        expected = Chance.of(ids, first.task, evenly)
        p = expected.p_above(each)
        rows.append(
            {
                "model": name,
                "own": float(ndcg(first.lists[name], first.task.targets).mean()),
                **mean(each),
                "chance": float(expected.means.mean()),
                "p": p,
                "leak": p < ALPHA,
            }
        )
    return changed, rows
