"""Products by the values of their attributes: what filters look up and facets count.

In: a catalogue's table, row number = item code. Out: masks and counts over the items. A column is
read at its first use.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from components.arrays import IntArray, RealArray
from components.data.attribute_codes import DAY, numbers_of
from components.data.attributes import column_of, kind_of
from components.data.item_table import entries
from components.settings import AttributeType
from serving.filters.conditions import Bound
from serving.recommend.types import Mask

Items = NDArray[np.int32]

PLAIN = ("brand", "currency")
"""Columns of texts that filters look up and no shop declares."""


@dataclass(frozen=True)
class ValueIndex:
    """The items of each value of a category or set, by the alphabet; case does not matter.

    labels: (values,), of several spellings the most frequent. items: int32, the codes of each
    value's items, one value after the other. starts: int64 (values + 1,), where each begins.
    """

    labels: list[str]
    items: Items
    starts: NDArray[np.int64]
    places: dict[str, int]
    """Casefolded value → its number."""

    @classmethod
    def of(cls, column: pd.Series) -> ValueIndex:
        """Return the index of an attribute's column.

        >>> index = ValueIndex.of(pd.Series([["oak"], ["Oak", "ash"], None, ["Oak"]]))
        >>> index.labels, index.items_of("OAK").tolist()
        (['ash', 'Oak'], [0, 1, 3])
        """
        return cls._grouped(*entries(column))

    @classmethod
    def _grouped(cls, items: Items, codes: IntArray, spellings: Sequence[str]) -> ValueIndex:
        """Return the index of entries: items, and numbers of their values in ``spellings``."""
        folded, names = pd.factorize(
            np.array([one.casefold() for one in spellings], dtype=object), sort=True
        )
        labels = np.empty(len(names), dtype=object)
        rarest_first = np.argsort(np.bincount(codes, minlength=len(spellings)), kind="stable")
        labels[folded[rarest_first]] = np.array(spellings, dtype=object)[rarest_first]
        # Sorted by value, then item; an item counts once, however often its set has the value.
        width = int(items.max(initial=0)) + 1
        entries = np.sort(folded[codes] * width + items)  # np.unique takes 20 times as long
        entries = entries[np.diff(entries, prepend=-1) > 0]
        value, item = np.divmod(entries, width)
        starts = np.searchsorted(value, np.arange(len(names) + 1))
        places = {name: at for at, name in enumerate(names.tolist())}
        return cls(labels.tolist(), item.astype(np.int32), starts, places)

    def changed(self, column: pd.Series, codes: NDArray[np.int64]) -> ValueIndex:
        """Return the index after the items ``codes`` changed or were added; column: the new one."""
        values = np.repeat(np.arange(len(self.labels)), np.diff(self.starts))
        stays = ~np.isin(self.items, codes)
        rows, found, spellings = entries(column.iloc[codes])
        items = codes[rows].astype(np.int32)
        return self._grouped(
            np.concatenate([self.items[stays], items]),
            np.concatenate([values[stays], found + len(self.labels)]),
            [*self.labels, *spellings],
        )

    def items_of(self, value: str) -> Items:
        """Return the codes of the items that have the value."""
        at = self.places.get(value.casefold())
        return self.items[:0] if at is None else self.items[self.starts[at] : self.starts[at + 1]]

    def counts(self, mask: Mask) -> NDArray[np.int64]:
        """Return int64 (values,): the items of ``mask`` that have each value."""
        passed = np.concatenate([[0], np.cumsum(mask.take(self.items), dtype=np.int32)])
        return np.diff(passed[self.starts])


@dataclass(frozen=True)
class NumberIndex:
    """The items that have a number, the lowest first.

    numbers: float (n,), ascending. items: int32 (n,).
    """

    numbers: RealArray
    items: Items

    @classmethod
    def of(cls, numbers: RealArray) -> NumberIndex:
        """Return the index of float (items,), NaN where unknown.

        >>> NumberIndex.of(np.array([3, np.nan, 1, 2], np.float32)).within(1.5, None).tolist()
        [3, 0]
        """
        known = np.flatnonzero(np.isfinite(numbers)).astype(np.int32)
        items = known[np.argsort(numbers[known], kind="stable")]
        return cls(numbers[items], items)

    def within(self, low: Bound | None, high: Bound | None) -> Items:
        """Return the codes of the items within the bounds, both included."""
        width = self.numbers.dtype.type  # of a wider one all numbers would be copied
        first, last = 0, len(self.numbers)
        if low is not None:
            first = int(np.searchsorted(self.numbers, width(_comparable(low))))
        if high is not None:
            last = int(np.searchsorted(self.numbers, width(_comparable(high)), "right"))
        return self.items[first:last]


class AttributeIndex:
    """The attributes of a catalogue's items. Thread-safe."""

    def __init__(
        self,
        table: pd.DataFrame,
        before: AttributeIndex | None = None,
        changed: NDArray[np.int32] | NDArray[np.int64] | None = None,
    ) -> None:
        """before: of a table of the same items except for those ``changed``, int64 (n,), and those
        added after it."""
        self.table = table
        self._before = before
        self._changed = np.empty(0, np.int64) if changed is None else changed.astype(np.int64)
        self._values: dict[str, ValueIndex] = {}
        self._numbers: dict[str, RealArray] = {}
        self._ordered: dict[str, NumberIndex] = {}
        self._lock = threading.Lock()

    def values(self, column: str) -> ValueIndex:
        """Return the values of a category or set."""
        with self._lock:  # concurrent first requests read the column once
            if (found := self._values.get(column)) is None:
                found = self._values[column] = self._read(column)
            return found

    def _read(self, column: str) -> ValueIndex:
        if self._before is None or column not in self._before.table:
            return ValueIndex.of(self.table[column])
        return self._before.values(column).changed(self.table[column], self._changed)

    def numbers(self, column: str) -> RealArray:
        """Return float (items,), NaN where unknown or infinite: float32 of a number, float64 of a
        date, in days since 1970."""
        if (found := self._numbers.get(column)) is None:
            numbers = finite(numbers_of(self.table[column]))
            if kind_of(column) == "number":
                numbers = numbers.astype(np.float32)
            found = self._numbers[column] = numbers
        return found

    def ordered(self, column: str) -> NumberIndex:
        """Return the items by their ``numbers``."""
        if (found := self._ordered.get(column)) is None:
            found = self._ordered[column] = NumberIndex.of(self.numbers(column))
        return found

    def read_columns(self) -> None:
        """Read the columns that filters look up, so that no request waits until one is read."""
        for column in map(str, self.table.columns):
            kind = kind_of(column)
            if column in PLAIN or kind in ("category", "set"):
                self.values(column)
            elif kind in ("number", "date"):
                self.ordered(column)

    def items_within(self, columns: Sequence[str], low: Bound | None, high: Bound | None) -> Items:
        """Return int32 (n,): the items whose number, of the first of the columns that the table
        has, is within the bounds, both included; without a column none."""
        column = self._first(columns)
        return np.empty(0, np.int32) if column is None else self.ordered(column).within(low, high)

    def items_of(self, columns: Sequence[str], values: Sequence[str]) -> Items:
        """Return int32 (n,): the items that have one of the values in the first of the columns that
        the table has, those with two of them twice; without a column none."""
        column = self._first(columns)
        if column is None:  # declared since the training
            return np.empty(0, dtype=np.int32)
        index = self.values(column)
        return np.concatenate([index.items_of(value) for value in values])

    def known(self, columns: Sequence[str]) -> Mask:
        """Return bool (items,): true where an item has a value."""
        column = self._first(columns)
        if column is None:
            return np.zeros(len(self.table), dtype=bool)
        if kind_of(column) in ("number", "date"):
            return np.isfinite(self.numbers(column))
        inside = np.zeros(len(self.table), dtype=bool)
        index = self.values(column)
        inside[index.items] = True
        inside[index.items_of("")] = False  # as a file may say that there is no brand
        return inside

    def _first(self, columns: Sequence[str]) -> str | None:
        return next((column for column in columns if column in self.table), None)

    def first_numbers(self, columns: Sequence[str]) -> RealArray:
        """Return ``numbers`` of the first of the columns that the table has, else NaN."""
        column = self._first(columns)
        return np.full(len(self.table), np.nan) if column is None else self.numbers(column)


def finite(numbers: RealArray) -> RealArray:
    """Return the numbers with NaN for infinite ones, of the same width."""
    return np.where(np.isfinite(numbers), numbers, numbers.dtype.type(np.nan))


def columns_of(name: str, kinds: Sequence[AttributeType]) -> list[str]:
    """Return the columns that an attribute may have."""
    return [column_of(name, kind) for kind in kinds]


def kinds_of(low: Bound | None, high: Bound | None) -> tuple[AttributeType, ...]:
    """Return the types of attributes that bounds fit."""
    if isinstance(low, datetime) or isinstance(high, datetime):
        return ("date",)
    return ("number",) if low is not None or high is not None else ("number", "date")


def within(numbers: RealArray, low: Bound | None, high: Bound | None) -> Mask:
    """Return bool (items,): true where a number is known and within the bounds, both included.

    numbers: NaN where unknown, which meets no bound; never infinite.
    """
    inside: Mask | None = None
    with np.errstate(invalid="ignore"):
        if low is not None:
            inside = numbers >= _comparable(low)
        if high is not None:
            below: Mask = numbers <= _comparable(high)
            inside = below if inside is None else inside & below
    return np.isfinite(numbers) if inside is None else inside


def _comparable(bound: Bound) -> float:
    """Return a bound as the columns have their numbers: float32, and whole seconds of a date."""
    if isinstance(bound, datetime):
        return bound.timestamp() // 1 / DAY
    with np.errstate(over="ignore"):  # beyond float32 it is infinite, as a bound should be
        return float(np.float32(bound))
