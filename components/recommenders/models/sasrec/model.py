"""A self-attentive model of the behaviour sequence whose item vectors come from text and id.

SASRec (Kang and McAuley, ICDM 2018) with cross-entropy over the whole catalogue (Klenitskiy and
Vasilev, RecSys 2023), sampled with logQ correction past a catalogue size. Item vector =
W · text + δ(id), δ dropped out whole at random in training, so that an item without a single sale
has a place in the space (DropoutNet, Volkovs et al. 2017). Vectors and states have length 1 and
scores are cosines, so that such an item competes on equal terms.
"""

from __future__ import annotations

import copy
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np
from sklearn.decomposition import TruncatedSVD
from sklearn.preprocessing import normalize

from components.data.dataset import Catalogue, Histories, Interactions
from components.recommenders.base import Recommender
from components.recommenders.kernels.sparse import inner_products
from components.recommenders.models.content import whitened, whitening
from components.recommenders.models.sasrec.inference import LastState
from components.recommenders.models.tfidf import Words
from components.settings import Sequential as SequentialSettings
from components.settings import Words as WordsSettings

TEXT = ("mean", "projection", "project")
"""What places an item by its text vector."""


class Sequential(Recommender):
    """``vectors``: float32 (items, d), frozen from the network's text and id parts.

    mean, projection: the whitening of the text vectors. project: float32 (d, rank), W. weights:
    the rest of the network, by name. checkpoint: see ``network.Training``.
    """

    name = "sequential"

    def __init__(
        self, settings: SequentialSettings, seed: int = 0, checkpoint: Path | None = None
    ) -> None:
        self.settings = settings
        self.seed = seed
        self.checkpoint = checkpoint

    def fit(self, train: Interactions, catalogue: Catalogue) -> Self:
        from components.recommenders.models.sasrec.network import (
            Training,  # PyTorch: only who fits needs it
        )

        training = Training(self.settings, self.seed, self.checkpoint)
        network, self.vectors = training.run(train, self._text(train, catalogue))
        self.losses = training.losses
        state = {name: tensor.numpy() for name, tensor in network.state_dict().items()}
        self.weights = {
            name: array for name, array in state.items() if name.startswith(("blocks", "norm"))
        }
        # W, for items to come; of their words nothing is kept
        self.project = state["project.weight"][:, : self.projection.shape[1]]
        vars(self).pop("_last_state", None)
        return self

    def extended(self, catalogue: Catalogue) -> Sequential:
        """Return the model with the catalogue's further items, placed by W · text alone."""
        if catalogue.vectors is None:
            raise ValueError("sequential needs the new items' text vectors")
        model = copy.copy(self)
        new = whitened(catalogue.vectors[len(self.vectors) :], self.mean, self.projection)
        model.vectors = np.vstack([self.vectors, normalize(new @ self.project.T)])
        return model

    def _text(self, train: Interactions, catalogue: Catalogue) -> np.ndarray:
        """Return float32 (items, width): the whitened text vectors and, beside them, the words.

        The words are the TF-IDF matrix's first singular vectors (LSA, Deerwester et al. 1990).
        """
        if catalogue.vectors is None:
            raise ValueError(
                "sequential needs the items' text vectors: run `bowerbird encode` first"
            )
        self.mean, self.projection = whitening(catalogue.vectors)
        meaning = whitened(catalogue.vectors, self.mean, self.projection)
        if not self.settings.words:
            return meaning
        matrix = Words(WordsSettings()).fit(train, catalogue).matrix
        width = min(self.settings.words, min(matrix.shape) - 1)
        words = TruncatedSVD(width, random_state=self.seed).fit_transform(matrix)
        return np.hstack([meaning, normalize(words)]).astype(np.float32) / np.float32(2**0.5)

    def score(self, histories: Histories) -> np.ndarray:
        return inner_products(self.queries(histories), self.vectors)

    def score_at(self, histories: Histories, items: np.ndarray) -> np.ndarray:
        return inner_products(self.queries(histories), self.vectors[items])

    def queries(self, histories: Histories) -> np.ndarray:
        """Return float32 (batch, d): whose inner products with ``vectors`` are the scores."""
        lengths = np.minimum(histories.lengths(), self.settings.max_length)
        states = self._last_state(histories.items, histories.offsets[1:], lengths, self.vectors)
        return states / np.float32(self.settings.temperature)

    @cached_property
    def _last_state(self) -> LastState:
        return LastState(self.weights, self.settings.layers)

    def arrays(self) -> dict[str, np.ndarray]:
        text = {name: getattr(self, name) for name in TEXT}
        return {**self.weights, **text, "vectors": self.vectors}

    def config(self) -> dict[str, Any]:
        return {"settings": self.settings.model_dump(), "seed": self.seed}

    @classmethod
    def from_saved(cls, config: dict[str, Any], arrays: dict[str, np.ndarray]) -> Self:
        model = cls(SequentialSettings(**config["settings"]), config["seed"])
        for name in (*TEXT, "vectors"):
            setattr(model, name, arrays.pop(name))
        model.weights = arrays
        return model
