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
from typing import Any, Self

import numpy as np

from components.arrays import AnyArray, FloatArray, IntArray
from components.data.dataset import Catalogue, Histories, Interactions
from components.data.impressions import Log
from components.recommenders.base import (
    MISSING,
    Recommender,
    TooLittleFeedback,
    carried_rows,
    refreshed,
)
from components.recommenders.kernels.standardise import standardised
from components.recommenders.models.off_policy.state import mean_of_past
from components.settings import Event
from components.settings import Policy as PolicySettings


class Policy(Recommender):
    """A softmax policy over the items, fine-tuned from ``base`` on ``log`` (see ``start_from``).

    ``parameters``: see ``trainer.Trainer.learn``. ``base`` is saved with it.
    """

    name = "policy"
    section = PolicySettings
    base: Recommender
    log: Log | None = None

    def base_name(self) -> str:
        return self.settings.base

    def event_rewards(self) -> dict[Event, float]:
        return self.settings.rewards

    def check_log(self, log: Log) -> None:
        least = self.settings.min_impressions
        if len(log) < least:
            raise TooLittleFeedback(
                f"policy: {len(log)} served lists are logged, at least {least} "
                "(train.policy.min_impressions) are needed: serve, then run "
                "`bowerbird export-feedback`"
            )
        if not (log.rewards > 0).any():
            raise TooLittleFeedback(
                "policy: none of the served lists has a reward: clicks must name the "
                "impression_id of the list they came from"
            )

    def start_from(self, base: Recommender, log: Log | None = None) -> None:
        self.base, self.log = base, log

    def fit(self, train: Interactions, catalogue: Catalogue) -> Self:
        """Learn from the log; ``train`` is what ``base`` was fitted on.

        Raises:
            TooLittleFeedback: fewer than ``min_impressions`` served lists, or none has a reward.
            ValueError: the catalogue has no text vectors.
        """
        s, log = self.settings, self.log
        if log is None:
            raise TooLittleFeedback("policy: no log was given to learn from")
        self.check_log(log)
        if catalogue.vectors is None:
            raise ValueError("policy needs the items' text vectors: run `bowerbird encode` first")
        # Imports PyTorch, which only fitting needs.
        from components.recommenders.models.off_policy.trainer import Trainer

        trainer = Trainer(s, self.seed, self.base)
        self.parameters = trainer.learn(log, np.array(catalogue.vectors, dtype=np.float32))
        self.losses = trainer.losses
        return self

    def refreshed(self, train: Interactions, catalogue: Catalogue, known: IntArray) -> Policy:
        """Return the policy with what it learned over the refreshed base.

        Its two item tables are linear in the text vectors, so the same maps, by least squares,
        give the rows of new items. Their bias is 0, as that of all items before any feedback.

        Raises:
            ValueError: the catalogue has no text vectors.
        """
        if catalogue.vectors is None:
            raise ValueError("policy needs the new items' text vectors")
        model = Policy(self.settings, self.seed)
        model.base = refreshed(self.base, train, catalogue, known)
        x, old, text = self.parameters, known != MISSING, np.asarray(catalogue.vectors)
        tables = {name: carried_rows(x[name], known) for name in ("states", "items", "bias")}
        for name in ("states", "items"):
            weights = np.linalg.lstsq(text[old], tables[name][old], rcond=None)[0]
            tables[name][~old] = text[~old] @ weights
        model.parameters = {**x, **tables}
        return model

    def score(self, histories: Histories) -> FloatArray:
        """Return the policy's logits; ``exploration.Softmax`` draws lists from them.

        Where the base scores -inf, so does the policy.
        """
        x = self.parameters
        state = mean_of_past(histories, x["states"], self.settings.decay) + x["state_bias"]
        base = standardised(self.base.score(histories))
        return x["scale"] * base + state @ x["items"].T + x["bias"]

    def arrays(self) -> dict[str, AnyArray]:
        return self.parameters

    def save(self, folder: str | Path) -> None:
        """Write the policy to ``folder`` and its base to ``folder/base``.

        ``factory.load_model`` reads both; ``load`` alone reads the policy without its base.
        """
        super().save(folder)
        self.base.save(Path(folder) / "base")

    def restore(self, config: dict[str, Any], arrays: dict[str, AnyArray]) -> None:
        self.parameters = arrays
