"""SASRec: self-attention over the sequence of events, with item vectors of text and id.

SASRec (Kang and McAuley, ICDM 2018) with cross-entropy over the whole catalogue (Klenitskiy and
Vasilev, RecSys 2023), sampled with logQ correction past a catalogue size. Item vector =
W · [text, attributes] + δ(id), where δ is dropped as a whole at random in training, so that an
unsold item has a vector too (DropoutNet, Volkovs et al. 2017). Vectors and states have length 1 and
scores are cosines, so the scores of sold and unsold items are comparable.

With ``cooccurrence`` δ starts from the vectors of ``cooccurrence``, and not at random.

With ``kinds``, where events differ in strength (views and purchases), the input of an event is the
item's vector plus one learned for the strength. Kinds of events of the same strength are one to the
model: histories carry no more. ``target_weights`` weights a target's loss by its evidence.
"""

from __future__ import annotations

import copy
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np

from components.arrays import AnyArray, FloatArray, Int64Array, IntArray
from components.data.attribute_codes import Vocabulary
from components.data.dataset import Catalogue, Histories, Interactions
from components.recommenders.base import MISSING, Recommender, carried_rows
from components.recommenders.kernels.sparse import inner_products
from components.recommenders.models.content import whitened, whitening
from components.recommenders.models.sasrec.inference import LastState
from components.recommenders.models.tfidf import TFIDF
from components.recommenders.search_space import FLOAT, INTEGER, LOG_FLOAT
from components.settings import TFIDF as TFIDFSettings
from components.settings import Sequential as SequentialSettings

TEXT = ("mean", "projection", "project")
"""What computes the vector of a new item from its text."""
NO_LEVELS = np.empty(0, dtype=np.float32)


class Sequential(Recommender):
    """``vectors``: float32 (items, d), frozen from the network's text and id parts.

    mean, projection: the whitening of the text vectors. project: float32 (d, rank), W of the texts.
    vocabulary: of the items' attributes. values: float32 (len(vocabulary), d), W of the attributes.
    levels: float32 (kinds,), the ascending strengths of the events learned from, if they differ.
    weights: the rest of the network, by name. checkpoint: see ``network.Training``.
    """

    name = "sequential"
    section = SequentialSettings
    trains_in_processes = True
    search_space: ClassVar[dict[str, Any]] = {
        "dimensions": [32, 64, 128],
        "layers": (INTEGER, 1, 3),
        "heads": [1, 2, 4],
        "dropout": (FLOAT, 0.0, 0.6),
        "epochs": (INTEGER, 2, 20),
        "learning_rate": (LOG_FLOAT, 3e-4, 1e-2),
        "max_length": [20, 50, 100],
        "id_dropout": (FLOAT, 0.0, 0.5),
        "temperature": (LOG_FLOAT, 0.03, 0.2),
        "cooccurrence": [False, True],
    }
    checkpoint: Path | None = None

    def keep_checkpoint(self, file: Path) -> None:
        self.checkpoint = file

    def fit(self, train: Interactions, catalogue: Catalogue) -> Self:
        # Imports PyTorch, which only fitting needs.
        from components.recommenders.models.sasrec.network import Training

        train = train.counted()
        self.levels = NO_LEVELS
        if self.settings.kinds and train.strengths is not None:
            levels = np.unique(train.strengths)
            self.levels = levels if len(levels) > 1 else NO_LEVELS
        table = catalogue.table
        self.vocabulary = Vocabulary.of(table) if self.settings.attributes else Vocabulary({})
        training = Training(self.settings, self.seed, self.checkpoint)
        network, self.vectors = training.run(
            train,
            self._text(train, catalogue),
            self._kinds(train),
            self.vocabulary.encode(table) if len(self.vocabulary) else None,
        )
        self.losses = training.losses
        state = {name: tensor.numpy() for name, tensor in network.state_dict().items()}
        self.weights = {
            name: array
            for name, array in state.items()
            if name.startswith(("blocks", "norm", "kinds"))
        }
        # W for new items, for their text vectors and attributes: the words are not kept
        self.project = state["project.weight"][:, : self.projection.shape[1]]
        self.values = state.get("attributes", self._no_values())
        vars(self).pop("_last_state", None)
        return self

    def extended(self, catalogue: Catalogue) -> Sequential:
        """Return the model with the new items of ``catalogue``, their vectors without δ."""
        model = copy.copy(self)
        new = self._described(catalogue, np.arange(len(self.vectors), len(catalogue)))
        model.vectors = np.vstack([self.vectors, new])
        return model

    def refreshed(self, train: Interactions, catalogue: Catalogue, known: IntArray) -> Sequential:
        """Return the model with its weights and the vectors of its items; those of new items are
        without δ. ``train`` is not used."""
        model = copy.copy(self)
        model.vectors = carried_rows(self.vectors, known)
        new = np.flatnonzero(known == MISSING)
        model.vectors[new] = self._described(catalogue, new)
        return model

    def _described(self, catalogue: Catalogue, items: IntArray) -> FloatArray:
        """Return float32 (n, d), W · [text, attributes] of length 1, for ``items``, codes (n,)."""
        if catalogue.vectors is None:
            raise ValueError("sequential needs the new items' text vectors")
        vectors = whitened(catalogue.vectors[items], self.mean, self.projection) @ self.project.T
        if len(self.vocabulary):
            vectors = vectors + self.vocabulary.encode(catalogue.table.iloc[items]) @ self.values
        norms = np.linalg.norm(vectors, axis=1, keepdims=True)
        return (vectors / np.where(norms > 0, norms, 1)).astype(np.float32)

    def _text(self, train: Interactions, catalogue: Catalogue) -> FloatArray:
        """Return float32 (items, width): the whitened text vectors and the vectors of the words.

        The latter are the TF-IDF matrix's first singular vectors (LSA, Deerwester et al. 1990).
        """
        if catalogue.vectors is None:
            raise ValueError(
                "sequential needs the items' text vectors: run `bowerbird encode` first"
            )
        self.mean, self.projection = whitening(catalogue.vectors)
        meaning = whitened(catalogue.vectors, self.mean, self.projection)
        if not self.settings.words:
            return meaning
        # In here, as above.
        from sklearn.decomposition import TruncatedSVD
        from sklearn.preprocessing import normalize

        matrix = TFIDF(TFIDFSettings()).fit(train, catalogue).matrix
        width = min(self.settings.words, min(matrix.shape) - 1)
        words = TruncatedSVD(width, random_state=self.seed).fit_transform(matrix)
        return np.hstack([meaning, normalize(words)]).astype(np.float32) / np.float32(2**0.5)

    def score(self, histories: Histories) -> FloatArray:
        return inner_products(self.queries(histories), self.vectors)

    def score_at(self, histories: Histories, items: IntArray) -> FloatArray:
        return inner_products(self.queries(histories), self.vectors[items])

    score_similar = score_at  # the history holds the given items

    def queries(self, histories: Histories) -> FloatArray:
        """Return float32 (batch, d): the scores are their inner products with ``vectors``."""
        liked = histories.liked
        lengths = np.minimum(liked.lengths(), self.settings.max_length)
        states = self._last_state(
            liked.items, liked.offsets[1:], lengths, self.vectors, self._kinds(liked)
        )
        return states / np.float32(self.settings.temperature)

    def _kinds(self, events: Interactions | Histories) -> Int64Array | None:
        """Return int64 (events,): the nearest of ``levels`` to each strength; None if there are
        none."""
        if not len(self.levels):
            return None
        strengths = events.strengths
        if strengths is None:
            strengths = np.ones(len(events.items), dtype=np.float32)
        return np.searchsorted((self.levels[1:] + self.levels[:-1]) / 2, strengths)

    @cached_property
    def _last_state(self) -> LastState:
        return LastState(self.weights, self.settings.layers)

    def arrays(self) -> dict[str, AnyArray]:
        own = {name: getattr(self, name) for name in (*TEXT, "values", "levels")}
        there = {name: array for name, array in own.items() if len(array)}
        return {**self.weights, **there, "vectors": self.vectors}

    def config(self) -> dict[str, Any]:
        return {**super().config(), "vocabulary": self.vocabulary.config()}

    def restore(self, config: dict[str, Any], arrays: dict[str, AnyArray]) -> None:
        for name in (*TEXT, "vectors"):
            setattr(self, name, arrays.pop(name))
        self.vocabulary = Vocabulary.from_config(config.get("vocabulary", {}))
        self.values = arrays.pop("values", self._no_values())
        self.levels = arrays.pop("levels", NO_LEVELS)
        self.weights = arrays

    def _no_values(self) -> FloatArray:
        return np.empty((0, self.settings.dimensions), dtype=np.float32)
