"""Signs of an attack in a window: few profiles or clients that lift few products.

In: a window's events. Out: for each product how improbable its buyers are, and the profiles behind
it.

Profiles that are made for an attack (Mobasher et al., ACM TOIT 2007: random, average, bandwagon,
segment) differ in their other products, but not in three signs, which are measured product by
product:

- ``newcomers``: the product's users had no event before the window, in a larger share than the
  window's users on the whole. −log10 of the binomial tail probability.
- ``burst``: the product's users came in the same hour, in a larger share than the window's users
  on the whole. −log10 of the binomial tail probability.
- ``repeats``: events beyond the first of each user (or client) on the product, natural logarithm
  of 1 + the number.

A new product that honest users buy has the same share of newcomers and hours as the others. The
largest value over all products is compared with that of ordinary weeks (``calibration``), because
honest users are not independent: the probabilities alone would raise too many alarms.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.stats import binom

from components.arrays import BoolArray, DoubleArray, Int64Array, IntArray

SIGNS = ("newcomers", "burst", "repeats")
MIN_USERS = 5
"""A product with fewer users in the window is not judged: it is lifted by nothing."""


@dataclass(frozen=True)
class Signs:
    """The signs of each product of a window, float64 (n_items,), 0 where it is not judged.

    pairs: the distinct (user, item) of the window, int (n_pairs,) each; hour: of their first
    event, hours since 1970. dense: int (n_items,), the hour with most of the product's users.
    """

    values: dict[str, DoubleArray]
    users: IntArray
    items: IntArray
    hours: Int64Array
    dense: Int64Array

    def largest(self) -> dict[str, float]:
        """Return the largest value of each sign over the products."""
        return {name: float(one.max(initial=0.0)) for name, one in self.values.items()}


def signs(
    users: IntArray,
    items: IntArray,
    hours: Int64Array,
    new_user: BoolArray,
    n_items: int,
    clients: IntArray | None = None,
) -> Signs:
    """Return the signs of the products of a window.

    users, items, hours: int (events,) codes and hours since 1970, in order of time. new_user: bool
    (n_users,), whether a user had no event before the window. clients: int (events,), -1 where
    unknown: an event with a client counts as a repeat of that client's.

    >>> users = np.arange(40); items = np.r_[np.zeros(20, int), np.ones(20, int)]
    >>> found = signs(users, items, np.arange(40), np.arange(40) < 20, 2)
    >>> found.values["newcomers"].round(1).tolist()
    [6.0, 0.0]
    """
    key = users.astype(np.int64) * n_items + items
    _, first = np.unique(key, return_index=True)
    pair_users, pair_items, pair_hours = users[first], items[first], hours[first]
    buyers = np.bincount(pair_items, minlength=n_items)
    judged = buyers >= MIN_USERS

    new = new_user[pair_users]
    new_buyers = np.bincount(pair_items, weights=new, minlength=n_items)
    newcomers = _improbability(new_buyers, buyers, new.mean() if len(new) else 0.0)

    slots, slot = np.unique(pair_hours, return_inverse=True)
    share = np.bincount(slot) / max(len(slot), 1)
    cell, counts = np.unique(pair_items.astype(np.int64) * len(slots) + slot, return_counts=True)
    at, hour = np.divmod(cell, max(len(slots), 1))
    improbable = _improbability(counts, buyers[at], share[hour])
    burst = np.zeros(n_items)
    np.maximum.at(burst, at, improbable)
    dense = np.zeros(n_items, dtype=np.int64)
    is_densest = improbable >= burst[at]
    dense[at[is_densest]] = slots[hour[is_densest]]

    sender = users.astype(np.int64)
    if clients is not None:
        sender = np.where(clients >= 0, -1 - clients.astype(np.int64), sender)
    distinct = np.unique(np.stack([sender, items]), axis=1)[1]
    repeats = np.log1p(
        np.bincount(items, minlength=n_items) - np.bincount(distinct, minlength=n_items)
    )
    values = {
        "newcomers": np.where(judged, newcomers, 0.0),
        "burst": np.where(judged, burst, 0.0),
        "repeats": repeats,
    }
    return Signs(values, pair_users, pair_items, pair_hours, dense)


def _improbability(
    hits: DoubleArray | Int64Array, trials: IntArray, share: DoubleArray | float
) -> DoubleArray:
    """Return −log10 P(at least ``hits`` of ``trials``) at a ``share``, 0 where nothing was hit."""
    with np.errstate(divide="ignore"):
        found: DoubleArray = -binom.logsf(hits - 1, trials, share) / np.log(10)
    return np.where(hits > 0, np.minimum(found, 300.0), 0.0)
