"""A linear item-to-item model that learns from purchases and from the products' words together.

Collective EASE (CEASE: Jeunen, Van Balen and Goethals, RecSys 2020): every word of the catalogue
is one more "user", who has the products whose texts hold it. One closed form then says what goes
with what, by sales where there are many and by words where there are few.
"""

from __future__ import annotations

from typing import Self

import numpy as np
import scipy.sparse as sp
from sparse_dot_topn import sp_matmul_topn

from components.data.dataset import Catalogue, Interactions, item_text
from components.recommenders.models.ease import Linear
from components.recommenders.models.tfidf import word_vectors
from components.settings import Collective as CollectiveSettings

MOST_PRODUCTS = 1000
"""The sparse form leaves out words that more products have."""


class Collective(Linear):
    """CEASE with recency over all items, those never sold among them.

    A word counts ``text_weight`` times its squared TF-IDF weight beside a purchase's 1. An item
    that was never sold has only its words' share of a column; it gets ``cold_boost`` times the
    mean column of the ``cold_neighbours`` sold items most alike by their words on top of it, or
    it could not stand beside what sold (imputation as by Volkovs et al., NeurIPS 2017).
    """

    name = "collective"
    section = CollectiveSettings
    settings: CollectiveSettings

    @property
    def unsold_share(self) -> float:  # type: ignore[override]
        return self.settings.cold_boost

    def fit(self, train: Interactions, catalogue: Catalogue) -> Self:
        """Learn the weights.

        Raises:
            ValueError: the form is dense and there are more than ``max_items`` items, or no
                product has a title.
        """
        s = self.settings
        self.n_items = len(catalogue)
        self.kept = np.arange(self.n_items, dtype=np.int32)
        vars(self).pop("_place", None)
        fits = self.n_items <= s.max_items
        if s.form == "dense" and not fits:
            raise ValueError(
                f"train.collective.form is dense, but there are {self.n_items:,} items and "
                f"train.collective.max_items is {s.max_items:,}: set form to auto or sparse"
            )
        words = word_vectors(item_text(catalogue.table))  # (items, words)
        dense = s.form == "dense" or (s.form == "auto" and fits)
        if not dense:
            # A word of thousands of products would make the sparse Gram matrix a dense one.
            words = words[:, np.diff(words.tocsc().indptr) <= MOST_PRODUCTS]
        sales = train.newest(s.max_history).matrix(2 * s.half_life_days)  # (users, items)
        stacked = sp.vstack([sales, np.sqrt(np.float32(s.text_weight)) * words.T])
        self._solve(stacked.tocsr(), dense)
        unsold = np.bincount(train.items, minlength=self.n_items) == 0
        if unsold.any() and not unsold.all():
            self._impute(words, unsold)
        return self

    def _impute(self, words: sp.csr_matrix, unsold: np.ndarray) -> None:
        """Add to each unsold item's column what it would have were it its sold neighbours."""
        s = self.settings
        sold = sp.diags((~unsold).astype(np.float32)) @ words
        near = sp_matmul_topn(words[unsold], sold.T.tocsr(), s.cold_neighbours)  # (unsold, items)
        mass = np.asarray(near.sum(axis=1)).ravel()
        shares = sp.diags(s.cold_boost / np.maximum(mass, 1e-12)).astype(np.float32) @ near
        if sp.issparse(self.weights):
            place = sp.csr_matrix(
                (np.ones(len(mass)), (np.arange(len(mass)), np.flatnonzero(unsold))),
                shape=(len(mass), self.n_items),
            ).astype(np.float32)
            self.weights = (self.weights + self.weights @ shares.T @ place).tocsr()
        else:
            self.weights[:, unsold] += (shares @ self.weights.T).T
