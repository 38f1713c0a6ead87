"""Business rules over a ranked list: boosts, diversity, caps per category and brand.

In: the best few hundred products of one shopper with their scores. Out: their order on the page.
Vectorised over the products; the only loop is over the places of the page. They are the setting
``serve.rules``, not the recommender model ``rules``.
"""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from components.settings import Boost, Rules


class BusinessRules:
    """The business rules of ``serve.rules`` for one catalogue.

    table: the catalogue, row number = code. vectors: float32 (items, width) unit vectors or None;
    without them diversity counts categories instead of text.
    """

    def __init__(self, settings: Rules, table: pd.DataFrame, vectors: NDArray[Any] | None) -> None:
        self.settings = settings
        self.vectors = vectors
        # Only where a rule needs them: they take 8 bytes of each product.
        by_category = settings.max_per_category or settings.diversity
        has_category = by_category and "main_category" in table
        self.category = group_codes(table["main_category"]) if has_category else None
        has_brand = settings.max_per_brand and "brand" in table
        self.brand = group_codes(table["brand"]) if has_brand else None
        self._boosts = [
            (boost.until, boost.weight, _boosted(boost, table)) for boost in settings.boosts
        ]

    @property
    def idle(self) -> bool:
        """Whether no rule is set, so that the ranker's order stays."""
        r = self.settings
        return not (r.max_per_category or r.max_per_brand or r.diversity or r.boosts)

    def order(
        self,
        items: NDArray[np.int64],
        scores: NDArray[Any],
        k: int,
        today: date | None = None,
        one_category: bool = False,
    ) -> tuple[NDArray[np.int64], NDArray[Any]]:
        """Return which of ``items`` come on the page, in order, and their scores with boosts.

        items: int (n,) codes, best first. scores: float (n,). Returns int positions in ``items``
        and float scores, at most k each. one_category: the page is filtered by a category, so the
        cap on categories does not apply.

        Diversity: maximal marginal relevance (Carbonell and Goldstein, SIGIR 1998),
        (1 − d) · relevance − d · max cosine to what is already on the page, with the relevance
        scaled to 0…1 within the list.
        """
        if self.idle or not len(items):
            return np.arange(min(k, len(items))), scores[:k]
        r = self.settings
        scores = self._with_boosts(items, scores, today)
        order = np.argsort(-scores, kind="stable")
        items, scores = items[order], scores[order]
        caps = [
            (codes[items], cap)
            for codes, cap in (
                (self.category, 0 if one_category else r.max_per_category),
                (self.brand, r.max_per_brand),
            )
            if codes is not None and cap
        ]
        if not r.diversity:
            keep = np.ones(len(items), dtype=bool)
            for groups, cap in caps:
                keep &= _within(groups, keep, cap)
            return order[keep][:k], scores[keep][:k]
        span = np.ptp(scores)
        relevance = (scores - scores.min()) / (span if span > 0 else 1.0)
        similarity = self._similarity(items)
        nearest = np.zeros(len(items))
        free = np.ones(len(items), dtype=bool)
        chosen: list[int] = []
        while len(chosen) < k and free.any():
            gain = (1 - r.diversity) * relevance - r.diversity * nearest
            best = int(np.where(free, gain, -np.inf).argmax())
            chosen.append(best)
            free[best] = False
            np.maximum(nearest, similarity[best], out=nearest)
            for groups, cap in caps:
                if groups[best] >= 0 and (groups[chosen] == groups[best]).sum() >= cap:
                    free &= groups != groups[best]
        return order[chosen], scores[chosen]

    def _with_boosts(
        self, items: NDArray[np.int64], scores: NDArray[Any], today: date | None
    ) -> NDArray[np.float64]:
        today = today or datetime.now(UTC).date()
        spread = scores.std() or 1.0
        boosted = scores.astype(np.float64)
        for until, weight, mask in self._boosts:
            if today <= until:
                boosted += weight * spread * mask[items]
        return boosted

    def _similarity(self, items: NDArray[np.int64]) -> NDArray[Any]:
        """Return (n, n) in 0…1: cosine of the texts, else 1 for products of one category."""
        if self.vectors is not None:
            near = np.asarray(self.vectors[items], dtype=np.float32)
            return np.clip(near @ near.T, 0.0, 1.0)
        if self.category is None:
            return np.zeros((len(items), len(items)))
        own = self.category[items]
        return ((own[:, None] == own) & (own[:, None] >= 0)).astype(np.float64)


def group_codes(column: pd.Series) -> NDArray[np.int32]:
    """Return int32 (items,): one number for each value, -1 where there is none (never capped)."""
    return pd.factorize(column.replace("", None))[0].astype(np.int32)


def _boosted(boost: Boost, table: pd.DataFrame) -> NDArray[np.bool_]:
    """Return bool (items,): the products that a boost names, by any of its conditions."""
    mask = table["item_id"].isin(boost.items).to_numpy(dtype=bool)
    if boost.category is not None:
        wanted = boost.category.casefold()
        exploded = table["categories"].reset_index(drop=True).explode().dropna()
        hit = exploded.astype(str).str.casefold() == wanted
        mask[exploded.index[hit.to_numpy(dtype=bool)].to_numpy()] = True
    if boost.brand is not None:
        wanted = boost.brand.casefold()
        mask |= (table["brand"].fillna("").str.casefold() == wanted).to_numpy(dtype=bool)
    return mask


def _within(groups: NDArray[np.int32], keep: NDArray[np.bool_], cap: int) -> NDArray[np.bool_]:
    """Return bool (n,): false from the (cap + 1)th kept member of a group on; -1 is no group."""
    counted = keep & (groups >= 0)
    place = pd.Series(groups[counted]).groupby(groups[counted]).cumcount().to_numpy()
    within = np.ones(len(groups), dtype=bool)
    within[np.flatnonzero(counted)[place >= cap]] = False
    return within
