"""The linear model: the closed form it claims, and a sparse form as good as the dense one."""

from __future__ import annotations

from pathlib import Path

import hypothesis
import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st
from sklearn.linear_model import Ridge

from components.data.dataset import Catalogue, load_prepared
from components.data.holdout import window_task
from components.evaluation.metrics import ndcg
from components.evaluation.protocol import lists
from components.recommenders.models import ease
from components.recommenders.models.ease import EASE, solve_dense, solve_sparse
from components.settings import EASE as EASESettings


@pytest.fixture(scope="module")
def prepared(prepared_folder: Path):
    return load_prepared(prepared_folder)


@pytest.fixture(scope="module")
def few(prepared):
    """Users × the 300 items that sold most, of the real shop."""
    matrix = prepared.interactions.matrix()
    return matrix[:, np.argsort(-matrix.getnnz(axis=0), kind="stable")[:300]]


def test_dense_is_each_items_ridge_over_all_others(few) -> None:
    weights = solve_dense(few, 20.0)
    x = few.toarray().astype(np.float64)
    assert not weights.diagonal().any()
    for item in (0, 17, 299):
        others = np.delete(np.arange(300), item)
        ridge = Ridge(alpha=20.0, fit_intercept=False, solver="cholesky")
        expected = ridge.fit(x[:, others], x[:, item]).coef_
        assert weights[others, item] == pytest.approx(expected, abs=2e-4)


def test_sparse_is_each_items_ridge_over_its_best_neighbours(few) -> None:
    weights = solve_sparse(few, 20.0, 30)
    x = few.toarray().astype(np.float64)
    gram = x.T @ x
    for item in (0, 17, 299):
        gain = gram[item] ** 2 / (gram.diagonal() + 20.0)
        gain[item] = -1
        support = np.sort(np.argsort(-gain)[:30])
        column = weights[:, [item]].toarray().ravel()
        assert np.isin(np.flatnonzero(column), support).mean() > 0.95  # equal gains may change
        chosen = np.flatnonzero(column)
        ridge = Ridge(alpha=20.0, fit_intercept=False, solver="cholesky")
        expected = ridge.fit(x[:, chosen], x[:, item]).coef_
        assert column[chosen] == pytest.approx(expected, abs=2e-4)


def test_with_every_item_as_neighbour_sparse_is_dense(few) -> None:
    part = few[:, :60]
    assert solve_sparse(part, 20.0, 60).toarray() == pytest.approx(
        solve_dense(part, 20.0), abs=1e-4
    )


def test_sparse_is_as_good_and_keeps_little(prepared) -> None:
    x = prepared.interactions
    before = x.where(x.times < prepared.test_start)
    task = window_task(prepared, "test", exclude_seen=True)
    found = {}
    for form in ("dense", "sparse"):
        model = EASE(EASESettings(form=form, neighbours=50)).fit(before, prepared.catalogue)
        found[form] = ndcg(lists(model, task, 10, True), task.targets).mean()
    assert found["sparse"] > 0.95 * found["dense"]
    assert model.weights.nnz <= 50 * len(prepared.catalogue)


def test_the_form_follows_the_catalogues_size(prepared) -> None:
    x, catalogue = prepared.interactions, prepared.catalogue
    few = x.where(x.items < 50)
    assert isinstance(EASE(EASESettings(max_items=50)).fit(few, catalogue).weights, np.ndarray)
    sparse = EASE(EASESettings(max_items=20)).fit(few, catalogue)
    assert sparse.weights.nnz > 0
    with pytest.raises(ValueError, match=r"train\.ease\.max_items"):
        EASE(EASESettings(form="dense", max_items=20)).fit(few, catalogue)


def test_a_sparse_model_comes_back_from_its_folder(prepared, tmp_path: Path) -> None:
    catalogue = Catalogue(prepared.catalogue.table)
    x = prepared.interactions.where(prepared.interactions.items < 200)
    model = EASE(EASESettings(form="sparse")).fit(x, catalogue)
    model.save(tmp_path)
    histories = x.histories(np.arange(20), x.times.max() + 1)
    assert np.array_equal(EASE.load(tmp_path).score(histories), model.score(histories))


def test_only_a_users_newest_events_count(prepared) -> None:
    x = prepared.interactions
    cut = x.newest(5)
    assert np.diff(cut.offsets).max() == 5
    user = int(np.argmax(np.diff(x.offsets)))
    own = slice(x.offsets[user], x.offsets[user + 1])
    kept = slice(cut.offsets[user], cut.offsets[user + 1])
    assert (cut.items[kept] == x.items[own][-5:]).all()


@hypothesis.settings(max_examples=30)
@given(st.integers(0, 10_000), st.integers(2, 40), st.integers(2, 60), st.integers(1, 20))
def test_the_batches_solve_each_items_system(
    seed: int, n_users: int, n_items: int, neighbours: int
) -> None:
    """Against the plain formulation, one system after the other, with systems of all sizes."""
    random = np.random.default_rng(seed)
    share = random.uniform(0.02, 0.5)
    matrix = sp.random(n_users, n_items, share, "csr", np.float32, random)
    weights = solve_sparse(matrix, 5.0, neighbours)
    with pytest.MonkeyPatch.context() as patch:  # a row of the Gram matrix, a system at a time
        for name in ("GRAM_NUMBERS", "BLOCK_NUMBERS", "SYSTEM_NUMBERS"):
            patch.setattr(ease, name, 1)
        in_blocks = solve_sparse(matrix, 5.0, neighbours)
    assert np.array_equal(in_blocks.indices, weights.indices)
    np.testing.assert_allclose(in_blocks.data, weights.data, atol=1e-6)
    weights = weights.tocsc()
    gram = (matrix.T @ matrix).toarray().astype(np.float64)
    for item in range(n_items):
        support = weights.indices[weights.indptr[item] : weights.indptr[item + 1]]
        related = np.count_nonzero(np.delete(gram[item], item))
        # The item itself is mostly among its best ones, and left out.
        assert min(neighbours, related) <= len(support) <= min(neighbours + 1, related)
        left = gram[np.ix_(support, support)] + 5.0 * np.eye(len(support))
        expected = np.linalg.solve(left, gram[support, item])
        found = weights[:, [item]].toarray()[support, 0]
        np.testing.assert_allclose(found, expected, atol=1e-5)
