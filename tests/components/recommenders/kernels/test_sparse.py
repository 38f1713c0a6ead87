"""The compiled sums and products against scipy's and numpy's."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st

from components.recommenders.kernels.sparse import (
    FEW,
    best_of_summed_rows,
    fill_systems,
    inner_products,
    merged_rows,
    sparse_inner_products,
    summed_rows,
    summed_rows_at,
)


@st.composite
def histories(draw: st.DrawFn) -> tuple[sp.csr_matrix, np.ndarray, np.ndarray, np.ndarray]:
    """A sparse matrix, and for each of some rows the entries it names, some of them twice."""
    random = np.random.default_rng(draw(st.integers(0, 10_000)))
    n_rows, n_columns = draw(st.integers(1, 30)), draw(st.integers(1, 50))
    matrix = sp.random(n_rows, n_columns, 0.3, "csr", np.float32, random)
    lengths = draw(st.lists(st.integers(0, 12), min_size=1, max_size=6))
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    index = random.integers(0, n_rows, offsets[-1]).astype(np.int32)
    weights = random.random(offsets[-1], dtype=np.float32)
    return matrix, index, weights, offsets


@given(histories())
def test_sums_are_the_matrix_product(given_: tuple) -> None:
    matrix, index, weights, offsets = given_
    past = sp.csr_matrix((weights, index, offsets), (len(offsets) - 1, matrix.shape[0]))
    expected = past.toarray() @ matrix.toarray()
    columns = np.arange(matrix.shape[1])[::-3]
    for kind in (matrix, matrix.toarray()):
        assert summed_rows(index, weights, offsets, kind) == pytest.approx(expected, abs=1e-5)
        found = summed_rows_at(index, weights, offsets, kind, columns)
        assert found == pytest.approx(expected[:, columns], abs=1e-5)
    merged = merged_rows(index, weights, offsets)
    assert summed_rows(*merged, matrix) == pytest.approx(expected, abs=1e-5)
    for start, stop in zip(merged[2][:-1], merged[2][1:], strict=True):
        own = merged[0][start:stop]
        assert len(np.unique(own)) == len(own)


@given(histories(), st.integers(1, 8))
def test_the_best_are_the_largest_sums_of_what_is_met(given_: tuple, n: int) -> None:
    matrix, index, weights, offsets = given_
    own = slice(offsets[0], offsets[1])
    found = best_of_summed_rows(index[own], weights[own], matrix, n)
    sums = summed_rows(index, weights, offsets, matrix)[0]
    met = np.unique(matrix[index[own]].indices)
    assert len(np.unique(found)) == len(found) == min(n, len(met))
    assert set(found) <= set(met)
    assert sorted(sums[found]) == pytest.approx(sorted(sums[met])[-n:], abs=1e-5)


@pytest.mark.parametrize("batch", [1, 3, FEW, FEW + 1, 40])
def test_inner_products(batch: int) -> None:
    random = np.random.default_rng(batch)
    queries = random.standard_normal((batch, 24)).astype(np.float32)
    vectors = random.standard_normal((70, 24)).astype(np.float32)
    assert inner_products(queries, vectors) == pytest.approx(queries @ vectors.T, abs=1e-4)
    assert inner_products(queries[:0], vectors).shape == (0, 70)
    sparse = sp.random(70, 24, 0.2, "csr", np.float32, random)
    expected = queries @ sparse.toarray().T
    assert sparse_inner_products(queries, sparse) == pytest.approx(expected, abs=1e-4)
    some = np.array([3, 69, 0])
    assert sparse_inner_products(queries, sparse, some) == pytest.approx(
        expected[:, some], abs=1e-4
    )


def test_what_is_mapped_from_a_file_and_cannot_be_written_gives_the_same() -> None:
    random = np.random.default_rng(0)
    matrix = random.random((20, 9), dtype=np.float32)
    index, weights = np.array([3, 3, 7]), np.ones(3, dtype=np.float32)
    offsets = np.array([0, 3])
    expected = summed_rows(index, weights, offsets, matrix)
    for array in (matrix, index, weights, offsets):
        array.flags.writeable = False
    assert np.array_equal(summed_rows(index, weights, offsets, matrix), expected)


@pytest.mark.parametrize("share", [0.01, 0.3])
def test_systems_are_parts_of_the_gram_matrix(share: float) -> None:
    """With few products a row, and with so many that the row is cleared as a whole."""
    random = np.random.default_rng(0)
    by_user = sp.random(70, 400, share, "csr", np.float32, random_state=1)
    gram = (by_user.T @ by_user).toarray()
    sizes = np.array([1, 2, 3, 60])
    supports = np.zeros((4, 60), dtype=np.int64)
    for row, size in enumerate(sizes):
        supports[row, :size] = random.choice(400, size, replace=False)
    columns = np.array([5, 399, 17, 3])
    at, place = np.nonzero(np.arange(60) < sizes[:, None])
    order = np.argsort(supports[at, place], kind="stable")
    at, place = at[order], place[order]
    items, first = np.unique(supports[at, place], return_index=True)
    bounds = np.append(first, len(at))
    left, right = np.zeros((4, 60, 60), np.float32), np.zeros((4, 60), np.float32)
    for some in (slice(0, 20), slice(20, len(items))):
        wanted = bounds[some.start : some.stop + 1], at, place
        by_item = by_user.T.tocsr()
        fill_systems(by_item, by_user, items[some], wanted, columns, supports, left, right)
    for row, size in enumerate(sizes):
        own = supports[row, :size]
        expected = np.zeros((60, 60), dtype=np.float32)
        expected[:size, :size] = np.tril(gram[np.ix_(own, own)], -1)
        assert left[row] == pytest.approx(expected, abs=1e-5)
        assert right[row, :size] == pytest.approx(gram[columns[row], own], abs=1e-5)
        assert not right[row, size:].any()
