"""Lift: how much more often users with an attribute's value have an item than others do.

In: pairs of users and items, and the values of the users. Out: the logarithm of a shrunken ratio of
observed to expected counts, for each value and item.
"""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

from components.arrays import FloatArray
from components.data.attribute_codes import Vocabulary
from components.data.dataset import Catalogue


def item_groups(catalogue: Catalogue) -> sp.csr_matrix:
    """Return float32 CSR (items, groups): each item's category and values of its attributes, with
    weights that sum to 1; a row of zeros where an item has none."""
    table = catalogue.table
    vocabulary = Vocabulary.of(table)
    parts = [vocabulary.encode(table)]
    if "main_category" in table:
        codes, names = table["main_category"].factorize()
        known = codes >= 0
        shape = (len(table), len(names))
        ones = np.ones(np.count_nonzero(known), np.float32)
        parts.append(sp.csr_matrix((ones, (np.flatnonzero(known), codes[known])), shape=shape))
    return normalised(sp.hstack(parts, format="csr"))


def normalised(matrix: sp.csr_matrix) -> sp.csr_matrix:
    """Return the CSR matrix with rows that sum to 1; rows of zeros stay."""
    sums = np.asarray(matrix.sum(axis=1)).ravel()
    scale = np.divide(1.0, sums, out=np.zeros(len(sums)), where=sums > 0)
    return (sp.diags(scale.astype(np.float32)) @ matrix).tocsr()


def log_lift(
    pairs: sp.csr_matrix,
    codes: sp.csr_matrix,
    vocabulary: Vocabulary,
    groups: sp.csr_matrix,
    strength: float,
) -> FloatArray:
    """Return float32 (values, items): the logarithm of each item's lift among users with a value.

    pairs: CSR (users, items), weights of the pairs that met. codes: CSR (users, values), see
    ``UserAttributes``. groups: CSR (items, groups), see ``item_groups``. strength: pairs that the
    prior is worth.

    The lift is (observed + strength · prior) / (expected + strength): the mean of a relative rate
    with a Gamma prior, given Poisson counts (DuMouchel, The American Statistician 1999). Expected
    is the count if the item's share were the same for all values of the attribute. An item's prior
    is the geometric mean of its groups' lifts, which are shrunken to 1 in the same way: an item
    with few purchases takes the lift of its category.

    >>> users = sp.csr_matrix(np.repeat([[1.0, 0.0], [0.0, 1.0]], 50, axis=0))
    >>> vocabulary = Vocabulary({"category:age": ("old", "young")})
    >>> lift = log_lift(users, users, vocabulary, sp.csr_matrix((2, 0)), strength=10.0)
    >>> np.exp(lift).astype(float).round(2).tolist()
    [[1.71, 0.29], [0.29, 1.71]]
    """
    observed = np.asarray((codes.T @ pairs).todense(), dtype=np.float32)
    lift = np.empty_like(observed)
    shares = normalised(groups)
    for part in vocabulary.parts.values():
        counts = observed[part]
        expected = _expected(counts)
        in_groups = np.asarray(counts @ groups)
        of_groups = (in_groups + strength) / (_expected(in_groups) + strength)
        prior = np.exp(np.asarray((shares @ np.log(of_groups).T).T))
        lift[part] = np.log((counts + strength * prior) / (expected + strength))
    return lift


def _expected(counts: FloatArray) -> FloatArray:
    """Return the counts if rows and columns were independent."""
    of_values, total = counts.sum(axis=1, keepdims=True), counts.sum()
    return of_values * counts.sum(axis=0, keepdims=True) / max(total, 1.0)
