"""Masks of conditions over one catalogue.

In: a ``Condition``. Out: bool (items,), true where an item meets it. Vectorised: each leaf is one
array operation, or a look-up of the items that have a value or lie between two bounds. Where all
parts of a condition must hold and one of them lists few items, the others are evaluated on those
alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from components.arrays import IntArray, RealArray
from components.settings import AttributeType
from serving.columns import Ids
from serving.filters.conditions import (
    All,
    AnyOf,
    Below,
    Condition,
    Flag,
    Has,
    Known,
    Not,
    Within,
    conjuncts,
)
from serving.filters.expression import DECLARED
from serving.recommend.attribute_index import (
    AttributeIndex,
    NumberIndex,
    columns_of,
    finite,
    kinds_of,
    within,
)
from serving.recommend.types import Mask

VALUES: tuple[AttributeType, ...] = ("category", "set")
NUMBERS: tuple[AttributeType, ...] = ("number", "date")


FEW = 8
"""A filter is evaluated on the products of its shortest list alone, if those are at most one in so
many of all: to read one product's number takes as long as to compare several in a row."""


class Masks:
    """Evaluates conditions; row number = item code.

    items: the item ids. categories: casefolded category → codes. prices: float (items,), NaN
    without one. flags: bool (items,) by name. few: how many times as many items there are as a
    list has, at least, for a filter to be evaluated on the list alone.
    """

    def __init__(
        self,
        items: Ids,
        attributes: AttributeIndex,
        categories: Mapping[str, IntArray],
        prices: RealArray,
        flags: Mapping[str, Mask],
        few: float = FEW,
    ) -> None:
        self._items = items
        self._attributes = attributes
        self._categories = categories
        self._prices = finite(prices.astype(np.float32))
        self._by_price = NumberIndex.of(self._prices)
        self._flags = flags
        self._few = few

    def of(self, condition: Condition, allowed: Mask | None = None) -> Mask:
        """Return bool (items,): which items meet the condition; the array is the caller's.

        allowed: bool (items,), those that may; None: all.
        """
        parts = conjuncts(condition)
        lists = {at: found for at, one in enumerate(parts) if (found := self._lists(one))}
        lengths = {at: sum(map(len, found)) for at, found in lists.items()}
        shortest = min(lengths, key=lengths.__getitem__, default=None)
        if shortest is not None and lengths[shortest] * self._few <= len(self._items):
            codes = np.concatenate(lists[shortest])
            if allowed is not None:
                codes = codes[allowed[codes]]
            # Products of two of the lists come twice, which does not matter.
            for one in (*parts[:shortest], *parts[shortest + 1 :]):
                codes = codes[self._met(one, codes)]
            mask = np.zeros(len(self._items), dtype=bool)
            mask[codes] = True
            return mask
        masks = [self._met(one) for one in parts]
        if not masks:
            return np.ones(len(self._items), dtype=bool) if allowed is None else allowed.copy()
        for other in (*masks[1:], *([] if allowed is None else [allowed])):
            masks[0] &= other
        return masks[0]

    def numbers(self, attribute: str) -> RealArray:
        """Return float (items,): a number of each item, NaN where it is not known.

        attribute: as in a ``Condition``.
        """
        return self._numbers(attribute, ("number",), None)

    def _lists(self, condition: Condition) -> list[IntArray] | None:
        """Return the items that meet a condition, maybe twice, where they need not be sought; None
        elsewhere."""
        if isinstance(condition, Has):
            return [self._items_of(condition)]
        if isinstance(condition, Within):
            return [self._items_within(condition)]
        if isinstance(condition, AnyOf):
            found = [self._lists(one) for one in condition.conditions]
            if all(one is not None for one in found):
                return [codes for one in found for codes in one or ()]
        return None

    def _met(self, condition: Condition, codes: IntArray | None = None) -> Mask:
        """Return bool (n,): which of the items ``codes``, int (n,), meet the condition; None: of
        all."""
        if isinstance(condition, All):
            return self._each(np.logical_and, condition.conditions, codes)
        if isinstance(condition, AnyOf):
            return self._each(np.logical_or, condition.conditions, codes)
        if isinstance(condition, Not):
            met = self._met(condition.condition, codes)
            return np.logical_not(met, out=met)
        if isinstance(condition, Has):
            mask = np.zeros(len(self._items), dtype=bool)
            mask[self._items_of(condition)] = True
            return mask if codes is None else mask[codes]
        if isinstance(condition, Known):
            mask = self._known(condition.attribute)
            return mask if codes is None else mask[codes]
        if isinstance(condition, Flag):
            flag = self._flags[condition.attribute]
            return flag.copy() if codes is None else flag[codes]
        if isinstance(condition, Below):
            return self._below(condition, codes)
        low, high = condition.low, condition.high
        return within(self._numbers(condition.attribute, kinds_of(low, high), codes), low, high)

    def _each(
        self, join: np.ufunc, conditions: Sequence[Condition], codes: IntArray | None
    ) -> Mask:
        """Return the masks of the conditions joined by ``join``; without one its identity."""
        n = len(self._items) if codes is None else len(codes)
        mask = np.full(n, join.identity, dtype=bool)
        for one in conditions:
            join(mask, self._met(one, codes), out=mask)
        return mask

    def _items_of(self, condition: Has) -> IntArray:
        """Return the codes of the items that have one of the values, some of them twice."""
        attribute, values = condition.attribute, condition.values
        if attribute == "item_id":
            codes = self._items.get_indexer(list(values))
            return codes[codes >= 0]
        if attribute == "category":
            none = np.empty(0, dtype=np.int64)
            return np.concatenate([self._categories.get(one, none) for one in values])
        return self._attributes.items_of(_columns(attribute, VALUES), values)

    def _items_within(self, condition: Within) -> IntArray:
        """Return the codes of the items whose number or date is within the bounds."""
        attribute, low, high = condition.attribute, condition.low, condition.high
        if attribute == "price":
            return self._by_price.within(low, high)
        return self._attributes.items_within(_columns(attribute, kinds_of(low, high)), low, high)

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

    def _below(self, condition: Below, codes: IntArray | None) -> Mask:
        one, other = (
            self._numbers(name, NUMBERS, codes) for name in (condition.attribute, condition.other)
        )
        known = np.isfinite(one) & np.isfinite(other)
        with np.errstate(invalid="ignore"):
            return known & (one < other if condition.strict else one <= other)

    def _numbers(
        self, attribute: str, kinds: Sequence[AttributeType], codes: IntArray | None
    ) -> RealArray:
        if attribute == "price":
            numbers: RealArray = self._prices
        else:
            numbers = self._attributes.first_numbers(_columns(attribute, kinds))
        return numbers if codes is None else numbers[codes]


def _columns(attribute: str, kinds: Sequence[AttributeType]) -> list[str]:
    """Return the columns of the table that may hold an attribute of a condition."""
    if attribute.startswith(DECLARED):
        return columns_of(attribute.removeprefix(DECLARED), kinds)
    return [attribute]
