"""Training of the policy: REINFORCE with off-policy and top-K correction, in PyTorch.

In: the ``Log`` of what was served and the model that the policy starts from. Out: its arrays. The
method: see ``model``.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from components.arrays import AnyArray, DoubleArray, FloatArray
from components.data.impressions import Log
from components.progress import progress
from components.recommenders.base import MISSING, Recommender
from components.recommenders.kernels.standardise import standardised
from components.recommenders.models.off_policy.state import mean_of_past
from components.settings import Policy as PolicySettings

LOWEST = -10.0
"""Standardised scores are clipped at it in training."""


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


class Trainer:
    """Learns a policy that starts from ``base``. losses: each epoch's mean."""

    def __init__(self, settings: PolicySettings, seed: int, base: Recommender) -> None:
        self.settings = settings
        self.seed = seed
        self.base = base
        self.losses: list[float] = []

    def learn(self, log: Log, vectors: FloatArray) -> dict[str, AnyArray]:
        """Return the learned arrays by name. vectors: float32 (items, width)."""
        s, text = self.settings, torch.from_numpy(vectors)
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
            return {name: one.numpy().copy() for name, one in learned.items()}

    def _batches(self, log: Log, random: np.random.Generator) -> list[Log]:
        order = random.permutation(len(log))
        count = -(-len(log) // self.settings.batch_size)
        return [log.pick(part) for part in np.array_split(order, count)]

    def _log_chances(self, head: Head, log: Log) -> torch.Tensor:
        """Return (n, k): log π of the shown items; 0 where there is none."""
        past = mean_of_past(log.histories, head.text.numpy(), self.settings.decay)
        # Not -inf where the base excludes an item: its product with a gradient of 0 is NaN.
        base = np.maximum(standardised(self.base.score(log.histories)), LOWEST)
        logits = head(torch.from_numpy(past), torch.from_numpy(base))
        ids = torch.from_numpy(log.ids.astype(np.int64))
        found = logits.log_softmax(dim=1).gather(1, ids.clamp(min=0))
        return torch.where(ids == MISSING, 0.0, found)

    def _estimate(self, log: Log, text: torch.Tensor) -> DoubleArray:
        """Return float64 (n, k): β̂ of what was shown, a softmax fitted to the shown items alone.

        The mean over the places of the chance of each item, as in the paper, which estimates β
        by a softmax on the same state.
        """
        shown = torch.from_numpy(log.ids != MISSING)
        head = Head(text, self.settings.dimensions, self.settings.temperature)
        optimiser = torch.optim.AdamW(head.parameters(), lr=self.settings.learning_rate)
        random = np.random.default_rng(self.seed)
        for _ in progress(range(self.settings.epochs), desc="behaviour", unit="epoch"):
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

    def _learn(self, head: Head, log: Log, logged: DoubleArray) -> None:
        s = self.settings
        counted = Log(log.histories, log.ids, logged, log.rewards)
        # Only rewarded lists have a gradient; the sum is over all of them.
        rewarded = counted.pick(np.flatnonzero((log.rewards > 0).any(axis=1)))
        mean = float(rewarded.rewards.sum()) / len(rewarded)
        optimiser = torch.optim.AdamW(
            head.parameters(), lr=s.learning_rate, weight_decay=s.weight_decay
        )
        random = np.random.default_rng(self.seed)
        for _ in progress(range(s.epochs), desc="policy", unit="epoch"):
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
