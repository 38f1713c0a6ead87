"""Candidates of each history: the edges of what may be asked."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from components.data.dataset import Histories
from components.recommenders.two_stage.features import ITEM_STATISTICS, ItemFacts, Pairs, propose


def proposed(scores: npt.ArrayLike, unsold: list[int]) -> Pairs:
    """Return the pairs of empty histories; scores: (models, batch, items)."""
    given = np.array(scores, dtype=np.float32)
    statistics = np.ones((given.shape[2], len(ITEM_STATISTICS)), dtype=np.float32)
    statistics[unsold, 0] = 0
    n_items = len(statistics)
    facts = ItemFacts(
        statistics,
        np.zeros(n_items, dtype=np.float32),
        np.zeros(n_items, dtype=np.int64),
        1,
        statistics[:, 0] == 0,
    )
    histories = Histories.from_lists([[] for _ in range(given.shape[1])])
    return propose(given, np.zeros(len(given), dtype=bool), histories, facts, 2, True)


@pytest.mark.parametrize("unsold", [[5], [4, 5]])
def test_what_never_sold_has_a_place_of_its_own(
    unsold: list[int],
) -> None:
    assert proposed([[[9, 8, 7, 6, 1, 2]]], unsold).items.tolist() == [0, 1, 5]


@pytest.mark.parametrize("unsold", [[5], [4, 5]])
def test_a_model_with_nothing_to_say_of_it_proposes_nothing(unsold: list[int]) -> None:
    assert proposed([[[9, 8, 7, 6, 1, 1]]], unsold).items.tolist() == [0, 1]


def test_of_nobody_there_is_nothing() -> None:
    assert len(proposed(np.empty((2, 0, 6)), [5]).rows) == 0
