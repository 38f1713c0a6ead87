"""A fitted model over a catalogue that grew since: what came after it was fitted.

In: a fitted recommender and new items. Out: a recommender of the same face over all of them.
"""

from __future__ import annotations

from typing import Any, Self

import numpy as np

from components.data.dataset import Catalogue, Histories, Interactions
from components.recommenders.base import MISSING, Recommender


class Extended(Recommender):
    """``model`` knows the first ``known`` items. Made when it is needed, never saved.

    alike: int (new, n), the sold items most alike by text to each of the others, a row of MISSING
    where none is, None where that is not known. In a history the first of them stands in for a new
    item; as a candidate it has the share ``model.unsold_share`` of their mean score. Else the model
    has nothing to say of it: its lowest score.
    """

    name = "extended"

    def __init__(
        self, model: Recommender, known: int, n_items: int, alike: np.ndarray | None = None
    ) -> None:
        self.model = model
        self.forbids = model.forbids  # type: ignore[misc]
        self.known = known
        self.n_items = n_items
        self.alike = alike

    def score(self, histories: Histories) -> np.ndarray:
        scores = self.model.score(with_stand_ins(histories, self.known, self.alike))
        new = _nothing_to_say(scores, self.n_items - self.known)
        said, alike = self._alike_to(np.arange(self.known, self.n_items))
        new[:, said] = self.model.unsold_share * scores[:, alike].mean(axis=2)
        return np.hstack([scores, new])

    def score_at(self, histories: Histories, items: np.ndarray) -> np.ndarray:
        old = items < self.known
        said, alike = self._alike_to(items[~old])
        needed = np.union1d(items[old], alike)
        found = self.model.score_at(with_stand_ins(histories, self.known, self.alike), needed)
        scores = np.empty((len(histories), len(items)), dtype=np.float32)
        scores[:, old] = found[:, np.searchsorted(needed, items[old])]
        new = _nothing_to_say(scores[:, old], np.count_nonzero(~old))
        of_alike = found[:, np.searchsorted(needed, alike)]
        new[:, said] = self.model.unsold_share * of_alike.mean(axis=2)
        scores[:, ~old] = new
        return scores

    def _alike_to(self, items: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return bool (items,), of which of the new items the model has something to say, and int
        (those, n): the items most alike to each."""
        if self.alike is None or not self.model.unsold_share:
            return np.zeros(len(items), dtype=bool), np.empty((0, 1), dtype=np.int64)
        alike = self.alike[items - self.known]
        said = alike[:, 0] != MISSING
        return said, alike[said]

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


def extended(
    model: Recommender, known: int, catalogue: Catalogue, alike: np.ndarray | None
) -> Recommender:
    """Return ``model``, fitted on ``known`` items, for a catalogue with more at its end.

    alike: as ``Extended`` takes it.
    """
    if known == len(catalogue):
        return model
    own = getattr(model, "extended", None)
    if own is not None:
        return own(catalogue)
    return Extended(model, known, len(catalogue), alike)


def with_stand_ins(histories: Histories, known: int, alike: np.ndarray | None) -> Histories:
    """Return the histories with an item alike in the place of each from code ``known`` on, or
    without those that have none in ``alike`` (as ``Extended`` takes it)."""
    new = histories.items >= known
    if not new.any():
        return histories
    items = histories.items.copy()
    items[new] = MISSING if alike is None else alike[items[new] - known, 0]
    keep = items != MISSING
    kept = np.bincount(histories.rows()[keep], minlength=len(histories))
    offsets = np.concatenate([[0], np.cumsum(kept)])
    return Histories(items[keep], histories.times[keep], offsets, histories.now)
