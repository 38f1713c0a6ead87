"""Held-out windows: histories before a window, and the items of each user in it.

In: ``Prepared`` tables. Out: a ``Task``. Rankers are fitted and parameters are chosen on the
validation window; models are judged on the test window.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import scipy.sparse as sp

from components.arrays import BoolArray, IntArray
from components.data.dataset import Histories, Prepared

Window = Literal["validation", "test"]


@dataclass(frozen=True)
class Task:
    """users: int (batch,) codes. histories: before the window. targets: CSR (batch, items)."""

    users: IntArray
    histories: Histories
    targets: sp.csr_matrix

    def only(self, items: BoolArray) -> tuple[IntArray, sp.csr_matrix]:
        """Return the rows that have a target among ``items`` (bool (items,)), and those targets."""
        kept = (self.targets @ sp.diags(items.astype(np.float32))).tocsr()
        kept.eliminate_zeros()
        rows = np.flatnonzero(np.diff(kept.indptr))
        return rows, kept[rows]


def window_task(prepared: Prepared, window: Window, exclude_seen: bool) -> Task:
    """Return histories before ``window`` and targets in it, of all users with a target.

    Targets are the items of successes (``Interactions.successes``). exclude_seen: only items that
    the history does not exclude, see ``Histories.excluded``. Users who are new in the window have
    an empty history.
    """
    starts = {
        "validation": (prepared.validation_start, prepared.test_start),
        "test": (prepared.test_start, prepared.end),
    }
    start, stop = starts[window]
    x = prepared.interactions
    targets = x.where((x.times >= start) & (x.times < stop)).successes().matrix().sign()
    users = np.flatnonzero(np.diff(targets.indptr))
    histories = x.histories(users, start)
    excluded = histories.where(histories.excluded(exclude_seen)).seen(x.n_items)
    wanted = (targets[users] - targets[users].multiply(excluded)).tocsr()
    wanted.eliminate_zeros()
    rows = np.flatnonzero(np.diff(wanted.indptr))
    return Task(users[rows], histories.pick(rows), wanted[rows])
