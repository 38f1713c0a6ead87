"""Collective EASE: a linear item-to-item model of purchases and of the words of items' texts.

CEASE (Jeunen, Van Balen and Goethals, RecSys 2020): each word of the catalogue is one more row of
the users × items matrix, with the items whose texts hold it. One closed form combines both: sales
dominate where there are many, words where there are few.
"""

from __future__ import annotations

from typing import Any, ClassVar, Self

import numpy as np
import scipy.sparse as sp
from sparse_dot_topn import sp_matmul_topn

from components.arrays import BoolArray
from components.data.dataset import Catalogue, Interactions, item_text
from components.recommenders.models.ease import EASE
from components.recommenders.models.tfidf import word_vectors
from components.recommenders.search_space import FLOAT, INTEGER, LOG_FLOAT
from components.settings import CEASE as CEASESettings

MOST_PRODUCTS = 1000
"""The sparse form leaves out words of more items than this."""


class CEASE(EASE):
    """CEASE with time decay over all items, unsold items included.

    A word counts ``text_weight`` times its squared TF-IDF weight, a purchase 1. The column of an
    unsold item comes from its words alone; ``cold_boost`` times the mean column of the
    ``cold_neighbours`` sold items with the most similar words is added to it, or its scores would
    stay below those of sold items (imputation as in Volkovs et al., NeurIPS 2017).
    """

    name = "cease"
    search_space: ClassVar[dict[str, Any]] = {
        **EASE.search_space,
        "text_weight": (LOG_FLOAT, 0.1, 100.0),
        "cold_neighbours": (INTEGER, 1, 20),
        "cold_boost": (FLOAT, 0.0, 2.0),
    }
    section = CEASESettings
    settings: CEASESettings

    @property
    def cold_start_weight(self) -> float:  # type: ignore[override]
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
                f"train.cease.form is dense, but there are {self.n_items:,} items and "
                f"train.cease.max_items is {s.max_items:,}: set form to auto or sparse"
            )
        words = word_vectors(item_text(catalogue.table))  # (items, words)
        dense = s.form == "dense" or (s.form == "auto" and fits)
        if not dense:
            # A word of thousands of items would make the sparse Gram matrix dense.
            words = words[:, np.diff(words.tocsc().indptr) <= MOST_PRODUCTS]
        sales = train.newest(s.max_history).matrix(2 * s.half_life_days)  # (users, items)
        stacked = sp.vstack([sales, np.sqrt(np.float32(s.text_weight)) * words.T])
        self._solve(stacked.tocsr(), dense)
        unsold = np.bincount(train.counted().items, minlength=self.n_items) == 0
        if unsold.any() and not unsold.all():
            self._impute(words, unsold)
        return self

    def _impute(self, words: sp.csr_matrix, unsold: BoolArray) -> None:
        """Add the mean column of its sold neighbours by words to each unsold item's column."""
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
