"""How often, and on which days, the items of histories were chosen.

In: ``Histories``. Out: ``Repeats``, one entry for each history and item of it. Events on the same
item and day (UTC) count once, so that an item put into a basket and then bought is one choice.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from components.arrays import (
    AnyArray,
    BoolArray,
    DoubleArray,
    FloatArray,
    Int32Array,
    Int64Array,
    IntArray,
)
from components.data.dataset import DAY, Histories


@dataclass(frozen=True)
class Repeats:
    """Choices of items: entry e is item ``items[e]`` of history ``rows[e]``.

    rows: int64 (entries,), ascending. items: int32 (entries,), ascending within a row. counts:
    int64 (entries,), days with an event on the item. first, last: float64 (entries,), days from the
    first and from the newest of them to now. faded: float64 (entries, half-lives), the counts with
    each choice halved with every half-life of its age. median: float64 (entries,), the median of
    the days between two choices, NaN of an item that was chosen once.
    """

    rows: Int64Array
    items: Int32Array
    counts: Int64Array
    first: DoubleArray
    last: DoubleArray
    faded: DoubleArray
    median: DoubleArray

    def intervals(self, usual_days: FloatArray, prior: float) -> DoubleArray:
        """Return float64 (entries,): the days between two choices of the item in this history.

        The mean of the history's own intervals and of ``prior`` intervals of the length that is
        usual for the item, float32 (items,).
        """
        own = self.first - self.last
        return (own + prior * usual_days[self.items]) / (self.counts - 1 + prior)


def repeats(histories: Histories, half_lives: tuple[float, ...] = ()) -> Repeats:
    """Return the choices of each item of each history. half_lives: days.

    >>> times = np.array([0, 7, 7, 14]) * DAY
    >>> one = Histories(np.array([5, 5, 2, 5], np.int32), times, np.array([0, 4]), times[-1:] + DAY)
    >>> found = repeats(one)
    >>> found.items.tolist(), found.counts.tolist(), found.last.tolist(), found.median.tolist()
    ([2, 5], [1, 3], [8.0, 1.0], [nan, 7.0])
    """
    order = np.lexsort((histories.times, histories.items, histories.rows()))
    rows, items, times = histories.rows()[order], histories.items[order], histories.times[order]
    choice = _changes(rows, items, times // DAY)
    rows, items, times = rows[choice], items[choice], times[choice]
    ages = (histories.now[rows] - times) / DAY
    starts = np.flatnonzero(_changes(rows, items))
    counts = np.diff(starts, append=len(rows))
    faded = np.empty((len(starts), len(half_lives)))
    for column, half_life in enumerate(half_lives):
        faded[:, column] = np.add.reduceat(np.exp2(-ages / half_life), starts) if len(rows) else 0
    newest = starts + counts - 1
    gaps = ages[:-1] - ages[1:]
    entry = np.repeat(np.arange(len(starts)), counts)
    within = entry[1:] == entry[:-1]
    median = medians(entry[1:][within], gaps[within], len(starts))
    return Repeats(rows[starts], items[starts], counts, ages[starts], ages[newest], faded, median)


def medians(groups: IntArray, values: DoubleArray, n_groups: int) -> DoubleArray:
    """Return float64 (n_groups,): the median of each group's values, NaN of a group without any.

    groups: int (n,), below ``n_groups``. values: float64 (n,).

    >>> medians(np.array([0, 0, 2, 0]), np.array([7.0, 1.0, 5.0, 2.0]), 3).tolist()
    [2.0, nan, 5.0]
    """
    order = np.lexsort((values, groups))
    values = values[order]
    counts = np.bincount(groups, minlength=n_groups)
    there = np.flatnonzero(counts)
    counts, starts = counts[there], (np.cumsum(counts) - counts)[there]
    found = np.full(n_groups, np.nan)
    found[there] = (values[starts + (counts - 1) // 2] + values[starts + counts // 2]) / 2
    return found


def _changes(*columns: AnyArray) -> BoolArray:
    """Return bool (n,): where any of the columns differs from the row before."""
    changes = np.zeros(len(columns[0]), dtype=bool)
    changes[:1] = True
    for column in columns:
        changes[1:] |= column[1:] != column[:-1]
    return changes
