"""SASRec: it learns the order, and unsold and new items are placed by their text."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from components.data.dataset import Catalogue, Histories
from components.recommenders.models.sasrec.model import Sequential
from tests.components.recommenders.models.sasrec.ring import N_ITEMS, SMALL, in_a_ring


@pytest.mark.parametrize("full_softmax_items", [50_000, 0])
def test_learns_the_order_and_places_an_unseen_item_by_its_text(full_softmax_items: int) -> None:
    """The next item of the ring comes first; one that nobody bought comes where it belongs."""
    train, catalogue = in_a_ring()
    unseen = 17
    settings = SMALL.model_copy(
        update={
            "epochs": 25,
            "full_softmax_items": full_softmax_items,
            "negatives": 64,
            "id_dropout": 0.3,
        }
    )
    model = Sequential(settings).fit(train.where(train.items != unseen), catalogue)
    starts = (np.arange(N_ITEMS)[:, None] + np.arange(3)) % N_ITEMS
    asked = [row.tolist() for row in starts if unseen not in row]
    ids, _ = model.recommend(Histories.from_lists(asked), k=3)
    following = np.array([(row[-1] + 1) % N_ITEMS for row in asked])
    warm = following != unseen
    assert (ids[warm, 0] == following[warm]).mean() > 0.8
    assert unseen in ids[~warm][0]


def test_an_item_that_came_after_the_training_is_placed_by_its_text(tmp_path: Path) -> None:
    train, catalogue = in_a_ring()
    newest = N_ITEMS - 1
    known = Catalogue(catalogue.table[:newest], catalogue.vectors[:newest])
    settings = SMALL.model_copy(update={"epochs": 25, "id_dropout": 0.3})
    earlier = train.where(train.items != newest)
    Sequential(settings).fit(replace(earlier, n_items=newest), known).save(tmp_path)
    model = Sequential.load(tmp_path).extended(catalogue)
    asked = [[newest - 3, newest - 2, newest - 1], [10, 11, 12]]
    ids, _ = model.recommend(Histories.from_lists(asked), k=5)
    assert newest in ids[0]
    assert newest not in ids[1]
