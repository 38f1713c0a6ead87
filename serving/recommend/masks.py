"""Masks of conditions over one catalogue.

In: a ``Condition``. Out: bool (items,), true where an item meets it. Vectorised: each leaf is one
array operation over the catalogue, or a look-up of the items that have a value.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from components.arrays import FloatArray, IntArray
from components.settings import AttributeType
from serving.filters.conditions import (
    All,
    AnyOf,
    Below,
    Condition,
    Flag,
    Has,
    Known,
    Not,
)
from serving.filters.expression import DECLARED
from serving.recommend.attribute_index import AttributeIndex, columns_of, finite, kinds_of, within
from serving.recommend.types import Mask

VALUES: tuple[AttributeType, ...] = ("category", "set")
NUMBERS: tuple[AttributeType, ...] = ("number", "date")


class Masks:
    """Evaluates conditions; row number = item code.

    items: the item ids. categories: casefolded category → codes. prices: float64 (items,), NaN
    without one. flags: bool (items,) by name.
    """

    def __init__(
        self,
        items: pd.Index,
        attributes: AttributeIndex,
        categories: Mapping[str, IntArray],
        prices: FloatArray,
        flags: Mapping[str, Mask],
    ) -> None:
        self._items = items
        self._attributes = attributes
        self._categories = categories
        self._prices = finite(prices)
        self._flags = flags

    def of(self, condition: Condition) -> Mask:
        """Return bool (items,): which items meet the condition; the array is the caller's."""
        if isinstance(condition, All):
            return self._all(condition.conditions)
        if isinstance(condition, AnyOf):
            mask = np.zeros(len(self._items), dtype=bool)
            for one in condition.conditions:
                mask |= self.of(one)
            return mask
        if isinstance(condition, Not):
            return ~self.of(condition.condition)
        if isinstance(condition, Has):
            return self._has(condition.attribute, condition.values)
        if isinstance(condition, Known):
            return self._known(condition.attribute)
        if isinstance(condition, Flag):
            return self._flags[condition.attribute].copy()
        if isinstance(condition, Below):
            return self._below(condition)
        low, high = condition.low, condition.high
        return within(self._numbers(condition.attribute, kinds_of(low, high)), low, high)

    def numbers(self, attribute: str) -> FloatArray:
        """Return float (items,): a number of each item, NaN where it is not known.

        attribute: as in a ``Condition``.
        """
        return self._numbers(attribute, ("number",))

    def _all(self, conditions: Sequence[Condition]) -> Mask:
        mask = np.ones(len(self._items), dtype=bool)
        for one in conditions:
            mask &= self.of(one)
        return mask

    def _has(self, attribute: str, values: Sequence[str]) -> Mask:
        if attribute in ("category", "item_id"):
            mask = np.zeros(len(self._items), dtype=bool)
            if attribute == "item_id":
                codes = self._items.get_indexer(list(values))
                mask[codes[codes >= 0]] = True
            else:
                for value in values:
                    mask[self._categories.get(value, [])] = True
            return mask
        return self._attributes.has(_columns(attribute, VALUES), values)

    def _known(self, attribute: str) -> Mask:
        if attribute in self._flags or attribute == "item_id":
            return np.ones(len(self._items), dtype=bool)
        if attribute == "category":
            mask = np.zeros(len(self._items), dtype=bool)
            for codes in self._categories.values():
                mask[codes] = True
            return mask
        if attribute == "price":
            return np.isfinite(self._prices)
        return self._attributes.known(_columns(attribute, (*VALUES, *NUMBERS)))

    def _below(self, condition: Below) -> Mask:
        one, other = (
            self._numbers(name, NUMBERS) for name in (condition.attribute, condition.other)
        )
        known = np.isfinite(one) & np.isfinite(other)
        with np.errstate(invalid="ignore"):
            return known & (one < other if condition.strict else one <= other)

    def _numbers(self, attribute: str, kinds: Sequence[AttributeType]) -> FloatArray:
        if attribute == "price":
            return self._prices
        return self._attributes.first_numbers(_columns(attribute, kinds))


def _columns(attribute: str, kinds: Sequence[AttributeType]) -> list[str]:
    """Return the columns of the table that may hold an attribute of a condition."""
    if attribute.startswith(DECLARED):
        return columns_of(attribute.removeprefix(DECLARED), kinds)
    return [attribute]
