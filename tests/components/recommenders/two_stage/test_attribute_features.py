"""Features of declared attributes: what they say, what is learned of them, what is saved."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from components.data.attribute_codes import Vocabulary
from components.data.dataset import Catalogue, Histories, Interactions
from components.recommenders.kernels.lift import item_groups, log_lift
from components.recommenders.models.popularity import Popularity
from components.recommenders.refresh import refresh
from components.recommenders.two_stage.attribute_features import (
    AttributeFeatures,
    AttributeStatistics,
)
from components.recommenders.two_stage.hybrid import Hybrid
from components.settings import Settings
from tests.colour_shop import COLOURS, N_ITEMS, N_USERS, colour_hybrid, colour_shop, newcomers


@pytest.fixture(scope="module")
def shop() -> tuple[Interactions, Catalogue]:
    return colour_shop()


def described(
    shop: tuple[Interactions, Catalogue], users: list[int], items: list[int]
) -> dict[str, np.ndarray]:
    """Return the features, by name, of each user with each item, the items of a user together."""
    train, catalogue = shop
    features = AttributeFeatures(catalogue, AttributeStatistics.of(train, catalogue))
    histories = train.histories(np.array(users), 2 * 10**9)
    rows = np.repeat(np.arange(len(users)), len(items))
    found = features.describe(histories, rows, np.tile(items, len(users)))
    return dict(zip(features.names, found, strict=True))


def test_features_say_what_the_item_is_and_how_it_matches_the_history(
    shop: tuple[Interactions, Catalogue],
) -> None:
    train, catalogue = shop
    found = described(shop, [5, 6], [0, 1, 2, N_ITEMS - 1])
    colours = catalogue.table["category:colour"]
    for row, user in enumerate((5, 6)):
        mine = train.items[train.users == user]
        at = slice(4 * row, 4 * row + 4)
        shares = [np.mean(colours[mine] == colours[item]) for item in (0, 1, 2)]
        assert found["item_share_colour"][at] == pytest.approx([*shares, np.nan], nan_ok=True)
        uses = catalogue.table["set:use"][mine].map(lambda one: one or [])
        kitchen, garden = (
            uses.map(lambda one, use=use: use in one).mean() for use in ("kitchen", "garden")
        )
        assert found["item_share_use"][at] == pytest.approx(
            [kitchen, (kitchen + garden) / 2, garden, np.nan], nan_ok=True
        )
        usual = catalogue.table["number:margin"][mine].mean()
        assert found["item_difference_margin"][at] == pytest.approx(
            [0 - usual, 1 - usual, 2 - usual, np.nan], nan_ok=True, rel=1e-5
        )
    assert found["item_value_margin"][:4] == pytest.approx([0, 1, 2, np.nan], nan_ok=True)
    names = Vocabulary.of(catalogue.table).values["category:colour"]
    assert [names[int(code)] for code in found["item_value_colour"][:3]] == list(COLOURS)
    assert np.isnan(found["item_value_colour"][3])


def test_lift_is_what_users_with_the_value_buy_more(shop: tuple[Interactions, Catalogue]) -> None:
    train, _ = shop
    assert train.attributes is not None
    ages = [label for _, label in train.attributes.vocabulary.labels()]
    young, old = (
        next(u for u in range(1, 50) if train.attributes.codes[u, ages.index(age)])
        for age in ("young", "old")
    )
    found = described(shop, [young, old, 0], [0, 1])["user_lift_age"]
    assert found[0] > 0.2 > -0.2 > found[1]  # blue, red
    assert found[2] < -0.2
    assert np.isnan(found[4:]).all()  # nothing is known of user 0


def test_a_rare_item_takes_the_lift_of_its_category(shop: tuple[Interactions, Catalogue]) -> None:
    train, catalogue = shop
    assert train.attributes is not None
    before = train.where(train.items != 3)  # a blue item that nobody bought
    groups = item_groups(catalogue)
    codes, vocabulary = train.attributes.codes, train.attributes.vocabulary
    lift = log_lift(before.matrix(), codes, vocabulary, groups, 20.0)
    young = [label for _, label in vocabulary.labels()].index("young")
    assert lift[young, 3] > 0.2
    assert lift[young, 4] < -0.2
    no_groups = log_lift(before.matrix(), codes, vocabulary, groups[:, :0], 20.0)
    assert no_groups[young, 3] == 0


def test_permuted_attributes_have_no_lift(shop: tuple[Interactions, Catalogue]) -> None:
    train, catalogue = shop
    assert train.attributes is not None
    order = np.random.default_rng(1).permutation(N_USERS)
    shuffled = replace(train, attributes=train.attributes.take(order))
    real = AttributeStatistics.of(train, catalogue).lift
    assert (
        np.abs(AttributeStatistics.of(shuffled, catalogue).lift).max() < 0.25 * np.abs(real).max()
    )


@pytest.fixture(scope="module")
def model(shop: tuple[Interactions, Catalogue], settings: Settings) -> Hybrid:
    return colour_hybrid(*shop, settings)


def test_newcomers_get_what_suits_them(
    model: Hybrid, shop: tuple[Interactions, Catalogue], settings: Settings
) -> None:
    train, catalogue = shop
    assert train.attributes is not None
    ages = [label for _, label in train.attributes.vocabulary.labels()]
    young = np.flatnonzero(train.attributes.codes[:, ages.index("young")].toarray())[:20]
    old = np.flatnonzero(train.attributes.codes[:, ages.index("old")].toarray())[:20]
    blue = (catalogue.table["category:colour"] == "blue").to_numpy()
    demographic = model.candidates["demographic"]
    for one in (model, demographic):
        of_young, _ = one.recommend(newcomers(train, young), 10)
        of_old, _ = one.recommend(newcomers(train, old), 10)
        assert blue[of_young].mean() > 0.7 > 0.2 > blue[of_old].mean()
    unknown, scores = demographic.recommend(newcomers(train, np.array([0])), 10)
    popularity = Popularity(settings.train.demographic).fit(train, catalogue)
    assert unknown.tolist() == popularity.recommend(newcomers(train, np.array([0])), 10)[0].tolist()
    assert np.isfinite(scores).all()


def test_the_ranker_learns_from_the_features(
    shop: tuple[Interactions, Catalogue], settings: Settings
) -> None:
    model = colour_hybrid(*shop, settings, ("popularity", "item_neighbours"))
    assert model.ranker is not None
    booster = model.ranker.booster
    gains = dict(zip(booster.feature_name(), booster.feature_importance("gain"), strict=True))
    assert set(model.features.more_names) < gains.keys()
    assert gains["user_lift_age"] > 0.5 * sum(gains.values())


@pytest.mark.parametrize("tables", [["users"], ["items"], []])
def test_the_ranker_reads_the_attributes_of_the_tables_that_are_named(
    tables: list[str], shop: tuple[Interactions, Catalogue], settings: Settings, tmp_path: Path
) -> None:
    rank = settings.rank.model_copy(update={"attributes": tables})
    changed = settings.model_copy(update={"rank": rank})
    model = colour_hybrid(*shop, changed, ("popularity", "item_neighbours"))
    kinds = {"user": "users", "item": "items"}
    found = {kinds[name.partition("_")[0]] for name in model.features.more_names}
    assert found == set(tables)
    model.save(tmp_path / "model")
    assert Hybrid.load(tmp_path / "model").features.more_names == model.features.more_names


def test_newcomers_in_a_batch_get_the_demographic_list_and_the_others_the_rankers(
    model: Hybrid, shop: tuple[Interactions, Catalogue]
) -> None:
    train, _ = shop
    assert train.attributes is not None
    known = train.histories(np.array([1, 2, 3, 4]), 2 * 10**9)
    alone = newcomers(train, np.array([0, 5, 6]))  # nothing is known of user 0
    both = Histories(
        np.concatenate([known.items, alone.items]),
        np.concatenate([known.times, alone.times]),
        np.concatenate([known.offsets, known.offsets[-1] + alone.offsets[1:]]),
        np.concatenate([known.now, alone.now]),
        attributes=train.attributes.take(np.array([1, 2, 3, 4, 0, 5, 6])),
    ).pick(np.array([4, 0, 5, 1, 6, 2, 3]))
    ids, scores = model.recommend(both, 10, exclude_seen=False)
    demographic = model.candidates["demographic"].recommend(alone.pick(np.array([1, 2])), 10)
    assert ids[[2, 4]].tolist() == demographic[0].tolist()
    by_ranker, _ = model.recommend(known, 10, exclude_seen=False)
    assert ids[[1, 3, 5, 6]].tolist() == by_ranker.tolist()
    dense, few = model.score(both), model.score_items(both, np.array([3, 0, 7]))
    assert dense[[2, 4]][:, [3, 0, 7]] == pytest.approx(few[[2, 4]])
    for row in range(7):
        assert scores[row] == pytest.approx(dense[row, ids[row]])
    nobody = both.pick(np.array([], dtype=np.int64))
    assert model.recommend(nobody, 10)[0].shape == (0, 10)


def test_a_saved_hybrid_and_one_with_new_items_rank_as_before(
    model: Hybrid, shop: tuple[Interactions, Catalogue], tmp_path: Path
) -> None:
    train, catalogue = shop
    model.save(tmp_path / "hybrid")
    loaded = Hybrid.load(tmp_path / "hybrid")
    histories = newcomers(train, np.arange(1, 5))
    expected = model.recommend(histories, 10)
    for one in (loaded, loaded.extended(catalogue)):
        ids, scores = one.recommend(histories, 10)
        assert ids.tolist() == expected[0].tolist()
        assert scores == pytest.approx(expected[1])
    new = pd.DataFrame({"item_id": ["new"], "title": "Cup", "price": 1.0, "category:colour": "red"})
    table = pd.concat([catalogue.table, new], ignore_index=True)
    ids, _ = loaded.extended(Catalogue(table)).recommend(histories, 10)
    assert ids.shape == (4, 10)
    everything = [file.read_bytes() for file in (tmp_path / "hybrid").rglob("*") if file.is_file()]
    assert not any(b"user_id" in content for content in everything)


def test_a_refreshed_hybrid_keeps_the_features_that_its_ranker_knows(
    model: Hybrid, shop: tuple[Interactions, Catalogue]
) -> None:
    train, catalogue = shop
    histories = newcomers(train, np.arange(1, 5))
    # The colours' order by frequency changes, which must not change their codes.
    table = catalogue.table.copy()
    table.loc[table.index[:30], "category:colour"] = "green"
    again = refresh(model, train, Catalogue(table))
    assert again.attributes.items.values == model.attributes.items.values
    assert again.features.more_names == model.features.more_names
    again.recommend(histories, 10)
    # The shop no longer declares its users' attributes: the ranker's features stay, unknown.
    without = refresh(model, replace(train, attributes=None), catalogue)
    assert without.features.more_names == model.features.more_names
    without.recommend(replace(histories, attributes=None), 10)


def test_a_ranker_is_not_given_other_features(
    model: Hybrid, shop: tuple[Interactions, Catalogue]
) -> None:
    train, catalogue = shop
    bare = Catalogue(catalogue.table.drop(columns="category:colour"))
    other = Hybrid(model.settings, model.candidates, ranker=model.ranker).fit(train, bare)
    with pytest.raises(ValueError, match="train again"):
        other.recommend(train.histories(np.array([1]), 2 * 10**9), 10)
