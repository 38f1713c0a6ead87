"""Rising products: those that more customers buy lately than before, by more than chance.

In: interactions, and the country of each customer. Out: for the whole shop and for each country the
sales of each product in the newest ``RECENT_DAYS`` and in the ``BEFORE_DAYS`` before them, with
a p-value.

The test: of n sales of a product in both windows, the number in the newest is binomial with the
share that the newest window has of all sales, if the product sells as the shop does (the
conditional test of two Poisson rates, Przyborowski and Wilenski, Biometrika 1940). One-sided: a
rise. A customer's purchases of a product on one day count once, so that one large order is no rise.
Among many products some rise by chance: ``Trends.rising`` controls the share of false discoveries
(Benjamini and Hochberg, JRSS B 1995) among the products that a shelf may show.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np

from components.arrays import (
    AnyArray,
    BoolArray,
    DoubleArray,
    FloatArray,
    Int32Array,
    Int64Array,
    ObjectArray,
)
from components.data.dataset import DAY, Interactions

RECENT_DAYS, BEFORE_DAYS = 7, 28
LEAST_SALES = 6
"""In both windows together, below which a product is not tested. The limit is on the sum, which
says nothing of the share of one window: a limit on the newest alone would make rises of chance."""
WHOLE_SHOP = ""
"""The segment of all customers."""


@dataclass(frozen=True)
class Rising:
    """Products that rise, best first. items: int32 (n,). growth: float32 (n,), sales through those
    that the product would have at the shop's pace. sold: int32 (n,), in the newest window."""

    items: Int32Array
    growth: FloatArray
    sold: Int32Array


@dataclass(frozen=True)
class Trends:
    """Counts of all segments, one after the other.

    segments: their names, the whole shop's first. offsets: int64 (segments + 1,). items, recent,
    before: int32 (entries,), of products with at least ``LEAST_SALES``.
    totals: int64 (segments, 2), all of the newest window and of the one before. p_values: float64
    (entries,).
    """

    segments: list[str]
    offsets: Int64Array
    items: Int32Array
    recent: Int32Array
    before: Int32Array
    totals: Int64Array
    p_values: DoubleArray

    @classmethod
    def of(cls, train: Interactions, countries: ObjectArray | None = None) -> Self:
        """Return the counts up to the newest event. countries: str (users,), None where unknown;
        of events that are successes, else of all (see ``preprocess.targets``)."""
        wanted = train.counted().successes()
        if wanted.authenticated is not None:
            wanted = wanted.where(wanted.authenticated)
        end = int(train.times.max(initial=0)) + 1
        wanted = wanted.where(wanted.times >= end - (RECENT_DAYS + BEFORE_DAYS) * DAY)
        day = (end - 1 - wanted.times) // DAY  # days back from the newest event
        key = (wanted.users.astype(np.int64) * wanted.n_items + wanted.items) * 64 + day
        _, once = np.unique(key, return_index=True)
        users, items, is_recent = wanted.users[once], wanted.items[once], day[once] < RECENT_DAYS
        parts, names = [(items, is_recent)], [WHOLE_SHOP]
        if countries is not None:
            of_event = countries[users]
            for country in sorted({one for one in of_event if isinstance(one, str) and one}):
                inside = of_event == country
                parts.append((items[inside], is_recent[inside]))
                names.append(country)
        counted = [_counts(*part, wanted.n_items) for part in parts]
        lengths = [len(one) for one, *_ in counted]
        kept, recent, before, totals, p_values = zip(*counted, strict=True)
        return cls(
            names,
            np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
            np.concatenate(kept),
            np.concatenate(recent),
            np.concatenate(before),
            np.array(totals, dtype=np.int64),
            np.concatenate(p_values),
        )

    def rising(
        self, allowed: BoolArray, country: str | None = None, false_discoveries: float = 0.1
    ) -> Rising:
        """Return the products of ``allowed`` that rise, those most surely first.

        allowed: bool (items,), which may cover products added after the training. country: case
        does not matter; None or one without sales: the whole shop. false_discoveries: the share of
        the products, on average, that may have risen by chance.
        """
        names = {name.casefold(): at for at, name in enumerate(self.segments)}
        segment = names.get((country or WHOLE_SHOP).casefold(), 0)
        part = slice(self.offsets[segment], self.offsets[segment + 1])
        inside = np.flatnonzero(allowed[self.items[part]]) + self.offsets[segment]
        p = self.p_values[inside]
        order = np.lexsort((self.items[inside], p))
        limits = false_discoveries * np.arange(1, len(p) + 1) / max(len(p), 1)
        passed = np.flatnonzero(p[order] <= limits)
        chosen = inside[order[: passed[-1] + 1]] if len(passed) else inside[:0]
        recent_total, before_total = np.maximum(self.totals[segment], 1)
        expected = (self.before[chosen] + 0.5) * recent_total / before_total
        growth = ((self.recent[chosen] + 0.5) / expected).astype(np.float32)
        return Rising(self.items[chosen], growth, self.recent[chosen])

    def arrays(self) -> dict[str, AnyArray]:
        """Return the arrays by name, for ``from_arrays``."""
        names = ("offsets", "items", "recent", "before", "totals", "p_values")
        return {f"trend_{name}": getattr(self, name) for name in names}

    @classmethod
    def from_arrays(cls, arrays: dict[str, AnyArray], segments: list[str]) -> Self:
        """Return what ``arrays`` gave."""
        names = ("offsets", "items", "recent", "before", "totals", "p_values")
        return cls(segments, *(arrays[f"trend_{name}"] for name in names))


def _counts(
    items: Int32Array, is_recent: BoolArray, n_items: int
) -> tuple[Int32Array, Int32Array, Int32Array, tuple[int, int], DoubleArray]:
    """Return one segment's products, their counts in both windows, the totals, the p-values."""
    # In here: the import takes a second, and serving never needs it.
    from scipy.stats import binom

    recent = np.bincount(items[is_recent], minlength=n_items)
    before = np.bincount(items[~is_recent], minlength=n_items)
    totals = int(recent.sum()), int(before.sum())
    kept = np.flatnonzero(recent + before >= LEAST_SALES)
    share = totals[0] / max(sum(totals), 1)
    p = binom.sf(recent[kept] - 1, recent[kept] + before[kept], share)
    found = (kept.astype(np.int32), recent[kept].astype(np.int32), before[kept].astype(np.int32))
    return *found, totals, p
