"""Our models with the interface of the peers' adapters, so that the same code measures them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from benchmarks.peers.common import Peer, Train
from benchmarks.side_by_side.contenders import HYBRID
from benchmarks.side_by_side.data import Data
from components.data.dataset import Interactions
from components.data.holdout import Window
from components.recommenders.base import Recommender
from components.recommenders.factory import build
from components.recommenders.two_stage.hybrid import Hybrid


class Ours(Peer):
    """One of our models, fitted on a window's training data; its lists are of ``data``'s users."""

    def __init__(self, name: str, data: Data, window: Window) -> None:
        if name == HYBRID and window != "test":
            raise ValueError("the hybrid's ranker learns from the validation targets: judge test")
        self.name, self.data, self.split = name, data, data.splits[window]
        self.model: Recommender

    def prepare(self, train: Train) -> None:
        del train  # ours read times and weights, too: the same events in self.split

    def fit(self) -> None:
        if self.name == HYBRID:
            self.model = self._hybrid()
        else:
            self.model = self._fitted(self.name, self.split.train)

    def _fitted(self, name: str, train: Interactions) -> Recommender:
        model = build(name, self.data.settings, self.data.inputs / name)
        return model.fit(train, self.data.catalogue)

    def _hybrid(self) -> Hybrid:
        """Return the hybrid whose ranker learned on the validation window, over the candidates
        fitted before the test window."""
        data, settings = self.data, self.data.settings
        earlier = data.splits["validation"].train
        candidates = {name: self._fitted(name, earlier) for name in data.members}
        learner = Hybrid(settings.rank, candidates, seed=settings.seed)
        learner.fit(earlier, data.catalogue)
        learner.fit_ranker(data.ranked.histories, data.ranked.targets, data.exclude_seen)
        later = {name: self._fitted(name, self.split.train) for name in data.members}
        final = Hybrid(
            settings.rank,
            later,
            learner.ranker,
            settings.seed,
            ranked_attributes=learner.attributes,
        )
        return final.fit(self.split.train, data.catalogue)

    def lists(self, users: np.ndarray, k: int, exclude_seen: bool) -> np.ndarray:
        rows = np.searchsorted(self.split.task.users, users)
        histories = self.split.task.histories
        if len(users) != len(histories):
            histories = histories.pick(rows)
        return self.model.recommend(histories, k, exclude_seen=exclude_seen)[0]

    def save(self, folder: Path) -> None:
        self.model.save(folder / "model")
