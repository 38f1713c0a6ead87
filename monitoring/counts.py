"""A feature table as integer codes, and the counts of each value in some of its rows.

In: a feature table. Out: for each column its sorted distinct values, and counts of them. Every
statistic of drift is a function of two such counts, so thousands of pairs of windows are compared
without building tables.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from components.arrays import BoolArray, DoubleArray, IntArray
from monitoring.features import attributes_of, components_of

NUMERIC = ("price", "quantity", "basket")
CATEGORICAL = ("hour", "weekday", "country", "category", "item")

Counts = dict[str, DoubleArray]
"""Column → number of rows with each of its values, float64 (values,); missing ones do not count."""


@dataclass(frozen=True)
class CodedTable:
    """values: column → its sorted distinct values. codes: column → int (rows,), -1 = missing."""

    values: dict[str, np.ndarray]
    codes: dict[str, IntArray]

    @classmethod
    def of(cls, table: pd.DataFrame) -> CodedTable:
        """Return the coded columns that statistics compare."""
        values, codes = {}, {}
        names = (*NUMERIC, *CATEGORICAL, "user_id", *components_of(table))
        for name in (*names, *attributes_of(table.columns)):
            codes[name], values[name] = pd.factorize(table[name].to_numpy(), sort=True)
        return cls(values, codes)

    def count(self, rows: slice | BoolArray) -> Counts:
        """Return the counts of each column in ``rows``."""
        return {
            name: np.bincount(codes[rows] + 1, minlength=len(self.values[name]) + 1)[1:].astype(
                np.float64
            )
            for name, codes in self.codes.items()
        }
