"""Whether anything that is learned or listed depends on the test targets.

In: interactions, and what was learned from them and from the same with other targets. Out: what
changed, and the figures on the other targets against chance.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
import scipy.sparse as sp
from scipy.stats import norm

from components.arrays import DoubleArray, Int32Array, Int64Array, IntArray
from components.data.dataset import Interactions
from components.data.holdout import Task
from components.evaluation.metrics import ndcg
from components.evaluation.protocol import interval

ALPHA = 0.0001
"""A smaller p-value is called a leak."""
ROUNDS = 1000


@dataclass(frozen=True)
class Learned:
    """What a recipe made of interactions.

    task: the test users, their histories and test items. shares: float64 (items,), see
    ``shares_of``. digests: of each thing learned, by name. lists: int32 (users, k), by model.
    """

    task: Task
    shares: DoubleArray
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


def exchanged(x: Interactions, seed: int) -> Interactions:
    """Return interactions in which users' newest items changed hands: each user has the newest item
    of another user, one that is not among the user's own items.

    How often an item is a target stays, so statistics that count targets stay too: see ``redrawn``.

    Raises:
        ValueError: it cannot be done, because nearly all users have the same items.
    """
    random = np.random.default_rng(seed)

    def mend(given: Int32Array, wrong: Int64Array) -> None:
        others = np.setdiff1d(np.arange(len(given)), wrong)
        partners = random.choice(others, min(len(wrong), len(others)), replace=False)
        wrong = wrong[: len(partners)]
        given[wrong], given[partners] = given[partners], given[wrong]

    newest = (x.offsets[1:] - 1)[np.diff(x.offsets) > 0]
    return _with_newest(x, newest, random.permutation(x.items[newest]), mend)


def redrawn(x: Interactions, seed: int) -> Interactions:
    """Return interactions in which each user's newest item is any item that is not among the
    user's own, drawn evenly.

    Raises:
        ValueError: it cannot be done, because users have nearly all items.
    """
    random = np.random.default_rng(seed)

    def mend(given: Int32Array, wrong: Int64Array) -> None:
        given[wrong] = random.integers(0, x.n_items, len(wrong))

    newest = (x.offsets[1:] - 1)[np.diff(x.offsets) > 0]
    drawn = random.integers(0, x.n_items, len(newest), dtype=np.int32)
    return _with_newest(x, newest, drawn, mend)


def _with_newest(
    x: Interactions,
    newest: Int64Array,
    given: Int32Array,
    mend: Callable[[Int32Array, Int64Array], None],
) -> Interactions:
    """Return interactions with other items at the places ``newest``; ``mend`` changes those that
    their users have."""
    users = x.users[newest].astype(np.int64)
    own = np.unique(x.users.astype(np.int64) * x.n_items + x.items)
    for _ in range(ROUNDS):
        wrong = np.flatnonzero(np.isin(users * x.n_items + given, own))
        if not len(wrong):
            items = x.items.copy()
            items[newest] = given
            return replace(x, items=items)
        mend(given, wrong)
    raise ValueError("the targets cannot be exchanged: users have nearly the same or all items")


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


def check(first: Learned, second: Learned, other: Task) -> tuple[list[str], list[dict[str, Any]]]:
    """Return the names of what was learned differently from other targets, and a row a model.

    first: from the data as it is. second: from ``redrawn`` data. other: the task of ``exchanged``
    data. A model that reads the test targets learns something else, or has a figure on redrawn or
    exchanged targets that is above chance (``leak``).
    """
    names = sorted(first.digests | second.digests)
    changed = [name for name in names if first.digests.get(name) != second.digests.get(name)]
    evenly = np.full(len(first.shares), 1 / len(first.shares))
    rows = []
    for name, ids in second.lists.items():
        row: dict[str, Any] = {
            "model": name,
            "own": float(ndcg(first.lists[name], first.task.targets).mean()),
        }
        for way, task, shares in (
            ("redrawn", second.task, evenly),
            ("exchanged", other, first.shares),
        ):
            each = ndcg(ids, task.targets)
            expected = Chance.of(ids, first.task, shares)
            low, high = interval(each, 500, 0)
            row[way] = {
                "ndcg": float(each.mean()),
                "low": low,
                "high": high,
                "chance": float(expected.means.mean()),
                "p": expected.p_above(each),
            }
        row["leak"] = min(row["redrawn"]["p"], row["exchanged"]["p"]) < ALPHA
        rows.append(row)
    return changed, rows
