"""A fitted model over a catalogue that grew since: what came after it was fitted.

In: a fitted recommender and new items. Out: a recommender of the same face over all of them.
"""

from __future__ import annotations

from typing import Any, Self

import numpy as np

from components.data.dataset import Catalogue, Histories, Interactions
from components.recommenders.base import Recommender


class Extended(Recommender):
    """``model`` knows the first ``known`` items; of the others it has nothing to say: its lowest
    score. Made when it is needed, never saved."""

    name = "extended"

    def __init__(self, model: Recommender, known: int, n_items: int) -> None:
        self.model = model
        self.forbids = model.forbids  # type: ignore[misc]
        self.known = known
        self.n_items = n_items

    def score(self, histories: Histories) -> np.ndarray:
        scores = self.model.score(known_part(histories, self.known))
        return np.hstack([scores, _nothing_to_say(scores, self.n_items - self.known)])

    def score_at(self, histories: Histories, items: np.ndarray) -> np.ndarray:
        old = items < self.known
        scores = np.empty((len(histories), len(items)), dtype=np.float32)
        scores[:, old] = self.model.score_at(known_part(histories, self.known), items[old])
        scores[:, ~old] = _nothing_to_say(scores[:, old], len(items) - np.count_nonzero(old))
        return scores

    def fit(self, train: Interactions, catalogue: Catalogue) -> Self:
        raise TypeError("an extended model is not trained: fit the model itself")

    def arrays(self) -> dict[str, np.ndarray]:
        raise TypeError("an extended model is not saved: save the model itself")

    def config(self) -> dict[str, Any]:
        raise TypeError("an extended model is not saved: save the model itself")

    @classmethod
    def from_saved(cls, config: dict[str, Any], arrays: dict[str, np.ndarray]) -> Self:
        raise TypeError("an extended model is not saved")


def _nothing_to_say(scores: np.ndarray, n: int) -> np.ndarray:
    """Return float32 (batch, n): each row's lowest score, 0 where a row has none."""
    finite = np.where(np.isfinite(scores), scores, np.inf)
    lowest = finite.min(axis=1, initial=np.inf, keepdims=True)
    new = np.where(np.isfinite(lowest), lowest, 0.0).astype(np.float32)
    return np.repeat(new, n, axis=1)


def extended(model: Recommender, known: int, catalogue: Catalogue) -> Recommender:
    """Return ``model``, fitted on ``known`` items, for a catalogue with more at its end."""
    if known == len(catalogue):
        return model
    own = getattr(model, "extended", None)
    return own(catalogue) if own is not None else Extended(model, known, len(catalogue))


def known_part(histories: Histories, known: int) -> Histories:
    """Return the histories without the items from code ``known`` on."""
    keep = histories.items < known
    if keep.all():
        return histories
    kept = np.bincount(histories.rows()[keep], minlength=len(histories))
    offsets = np.concatenate([[0], np.cumsum(kept)])
    return Histories(histories.items[keep], histories.times[keep], offsets, histories.now)
