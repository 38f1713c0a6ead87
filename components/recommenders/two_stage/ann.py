"""Approximate nearest neighbours among many item vectors.

In: item vectors of a fitted model. Out: for a query, items with about the largest inner products.
HNSW (Malkov and Yashunin, TPAMI 2020) by usearch; its recall is measured in its test.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from usearch.index import Index

from components.arrays import FloatArray, Int64Array

CONNECTIVITY = 16
EXPANSION_ADD = 128
EXPANSION_SEARCH = 128


class VectorIndex:
    """An index over the rows of a matrix; a row's number is its id."""

    def __init__(self, index: Index) -> None:
        self.index = index

    @classmethod
    def of(cls, vectors: FloatArray) -> VectorIndex:
        """Return the index of float32 (items, width), kept as float16 in memory and on disk."""
        index = Index(
            ndim=vectors.shape[1],
            metric="ip",
            dtype="f16",
            connectivity=CONNECTIVITY,
            expansion_add=EXPANSION_ADD,
            expansion_search=EXPANSION_SEARCH,
        )
        log = "indexing items" if sys.stderr.isatty() else False
        index.add(np.arange(len(vectors)), np.ascontiguousarray(vectors), log=log)
        return cls(index)

    def search(self, query: FloatArray, n: int) -> Int64Array:
        """Return int64 (≤ n,) ids: the nearest of a query (width,), nearest first."""
        return np.asarray(self.index.search(query.astype(np.float32), n, threads=1).keys, np.int64)

    def save(self, file: str | Path) -> None:
        """Write the index to ``file``."""
        self.index.save(str(file))

    @classmethod
    def load(cls, file: str | Path) -> VectorIndex:
        """Return the index of a file, memory-mapped: processes share its pages.

        Raises:
            ValueError: the file is not an index.
        """
        # Rows are their own keys: a table of keys would take 40 bytes of each process and item.
        index = Index.restore(str(file), view=True, enable_key_lookups=False)
        if index is None:
            raise ValueError(f"{file} is not an index of vectors: train and save the model again")
        index.expansion_search = EXPANSION_SEARCH  # type: ignore[misc]  # it has a setter
        return cls(index)
