"""How far predicted probabilities can be believed: Brier score, calibration error, reliability.

In: predicted probabilities float64 (n,) and whether the event happened, bool (n,). The bins hold
equally many predictions; equal predictions are in the same bin.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np

from components.arrays import BoolArray, DoubleArray, Int64Array


def brier_score(predicted: DoubleArray, happened: BoolArray) -> float:
    """Return the mean squared difference of the probability and what happened, 1 or 0 (Brier 1950).

    >>> round(brier_score(np.array([0.8, 0.4]), np.array([True, False])), 3)
    0.1
    """
    return float(np.square(predicted - happened).mean())


@dataclass(frozen=True)
class Reliability:
    """Predictions by bins, the lowest first: counts int64 (bins,); predicted, happened: float64
    (bins,), the mean probability and the share of the events that happened."""

    counts: Int64Array
    predicted: DoubleArray
    happened: DoubleArray

    @classmethod
    def of(cls, predicted: DoubleArray, happened: BoolArray, bins: int = 10) -> Self:
        """Return the reliability in at most ``bins`` bins of equally many predictions."""
        edges = np.percentile(predicted, 100 * np.linspace(0, 1, bins + 1)[1:-1])
        place = np.searchsorted(edges, predicted, side="left")
        counts = np.bincount(place, minlength=bins)
        there = counts > 0
        means = [
            np.bincount(place, values, bins)[there] / counts[there]
            for values in (predicted, happened)
        ]
        return cls(counts[there], means[0], means[1])

    def error(self) -> float:
        """Return the expected calibration error: the mean distance of the probability from the
        share, over all predictions (Naeini et al., AAAI 2015).

        >>> found = Reliability.of(np.array([0.2, 0.2, 0.9, 0.9]), np.array([0, 0, 1, 1]) > 0, 2)
        >>> round(found.error(), 3)
        0.15
        """
        distance = np.abs(self.predicted - self.happened)
        return float(distance @ self.counts / self.counts.sum())
