"""Large catalogues: the index, and the hybrid that scores a shortlist instead of everything."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from components.data.dataset import Catalogue, Histories, load_prepared
from components.recommenders.two_stage.ann import VectorIndex
from components.recommenders.two_stage.hybrid import Hybrid
from components.settings import Settings


def test_the_index_finds_nearly_all_that_is_nearest(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    # As texts do: many around few centres.
    centres = random.standard_normal((40, 32))
    vectors = centres[random.integers(0, 40, 5000)] + 0.7 * random.standard_normal((5000, 32))
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    VectorIndex.of(vectors).save(tmp_path / "i.usearch")
    index = VectorIndex.load(tmp_path / "i.usearch")
    exact = np.argsort(-(vectors[:200] @ vectors.T), axis=1)[:, :20]
    found = [index.search(vector, 20) for vector in vectors[:200]]
    recall = np.mean([len(set(a) & set(b)) / 20 for a, b in zip(exact, found, strict=True)])
    assert recall > 0.95


@pytest.fixture(scope="module")
def large(trained: tuple[Path, Settings], tmp_path_factory: pytest.TempPathFactory) -> Hybrid:
    """The trained hybrid, told that its catalogue is too large to be scored whole; from disk."""
    root, settings = trained
    model = Hybrid.load(root / "models/hybrid")
    model.settings = settings.rank.model_copy(
        update={"exact_items": 300, "candidates_per_model": 40}
    )
    prepared = load_prepared(root / "data/prepared", root / "models/vectors")
    train = prepared.interactions.where(prepared.interactions.times < prepared.test_start)
    folder = tmp_path_factory.mktemp("large")
    model.fit(train, prepared.catalogue).save(folder)
    return Hybrid.load(folder)


@pytest.fixture(scope="module")
def histories(trained: tuple[Path, Settings]) -> Histories:
    prepared = load_prepared(trained[0] / "data/prepared")
    users = np.flatnonzero(np.diff(prepared.interactions.offsets) > 3)[:50]
    return prepared.interactions.histories(users, prepared.test_start)


def test_the_shortlist_holds_what_whole_scoring_proposes(
    large: Hybrid, histories: Histories
) -> None:
    assert large.generator.indexes
    shares = []
    for row in range(len(histories)):
        one = histories.take(slice(row, row + 1))
        short = large.shortlist(one, None)
        assert len(short) < 0.5 * len(large.catalogue)
        whole = list(large.generator._score_and_select(one, True, None, None, None))
        shares.append(np.isin(whole[0].items, short).mean())
    # Places kept for products never sold are the ones that a shortlist may miss.
    assert np.mean(shares) > 0.9


def test_large_answers_obey_what_exact_ones_do(large: Hybrid, histories: Histories) -> None:
    available = np.ones(len(large.catalogue), dtype=bool)
    available[::2] = False
    ids, scores = large.recommend(histories, 10, available=available)
    assert (ids % 2 == 1).all()
    assert (np.diff(scores, axis=1) <= 0).all()
    seen = histories.seen(len(large.catalogue))
    assert not any(seen[row, ids[row]].nnz for row in range(len(histories)))
    # A narrow filter is answered exactly, from all that meet it.
    narrow = np.zeros(len(large.catalogue), dtype=bool)
    narrow[5:25] = True
    one = histories.take(slice(0, 1))
    assert large.shortlist(one, narrow).tolist() == list(range(5, 25))
    assert (large.recommend(one, 5, available=narrow & False)[0] == -1).all()
    nobody = Histories.from_lists([[]])
    assert (large.recommend(nobody, 10)[0] >= 0).all()


def test_new_items_are_on_every_shortlist(large: Hybrid, histories: Histories) -> None:
    table, vectors = large.catalogue.table, large.catalogue.vectors
    assert vectors is not None
    new = table.iloc[[0]].assign(item_id="new")
    grown = large.extended(
        Catalogue(pd.concat([table, new], ignore_index=True), np.vstack([vectors, vectors[:1]]))
    )
    assert len(table) in grown.shortlist(histories.take(slice(0, 1)), None)
    grown.recommend(Histories.from_lists([[len(table), 3]]), 5)


def test_of_many_new_items_the_nearest_are_on_the_shortlist(
    large: Hybrid, histories: Histories
) -> None:
    table, vectors = large.catalogue.table, large.catalogue.vectors
    assert vectors is not None
    n = len(table)
    again = table.assign(item_id="new" + table["item_id"])
    grown = large.extended(
        Catalogue(pd.concat([table, again], ignore_index=True), np.vstack([vectors, vectors]))
    )
    one = histories.take(slice(0, 1))
    short = grown.shortlist(one, None)
    new = short[short >= n]
    assert 40 <= len(new) < n / 4
    scores = grown.candidates["content"].score(one)[0, n:]
    assert scores[new - n].min() >= np.sort(scores)[-len(new)] - 1e-6
    assert len(grown.shortlist(Histories.from_lists([[]]), None)) < n / 2
    grown.recommend(histories, 10)


def test_new_items_without_a_known_word_have_no_nearest_warm_items(large: Hybrid) -> None:
    table, vectors = large.catalogue.table, large.catalogue.vectors
    assert vectors is not None
    new = table.iloc[[0, 0]].assign(item_id=["silent", "twin"])
    more = np.vstack([vectors, np.zeros_like(vectors[:1]), vectors[:1]])
    grown = large.extended(Catalogue(pd.concat([table, new], ignore_index=True), more))
    assert grown.generator.nearest_warm is not None
    assert (grown.generator.nearest_warm[0] == -1).all()
    assert (large.item_statistics[grown.generator.nearest_warm[1], 0] > 0).all()
