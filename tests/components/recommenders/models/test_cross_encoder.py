"""The distilled cross-encoder: what it learns from, what it must not know, and unsold products."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from components.data.dataset import Catalogue, Histories, Interactions
from components.recommenders.models.cross_encoder import (
    DistilledCrossEncoder,
    negatives,
    newest,
    purchases,
)
from components.recommenders.models.popularity import Popularity
from components.settings import CrossEncoder as Settings
from components.settings import Popularity as PopularitySettings
from tests.encoders import write_small_encoder

COLOURS = ("red", "blue", "green", "white", "black", "pink")
THINGS = ("bag", "mug", "candle", "lamp", "plate", "clock", "towel", "basket")
COLOUR = np.repeat(np.arange(len(COLOURS)), len(THINGS))
UNSOLD = np.arange(len(COLOUR)) % len(THINGS) == len(THINGS) - 1


def shop_of_colours(users: int, seed: int) -> Interactions:
    """A shop whose customers each buy one colour, whatever the thing; baskets are not sold."""
    random = np.random.default_rng(seed)
    colour = np.repeat(random.integers(0, len(COLOURS), users), 5)
    thing = np.argsort(random.random((users, len(THINGS) - 1)), axis=1)[:, :5].ravel()
    owners = np.repeat(np.arange(users), 5)
    times = 1_700_000_000 + np.arange(users * 5)
    items = colour * len(THINGS) + thing
    return Interactions.from_arrays(owners, items, times, n_items=len(COLOUR))


@pytest.fixture(scope="module")
def catalogue() -> Catalogue:
    titles = [f"{colour} {thing}" for colour in COLOURS for thing in THINGS]
    table = pd.DataFrame({"item_id": titles, "title": titles, "brand": None, "description": None})
    table = table.assign(categories=[[]] * len(titles), categories_inferred=False)
    random = np.random.default_rng(0)
    vectors = np.hstack(
        [
            np.eye(len(COLOURS))[COLOUR],
            np.eye(len(THINGS))[np.tile(np.arange(len(THINGS)), len(COLOURS))],
        ]
    ) + 0.05 * random.normal(size=(len(titles), len(COLOURS) + len(THINGS)))
    return Catalogue(table, vectors.astype(np.float32))


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    encoder = write_small_encoder(tmp_path_factory.mktemp("encoder"), positions=0.01)
    return Settings(
        encoder=str(encoder), max_length=24, purchases=400, distilled=400, batch_size=8,
        learning_rate=2e-3, dimensions=16, steps=200,
    )  # fmt: skip


@pytest.fixture(scope="module")
def model(settings: Settings, catalogue: Catalogue) -> DistilledCrossEncoder:
    return DistilledCrossEncoder(settings).fit(shop_of_colours(300, 0), catalogue)


def test_where_texts_decide_it_beats_popularity_and_chance(
    model: DistilledCrossEncoder, catalogue: Catalogue
) -> None:
    train = shop_of_colours(60, 1)
    histories = train.histories(np.arange(60), now=int(train.times.max()) + 1).last(2)
    popular = Popularity(PopularitySettings()).fit(shop_of_colours(300, 0), catalogue)

    def right(recommender: DistilledCrossEncoder | Popularity) -> float:
        ids, _ = recommender.recommend(histories, 5)
        return float((COLOUR[ids] == COLOUR[histories.items[::2], None]).mean())

    assert right(popular) < 0.4  # chance is a sixth
    assert right(model) > 0.6


def test_unsold_and_new_products_have_scores_from_their_texts(
    model: DistilledCrossEncoder, catalogue: Catalogue, tmp_path: Path
) -> None:
    histories = Histories.from_lists([[0, 1], [17, 18]])
    scores = model.score(histories)[:, UNSOLD]
    assert scores.argmax(axis=1).tolist() == [0, 2]  # the red basket, the green basket
    more = Catalogue(
        pd.concat([catalogue.table, catalogue.table.iloc[[7]]], ignore_index=True),
        np.vstack([catalogue.vectors, catalogue.vectors[7:8]]),
    )
    model.save(tmp_path)
    for one in (model, DistilledCrossEncoder.load(tmp_path)):
        extended = one.extended(more)
        assert extended.score(histories)[:, -1] == pytest.approx(scores[:, 0], abs=1e-5)
        assert extended.score(histories)[:, :-1] == pytest.approx(model.score(histories), abs=1e-5)


def test_without_a_history_it_has_nothing_to_say(model: DistilledCrossEncoder) -> None:
    assert np.unique(model.score(Histories.from_lists([[]]))).tolist() == [0]


def test_it_learns_from_what_lies_before_a_purchase() -> None:
    train = shop_of_colours(50, 2)
    times = train.times - train.times % 2  # some purchases lie in the same basket
    train = replace(train, times=times)
    histories, bought, users = purchases(train, 3, 60, 0)
    assert len(bought) == 60
    for row, (item, user) in enumerate(zip(bought.tolist(), users.tolist(), strict=True)):
        own = slice(train.offsets[user], train.offsets[user + 1])
        at = train.times[own][train.items[own] == item][0]
        before = train.items[own][train.times[own] < at]
        one = histories.take(slice(row, row + 1))
        assert one.items.tolist() == before.tolist()
        assert item not in newest(one, 3)


def test_negatives_were_never_bought_by_the_user() -> None:
    train = shop_of_colours(50, 3)
    users = np.arange(50)
    of_user = train.matrix()[users]
    hard = np.tile(np.arange(10), (50, 1))
    hard[:, 9] = -1
    random = np.random.default_rng(0)
    found = negatives(hard, random.integers(20, 40, (50, 14)), of_user, 7, random)
    assert found.shape == (50, 7)
    assert set(found[:, :3].ravel().tolist()) <= {-1, *range(9)}
    assert set(found[:, 3:].ravel().tolist()) <= {-1, *range(20, 40)}
    rows, columns = np.nonzero(found >= 0)
    assert len(rows) > 250
    assert np.asarray(of_user[rows, found[rows, columns]]).sum() == 0


def test_the_distillation_reads_purchases_that_the_cross_encoder_was_not_trained_on(
    settings: Settings, catalogue: Catalogue
) -> None:
    few = settings.model_copy(update={"purchases": 100, "distilled": 50})
    fitted, scored = DistilledCrossEncoder(few).lists(shop_of_colours(300, 4), catalogue)
    assert (len(fitted), len(scored)) == (100, 50)
    first, second = (  # with four products before, a list tells the purchase
        {
            (*past, bought)
            for past, bought in zip(one.past.tolist(), one.candidates[:, 0].tolist(), strict=True)
            if -1 not in past
        }
        for one in (fitted, scored)
    )
    assert min(len(first), len(second)) > 5
    assert not first & second
    assert not UNSOLD[fitted.candidates[fitted.candidates >= 0]].any()  # not pushed away
    assert UNSOLD[scored.candidates[scored.candidates >= 0]].any()


def test_a_shop_without_a_second_purchase_gets_a_clear_error(
    settings: Settings, catalogue: Catalogue
) -> None:
    train = shop_of_colours(20, 5)
    once = train.where(np.arange(len(train)) % 5 == 0)
    with pytest.raises(ValueError, match="no user bought two products"):
        DistilledCrossEncoder(settings).fit(once, catalogue)
    missing = settings.model_copy(update={"encoder": "./nowhere"})
    with pytest.raises(FileNotFoundError, match=r"train\.cross_encoder\.encoder: there is no"):
        DistilledCrossEncoder(missing).fit(train, catalogue)
