"""A fitted model over a catalogue that grew since: what came after it was fitted.

In: a fitted recommender and new items. Out: a recommender of the same face over all of them.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Self

import numpy as np

from components.data.dataset import Catalogue, Histories, Interactions
from components.recommenders.base import Recommender


class Extended(Recommender):
    """``model`` knows the first ``known`` items. Made when it is needed, never saved.

    alike: int (new, n), the sold items most alike by text to each of the others, None where that is
    not known. In a history the first of them stands in for a new item; as a candidate it has the
    share ``model.unsold_share`` of their mean score. Else the model has nothing to say of it: its
    lowest score.
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
        if self.alike is None or not self.model.unsold_share:
            new = _nothing_to_say(scores, self.n_items - self.known)
        else:
            new = self.model.unsold_share * scores[:, self.alike].mean(axis=2)
        return np.hstack([scores, new])

    def score_at(self, histories: Histories, items: np.ndarray) -> np.ndarray:
        old = items < self.known
        asked = with_stand_ins(histories, self.known, self.alike)
        scores = np.empty((len(histories), len(items)), dtype=np.float32)
        if self.alike is None or not self.model.unsold_share or old.all():
            scores[:, old] = self.model.score_at(asked, items[old])
            scores[:, ~old] = _nothing_to_say(scores[:, old], np.count_nonzero(~old))
            return scores
        alike = self.alike[items[~old] - self.known]  # (asked for and new, n)
        needed = np.union1d(items[old], alike)
        found = self.model.score_at(asked, needed)
        scores[:, old] = found[:, np.searchsorted(needed, items[old])]
        of_alike = found[:, np.searchsorted(needed, alike)]
        scores[:, ~old] = self.model.unsold_share * of_alike.mean(axis=2)
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
    without those where ``alike`` (as ``Extended`` takes it) is None."""
    keep = histories.items < known
    if keep.all():
        return histories
    if alike is not None:
        items = histories.items.copy()
        items[~keep] = alike[items[~keep] - known, 0]
        return replace(histories, items=items)
    kept = np.bincount(histories.rows()[keep], minlength=len(histories))
    offsets = np.concatenate([[0], np.cumsum(kept)])
    return Histories(histories.items[keep], histories.times[keep], offsets, histories.now)
