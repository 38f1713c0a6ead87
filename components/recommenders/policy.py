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
import scipy.sparse as sp
import torch
from torch import nn
from tqdm import trange

from components.data.dataset import Catalogue, Histories, Interactions
from components.data.impressions import Log
from components.recommenders.base import MISSING, Recommender
from components.settings import Policy as PolicySettings

LOWEST = -10.0
"""Standardised scores below it count as it while learning."""


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


def explored(log: Log) -> bool:
    """Return whether the log has propensities of a policy that drew at random."""
    return bool((log.propensities < 1).any())


class Head(nn.Module):
    """Logits of a history: base / τ + (A · mean text of the history) · (B · text) + bias.

    A and bias start at zero: before any feedback the policy is the base model's.
    """

    text: torch.Tensor

    def __init__(self, vectors: torch.Tensor, dimensions: int, temperature: float) -> None:
        super().__init__()
        self.register_buffer("text", vectors, persistent=False)  # (items, width)
        self.state = nn.Linear(vectors.shape[1], dimensions)
        nn.init.zeros_(self.state.weight)
        nn.init.zeros_(self.state.bias)
        self.item = nn.Linear(vectors.shape[1], dimensions, bias=False)
        self.bias = nn.Parameter(torch.zeros(len(vectors)))
        self.scale = nn.Parameter(torch.tensor(1.0 / temperature))

    def forward(self, past: torch.Tensor, base: torch.Tensor) -> torch.Tensor:
        """Return (batch, items). past: (batch, width), the mean text. base: like the result."""
        return self.scale * base + self.state(past) @ self.item(self.text).T + self.bias


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
        text = torch.from_numpy(np.array(catalogue.vectors, dtype=np.float32))
        with torch.random.fork_rng():
            torch.manual_seed(self.seed)
            logged = log.propensities
            if s.behaviour == "estimated" or (s.behaviour == "auto" and not explored(log)):
                logged = self._estimate(log, text)
            head = Head(text, s.dimensions, s.temperature)
            self._learn(head, log, logged)
        with torch.no_grad():
            learned = {
                "states": text @ head.state.weight.T,  # (items, d)
                "state_bias": head.state.bias,  # (d,)
                "items": head.item(text),  # (items, d)
                "bias": head.bias,  # (items,)
                "scale": head.scale,  # ()
            }
            self.learned = {name: np.array(one) for name, one in learned.items()}
        return self

    def _batches(self, log: Log, random: np.random.Generator) -> list[Log]:
        order = random.permutation(len(log))
        count = -(-len(log) // self.settings.batch_size)
        return [log.pick(part) for part in np.array_split(order, count)]

    def _past(self, histories: Histories, n_items: int) -> sp.csr_matrix:
        """Return float32 (batch, items): the weight of each item in its history, rows sum to 1."""
        past = histories.matrix(n_items, self.settings.decay)
        past.data /= np.repeat(np.asarray(past.sum(axis=1)).ravel(), np.diff(past.indptr))
        return past

    def _log_chances(self, head: Head, log: Log) -> torch.Tensor:
        """Return (n, k): log π of the shown items; 0 where there is none."""
        past = self._past(log.histories, len(head.bias)) @ head.text.numpy()
        # Where the base says never, not -inf: its product with a gradient of 0 is no number.
        base = np.maximum(standardised(self.base.score(log.histories)), LOWEST)
        logits = head(torch.from_numpy(past), torch.from_numpy(base))
        ids = torch.from_numpy(log.ids.astype(np.int64))
        found = logits.log_softmax(dim=1).gather(1, ids.clamp(min=0))
        return torch.where(ids == MISSING, 0.0, found)

    def _estimate(self, log: Log, text: torch.Tensor) -> np.ndarray:
        """Return float64 (n, k): β̂ of what was shown, a softmax fitted to the shown items alone.

        The mean over the places of the chance of each item, as in the paper, which estimates β
        by a softmax on the same state.
        """
        shown = torch.from_numpy(log.ids != MISSING)
        head = Head(text, self.settings.dimensions, self.settings.temperature)
        optimiser = torch.optim.AdamW(head.parameters(), lr=self.settings.learning_rate)
        random = np.random.default_rng(self.seed)
        for _ in trange(self.settings.epochs, desc="behaviour", unit="epoch"):
            for batch in self._batches(log, random):
                chances = self._log_chances(head, batch)
                loss = -chances.sum() / max((batch.ids != MISSING).sum(), 1)
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
        with torch.no_grad():
            step = self.settings.batch_size
            rows = [np.arange(len(log))[at : at + step] for at in range(0, len(log), step)]
            found = torch.cat([self._log_chances(head, log.pick(one)) for one in rows]).exp()
        return torch.where(shown, found, torch.nan).numpy().astype(np.float64)

    def _learn(self, head: Head, log: Log, logged: np.ndarray) -> None:
        s = self.settings
        counted = Log(log.histories, log.ids, logged, log.rewards)
        # Only rewarded lists have a gradient; the sum is over all of them.
        rewarded = counted.pick(np.flatnonzero((log.rewards > 0).any(axis=1)))
        mean = float(rewarded.rewards.sum()) / len(rewarded)
        optimiser = torch.optim.AdamW(
            head.parameters(), lr=s.learning_rate, weight_decay=s.weight_decay
        )
        random = np.random.default_rng(self.seed)
        self.losses: list[float] = []
        for _ in trange(s.epochs, desc="policy", unit="epoch"):
            total = 0.0
            for batch in self._batches(rewarded, random):
                chances = self._log_chances(head, batch)
                factor = self._correction(chances.detach().exp(), batch)
                loss = -(factor * chances).sum() / (len(batch) * mean)
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
                total += loss.item() * len(batch)
            self.losses.append(total / len(rewarded))

    def _correction(self, chances: torch.Tensor, batch: Log) -> torch.Tensor:
        """Return (n, k): w · λ_K · R, 0 where nothing was shown or the propensity is unknown."""
        s = self.settings
        factor = torch.from_numpy(batch.rewards.astype(np.float32))
        if s.correction != "none":
            beta = torch.from_numpy(batch.propensities.astype(np.float32))
            factor = factor * (chances / beta).nan_to_num(0.0).clamp(max=s.cap)
        if s.correction == "top_k":
            factor = factor * s.k * (1 - chances) ** (s.k - 1)
        return torch.where(torch.from_numpy(batch.ids == MISSING), 0.0, factor)

    def score(self, histories: Histories) -> np.ndarray:
        """Return the policy's logits: ``bandits.Softmax`` over them draws its lists.

        Where the base scores -inf, so does the policy.
        """
        x = self.learned
        state = self._past(histories, len(x["bias"])) @ x["states"] + x["state_bias"]
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
        from components.recommenders.training import load_model  # which knows this class

        model = super().load(folder)
        model.base = load_model(Path(folder) / "base")
        return model

    @classmethod
    def from_saved(cls, config: dict[str, Any], arrays: dict[str, np.ndarray]) -> Self:
        model = cls(PolicySettings(**config["settings"]), config["seed"])
        model.learned = arrays
        return model
