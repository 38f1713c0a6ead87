"""Exposure gains of products that purchases of familiar customers do not explain.

In: the served models of champion and challenger, and the prepared data. Out: the products whose
share of first pages grew though new profiles, and not familiar ones, have them, with these
profiles. The stage ``register`` and the refresh hold promotions for them: a product that first
pages show because new profiles lift it may be the target of an attack that ``data.false_profiles``
did not find. That needs stronger evidence, because it takes rows away; here the gain is evidence,
too.

The served models are compared, not the evaluated ones: these have not seen the newest weeks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from components.arrays import BoolArray, DoubleArray, IntArray
from components.data.dataset import DAY, Interactions, Prepared
from components.data.false_profiles import familiar_from, improbability
from components.evaluation.compare import lists_of, translated
from components.recommenders.base import MISSING
from components.recommenders.two_stage.hybrid import Hybrid
from components.settings import Guardrails, Settings

USERS = 2000
"""Customers, drawn at random, whose first pages are compared."""
DAYS = 28
"""Days before the end of the data in which new profiles lift a product."""
FALSE_ALARM = 0.01
"""Probability that a comparison without an attack finds a product."""


@dataclass(frozen=True)
class ExposureGain:
    """A product's share of first pages, before and after, and the new profiles that have it.

    usual: number of new profiles by the product's share among familiar ones, at most.
    """

    item_id: str
    before: float
    after: float
    usual: float
    profiles: tuple[str, ...]

    def __str__(self) -> str:
        return (
            f"first pages with {self.item_id!r} rise from {self.before:.1%} to {self.after:.1%}, "
            f"and {len(self.profiles):,} new profiles have it where the purchases of known "
            f"customers explain {self.usual:.0f}"
        )

    def as_dict(self) -> dict[str, Any]:
        """Return plain values, with the number of the profiles: their ids are personal data."""
        return {**asdict(self), "profiles": len(self.profiles)}


def unexplained_gains(
    champion: Hybrid | Path, challenger: Hybrid | Path, prepared: Prepared, settings: Settings
) -> list[ExposureGain]:
    """Return the products with an unexplained gain, the largest one first, without those that the
    operator accepted (``register.guardrails.exposure_accepted``).

    champion, challenger: the served models or their folders, which are loaded one at a time. The
    first pages are of the shop's own customers.
    """
    customers = np.flatnonzero(prepared.users["verified"].to_numpy())
    if not len(customers) or len(customers) == len(prepared.users):
        return []  # without customers there are no pages, without others no attack
    customers = np.random.default_rng(settings.seed).permutation(customers)[:USERS]
    histories = prepared.interactions.histories(customers, prepared.end)
    shares = []
    for served in (champion, challenger):
        model = served if isinstance(served, Hybrid) else Hybrid.load(served)
        own = translated(model, prepared, histories)
        lists = lists_of(model, prepared, own, settings.train.exclude_seen)
        shares.append(exposure(lists, len(prepared.catalogue)))
    need = settings.register_.guardrails
    gained = gains(shares[0], shares[1], need)
    judged = gained[~np.isin(prepared.catalogue.ids[gained], need.exposure_accepted)]
    return unexplained(judged, shares, prepared)


def exposure(lists: IntArray, n_items: int) -> DoubleArray:
    """Return float (n_items,): the share of the lists that show each item.

    lists: int (users, K), each item once, MISSING where a list is short.

    >>> exposure(np.array([[0, 2], [2, MISSING]]), 3).tolist()
    [0.5, 0.0, 1.0]
    """
    return np.bincount(lists[lists != MISSING], minlength=n_items) / max(len(lists), 1)


def gains(before: DoubleArray, after: DoubleArray, need: Guardrails) -> IntArray:
    """Return the items whose exposure (items,) grew by more than ``need.exposure_gain`` and by more
    than the factor ``need.exposure_ratio``."""
    grew = (after - before > need.exposure_gain) & (after > need.exposure_ratio * before)
    return np.flatnonzero(grew)


def unexplained(
    items: IntArray, shares: Sequence[DoubleArray], prepared: Prepared
) -> list[ExposureGain]:
    """Return those of ``items`` (codes) that more new profiles have than their share among the
    familiar ones explains, the largest gain first."""
    x, ids = _recent_pairs(prepared.interactions, prepared.end), prepared.users["user_id"]
    new = ~_familiar(prepared)[x.users]
    n = x.n_items
    known = np.bincount(x.items[~new], minlength=n)
    prior = (known + 0.5) / (known.sum() + 0.5 * n)
    counts = np.bincount(x.items[new], minlength=n).astype(np.float64)
    usual, improbable = improbability(
        counts, known, prior, np.full(n, counts.sum()), np.full(n, known.sum())
    )
    limit = -np.log10(FALSE_ALARM / max(len(items), 1))
    before, after = shares
    found = [
        ExposureGain(
            str(prepared.catalogue.ids[item]),
            float(before[item]),
            float(after[item]),
            float(usual[item]),
            tuple(ids.to_numpy()[x.users[new & (x.items == item)]]),
        )
        for item in items[improbable[items] > limit].tolist()
    ]
    return sorted(found, key=lambda one: one.before - one.after)


def _recent_pairs(x: Interactions, end: int) -> Interactions:
    """Return one interaction of each user and item of the newest DAYS that is learned from."""
    recent = x.where(x.times >= end - DAYS * DAY).counted()
    pairs = np.zeros(len(recent), dtype=bool)
    pairs[recent.newest_of_pairs()] = True
    return recent.where(pairs)


def _familiar(prepared: Prepared) -> BoolArray:
    """Return bool (users,): known to the shop, or familiar before the newest DAYS."""
    x = prepared.interactions
    verified: BoolArray = prepared.users["verified"].to_numpy()
    return verified | (familiar_from(x.users, x.times, x.n_users) <= prepared.end - DAYS * DAY)


def profiles_of(found: Sequence[ExposureGain]) -> pd.DataFrame:
    """Return (item_id, sign, user_id) of the profiles, for ``promotion_hold.write_suspects``."""
    rows = [(one.item_id, "exposure", user) for one in found for user in one.profiles]
    return pd.DataFrame(rows, columns=["item_id", "sign", "user_id"])
