"""Models of RecTools."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import torch
from common import MISSING, Peer, Train
from rectools.dataset import Dataset
from rectools.models import EASEModel, PopularModel, SASRecModel
from rectools.models.nn.transformers.ligr import LiGRLayers


class OfRecTools(Peer):
    """A model with RecTools' common interface; its codes are ours."""

    model: Any

    def prepare(self, train: Train) -> None:
        when = pd.Timestamp("2020-01-01") + pd.to_timedelta(train.places, "D")
        table = pd.DataFrame(
            {"user_id": train.users, "item_id": train.items, "weight": 1.0, "datetime": when}
        )
        self.data = Dataset.construct(table)

    def fit(self) -> None:
        self.model.fit(self.data)

    def lists(self, users: np.ndarray, k: int, exclude_seen: bool) -> np.ndarray:
        # A sequence model of theirs has no list for a user with a single event.
        found = self.model.recommend(
            users,
            self.data,
            k=k,
            filter_viewed=exclude_seen,
            on_unsupported_targets="ignore",
        )
        ids = np.full((len(users), k), MISSING)
        rows = pd.Index(users).get_indexer(found["user_id"])
        ids[rows, found["rank"].to_numpy() - 1] = found["item_id"]
        return ids

    def save(self, folder: Path) -> None:
        self.model.save(folder / "model")


class Popular(OfRecTools):
    """Items by their number of users."""

    def __init__(self, threads: int = 1) -> None:
        del threads
        self.model = PopularModel()


class EASE(OfRecTools):
    """EASE, a linear model between items (Steck 2019)."""

    def __init__(self, regularisation: float, threads: int = 1) -> None:
        self.model = EASEModel(regularization=regularisation, recommend_n_threads=threads)


class SASRec(OfRecTools):
    """SASRec (Kang and McAuley 2018) with cross-entropy over all items, the library's default."""

    more: ClassVar[dict[str, Any]] = {"loss": "softmax"}

    def __init__(
        self,
        dimensions: int,
        layers: int,
        heads: int,
        dropout: float,
        learning_rate: float,
        max_length: int,
        epochs: int,
        threads: int = 1,
        negatives: int | None = None,
    ) -> None:
        torch.manual_seed(0)
        torch.set_num_threads(threads)
        sampled = {} if negatives is None else {"n_negatives": negatives}
        self.model = SASRecModel(
            n_blocks=layers,
            n_heads=heads,
            n_factors=dimensions,
            dropout_rate=dropout,
            session_max_len=max_length,
            lr=learning_rate,
            epochs=epochs,
            **self.more,
            **sampled,
        )


class ESASRec(SASRec):
    """eSASRec (Tikhonovich et al. 2025): shifted sequences, sampled softmax, LiGR layers."""

    more: ClassVar[dict[str, Any]] = {
        "loss": "sampled_softmax",
        "transformer_layers_type": LiGRLayers,
    }
