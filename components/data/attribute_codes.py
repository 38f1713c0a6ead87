"""Values of attributes as dense codes: what models count and compare.

In: a table with attribute columns (``data.attributes``). Out: a ``Vocabulary``, and by it a sparse
matrix with a column for each frequent value of a category or set and for each interval of a number
or date. A vocabulary names no person: a value that few rows have is not in it, so it may lie in a
model folder.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from itertools import pairwise
from typing import Any, Self

import numpy as np
import pandas as pd
import scipy.sparse as sp

from components.arrays import FloatArray, IntArray
from components.data.attributes import kind_of, name_of, valid

DAY = 86_400
MIN_ROWS = 10
"""Rows that a value of a category or set needs to have a code, and a number to have intervals."""
MAX_VALUES = 200
"""Values of one attribute that have codes, the most frequent."""
INTERVALS = 8
"""Intervals of a number or date, with about as many rows each."""


@dataclass(frozen=True)
class Vocabulary:
    """The codes of attributes.

    values: by column, in the order of their codes the values of a category or set, the most
    frequent first; of a number or date (in days since 1970) the ascending bounds between intervals.
    """

    values: Mapping[str, Sequence[str] | Sequence[float]]

    @classmethod
    def of(cls, table: pd.DataFrame, min_rows: int = MIN_ROWS) -> Self:
        """Return the vocabulary of a table's attributes. Texts have no codes.

        >>> table = pd.DataFrame({"category:size": ["M"] * 3 + ["L", "M", "S"], "price": 1.0})
        >>> Vocabulary.of(table, min_rows=1).values
        {'category:size': ('M', 'L', 'S')}
        """
        found: dict[str, Sequence[str] | Sequence[float]] = {}
        for column in sorted(one for one in table.columns if kind_of(one) not in (None, "text")):
            if kind_of(column) in ("category", "set"):
                values = table[column].explode().dropna()
                # Both orders in one: the most frequent first, equals by the alphabet.
                counts = (
                    values.value_counts().sort_index().sort_values(ascending=False, kind="stable")
                )
                found[column] = tuple(counts.index[counts >= min_rows][:MAX_VALUES])
            else:
                found[column] = _bounds(numbers_of(table[column]), min_rows)
        return cls(found)

    @cached_property
    def parts(self) -> dict[str, slice]:
        """The codes of each column."""
        found, start = {}, 0
        for column, values in self.values.items():
            stop = start + len(values) + (kind_of(column) in ("number", "date"))
            found[column] = slice(start, stop)
            start = stop
        return found

    def __len__(self) -> int:
        return max((part.stop for part in self.parts.values()), default=0)

    def encode(self, table: pd.DataFrame) -> sp.csr_matrix:
        """Return float32 CSR (rows, codes) with a 1 for each value of each row that has a code."""
        rows: list[IntArray] = [np.empty(0, np.int64)]
        codes: list[IntArray] = [np.empty(0, np.int64)]
        for column, part in self.parts.items():
            if column in table:
                at, found = _codes(column, self.values[column], table[column])
                rows.append(at)
                codes.append(found + part.start)
        at, code = np.concatenate(rows), np.concatenate(codes)
        shape = (len(table), len(self))
        matrix = sp.csr_matrix((np.ones(len(at), np.float32), (at, code)), shape=shape)
        matrix.data[:] = 1.0  # of values that a set has twice
        return matrix

    def codes_of(self, attributes: Mapping[str, Any]) -> dict[str, list[int]]:
        """Return the codes of one row's values by column, as ``encode`` of a table of one row.

        attributes: values by name, as ``attributes.checked`` returns them; of a name with the value
        None there are no codes. Columns of other names are absent.
        """
        found: dict[str, list[int]] = {}
        for column, part in self.parts.items():
            if name_of(column) not in attributes:
                continue
            kind = kind_of(column)
            assert kind is not None
            value = valid(kind, attributes[name_of(column)])
            values = self.values[column]
            if value is None:
                codes = []
            elif kind in ("category", "set"):
                given = value if isinstance(value, list) else [value]
                codes = [values.index(one) for one in given if one in values]
            else:
                assert not isinstance(value, list)
                codes = [bisect_right(values, _number(value))]
            found[column] = [part.start + code for code in codes]
        return found

    def labels(self) -> Iterator[tuple[str, str]]:
        """Yield (attribute, value) of each code: ``("age", "25 to 40")`` of an interval."""
        for column, values in self.values.items():
            texts = list(values) if kind_of(column) in ("category", "set") else _intervals(values)
            yield from ((name_of(column), str(text)) for text in texts)

    def config(self) -> dict[str, Any]:
        """Return what ``from_config`` needs, as JSON can hold it."""
        return {column: list(values) for column, values in self.values.items()}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        return cls({column: tuple(values) for column, values in config.items()})


@dataclass(frozen=True)
class UserAttributes:
    """The attributes of users, row number = code of the user.

    codes: float32 CSR (users, len(vocabulary)), a 1 for each value.
    """

    codes: sp.csr_matrix
    vocabulary: Vocabulary

    def take(self, rows: slice | IntArray) -> UserAttributes:
        """Return the attributes of some of the users, in that order."""
        return UserAttributes(self.codes[rows], self.vocabulary)

    def codes_in(self, vocabulary: Vocabulary) -> sp.csr_matrix:
        """Return float32 CSR (users, len(vocabulary)): the values by the codes of another
        vocabulary, such as that of a model fitted earlier.

        An interval becomes the one that its middle lies in. Values without a code are left out.
        """
        mine = self.vocabulary
        if vocabulary is mine or vocabulary.values == mine.values:
            return self.codes
        return (self.codes @ _translation(mine, vocabulary)).tocsr()

    @classmethod
    def of(cls, users: pd.DataFrame) -> UserAttributes | None:
        """Return the attributes of a table of users, None where none are declared."""
        vocabulary = Vocabulary.of(users)
        return cls(vocabulary.encode(users), vocabulary) if vocabulary.values else None


def as_categories(table: pd.DataFrame) -> pd.DataFrame:
    """Return object (rows, attributes): each attribute, by its name, as one text: a number or date
    as its interval, the values of a set joined. Without texts.

    >>> as_categories(pd.DataFrame({"set:use": [["a", "b"], None], "text:care": "dry"}))
        use
    0  a, b
    1  None
    """
    found = {}
    vocabulary = Vocabulary.of(table)
    labels = np.array([value for _, value in vocabulary.labels()], dtype=object)
    for column, part in vocabulary.parts.items():
        cells = table[column].reset_index(drop=True)
        if kind_of(column) in ("number", "date"):
            rows, codes = _codes(column, vocabulary.values[column], cells)
            texts = pd.Series(None, index=cells.index, dtype=object)
            texts.iloc[rows] = labels[part][codes]
        else:
            known = cells.notna()
            texts = cells.astype(object).where(known, None)
            if kind_of(column) == "set":
                texts[known] = [", ".join(sorted(one)) for one in cells[known]]
        found[name_of(column)] = texts
    return pd.DataFrame(found, index=pd.RangeIndex(len(table)))


def _translation(old: Vocabulary, new: Vocabulary) -> sp.csr_matrix:
    """Return float32 CSR (codes, codes of ``new``) with a 1 where a code becomes another."""
    rows: list[IntArray] = [np.empty(0, np.int64)]
    codes: list[IntArray] = [np.empty(0, np.int64)]
    for column in old.parts.keys() & new.parts.keys():
        values: Sequence[Any] = old.values[column]
        if kind_of(column) in ("number", "date"):
            ends = [values[0] - 1, *values, values[-1] + 1] if values else [0, 0]
            values = [(low + high) / 2 for low, high in pairwise(ends)]
        cells = pd.Series(list(values), name=column)
        if kind_of(column) == "date":
            cells = pd.to_datetime(cells, unit="D", utc=True)
        at, found = _codes(column, new.values[column], cells)
        rows.append(at + old.parts[column].start)
        codes.append(found + new.parts[column].start)
    at, code = np.concatenate(rows), np.concatenate(codes)
    ones = np.ones(len(at), np.float32)
    return sp.csr_matrix((ones, (at, code)), shape=(len(old), len(new)))


def numbers_of(column: pd.Series) -> FloatArray:
    """Return float64 (rows,): numbers as they are, dates as days since 1970, NaN where unknown."""
    if kind_of(str(column.name)) == "date":
        times = pd.to_datetime(column, utc=True).dt.tz_localize(None).astype("datetime64[s]")
        seconds = times.astype("int64").to_numpy() / DAY
        return np.where(times.isna(), np.nan, seconds)
    return pd.to_numeric(column).to_numpy(dtype=np.float64, na_value=np.nan)


def _number(value: float | str) -> float:
    """Return a number, or the days since 1970 of a date of ISO 8601, in UTC unless it says so."""
    if not isinstance(value, str):
        return value
    moment = datetime.fromisoformat(value)
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() / DAY


def _bounds(numbers: FloatArray, min_rows: int) -> tuple[float, ...]:
    known = numbers[np.isfinite(numbers)]
    # Each interval has about min_rows: what is learned of it is not of single persons.
    intervals = min(INTERVALS, len(known) // max(min_rows, 1))
    if not intervals:
        return ()
    inner = np.linspace(0, 1, intervals + 1)[1:-1]
    bounds = np.unique(np.quantile(known, inner, method="lower"))
    return tuple(bounds[bounds > known.min()].tolist())


def _codes(column: str, values: Sequence[Any], cells: pd.Series) -> tuple[IntArray, IntArray]:
    """Return rows and codes, from 0, of a column's values that have one."""
    if kind_of(column) in ("category", "set"):
        single = cells.reset_index(drop=True).explode()
        codes = pd.Index(values, dtype=object).get_indexer(single.to_numpy(dtype=object))
        known = (codes >= 0) & single.notna().to_numpy()
        return single.index.to_numpy()[known], codes[known].astype(np.int64)
    numbers = numbers_of(cells)
    known = np.isfinite(numbers)
    codes = np.searchsorted(np.array(values, dtype=np.float64), numbers[known], side="right")
    return np.flatnonzero(known), codes.astype(np.int64)


def _intervals(bounds: Sequence[Any]) -> list[str]:
    if not bounds:
        return ["any"]
    inner = [f"{low:g} to {high:g}" for low, high in pairwise(bounds)]
    return [f"below {bounds[0]:g}", *inner, f"from {bounds[-1]:g}"]
