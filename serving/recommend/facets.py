"""Facets: the values of a catalogue's attributes, with the number of products that have each.

In: an engine and the filters of a search. Out: JSON: values of categories and sets, bounds of
numbers and dates. The filters of an attribute do not narrow its own facet, so that a shopper sees
the other values too. Of products only; nothing of a user is counted.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import orjson

from components.data.attributes import as_json, kind_of, name_of
from serving.fields import LONGEST_VALUE
from serving.filters.conditions import Has, attributes_in
from serving.filters.expression import DECLARED
from serving.recommend.engine import Engine, cached
from serving.recommend.types import Filters, Mask

MAX_FACETS, MAX_FACET_VALUES = 10, 30
"""Attributes of an answer, and values of one attribute."""
CACHED = 64
"""Answers by their filters."""


class Facets:
    """Counts the products of one catalogue. Thread-safe.

    columns_read: no request waits until a column is read.
    """

    def __init__(self, engine: Engine) -> None:
        self.columns_read = False
        self._engine = engine
        self._cache: dict[Filters, bytes] = {}

    def read_columns(self) -> None:
        """Read the columns of all facets and filters; else each is read at its first use."""
        self._engine.attributes.read_columns()
        self.columns_read = True

    def json(self, filters: Filters) -> bytes:
        """Return the JSON of the facets among the products that meet ``filters``.

        Of the shown attributes that one of the products has a value of, MAX_FACETS have a facet:
        those that ``filters`` name, and the first of the others.
        """
        return cached(self._cache, filters, self._make, CACHED)

    def _make(self, filters: Filters) -> bytes:
        # Not ``Engine.mask``: the masks of facets would evict those of recommendations.
        bare = Filters(available_only=filters.available_only)
        unfiltered = self._engine.uncached_mask(bare).copy()
        own: dict[str, list[Mask]] = {}
        chosen: dict[str, tuple[str, ...]] = {}
        for condition in filters.conditions():
            mask, names = self._engine.masks.of(condition), attributes_in(condition)
            declared = [name for name in names if name.startswith(DECLARED)]
            if len(names) == 1 and declared:
                name = declared[0].removeprefix(DECLARED)
                own.setdefault(name, []).append(mask)
                chosen.setdefault(name, ())
                if isinstance(condition, Has):
                    chosen[name] += condition.values
            else:
                unfiltered &= mask
        meets = {name: np.logical_and.reduce(masks) for name, masks in own.items()}
        total = np.logical_and.reduce([unfiltered, *meets.values()])
        facets = []
        for column in self._engine.shown_attributes:
            name, mask = name_of(column), total
            if name in meets:  # its own filter does not narrow its facet
                others = (mask for other, mask in meets.items() if other != name)
                mask = np.logical_and.reduce([unfiltered, *others])
            facet = self._facet(column, mask, chosen.get(name, ()))
            if facet is not None:
                facets.append(facet)
        # A shopper can only remove a filter that is shown, so the chosen ones go first.
        places = sorted(range(len(facets)), key=lambda at: facets[at]["name"] not in chosen)
        return orjson.dumps(
            {
                "total": int(total.sum()),
                "facets": [facets[at] for at in sorted(places[:MAX_FACETS])],
                "left_out": max(0, len(facets) - MAX_FACETS),
            }
        )

    def _facet(self, column: str, mask: Mask, chosen: Sequence[str]) -> dict[str, Any] | None:
        """Return one facet, None where no product of ``mask`` has a value."""
        if _has_values(column):
            facet = self._values(column, mask, chosen)
        else:
            facet = self._range(column, mask)
        return facet and {"name": name_of(column), "type": kind_of(column), **facet}

    def _values(self, column: str, mask: Mask, chosen: Sequence[str]) -> dict[str, Any] | None:
        """Return the most frequent values and those chosen, the most frequent first."""
        index = self._engine.attributes.values(column)
        counts = index.counts(mask)
        order = np.argsort(-counts, kind="stable")  # equals by the alphabet
        found = order[: np.count_nonzero(counts)]
        known = {index.places[value] for value in chosen if value in index.places}
        short = [at for at in found.tolist() if len(index.labels[at]) <= LONGEST_VALUE]
        shown = short[:MAX_FACET_VALUES]
        shown += sorted(known.difference(shown))
        if not shown:
            return None
        values = [{"value": index.labels[at], "items": int(counts[at])} for at in shown]
        left_out = len(found) - int(np.count_nonzero(counts[shown]))
        return {"values": values, "left_out": left_out}

    def _range(self, column: str, mask: Mask) -> dict[str, Any] | None:
        """Return the lowest and the highest value."""
        numbers = self._engine.attributes.numbers(column)[mask]
        numbers = numbers[np.isfinite(numbers)]
        if not len(numbers):
            return None
        return {"min": _shown(column, numbers.min()), "max": _shown(column, numbers.max())}


def _has_values(column: str) -> bool:
    return kind_of(column) in ("category", "set")


def _shown(column: str, number: np.float64) -> float | str | list[str] | None:
    """Return a bound as a filter takes it, a date as its day."""
    if kind_of(column) == "date":
        return str(np.datetime64(int(number // 1), "D"))
    return as_json(column, number)
