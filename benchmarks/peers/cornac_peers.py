"""A model of Cornac."""

from __future__ import annotations

import contextlib
import io

import numpy as np
from common import Scores, Train
from cornac.data import Dataset
from cornac.models import BPR as CornacBPR


class BPR(Scores):
    """Factorisation with a pairwise loss (Rendle et al. 2009).

    Cornac's codes are in the order of first events.
    """

    def __init__(
        self,
        dimensions: int,
        epochs: int,
        learning_rate: float,
        regularisation: float,
        threads: int = 1,
    ) -> None:
        self.model = CornacBPR(
            k=dimensions,
            max_iter=epochs,
            learning_rate=learning_rate,
            lambda_reg=regularisation,
            num_threads=threads,
            seed=0,
        )

    def prepare(self, train: Train) -> None:
        self.train = train
        pairs = train.matrix().tocoo()
        rows = zip(pairs.row.tolist(), pairs.col.tolist(), pairs.data.tolist(), strict=True)
        self.data = Dataset.from_uir(rows, seed=0)
        self.items = np.array(list(self.data.iid_map))  # our codes by theirs

    def fit(self) -> None:
        with contextlib.redirect_stdout(io.StringIO()):
            self.model.fit(self.data)

    def scores(self, users: np.ndarray) -> np.ndarray:
        out = np.full((len(users), self.train.n_items), -np.inf, dtype=np.float32)
        for row, user in enumerate(users.tolist()):  # Cornac scores one user at a time
            out[row, self.items] = np.asarray(self.model.score(self.data.uid_map[user])).ravel()
        return out
