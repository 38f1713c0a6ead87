"""SASRec: it learns the order and what kinds of events say; unsold and new items are placed by
their text and attributes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from components.data.dataset import Catalogue, Histories, Interactions
from components.recommenders.base import MISSING
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


VIEW = 0.3
GROUPS, OF_GROUP = 4, 12


def after_views_and_purchases(n_users: int = 150, length: int = 9) -> Interactions:
    """Users who go on round the ring by one step after a purchase and by seven after a view."""
    random = np.random.default_rng(6)
    bought = random.random((n_users, length)) < 0.5
    steps = np.where(bought, 1, 7)
    start = random.integers(N_ITEMS, size=(n_users, 1))
    items = (start + np.hstack([0 * start, steps[:, :-1].cumsum(axis=1)])) % N_ITEMS
    users = np.repeat(np.arange(n_users), length)
    times = np.tile(np.arange(length), n_users)
    x = Interactions.from_arrays(users, items.ravel(), times, n_items=N_ITEMS)
    return replace(x, strengths=np.where(bought.ravel(), 1, VIEW).astype(np.float32))


@pytest.mark.slow
@pytest.mark.parametrize("full_softmax_items", [50_000, 0])
def test_the_kind_of_an_event_tells_what_is_next(full_softmax_items: int, tmp_path: Path) -> None:
    """It is one thing after a purchase, another after a view: without kinds it cannot be known."""
    x, (_, catalogue) = after_views_and_purchases(), in_a_ring()
    values = {"epochs": 20, "learning_rate": 1e-2, "id_dropout": 0.0, "negatives": 64}
    values |= {"full_softmax_items": full_softmax_items, "kinds": True}
    settings = SMALL.model_copy(update=values)
    asked = Histories.from_lists([[code] for code in range(N_ITEMS)] * 2)
    last = np.repeat([1, VIEW], N_ITEMS).astype(np.float32)
    following = (np.tile(np.arange(N_ITEMS), 2) + np.repeat([1, 7], N_ITEMS)) % N_ITEMS
    Sequential(settings).fit(x, catalogue).save(tmp_path)
    model = Sequential.load(tmp_path)
    ids, _ = model.recommend(replace(asked, strengths=last), k=1)
    assert (ids[:, 0] == following).mean() > 0.9
    # without strengths each event counts as one of strength 1, a purchase
    assert np.array_equal(model.recommend(asked, k=1)[0][:N_ITEMS], ids[:N_ITEMS])
    blind = Sequential(settings.model_copy(update={"kinds": False})).fit(x, catalogue)
    ids, _ = blind.recommend(replace(asked, strengths=last), k=1)
    assert (ids[:, 0] == following).mean() <= 0.5


@pytest.mark.parametrize("full_softmax_items", [50_000, 0])
def test_a_target_counts_by_its_events_weight(full_softmax_items: int) -> None:
    """After each item, the next one but one is viewed twice as often as the next one is bought."""
    first = np.repeat(np.arange(N_ITEMS), 6)
    n_users = len(first)
    bought = np.arange(n_users) % 3 == 0
    second = (first + np.where(bought, 1, 2)) % N_ITEMS
    items = np.stack([first, second], axis=1).ravel()
    users, times = np.repeat(np.arange(n_users), 2), np.tile([0, 1], n_users)
    x = Interactions.from_arrays(users, items, times, n_items=N_ITEMS)
    strengths = np.ones(2 * n_users, dtype=np.float32)
    strengths[1::2] = np.where(bought, 1, 0.1)
    _, catalogue = in_a_ring()
    values = {"epochs": 15, "learning_rate": 1e-2, "id_dropout": 0.0, "negatives": 64}
    values["full_softmax_items"] = full_softmax_items
    settings = SMALL.model_copy(update=values)
    asked = Histories.from_lists([[code] for code in range(N_ITEMS)])
    for weighted, step in {False: 2, True: 1}.items():
        section = settings.model_copy(update={"target_weights": weighted})
        model = Sequential(section).fit(replace(x, strengths=strengths), catalogue)
        ids, _ = model.recommend(asked, k=1)
        assert ((ids[:, 0] - np.arange(N_ITEMS)) % N_ITEMS == step).mean() > 0.8, weighted


def in_groups() -> tuple[Interactions, Catalogue]:
    """Users who stay in a group of items, which attributes of the items tell and texts do not."""
    random = np.random.default_rng(7)
    n_items, n_users, length = GROUPS * OF_GROUP, 160, 8
    group = np.arange(n_items) // OF_GROUP
    own = np.repeat(random.integers(GROUPS, size=n_users), length)
    items = own * OF_GROUP + random.integers(OF_GROUP, size=n_users * length)
    users, times = np.repeat(np.arange(n_users), length), np.tile(np.arange(length), n_users)
    table = pd.DataFrame({"item_id": np.arange(n_items)})
    table["category:maker"] = [None if code == 3 else f"maker {code % 2}" for code in group]
    table["set:use"] = [[f"use {code // 2}", "any"] for code in group]
    text = random.standard_normal((n_items, 8)).astype(np.float32)
    return Interactions.from_arrays(users, items, times, n_items=n_items), Catalogue(table, text)


def test_unsold_and_new_items_are_placed_by_their_attributes(tmp_path: Path) -> None:
    train, catalogue = in_groups()
    n_items = len(catalogue)
    cold = np.arange(n_items) % OF_GROUP == 0
    train = train.where(~cold[train.items])
    settings = SMALL.model_copy(update={"epochs": 12, "id_dropout": 0.3, "attributes": True})
    asked = Histories.from_lists(
        [[group * OF_GROUP + n for n in (1, 2, 3)] for group in range(GROUPS)]
    )

    def own_place(model: Sequential) -> np.ndarray:
        """Return the place of each cold item among the cold ones for the users of its group."""
        scores = model.score(asked)[:, cold]
        return (scores > np.diag(scores)[:, None]).sum(axis=1)

    model = Sequential(settings).fit(train, catalogue)
    assert (own_place(model) == 0).all()
    blind = Sequential(settings.model_copy(update={"attributes": False})).fit(train, catalogue)
    assert (own_place(blind) > 0).any()

    known = np.flatnonzero(~cold)  # now the cold items come after the training
    codes = np.full(n_items, MISSING)
    codes[known] = np.arange(len(known))
    old = Catalogue(catalogue.table.iloc[known].reset_index(drop=True), catalogue.vectors[known])
    of_old = replace(train, items=codes[train.items].astype(np.int32), n_items=len(known))
    Sequential(settings).fit(of_old, old).save(tmp_path)
    loaded = Sequential.load(tmp_path)
    assert (own_place(loaded.refreshed(train, catalogue, codes)) == 0).all()
    order = np.concatenate([known, np.flatnonzero(cold)])
    grown = loaded.extended(
        Catalogue(catalogue.table.iloc[order].reset_index(drop=True), catalogue.vectors[order])
    )
    again = loaded.refreshed(train, catalogue, codes)
    assert grown.vectors == pytest.approx(again.vectors[order], abs=1e-6)


def test_one_kind_of_event_and_no_attributes_leave_the_model_as_it_is(tmp_path: Path) -> None:
    """No parameter more and the same random numbers, bit for bit; nothing more is saved."""
    train, catalogue = in_a_ring()
    off, on = (
        SMALL.model_copy(update=dict.fromkeys(("attributes", "kinds", "target_weights"), value))
        for value in (False, True)
    )
    plain = Sequential(off, 1).fit(train, catalogue)
    views = np.full(len(train), VIEW, dtype=np.float32)
    one_kind = Sequential(on, 1).fit(replace(train, strengths=views), catalogue)
    assert np.array_equal(one_kind.vectors, plain.vectors)
    assert one_kind.losses == plain.losses
    assert one_kind.arrays().keys() == plain.arrays().keys()
    assert not {"kinds", "levels", "values"} & plain.arrays().keys()
    plain.save(tmp_path)
    histories = train.histories(np.arange(20), 100)
    mixed = replace(histories, strengths=np.where(histories.items % 2, 1, VIEW).astype(np.float32))
    queries = plain.queries(histories)
    for model in (one_kind, Sequential.load(tmp_path)):
        assert np.array_equal(model.queries(mixed), queries)
