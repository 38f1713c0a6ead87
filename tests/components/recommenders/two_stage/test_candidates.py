"""Candidate generation: whose best items are proposed, and the edges of what may be asked."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from components.data.dataset import Histories
from components.recommenders.two_stage.candidates import CandidateBatch, select_candidates


def pieces(scores: npt.ArrayLike, unsold: list[int]) -> list[CandidateBatch]:
    """Return the proposals of empty histories, two a model; scores: (models, batch, items)."""
    scored = np.array(scores, dtype=np.float32)
    mask = np.isin(np.arange(scored.shape[2]), unsold)
    histories = Histories.from_lists([[] for _ in range(scored.shape[1])])
    vetoes, counts = np.zeros(len(scored), dtype=bool), np.zeros(len(scored), dtype=np.int64)
    return list(select_candidates(scored, vetoes, histories, mask, 2, True, counts))


def proposed(scores: npt.ArrayLike, unsold: list[int]) -> CandidateBatch:
    (piece,) = pieces(scores, unsold)
    return piece


@pytest.mark.parametrize("unsold", [[5], [4, 5]])
def test_what_never_sold_has_a_place_of_its_own(
    unsold: list[int],
) -> None:
    assert proposed([[[9, 8, 7, 6, 1, 2]]], unsold).items.tolist() == [0, 1, 5]


@pytest.mark.parametrize("unsold", [[5], [4, 5]])
def test_a_lowest_score_proposes_nothing(unsold: list[int]) -> None:
    assert proposed([[[9, 8, 7, 6, 1, 1]]], unsold).items.tolist() == [0, 1]


def test_of_nobody_there_is_nothing() -> None:
    assert pieces(np.empty((2, 0, 6)), [5]) == []


def test_what_any_model_scores_among_its_best_is_a_candidate() -> None:
    found = proposed([[[9, 8, 1, 1]], [[1, 1, 9, 1]]], [])
    assert (found.items.tolist(), found.counts.tolist()) == ([0, 1, 2], [3])


def test_excluded_items_free_their_places() -> None:
    scores = np.array([[[9, 8, 7, 6, 0], [9, 8, 7, 6, 0]]], dtype=np.float32)
    histories = Histories.from_lists([[0], [1]])
    available = np.array([True, True, False, True, True])
    counts = np.zeros(1, dtype=np.int64)
    no = np.zeros(1, dtype=bool)
    unsold = np.zeros(5, dtype=bool)
    (found,) = select_candidates(scores, no, histories, unsold, 2, True, counts, available)
    assert found.items.tolist() == [1, 3, 0, 3]
    assert found.counts.tolist() == [2, 2]
    assert counts.tolist() == [4]
    assert np.isneginf(found.scores[0, :, 2]).all()


def test_what_one_model_vetoes_no_model_proposes() -> None:
    scores = np.array([[[9, 8, 7]], [[-np.inf, 0, 0]]], dtype=np.float32)
    histories, unsold = Histories.from_lists([[]]), np.zeros(3, dtype=bool)
    vetoes, counts = np.array([False, True]), np.zeros(2, dtype=np.int64)
    (found,) = select_candidates(scores, vetoes, histories, unsold, 1, True, counts)
    assert found.items.tolist() == [1]


def test_forced_items_are_the_candidates_whatever_the_models_propose() -> None:
    scores = np.array([[[9, 8, 7]]], dtype=np.float32)
    histories, unsold = Histories.from_lists([[]]), np.zeros(3, dtype=bool)
    forced = np.array([False, False, True])
    no, counts = np.zeros(1, dtype=bool), np.zeros(1, dtype=np.int64)
    (found,) = select_candidates(scores, no, histories, unsold, 1, True, counts, forced_mask=forced)
    assert found.items.tolist() == [2]
