"""Near-duplicates between a user's history and target, by their titles alone.

In: titles and a task. Out: the nearest title of each user's history, and figures without the users
whose target nearly repeats an item of the history.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer

from components.arrays import DoubleArray
from components.data.holdout import Task
from components.evaluation.protocol import interval

THRESHOLDS = (0.9, 0.7, 0.5)


def nearest(titles: Sequence[str], task: Task) -> DoubleArray:
    """Return float64 (users,): the highest cosine between the titles of the target and of an item
    of the history, TF-IDF over the words; 0 without a history."""
    matrix = TfidfVectorizer(token_pattern=r"(?u)\w+").fit_transform(titles)
    events = task.histories.items
    wanted = task.targets.indices[task.targets.indptr[:-1]][task.histories.rows()]
    cosines = np.asarray(matrix[events].multiply(matrix[wanted]).sum(axis=1)).ravel()
    best = np.zeros(len(task.users))
    np.maximum.at(best, task.histories.rows(), cosines)
    return best


def rows(each: DoubleArray, similarity: DoubleArray) -> list[dict[str, Any]]:
    """Return a row for each threshold: the share of users above it, and the figure (users,) of
    them and of the others with its interval."""
    found = []
    for threshold in THRESHOLDS:
        near = similarity >= threshold
        low, high = interval(each[~near], 500, 0)
        found.append(
            {
                "threshold": threshold,
                "share": float(near.mean()),
                "near": float(each[near].mean()) if near.any() else float("nan"),
                "others": float(each[~near].mean()),
                "low": low,
                "high": high,
            }
        )
    return found
