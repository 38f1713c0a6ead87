"""Features of declared attributes: of the item, of its match with the history, of the user's lift.

In: histories and pairs of a history and an item. Out: the ranker's further features. Without
attributes there are none.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Self

import numpy as np
import scipy.sparse as sp

from components.arrays import FloatArray, IntArray
from components.data.attribute_codes import UserAttributes, Vocabulary, numbers_of
from components.data.attributes import kind_of, name_of
from components.data.dataset import Catalogue, Histories, Interactions
from components.recommenders.kernels.lift import item_groups, log_lift, normalised

STRENGTH = 50.0
"""Purchases that the category's lift is worth: the default of the demographic recommender."""


@dataclass(frozen=True)
class AttributeStatistics:
    """What is learned of attributes from the interactions that the candidates were fitted on.

    items, users: the vocabularies. lift: float32 (values of users, items), see ``kernels.lift``.
    """

    items: Vocabulary
    users: Vocabulary
    lift: FloatArray

    @classmethod
    def none(cls, n_items: int) -> Self:
        """Return the statistics of a shop without attributes."""
        return cls(Vocabulary({}), Vocabulary({}), np.empty((0, n_items), dtype=np.float32))

    @classmethod
    def of(cls, train: Interactions, catalogue: Catalogue, before: Self | None = None) -> Self:
        """Return the statistics of ``train``.

        before: of the model whose ranker is used, None without one. Its items' vocabulary and the
        names of its users' attributes stay, because the ranker was fitted on them.
        """
        known = train.attributes
        values = {} if known is None else known.vocabulary.values
        items, columns = Vocabulary.of(catalogue.table), list(values)
        if before is not None:
            items, columns = before.items, list(before.users.values)
        users = Vocabulary({column: values.get(column, ()) for column in columns})
        if known is None:
            return cls(items, users, np.zeros((len(users), len(catalogue)), dtype=np.float32))
        lift = log_lift(
            train.matrix(), known.codes_in(users), users, item_groups(catalogue), STRENGTH
        )
        return cls(items, users, lift)

    def extended(self, n_new: int) -> AttributeStatistics:
        """Return the statistics with ``n_new`` more items, which have no lift."""
        none = np.zeros((len(self.lift), n_new), dtype=np.float32)
        return AttributeStatistics(self.items, self.users, np.hstack([self.lift, none]))

    def only(self, tables: Collection[str]) -> Self:
        """Return the statistics of the attributes of ``users``, ``items``, or both."""
        none = Vocabulary({})
        found = self if "items" in tables else replace(self, items=none)
        return found if "users" in tables else replace(found, users=none, lift=self.lift[:0])

    def config(self) -> dict[str, Any]:
        """Return the vocabularies, as JSON can hold them."""
        return {"items": self.items.config(), "users": self.users.config()}

    @classmethod
    def from_saved(cls, config: dict[str, Any], lift: FloatArray) -> Self:
        items, users = (Vocabulary.from_config(config[name]) for name in ("items", "users"))
        return cls(items, users, lift)


@dataclass(frozen=True)
class _Values:
    """A category or set of the items.

    values: CSR (items, values) with a 1 for each value. weights: the same with rows that sum to 1.
    ranks: float32 (items,), the code of the first value, NaN where there is none.
    """

    values: sp.csr_matrix
    weights: sp.csr_matrix
    ranks: FloatArray

    @classmethod
    def of(cls, values: sp.csr_matrix) -> Self:
        ranks = np.full(values.shape[0], np.nan, dtype=np.float32)
        has = np.diff(values.indptr) > 0
        ranks[has] = values.indices[values.indptr[:-1][has]]
        return cls(values, normalised(values), ranks)

    def shares(self, events: sp.csr_matrix, rows: IntArray, items: IntArray) -> FloatArray:
        """Return float64 (pairs,): the mean share of the history's events that have a value of the
        item. events: CSR (batch, items), rows sum to 1."""
        shares = np.asarray((events @ self.values).todense())
        return _weighted_means(self.weights[items], lambda pair, code: shares[rows[pair], code])


class AttributeFeatures:
    """Computes the features of attributes; their order is that of ``names``.

    Of a number or date of the item: the value (dates in days since 1970) and its difference from
    the mean of the history's items. Of a category: its rank by frequency, and the share of the
    history's events with it; of a set the mean of its values' shares. Of an attribute of the user:
    the item's log lift, the mean over the user's values. NaN where something is not known.
    """

    def __init__(self, catalogue: Catalogue, statistics: AttributeStatistics) -> None:
        self._statistics = statistics
        self._numbers: dict[str, FloatArray] = {}
        self._values: dict[str, _Values] = {}
        table = catalogue.table
        codes = statistics.items.encode(table)
        for column, part in statistics.items.parts.items():
            if kind_of(column) in ("category", "set"):
                self._values[column] = _Values.of(codes[:, part])
            elif column in table:
                self._numbers[column] = numbers_of(table[column]).astype(np.float32)
            else:
                self._numbers[column] = np.full(len(table), np.nan, dtype=np.float32)

    @cached_property
    def names(self) -> list[str]:
        """Names of the features."""
        # The attribute's name comes last, so that no two of them are the same.
        found = []
        for name in map(name_of, self._numbers):
            found += [f"item_value_{name}", f"item_difference_{name}"]
        for column in self._values:
            rank = [f"item_value_{name_of(column)}"] if kind_of(column) == "category" else []
            found += [*rank, f"item_share_{name_of(column)}"]
        return found + [f"user_lift_{name_of(column)}" for column in self._statistics.users.parts]

    def describe(self, histories: Histories, rows: IntArray, items: IntArray) -> FloatArray:
        """Return float32 (len(names), pairs). rows: int (pairs,), each pair's history. items: int
        (pairs,), its item."""
        found: list[FloatArray] = []
        for numbers in self._numbers.values():
            found += [numbers[items], numbers[items] - _means(numbers, histories)[rows]]
        if self._values:
            events = normalised(histories.matrix(len(next(iter(self._values.values())).ranks)))
        for column, values in self._values.items():
            if kind_of(column) == "category":
                found.append(values.ranks[items])
            found.append(values.shares(events, rows, items))
        found += self._lifts(histories.attributes, rows, items)
        return np.array(found, dtype=np.float32).reshape(len(self.names), len(rows))

    def _lifts(
        self, attributes: UserAttributes | None, rows: IntArray, items: IntArray
    ) -> list[FloatArray]:
        users, lift = self._statistics.users, self._statistics.lift
        if attributes is None:
            return [np.full(len(rows), np.nan, dtype=np.float32) for _ in users.parts]
        codes = attributes.codes_in(users)
        return [
            _mean_logs(normalised(codes[:, part])[rows], lift[part], items)
            for part in users.parts.values()
        ]


def _means(numbers: FloatArray, histories: Histories) -> FloatArray:
    """Return float64 (batch,): the mean of the numbers of each history's items; NaN without one."""
    of_events = numbers[histories.items]
    known = np.isfinite(of_events)
    rows = histories.rows()[known]
    count = np.bincount(rows, minlength=len(histories))
    sums = np.bincount(rows, of_events[known], len(histories))
    return np.divide(sums, count, out=np.full(len(histories), np.nan), where=count > 0)


def _mean_logs(of_pairs: sp.csr_matrix, lift: FloatArray, items: IntArray) -> FloatArray:
    """Return float64 (pairs,): the mean log lift of each pair's item over the user's values."""
    return _weighted_means(of_pairs, lambda pair, code: lift[code, items[pair]])


def _weighted_means(
    weights: sp.csr_matrix, lookup: Callable[[IntArray, IntArray], FloatArray]
) -> FloatArray:
    """Return float64 (pairs,): the mean of a pair's values by ``weights`` (CSR (pairs, codes), rows
    sum to 1); NaN where a row is empty. lookup: pairs and codes, int (n,) each, → values."""
    n, lengths = weights.shape[0], np.diff(weights.indptr)
    pair = np.repeat(np.arange(n), lengths)
    sums = np.bincount(pair, weights.data * lookup(pair, weights.indices), n)
    return np.where(lengths > 0, sums, np.nan)
