"""The statistics of a shop's shelves, in one folder of the model: pairs, trends, intervals.

In: interactions, and the customers' countries. Out: ``ShelfStatistics``, without personal data. It
is fitted with the served model and with each refresh, so that trends are as new as the data.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
from safetensors.numpy import save_file

from components.arrays import ObjectArray
from components.data.dataset import Interactions, Prepared
from components.recommenders.base import mapped_arrays
from components.recommenders.shelves.due import Intervals
from components.recommenders.shelves.pairs import BasketPairs
from components.recommenders.shelves.trends import Trends

FOLDER = "shelves"
"""In a model folder."""
SMALLEST_COUNTRY = 50
"""Customers below which a country is no segment: few customers must not be told from counts."""


@dataclass(frozen=True)
class ShelfStatistics:
    """What shelves show besides the models' lists."""

    pairs: BasketPairs
    trends: Trends
    intervals: Intervals

    @classmethod
    def of(cls, train: Interactions, countries: ObjectArray | None = None) -> Self:
        """Return the statistics of ``train``. countries: str (users,), None where unknown."""
        return cls(
            BasketPairs.of(train), Trends.of(train, countries), Intervals.of(train, train.n_items)
        )

    @classmethod
    def of_prepared(cls, prepared: Prepared, before: int | None = None) -> Self:
        """Return the statistics of the prepared tables. before: seconds; None: of all data."""
        train = prepared.interactions
        if before is not None:
            train = train.where(train.times < before)
        countries = None
        if "country" in prepared.users:
            column = prepared.users["country"]
            counts = column.map(column.value_counts())
            countries = column.where(counts >= SMALLEST_COUNTRY, None).to_numpy(dtype=object)
        return cls.of(train, countries)

    def save(self, folder: Path) -> None:
        """Write the statistics to ``folder``."""
        folder.mkdir(parents=True, exist_ok=True)
        arrays = self.pairs.arrays() | self.trends.arrays() | self.intervals.arrays()
        contiguous = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
        save_file(contiguous, folder / "statistics.safetensors")
        segments = {"segments": self.trends.segments}
        (folder / "statistics.json").write_text(json.dumps(segments), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Return what ``save`` wrote; the arrays are mapped from the file.

        Raises:
            FileNotFoundError: the folder has none, as those of earlier versions.
            ValueError: they are damaged.
        """
        named = json.loads((folder / "statistics.json").read_text(encoding="utf-8"))
        arrays = mapped_arrays(folder / "statistics.safetensors")
        return cls(
            BasketPairs.from_arrays(arrays),
            Trends.from_arrays(arrays, named["segments"]),
            Intervals.from_arrays(arrays),
        )
