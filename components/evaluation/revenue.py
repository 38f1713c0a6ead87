"""Value-weighted metrics: the money that users spent on the products of their lists.

In: lists and what each user then spent on each product. Out: the revenue of each list. Like the
accuracy metrics it counts what was bought anyway, with or without a list.
"""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

from components.arrays import DoubleArray, FloatArray, IntArray
from components.data.dataset import Interactions, Prepared
from components.data.holdout import Task
from components.recommenders.base import MISSING


def spending(bought: Interactions, prices: FloatArray) -> sp.csr_matrix:
    """Return float64 CSR (n_users, n_items): quantity × price, summed over the events.

    The price is that of the event's line, else that of ``prices``, float32 (n_items,), of the
    catalogue; an event without either counts as 0.

    >>> one = Interactions.from_arrays(np.array([0, 0]), np.array([1, 1]), np.array([5, 6]))
    >>> spending(one, np.array([1.0, 2.5], dtype=np.float32)).toarray().tolist()
    [[0.0, 5.0]]
    """
    of_line = np.where(np.isnan(bought.prices), prices[bought.items], bought.prices)
    quantities = np.nan_to_num(bought.quantities, nan=1.0).astype(np.float64)
    spent = np.nan_to_num(of_line).astype(np.float64) * quantities
    shape = (bought.n_users, bought.n_items)
    return sp.csr_matrix((spent, (bought.users, bought.items)), shape=shape)


def spent_on_targets(prepared: Prepared, task: Task) -> sp.csr_matrix:
    """Return float64 CSR (batch, n_items): what the users of a task of the test window spent in it
    on their targets, 0 where neither the line nor the catalogue has a price."""
    x = prepared.interactions
    bought = x.where((x.times >= prepared.test_start) & (x.times < prepared.end)).successes()
    prices = prepared.catalogue.table["price"].to_numpy(dtype=np.float32, na_value=np.nan)
    return spending(bought, prices)[task.users].multiply(task.targets.sign()).tocsr()


def revenue(ids: IntArray, spent: sp.csr_matrix) -> DoubleArray:
    """Return float64 (users,): the money spent on the products of each list, revenue@k.

    ids: int (users, k), ``MISSING`` where a list is short. spent: CSR (users, items), of
    ``spending``; products that are no targets are to be 0.

    >>> revenue(np.array([[2, 0], [1, MISSING]]), sp.csr_matrix([[3.0, 9.0, 1.5], [0, 2.0, 0]]))
    array([4.5, 2. ])
    """
    rows = np.broadcast_to(np.arange(len(ids))[:, None], ids.shape)
    found = np.asarray(spent[rows, np.maximum(ids, 0)].todense(), dtype=np.float64)
    result: DoubleArray = np.where(ids == MISSING, 0.0, found).sum(axis=1)
    return result
