"""Facets: the values of a catalogue's attributes, with the number of products that have each.

In: an engine and the filters of a search. Out: JSON: values of categories and sets, bounds of
numbers and dates. The filters of an attribute do not narrow its own facet, so that a shopper sees
the other values too. Of products only; nothing of a user is counted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import orjson

from components.data.attributes import as_json, kind_of, name_of
from serving.recommend.engine import Engine, cached
from serving.recommend.types import Filters, Mask

MAX_FACETS, MAX_FACET_VALUES = 10, 30
"""Attributes of an answer, and values of one attribute."""
LONGEST_LABEL = 200
"""Characters; a longer value is left out."""
CACHED = 64
"""Answers by their filters."""


class Facets:
    """Counts the products of one catalogue. Thread-safe."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._cache: dict[tuple[Filters, tuple[str, ...]], bytes] = {}
        for column in engine.shown_attributes:  # read now, so that no request waits for it
            if _has_values(column):
                engine.attributes.values(column)
            else:
                engine.attributes.numbers(column)

    def json(self, filters: Filters, columns: tuple[str, ...]) -> bytes:
        """Return the JSON of the facets of ``columns`` among the products that meet ``filters``.

        Columns that are not shown, or that none of the products has a value of, have no facet. Of
        the others the first MAX_FACETS have one.
        """
        return cached(self._cache, (filters, columns), self._make, CACHED)

    def _make(self, key: tuple[Filters, tuple[str, ...]]) -> bytes:
        filters, columns = key
        shown = [column for column in columns if column in self._engine.shown_attributes]
        facets = [facet for column in shown if (facet := self._facet(column, filters)) is not None]
        return orjson.dumps(
            {
                "total": int(self._engine.mask(filters).sum()),
                "facets": facets[:MAX_FACETS],
                "left_out": max(0, len(facets) - MAX_FACETS),
            }
        )

    def _facet(self, column: str, filters: Filters) -> dict[str, Any] | None:
        """Return one facet, None where no product has a value."""
        name = name_of(column)
        others = tuple(one for one in filters.attributes if one[0] != name)
        chosen = [value for one in filters.attributes if one[0] == name for value in one[1]]
        mask = self._engine.mask(replace(filters, attributes=others))
        if _has_values(column):
            facet = self._values(column, mask, chosen)
        else:
            facet = self._range(column, mask)
        return facet and {"name": name, "type": kind_of(column), **facet}

    def _values(self, column: str, mask: Mask, chosen: Sequence[str]) -> dict[str, Any] | None:
        """Return the most frequent values and those chosen, the most frequent first."""
        index = self._engine.attributes.values(column)
        counts = index.counts(mask)
        order = np.argsort(-counts, kind="stable")  # equals by the alphabet
        found = order[: np.count_nonzero(counts)]
        known = {index.places[value] for value in chosen if value in index.places}
        short = [at for at in found.tolist() if len(index.labels[at]) <= LONGEST_LABEL]
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
