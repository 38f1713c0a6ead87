"""A policy fine-tuned from logged feedback: REINFORCE with off-policy and top-K correction.

In: a fitted recommender to start from and the ``Log`` of what was served. Out: a recommender whose
scores are the logits of a softmax policy. Chen, Beutel, Covington et al., *Top-K off-policy
correction for a REINFORCE recommender system*, WSDM 2019: maximise, over logged items a of context
s with reward R,

    Σ  w · λ_K · R · log π(a | s),    w = min(π / β, cap),    λ_K = K (1 − π)^(K − 1)

w and λ_K held constant in the gradient. β is the logged propensity. λ_K is how much more often an
item is among K draws when its π grows: items that are in the list anyway are not pushed further.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from components.data.dataset import Catalogue, Histories, Interactions
from components.recommenders.base import Recommender
from components.recommenders.kernels.sparse import summed_rows
from components.settings import Policy as PolicySettings

if TYPE_CHECKING:  # it reads tables with Ibis, which takes a second to import
    from components.data.impressions import Log


class NoLog(ValueError):
    """There are too few served lists to learn from; the message says how to get them."""


def usable(log: Log, settings: PolicySettings) -> None:
    """Refuse a log that nothing can be learned from.

    Raises:
        NoLog: fewer lists than ``min_impressions``, or no reward among them.
    """
    if len(log) < settings.min_impressions:
        raise NoLog(
            f"policy: {len(log)} served lists are logged, at least {settings.min_impressions} "
            "(train.policy.min_impressions) are needed: serve, then run `bowerbird export-feedback`"
        )
    if not (log.rewards > 0).any():
        raise NoLog(
            "policy: not one of the served lists was rewarded: clicks must name the impression_id "
            "they came from"
        )


def mean_of_past(histories: Histories, text: np.ndarray, decay: float) -> np.ndarray:
    """Return float32 (batch, width): the mean of the text rows of each history, the newer the more.

    text: float32 (items, width). An empty history's is 0.
    """
    weights = histories.weights(decay)
    total = np.bincount(histories.rows(), weights=weights, minlength=len(histories))
    shares = (weights / total[histories.rows()]).astype(np.float32)
    return summed_rows(histories.items, shares, histories.offsets, text)


def standardised(scores: np.ndarray) -> np.ndarray:
    """Return float32 scores with mean 0 and deviation 1 in each row, over the finite ones."""
    finite = np.isfinite(scores)
    count = np.maximum(finite.sum(axis=1, keepdims=True), 1)
    mean = np.where(finite, scores, 0).sum(axis=1, keepdims=True) / count
    centred = scores - mean
    square = np.where(finite, centred, 0) ** 2
    deviation = np.sqrt(square.sum(axis=1, keepdims=True) / count)
    return (centred / np.maximum(deviation, 1e-6)).astype(np.float32)


class Policy(Recommender):
    """``base`` (the fitted model it starts from, saved with it) and ``log`` are set before fit."""

    name = "policy"
    base: Recommender
    log: Log | None = None

    def __init__(self, settings: PolicySettings, seed: int = 0) -> None:
        self.settings = settings
        self.seed = seed

    def fit(self, train: Interactions, catalogue: Catalogue) -> Self:
        """Learn from the log; ``train`` is what ``base`` was fitted on.

        Raises:
            NoLog: fewer than ``min_impressions`` served lists, or not one reward among them.
            ValueError: the catalogue has no text vectors.
        """
        s, log = self.settings, self.log
        if log is None:
            raise NoLog("policy: no log was given to learn from")
        usable(log, s)
        if catalogue.vectors is None:
            raise ValueError("policy needs the items' text vectors: run `bowerbird encode` first")
        from components.recommenders.models.off_policy.trainer import (
            Learner,  # PyTorch: only who fits needs it
        )

        learner = Learner(s, self.seed, self.base)
        self.learned = learner.learn(log, np.array(catalogue.vectors, dtype=np.float32))
        self.losses = learner.losses
        return self

    def score(self, histories: Histories) -> np.ndarray:
        """Return the policy's logits: ``bandits.Softmax`` over them draws its lists.

        Where the base scores -inf, so does the policy.
        """
        x = self.learned
        state = mean_of_past(histories, x["states"], self.settings.decay) + x["state_bias"]
        base = standardised(self.base.score(histories))
        return x["scale"] * base + state @ x["items"].T + x["bias"]

    def arrays(self) -> dict[str, np.ndarray]:
        return self.learned

    def config(self) -> dict[str, Any]:
        return {"settings": self.settings.model_dump(), "seed": self.seed}

    def save(self, folder: str | Path) -> None:
        super().save(folder)
        self.base.save(Path(folder) / "base")

    @classmethod
    def load(cls, folder: str | Path) -> Self:
        from components.recommenders.factory import load_model  # which knows this class

        model = super().load(folder)
        model.base = load_model(Path(folder) / "base")
        return model

    @classmethod
    def from_saved(cls, config: dict[str, Any], arrays: dict[str, np.ndarray]) -> Self:
        model = cls(PolicySettings(**config["settings"]), config["seed"])
        model.learned = arrays
        return model
