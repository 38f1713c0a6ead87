"""Weighted sums of a matrix's rows, and inner products: the scores of most models.

In: for each history the indices of rows and their weights. Out: scores of all columns, of some, or
the best columns. Matrices are dense or sparse (CSR); with sparse ones the cost is that of the
entries in those rows, not of the catalogue.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import scipy.sparse as sp

from components.arrays import AnyArray, FloatArray, Int64Array, IntArray
from components.recommenders.kernels.jit import compiled

Matrix: TypeAlias = "FloatArray | sp.csr_matrix"

FEW = 8
"""Queries up to which the compiled loop, which reads the vectors once from end to end, is faster
than BLAS: for one it takes a third of the time."""


def csr_arrays(matrix: sp.csr_matrix) -> dict[str, AnyArray]:
    """Return the arrays of a sparse matrix by name, from which ``csr_of`` rebuilds it."""
    return {
        "data": matrix.data.astype(np.float32),
        "indices": matrix.indices.astype(np.int32),
        "indptr": matrix.indptr.astype(np.int64),
        "shape": np.array(matrix.shape, dtype=np.int64),
    }


def csr_of(arrays: dict[str, AnyArray]) -> sp.csr_matrix:
    """Return the CSR matrix of the arrays that ``csr_arrays`` returned."""
    matrix = sp.csr_matrix(tuple(arrays["shape"]), dtype=np.float32)
    # The constructor would copy arrays that are mapped from a file.
    kind = sp.get_index_dtype(maxval=len(arrays["data"]))
    matrix.data, matrix.indices = arrays["data"], arrays["indices"].astype(kind, copy=False)
    matrix.indptr = arrays["indptr"].astype(matrix.indices.dtype)
    return matrix


def summed_rows(
    index: IntArray, weights: FloatArray, offsets: IntArray, matrix: Matrix
) -> FloatArray:
    """Return float32 (batch, columns): row b is the sum of weights[e] · matrix[index[e]] over its
    entries e, which are ``offsets[b]`` to ``offsets[b + 1]``.

    index: int (entries,). weights: float32 (entries,). offsets: int64 (batch + 1,). matrix:
    float32 (rows, columns).
    """
    sums = np.zeros((len(offsets) - 1, matrix.shape[1]), dtype=np.float32)
    if isinstance(matrix, np.ndarray):
        _add_dense(index, weights, offsets, matrix, sums)
    else:
        of_matrix = (matrix.data, matrix.indices, matrix.indptr)
        _add_sparse(index, weights, offsets, *of_matrix, sums)
    return sums


def summed_rows_at(
    index: IntArray,
    weights: FloatArray,
    offsets: IntArray,
    matrix: Matrix,
    columns: IntArray,
) -> FloatArray:
    """Return float32 (batch, n): ``summed_rows`` of the n ``columns`` (int64) alone."""
    sums = np.zeros((len(offsets) - 1, len(columns)), dtype=np.float32)
    if isinstance(matrix, np.ndarray):
        _add_dense_at(index, weights, offsets, matrix, columns, sums)
    else:
        of_matrix = (matrix.data, matrix.indices, matrix.indptr)
        _add_sparse_at(index, weights, offsets, *of_matrix, columns, sums)
    return sums


def best_of_summed_rows(
    index: IntArray, weights: FloatArray, matrix: sp.csr_matrix, n: int
) -> Int64Array:
    """Return int64 (≤ n,): the columns with the largest sums for one history.

    Only columns with an entry in its rows are considered."""
    columns, sums = _column_sums(index, weights, matrix.data, matrix.indices, matrix.indptr)
    if len(columns) > n:
        columns = columns[np.argpartition(-sums, n - 1)[:n]]
    return columns


def merged_rows(
    index: IntArray, weights: FloatArray, offsets: IntArray
) -> tuple[IntArray, FloatArray, IntArray]:
    """Return index, weights and offsets without repeated indices in a row; the weights of repeated
    ones are added."""
    return _merged(index, weights, offsets)


def fill_systems(
    by_item: sp.csr_matrix,
    by_user: sp.csr_matrix,
    items: IntArray,
    wanted: tuple[IntArray, IntArray, IntArray],
    columns: IntArray,
    supports: IntArray,
    left: FloatArray,
    right: FloatArray,
) -> None:
    """Fill in entries of the Gram matrix G, one row of G at a time, which is never held whole.

    Of each of ``columns`` c (int (b,)), with its ``supports``, items int (b, n), ``left`` float32
    (b, n, n) gets G between two of them, below the diagonal, and ``right`` float32 (b, n) G between
    each of them and c. by_item: CSR (items, users), whose rows' inner products G holds. by_user:
    its transpose, CSR. items: int (m,), the rows of G to compute. wanted: bounds int (m + 1,), at
    and place int (bounds[-1],): item i is ``supports[at[e], place[e]]`` for e from bounds[i] to
    bounds[i + 1]. Several threads may fill the same arrays for different items.
    """
    of_items = (by_item.data, by_item.indices, by_item.indptr)
    of_users = (by_user.data, by_user.indices, by_user.indptr)
    _fill_systems(*of_items, *of_users, items, *wanted, columns, supports, left, right)


def inner_products(queries: FloatArray, vectors: FloatArray) -> FloatArray:
    """Return float32 (batch, items). queries: (batch, d), vectors: (items, d), float32."""
    if len(queries) > FEW:
        return (vectors @ queries.T).T  # the longer side first: else BLAS takes twice as long
    products = np.empty((len(queries), len(vectors)), dtype=np.float32)
    _multiply(np.ascontiguousarray(queries), vectors, products)
    return products


def sparse_inner_products(
    queries: FloatArray, vectors: sp.csr_matrix, items: IntArray | None = None
) -> FloatArray:
    """Return float32 (batch, items): as ``inner_products``, of CSR vectors, all or some of them."""
    items = np.arange(vectors.shape[0]) if items is None else items
    products = np.empty((len(queries), len(items)), dtype=np.float32)
    _multiply_sparse(queries, vectors.data, vectors.indices, vectors.indptr, items, products)
    return products


@compiled
def _fill_systems(  # type: ignore[no-untyped-def]
    item_data, item_indices, item_indptr, user_data, user_indices, user_indptr,
    items, bounds, at, place, columns, supports, left, right,
):  # fmt: skip
    row = np.zeros(len(item_indptr) - 1, np.float32)  # of the Gram matrix
    for n in range(len(items)):
        start, stop = item_indptr[items[n]], item_indptr[items[n] + 1]
        added = 0
        for entry in range(start, stop):
            user, weight = item_indices[entry], item_data[entry]
            added += user_indptr[user + 1] - user_indptr[user]
            for other in range(user_indptr[user], user_indptr[user + 1]):
                row[user_indices[other]] += weight * user_data[other]
        for entry in range(bounds[n], bounds[n + 1]):
            system, own = at[entry], place[entry]
            right[system, own] = row[columns[system]]
            for other in range(own):
                left[system, own, other] = row[supports[system, other]]
        if added > len(row):
            row[:] = 0
            continue
        for entry in range(start, stop):
            user = item_indices[entry]
            for other in range(user_indptr[user], user_indptr[user + 1]):
                row[user_indices[other]] = 0


@compiled
def _multiply_sparse(queries, data, indices, indptr, items, products):  # type: ignore[no-untyped-def]
    for row in range(len(queries)):
        for place in range(len(items)):
            product = np.float32(0)
            for at in range(indptr[items[place]], indptr[items[place] + 1]):
                product += queries[row, indices[at]] * data[at]
            products[row, place] = product


@compiled
def _multiply(queries, vectors, products):  # type: ignore[no-untyped-def]
    together = len(queries) - len(queries) % 4  # four queries share each loaded vector
    for item in range(len(vectors)):
        vector = vectors[item]
        for row in range(0, together, 4):
            a = b = c = d = np.float32(0)
            for column in range(len(vector)):
                a += queries[row, column] * vector[column]
                b += queries[row + 1, column] * vector[column]
                c += queries[row + 2, column] * vector[column]
                d += queries[row + 3, column] * vector[column]
            products[row, item], products[row + 1, item] = a, b
            products[row + 2, item], products[row + 3, item] = c, d
        for row in range(together, len(queries)):
            a = np.float32(0)
            for column in range(len(vector)):
                a += queries[row, column] * vector[column]
            products[row, item] = a


@compiled
def _add_dense(index, weights, offsets, matrix, sums):  # type: ignore[no-untyped-def]
    for row in range(len(sums)):
        for entry in range(offsets[row], offsets[row + 1]):
            weight, values, own = weights[entry], matrix[index[entry]], sums[row]
            for column in range(len(own)):
                own[column] += weight * values[column]


@compiled
def _add_dense_at(index, weights, offsets, matrix, columns, sums):  # type: ignore[no-untyped-def]
    for row in range(len(sums)):
        for entry in range(offsets[row], offsets[row + 1]):
            for at in range(len(columns)):
                sums[row, at] += weights[entry] * matrix[index[entry], columns[at]]


@compiled
def _add_sparse(index, weights, offsets, data, indices, indptr, sums):  # type: ignore[no-untyped-def]
    for row in range(len(sums)):
        for entry in range(offsets[row], offsets[row + 1]):
            weight = weights[entry]
            for at in range(indptr[index[entry]], indptr[index[entry] + 1]):
                sums[row, indices[at]] += weight * data[at]


@compiled
def _add_sparse_at(  # type: ignore[no-untyped-def]
    index, weights, offsets, data, indices, indptr, columns, sums
):
    wanted = _table(len(columns))
    for at in range(len(columns)):
        wanted[_slot(wanted, columns, columns[at])] = at
    for row in range(len(sums)):
        for entry in range(offsets[row], offsets[row + 1]):
            weight = weights[entry]
            for at in range(indptr[index[entry]], indptr[index[entry] + 1]):
                place = wanted[_slot(wanted, columns, indices[at])]
                if place >= 0:
                    sums[row, place] += weight * data[at]


@compiled
def _column_sums(index, weights, data, indices, indptr):  # type: ignore[no-untyped-def]
    """Return the columns in which any of the rows has an entry, int64, and their sums."""
    most = 0
    for row in index:
        most += indptr[row + 1] - indptr[row]
    columns, sums = np.empty(most, np.int64), np.zeros(most, np.float32)
    table, found = _table(most), 0
    for entry in range(len(index)):
        for at in range(indptr[index[entry]], indptr[index[entry] + 1]):
            slot = _slot(table, columns, indices[at])
            if table[slot] < 0:
                table[slot], columns[found] = found, indices[at]
                found += 1
            sums[table[slot]] += weights[entry] * data[at]
    return columns[:found], sums[:found]


@compiled
def _table(n):  # type: ignore[no-untyped-def]
    """Return an empty hash table for ``n`` keys: int64, each slot the place of its key, or -1."""
    size = 16
    while size < 2 * n:
        size *= 2
    return np.full(size, -1, np.int64)


@compiled
def _slot(table, keys, key):  # type: ignore[no-untyped-def]
    """Return the slot of ``key``, or the empty one where it belongs (linear probing)."""
    last = len(table) - 1
    slot = (np.int64(key) * 0x9E3779B1 >> 8) & last  # Knuth's multiplicative hashing
    while table[slot] >= 0 and keys[table[slot]] != key:
        slot = (slot + 1) & last
    return slot


@compiled
def _merged(index, weights, offsets):  # type: ignore[no-untyped-def]
    found_index, found_weights = np.empty_like(index), np.empty_like(weights)
    found_offsets, found = np.zeros_like(offsets), 0
    for row in range(len(offsets) - 1):
        start, first = offsets[row], found
        own = index[start : offsets[row + 1]]
        for at in np.argsort(own):
            if found > first and found_index[found - 1] == own[at]:
                found_weights[found - 1] += weights[start + at]
            else:
                found_index[found], found_weights[found] = own[at], weights[start + at]
                found += 1
        found_offsets[row + 1] = found
    return found_index[:found], found_weights[:found], found_offsets
