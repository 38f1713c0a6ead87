"""Features of repeat purchases: how often a candidate was bought, and whether it is due again.

In: histories and candidates of them. Out: the columns that a candidate model with the capability
``KnowsRepeats`` adds to the features of the ranker, if its settings say so.
"""

from __future__ import annotations

import numpy as np

from components.arrays import FloatArray, Int32Array, Int64Array
from components.data.dataset import Histories
from components.recommenders.base import KnowsRepeats

NAMES = ("repeat_days", "days_since_bought", "due_ratio", "item_repeat_rate")


class RepeatFeatures:
    """Describes candidates by NAMES: the days on which the history chose the item, the days since
    the last one, those divided by the usual interval, and the share of the item's buyers who bought
    it again. Not in the history: 0, NaN, NaN.

    model: a fitted candidate. None, or one without ``ranker_features``: there are no features.
    """

    def __init__(self, model: KnowsRepeats | None = None) -> None:
        self.model = model if model is not None and model.ranker_features else None
        self.names = () if self.model is None else NAMES

    def describe(self, histories: Histories, rows: Int64Array, items: Int32Array) -> FloatArray:
        """Return float32 (names, pairs): of item ``items[p]`` for history ``rows[p]``."""
        if self.model is None:
            return np.empty((0, len(items)), dtype=np.float32)
        found = self.model.repeats(histories)
        n_items = len(self.model.repeat_rate)
        keys = found.rows * n_items + found.items  # ascending
        wanted = rows * n_items + items
        at = np.searchsorted(keys, wanted)
        there = np.append(keys, -1)[at] == wanted
        at = at[there]
        features = np.full((len(NAMES), len(items)), np.nan, dtype=np.float32)
        features[0] = 0
        features[0, there] = found.counts[at]
        features[1, there] = found.last[at]
        features[2, there] = (found.last / np.maximum(self.model.intervals(found), 1e-3))[at]
        features[3] = self.model.repeat_rate[items]
        return features
