"""Refresh: as good as a fresh fit where that is cheap, kept where it is not, by ids throughout."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from components.arrays import FloatArray, IntArray
from components.data.dataset import DAY, Catalogue, Histories, Interactions, load_prepared
from components.data.holdout import window_task
from components.data.impressions import Log
from components.evaluation.protocol import lists
from components.recommenders.base import MISSING, Recommender, Refreshable, refreshed
from components.recommenders.factory import MODELS, build
from components.recommenders.models.als import MatrixFactorisation, RatingFactorisation
from components.recommenders.models.off_policy.model import Policy
from components.recommenders.models.popularity import Popularity
from components.recommenders.models.rules import GoesWith, RuleBased, Rules, Which
from components.recommenders.models.sasrec.model import Sequential
from components.recommenders.refresh import carried_vectors, refresh
from components.recommenders.two_stage.hybrid import Hybrid
from components.settings import MatrixFactorisation as FactorSettings
from components.settings import Policy as PolicySettings
from components.settings import Popularity as PopularitySettings
from components.settings import RatingFactorisation as RatingSettings
from components.settings import Settings
from tests.components.recommenders.models.sasrec.ring import SMALL, in_a_ring

N_USERS, N_ITEMS = 60, 30
WORDS = ["lamp", "mug", "clock", "scarf", "candle", "kite"]
REFITTED = sorted(
    name for name, model in MODELS.items() if not issubclass(model, Refreshable) and name != "rules"
)


def world(seed: int) -> tuple[Interactions, Catalogue]:
    """Random purchases with ratings of products with texts and vectors."""
    random = np.random.default_rng(seed)
    n = 600
    times = 1_600_000_000 + random.integers(0, 200 * DAY, n)
    users, items = random.integers(0, N_USERS, n), random.integers(0, N_ITEMS, n)
    train = Interactions.from_arrays(users, items, times, N_USERS, N_ITEMS)
    train = replace(train, ratings=random.integers(1, 6, n).astype(np.float32))
    vectors = random.standard_normal((N_ITEMS, 8)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    titles = [f"{WORDS[code % 6]} number {code // 2}" for code in range(N_ITEMS)]
    table = pd.DataFrame({"item_id": [f"i{code:02}" for code in range(N_ITEMS)], "title": titles})
    table = table.assign(description=None, brand=None, categories=[[]] * N_ITEMS, price=1.0)
    return train, Catalogue(table.assign(categories_inferred=False), vectors)


def before(
    train: Interactions, catalogue: Catalogue, cut: int, new: IntArray
) -> tuple[Interactions, Catalogue, IntArray]:
    """Return what was known at ``cut``, without the items ``new``: codes of its own for users and
    items. And int (items,), the old code of each item."""
    old_items = np.setdiff1d(np.arange(len(catalogue)), new)
    known = np.full(len(catalogue), MISSING)
    known[old_items] = np.arange(len(old_items))
    kept = train.where((train.times < cut) & (known[train.items] != MISSING))
    users, coded = np.unique(kept.users, return_inverse=True)
    old = Interactions.from_arrays(coded, known[kept.items], kept.times, len(users), len(old_items))
    table = catalogue.table.iloc[old_items].reset_index(drop=True)
    return replace(old, ratings=kept.ratings), Catalogue(table, catalogue.vectors[old_items]), known


@pytest.mark.parametrize("form", ["dense", "sparse"])
@hypothesis_settings(max_examples=3)
@given(seed=st.integers(0, 10**6), days=st.integers(1, 199), n_new=st.integers(0, 5))
def test_refitted_models_equal_a_fresh_fit(
    settings: Settings, form: str, seed: int, days: int, n_new: int
) -> None:
    sections = {
        name: settings.train.section(name).model_copy(update={"form": form})
        for name in ("ease", "cease")
    }
    settings = settings.model_copy(update={"train": settings.train.model_copy(update=sections)})
    train, catalogue = world(seed)
    new = np.random.default_rng(seed).choice(N_ITEMS, n_new, replace=False)
    old, smaller, known = before(train, catalogue, 1_600_000_000 + days * DAY, new)
    histories = train.histories(np.arange(N_USERS), int(train.times.max()) + 1)
    of_old = Histories.from_lists([[0, 1], []])
    assert {"popularity", "item_neighbours", "ease", "cease", "tfidf", "content"} <= set(REFITTED)
    for name in REFITTED if form == "sparse" else ("ease", "cease"):
        model = build(name, settings).fit(old, smaller)
        scores = model.score(of_old)
        found = refreshed(model, train, catalogue, known).score(histories)
        fresh = build(name, settings).fit(train, catalogue).score(histories)
        assert np.array_equal(found, fresh), name
        assert np.array_equal(model.score(of_old), scores), name  # the old model stays as it was


def dense_half_step(met: FloatArray, factors: FloatArray, s: FactorSettings) -> FloatArray:
    """Return the exact factors of each row of ``met`` (weights, 0: not met): the least squares of
    iALS written out over all columns, target 1 where met and 0 elsewhere."""
    out = np.zeros((len(met), factors.shape[1]))
    for row, weights in enumerate(met):
        n = np.count_nonzero(weights)
        if not n:
            continue
        ridge = s.regularisation * s.confidence * n + 1e-3
        root = np.sqrt(s.confidence * weights)
        left = [root[:, None] * factors, factors, np.sqrt(ridge) * np.eye(factors.shape[1])]
        right = [root, weights > 0, np.zeros(factors.shape[1])]
        out[row] = np.linalg.lstsq(np.concatenate(left), np.concatenate(right), rcond=None)[0]
    return out


def test_factors_are_the_exact_half_steps_of_als() -> None:
    train, catalogue = world(1)
    new = np.array([0, 7, 20])
    old, smaller, known = before(train, catalogue, 1_600_000_000 + 150 * DAY, new)
    s = FactorSettings(factors=6, iterations=4, regularisation=0.02, confidence=5.0)
    model = MatrixFactorisation(s).fit(old, smaller)
    kept = model.factors.copy()
    found = refreshed(model, train, catalogue, known)
    assert np.array_equal(model.factors, kept)

    start = np.where((known == MISSING)[:, None], 0, kept[np.maximum(known, 0)])
    met = train.matrix(s.half_life_days).toarray()
    users = dense_half_step(met, start, s)
    expected = dense_half_step(met.T, users, s)
    assert found.factors == pytest.approx(expected, abs=1e-3)
    assert np.abs(found.factors[new]).max(axis=1).min() > 0.01  # new items have a place
    unsold = train.where(~np.isin(train.items, new))
    nowhere = refreshed(model, unsold, catalogue, known)
    assert not nowhere.factors[new].any()


def test_factors_of_ratings_are_one_exact_sweep() -> None:
    train, catalogue = world(2)
    new = np.array([3, 11])
    old, smaller, known = before(train, catalogue, 1_600_000_000 + 150 * DAY, new)
    s = RatingSettings(factors=3, iterations=6, regularisation=2.0)
    model = RatingFactorisation(s).fit(old, smaller)
    found = refreshed(model, train, catalogue, known)
    newest = train.newest_of_pairs()
    pairs = train.users[newest], train.items[newest]
    mean = train.ratings[newest].mean()
    matrix = sp.csr_matrix((train.ratings[newest] - mean, pairs), (N_USERS, N_ITEMS)).tocsc()
    met = np.zeros((N_USERS, N_ITEMS), dtype=bool)
    met[pairs] = True
    ratings = matrix.toarray()

    def half_step(rated: FloatArray, met: FloatArray, others: FloatArray) -> FloatArray:
        """Bias first: the other side's bias is subtracted, its coordinate is 1."""
        out = np.zeros((len(rated), others.shape[1]))
        for row in range(len(rated)):
            columns = np.flatnonzero(met[row])
            if len(columns):
                design = others[columns].astype(float)
                targets = rated[row, columns] - design[:, 0]
                design[:, 0] = 1
                left = np.concatenate([design, np.sqrt(s.regularisation) * np.eye(4)])
                out[row] = np.linalg.lstsq(left, np.append(targets, np.zeros(4)), rcond=None)[0]
        return out

    start = np.where((known == MISSING)[:, None], 0, model.factors[np.maximum(known, 0)])
    expected = half_step(ratings.T, met.T, half_step(ratings, met, start))
    assert found.factors == pytest.approx(expected, abs=1e-3)
    assert found.mean[0] == pytest.approx(mean)


def test_the_sequence_model_keeps_weights_and_vectors_by_id() -> None:
    train, catalogue = in_a_ring()
    items = len(catalogue)
    table = pd.DataFrame({"item_id": [f"i{code:02}" for code in range(items)]})
    catalogue = Catalogue(table, catalogue.vectors)
    new = np.array([0, 17])
    old, smaller, known = before(train, catalogue, 10**9, new)
    model = Sequential(SMALL.model_copy(update={"epochs": 1})).fit(old, smaller)
    found = refreshed(model, train, catalogue, known)
    there = known != MISSING
    assert np.array_equal(found.vectors[there], model.vectors[known[there]])
    longer = Catalogue(
        pd.concat([smaller.table, table.iloc[new]], ignore_index=True),
        np.vstack([smaller.vectors, catalogue.vectors[new]]),
    )
    by_text = model.extended(longer).vectors[len(smaller) :]
    assert found.vectors[new] == pytest.approx(by_text, abs=1e-6)
    assert np.linalg.norm(found.vectors, axis=1) == pytest.approx(np.ones(items), abs=1e-5)
    of_old = Histories.from_lists([[4, 5, 6]])
    of_new = Histories.from_lists([np.flatnonzero(there)[[4, 5, 6]].tolist()])
    assert found.score(of_new)[:, there] == pytest.approx(model.score(of_old), abs=1e-5)


def test_the_policy_keeps_what_it_learned_and_maps_new_items_by_their_text() -> None:
    train, catalogue = world(3)
    new = np.array([2, 9])
    old, smaller, known = before(train, catalogue, 1_600_000_000 + 150 * DAY, new)
    base = Popularity(PopularitySettings()).fit(old, smaller)
    random = np.random.default_rng(4)
    n = 60
    ids = np.stack([random.permutation(len(smaller))[:5] for _ in range(n)]).astype(np.int32)
    histories = Histories.from_lists([[int(row[0])] for row in ids])
    rewards = (random.random((n, 5)) < 0.4).astype(np.float32)
    log = Log(histories, ids, np.full((n, 5), 0.2), rewards)
    model = Policy(PolicySettings(base="popularity", min_impressions=1, epochs=3, k=5), seed=1)
    model.start_from(base, log)
    model.fit(old, smaller)
    found = refreshed(model, train, catalogue, known)
    assert isinstance(found, Policy)
    there = known != MISSING
    for name in ("states", "items", "bias"):
        assert found.parameters[name][there] == pytest.approx(
            model.parameters[name][known[there]], abs=1e-6
        )
    assert not found.parameters["bias"][new].any()
    weights = np.linalg.lstsq(smaller.vectors, model.parameters["items"], rcond=None)[0]
    assert found.parameters["items"][new] == pytest.approx(
        catalogue.vectors[new] @ weights, abs=1e-4
    )
    assert np.array_equal(found.base.popularity, base.fit(train, catalogue).popularity)


def test_rules_hold_for_new_products_too() -> None:
    train, catalogue = world(5)
    new = np.array([1])  # a mug
    old, smaller, known = before(train, catalogue, 10**10, new)
    rule = GoesWith(name="r", having=Which(words=["lamp"]), offer=Which(words=["mug"]))
    model = RuleBased(Rules(goes_with=[rule])).fit(old, smaller)
    found = refreshed(model, train, catalogue, known)
    assert found.score(Histories.from_lists([[0]]))[0, 1] == 1.0
    assert model.offer.shape == (1, N_ITEMS - 1)


def test_only_texts_that_are_new_are_encoded() -> None:
    _, catalogue = world(6)
    table = catalogue.table.copy()
    table.loc[4, "title"] = "a changed title"
    twins = table.iloc[[0, 0]].assign(item_id=["n1", "n2"], title="a new product")
    table = pd.concat([twins, table.iloc[::-1]], ignore_index=True)
    asked: list[list[str]] = []

    def encode(texts: list[str]) -> FloatArray:
        asked.append(texts)
        return np.array([[len(text)] * 8 for text in texts], dtype=np.float32)

    vectors = carried_vectors(catalogue, table, encode)
    assert asked == [["a new product. . . ".rstrip(". "), "a changed title"]]
    assert vectors[0].tolist() == vectors[1].tolist() == [len("a new product")] * 8
    kept = np.flatnonzero((table["item_id"] != "i04") & ~table["item_id"].str.startswith("n"))
    old = catalogue.table.set_index("item_id").index.get_indexer(table["item_id"].iloc[kept])
    assert np.array_equal(vectors[kept], catalogue.vectors[old])
    assert np.array_equal(carried_vectors(catalogue, catalogue.table, encode), catalogue.vectors)
    assert len(asked) == 1
    assert carried_vectors(Catalogue(catalogue.table), table, encode) is None


def test_the_evaluated_model_refreshed_on_all_data_is_the_served_one(
    trained: tuple[Path, Settings],
) -> None:
    """Its candidates are all refitted here, so nothing may differ."""
    root, _ = trained
    prepared = load_prepared(root / "data/prepared", root / "models/vectors")
    evaluated, served = (Hybrid.load(root / "models" / name) for name in ("hybrid", "served"))
    found = refresh(evaluated, prepared.interactions, prepared.catalogue)
    assert found.trained_until == served.trained_until
    assert np.array_equal(found.item_statistics, served.item_statistics, equal_nan=True)
    task = window_task(prepared, "test", exclude_seen=True)
    assert np.array_equal(lists(found, task, 10, True), lists(served, task, 10, True))
    assert not np.array_equal(lists(evaluated, task, 10, True), lists(served, task, 10, True))


def test_a_model_of_someone_else_is_fitted_again_or_refreshes_itself() -> None:
    train, catalogue = world(7)

    class Counting(Popularity):
        fits = 0

        def fit(self, train: Interactions, catalogue: Catalogue) -> Counting:
            self.fits += 1
            return super().fit(train, catalogue)

    class Keeping(Counting):
        def refreshed(
            self, train: Interactions, catalogue: Catalogue, known: IntArray
        ) -> Recommender:
            return self

    same = np.arange(len(catalogue))
    refitted = Counting(PopularitySettings()).fit(train, catalogue)
    kept = Keeping(PopularitySettings()).fit(train, catalogue)
    assert refreshed(refitted, train, catalogue, same).fits == 2
    assert refitted.fits == 1
    assert refreshed(kept, train, catalogue, same) is kept
