"""A cross-encoder of the newest titles and a product's text, distilled into vectors.

In: the interactions, the products' texts and text vectors. Out: a recommender whose scores are
inner products. It learns from the purchases of its own window alone: the ranker, which learns from
later ones, so sees scores of purchases that the cross-encoder was not trained on (stacking).
"""

from __future__ import annotations

import copy
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from components.arrays import FloatArray, IntArray
from components.data.dataset import Catalogue, Histories, Interactions, item_text
from components.recommenders.base import MISSING, Recommender
from components.recommenders.kernels.sparse import inner_products
from components.recommenders.models.content import whitened, whitening
from components.recommenders.models.knn import ItemNeighbours
from components.recommenders.search_space import INTEGER, LOG_FLOAT
from components.settings import CrossEncoder as CrossEncoderSettings
from components.settings import Neighbours

if TYPE_CHECKING:
    from components.language.cross_encoder import Lists

HARD = 50
"""Best items of the neighbour model that hard negatives are drawn from."""


class DistilledCrossEncoder(Recommender):
    """Scores by the vector pair of ``language.cross_encoder``.

    ``mean``, ``projection``: the whitening of the text vectors. ``item_weight`` (d + 1, rank),
    ``item_bias``, ``past_weight``, ``past_bias``, ``position``: of the pair. ``vectors``: float32
    (items, d + 1). ``past_vectors``: float32 (items, d + 1), as part of a history. Of ``fit``, and
    not saved: ``reader``, the cross-encoder itself, ``losses``, of its steps, and ``agreement``,
    the mean correlation of both models' scores within held-out lists.
    """

    name = "cross_encoder"
    section = CrossEncoderSettings
    search_space: ClassVar[dict[str, Any]] = {
        "past": (INTEGER, 1, 8),
        "learning_rate": (LOG_FLOAT, 1e-5, 2e-4),
        "dimensions": (INTEGER, 16, 128),
    }
    learned = (
        *("mean", "projection", "item_weight", "item_bias", "past_weight", "past_bias"),
        *("position", "vectors", "past_vectors"),
    )
    item_weight: FloatArray
    item_bias: FloatArray
    past_weight: FloatArray
    past_bias: FloatArray
    position: FloatArray
    checkpoint: Path | None = None

    def keep_checkpoint(self, file: Path) -> None:
        self.checkpoint = file

    def fit(self, train: Interactions, catalogue: Catalogue) -> Self:
        """Train the cross-encoder and distil it.

        Raises:
            ValueError: there are no text vectors; no user bought two items at different times.
        """
        if catalogue.vectors is None:
            raise ValueError(
                "cross_encoder needs the items' text vectors: run `bowerbird encode` first"
            )
        # Imports PyTorch, which only fitting needs.
        from components.language.cross_encoder import CrossEncoder, distil

        s = self.settings
        first, second = self.lists(train, catalogue)
        titles = catalogue.table["title"].fillna("").str.lower().tolist()
        reader = CrossEncoder(s, titles, item_text(catalogue.table))
        self.mean, self.projection = whitening(catalogue.vectors)
        with tempfile.TemporaryDirectory() as nowhere:
            folder = Path(nowhere) if self.checkpoint is None else self.checkpoint.with_suffix("")
            log = reader.fit(first, s, self.seed, folder / "reader")
            text = whitened(catalogue.vectors, self.mean, self.projection)
            pair, self.agreement = distil(
                second, reader.score(second), text, s, self.seed, folder / "pair"
            )
        self.reader = reader
        for name, array in pair.arrays().items():
            setattr(self, name, array)
        self._compute_vectors(catalogue.vectors)
        self.losses = [record["loss"] for record in log]
        return self

    def lists(self, train: Interactions, catalogue: Catalogue) -> tuple[Lists, Lists]:
        """Return the lists of purchases that the cross-encoder learns from, and those that it
        scores for the distillation: other purchases, since it would be too sure of the first.

        A list is the product bought and others. Half of them are hard negatives, the best of the
        neighbour model for the history. The rest is drawn by popularity: of negatives drawn evenly,
        the texts of popular products would be most of what is learned. The second lists also have
        products drawn evenly, unsold ones included, which the first would push away.

        Raises:
            ValueError: no user bought two items at different times.
        """
        from components.language.cross_encoder import Lists

        s = self.settings
        histories, bought, users = purchases(train, s.past, s.purchases + s.distilled, self.seed)
        if len(users) < 2:
            raise ValueError("cross_encoder: no user bought two products at different times")
        n = len(users) * s.purchases // (s.purchases + s.distilled)
        n = min(max(n, 1), len(users) - 1)
        past = newest(histories, s.past)
        near = ItemNeighbours(Neighbours()).fit(train, catalogue)
        hard, evidence = near.recommend(histories, HARD, exclude_seen=False)
        hard[evidence <= 0] = MISSING  # the model knows nothing of them
        random = np.random.default_rng([self.seed, 1])
        of_user = train.matrix()[users]
        found = []
        for rows, evenly in ((slice(0, n), False), (slice(n, None), True)):
            count = len(past[rows])
            drawn = random.choice(train.items, (count, 2 * s.negatives))
            if evenly:
                drawn[:, ::2] = random.integers(0, len(catalogue), (count, s.negatives))
            chosen = negatives(hard[rows], drawn, of_user[rows], s.negatives, random)
            found.append(Lists(past[rows], np.hstack([bought[rows, None], chosen])))
        return found[0], found[1]

    def _compute_vectors(self, vectors: FloatArray) -> None:
        text = whitened(vectors, self.mean, self.projection)
        self.vectors = (text @ self.item_weight.T + self.item_bias).astype(np.float32)
        self.past_vectors = (text @ self.past_weight.T + self.past_bias).astype(np.float32)

    def extended(self, catalogue: Catalogue) -> DistilledCrossEncoder:
        """Return the model over ``catalogue``: all vectors are computed from the texts' vectors."""
        if catalogue.vectors is None:
            raise ValueError("cross_encoder needs the new items' text vectors")
        model = copy.copy(self)
        model._compute_vectors(catalogue.vectors)
        return model

    def refreshed(
        self, train: Interactions, catalogue: Catalogue, known: IntArray
    ) -> DistilledCrossEncoder:
        """Return the model over ``catalogue``; ``train`` and ``known`` are not used."""
        return self.extended(catalogue)

    def score(self, histories: Histories) -> FloatArray:
        return inner_products(self.queries(histories), self.vectors)

    def score_at(self, histories: Histories, items: IntArray) -> FloatArray:
        return inner_products(self.queries(histories), self.vectors[items])

    score_similar = score_at  # the history holds the given items

    def item_vectors(self) -> FloatArray:
        return self.vectors

    def queries(self, histories: Histories) -> FloatArray:
        """Return float32 (batch, d + 1), zeros for an empty history."""
        past = newest(histories.liked, self.settings.past)
        there = past != MISSING
        found = self.past_vectors[np.where(there, past, 0)]  # (batch, n, d + 1)
        logits = np.where(there, found[..., -1] + self.position, -np.inf)
        highest = np.where(there.any(axis=1), logits.max(axis=1), 0)
        weights = np.exp(logits - highest[:, None])
        weights /= np.maximum(weights.sum(axis=1, keepdims=True), 1e-12)
        found[..., -1] = 1
        return np.einsum("bn,bnd->bd", weights, found).astype(np.float32)


def purchases(
    train: Interactions, past: int, n: int, seed: int
) -> tuple[Histories, IntArray, IntArray]:
    """Return at most ``n`` purchases drawn at random: what the user liked strictly before, so not
    what lies in the same basket; the item bought, int (n,); the user, int (n,).

    Purchases of what is among the ``past`` newest items are left out: to find the same text again
    is no task.
    """
    liked = train.counted()
    targets = np.arange(len(liked)) if liked.targets is None else np.flatnonzero(liked.targets)
    events = np.random.default_rng(seed).permutation(targets)[: 2 * n]
    histories = liked.histories(liked.users[events], liked.times[events])
    bought = liked.items[events]
    new = (histories.lengths() > 0) & (newest(histories, past) != bought[:, None]).all(axis=1)
    rows = np.flatnonzero(new)[:n]
    return histories.pick(rows), bought[rows], liked.users[events[rows]]


def newest(histories: Histories, n: int) -> IntArray:
    """Return int (batch, n): the newest items, newest first, then MISSING.

    >>> newest(Histories.from_lists([[3, 1, 2], []]), 2).tolist()
    [[2, 1], [-1, -1]]
    """
    found = np.full((len(histories), n), MISSING, dtype=np.int64)
    back = histories.steps_back()
    kept = back < n
    found[histories.rows()[kept], back[kept]] = histories.items[kept]
    return found


def negatives(
    hard: IntArray, drawn: IntArray, bought: Any, n: int, random: np.random.Generator
) -> IntArray:
    """Return int (rows, n): half of ``hard`` (rows, h) and half of ``drawn`` (rows, m), at random,
    without what the row's user bought (CSR (rows, items)); MISSING where there are too few."""
    rows = np.arange(len(hard))[:, None]
    found = []
    for items, wanted in ((hard, n // 2), (drawn, n - n // 2)):
        codes = np.maximum(items, 0)
        had = np.asarray(bought[np.broadcast_to(rows, items.shape).ravel(), codes.ravel()])
        wrong = (items == MISSING) | (had.reshape(items.shape) > 0)
        keys = np.where(wrong, np.inf, random.random(items.shape))
        order = np.argsort(keys, axis=1, kind="stable")[:, :wanted]
        found.append(np.where(np.isinf(keys[rows, order]), MISSING, items[rows, order]))
    return np.hstack(found)
