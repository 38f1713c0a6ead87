"""Counts and intervals of the items of histories."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.data.dataset import DAY, Histories
from components.recommenders.kernels.repeats import repeats

NOW = 1_600_000_000


@st.composite
def batches(draw: st.DrawFn) -> Histories:
    """Histories of few items, on few days, some events on the same one."""
    random = np.random.default_rng(draw(st.integers(0, 10_000)))
    lengths = draw(st.lists(st.integers(0, 30), min_size=1, max_size=5))
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    times = NOW - random.integers(0, 40 * DAY, offsets[-1])
    for start, stop in pairwise(offsets):
        times[start:stop].sort()
    items = random.integers(0, 6, offsets[-1]).astype(np.int32)
    return Histories(items, times, offsets, np.full(len(lengths), NOW))


@given(batches())
def test_as_counted_one_by_one(histories: Histories) -> None:
    expected = []
    for row in range(len(histories)):
        own = slice(histories.offsets[row], histories.offsets[row + 1])
        for item in np.unique(histories.items[own]):
            times = histories.times[own][histories.items[own] == item]
            first_of_day = {time // DAY: time for time in times[::-1].tolist()}
            ages = (NOW - np.array(sorted(first_of_day.values()))) / DAY
            faded = np.exp2(-ages / 10).sum()
            expected.append((row, item, len(ages), ages[0], ages[-1], faded))
    found = repeats(histories, (10.0,))
    columns = (found.rows, found.items, found.counts, found.first, found.last, found.faded[:, 0])
    assert np.column_stack(columns) == pytest.approx(np.array(expected).reshape(-1, 6))


def test_the_interval_is_between_the_own_and_the_usual_one() -> None:
    times = NOW - np.array([30, 20, 10, 5]) * DAY
    histories = Histories(
        np.array([1, 1, 1, 0], np.int32), times, np.array([0, 4]), np.array([NOW])
    )
    usual = np.array([40.0, 40.0], dtype=np.float32)
    found = repeats(histories)
    assert found.intervals(usual, 1.0).tolist() == [40.0, (20 + 40) / 3]
    assert found.intervals(usual, 1e-9)[1] == pytest.approx(10)
