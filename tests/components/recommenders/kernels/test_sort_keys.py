"""Sort keys order as the pairs they pack."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from components.recommenders.kernels.sort_keys import key_of, largest, place_of, ranking

SCORES = st.lists(st.floats(width=32, allow_nan=False), min_size=1, max_size=40)


def key(score: float, place: int) -> int:
    return int(key_of(np.float32(score).view(np.int32), place))


@given(SCORES)
def test_keys_order_by_score_then_by_the_smaller_place(scores: list[float]) -> None:
    values = np.array(scores, dtype=np.float32) + np.float32(0)  # no negative zero
    keys = np.array([key(score, place) for place, score in enumerate(values)])
    places = [int(place_of(one)) for one in np.sort(keys)[::-1]]
    assert places == np.lexsort((np.arange(len(values)), -values)).tolist()


def test_the_largest_come_ascending_and_all_if_there_are_fewer() -> None:
    keys = np.array([[3, 1, 2, 5, 4]])
    assert largest(keys.copy(), 2).tolist() == [[4, 5]]
    assert largest(keys.copy(), 9).tolist() == [[1, 2, 3, 4, 5]]


@given(SCORES, st.integers(1, 5))
def test_a_ranking_is_by_row_then_score_then_item(scores: list[float], n_rows: int) -> None:
    values = np.array(scores, dtype=np.float32) + np.float32(0)
    random = np.random.default_rng(len(scores))
    rows = random.integers(0, n_rows, len(values))
    items = random.permutation(len(values)).astype(np.int32)
    order = ranking(rows, values, items, len(values))
    assert order.tolist() == np.lexsort((items, -values, rows)).tolist()
