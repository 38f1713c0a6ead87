"""A self-attentive model of the behaviour sequence whose item vectors come from text and id.

SASRec (Kang and McAuley, ICDM 2018) with cross-entropy over the whole catalogue (Klenitskiy and
Vasilev, RecSys 2023). Item vector = W · text + δ(id), δ dropped out whole at random in training,
so that an item without a single sale has a place in the space (DropoutNet, Volkovs et al. 2017).
"""

from __future__ import annotations

import itertools
from typing import Any, Self

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F
from tqdm import tqdm

from components.data.dataset import Catalogue, Histories, Interactions
from components.recommenders.base import Recommender
from components.settings import Sequential as SequentialSettings


class Network(nn.Module):
    """Causal transformer over item vectors (pre-norm), positions counted from the newest event."""

    def __init__(self, settings: SequentialSettings, text: torch.Tensor) -> None:
        super().__init__()
        d, self.settings = settings.dimensions, settings
        self.register_buffer("text", text, persistent=False)  # (items, width)
        self.project = nn.Linear(text.shape[1], d, bias=False)
        self.delta = nn.Embedding(len(text), d)
        nn.init.normal_(self.delta.weight, std=0.02)
        self.position = nn.Embedding(settings.max_length, d)
        nn.init.normal_(self.position.weight, std=0.02)
        layer = nn.TransformerEncoderLayer(
            d, settings.heads, 4 * d, settings.dropout, "gelu", batch_first=True, norm_first=True
        )
        self.encoder = nn.TransformerEncoder(
            layer, settings.layers, nn.LayerNorm(d), enable_nested_tensor=False
        )
        self.dropout = nn.Dropout(settings.dropout)

    def item_vectors(self, sold: torch.Tensor) -> torch.Tensor:
        """Return (items, d). sold: float (items, 1), 0 where the id says nothing."""
        delta = self.delta.weight * sold
        if self.training:
            kept = torch.rand(len(delta), 1) >= self.settings.id_dropout
            delta = delta * kept
        return F.normalize(self.project(self.text), dim=1) + delta

    def forward(self, items: torch.Tensor, vectors: torch.Tensor) -> torch.Tensor:
        """Return (batch, length, d). items: (batch, length) codes, right-aligned, -1 is padding."""
        length = items.shape[1]
        padding = items < 0
        back = torch.arange(length - 1, -1, -1)
        x = self.dropout(vectors[items.clamp(min=0)] + self.position(back))
        later = torch.ones(length, length, dtype=torch.bool).triu(1)
        mask = later[None] | padding[:, None, :]  # (batch, length, length)
        mask = mask & ~torch.eye(length, dtype=torch.bool)  # a row of padding sees itself
        mask = mask.repeat_interleave(self.settings.heads, dim=0)
        return self.encoder(x, mask=mask)


def right_aligned(histories: Histories, length: int) -> np.ndarray:
    """Return int64 (batch, length): the newest items of each history at the right, else -1."""
    newest = histories.last(length)
    out = np.full((len(newest), length), -1, dtype=np.int64)
    out[newest.rows(), length - 1 - newest.steps_back()] = newest.items
    return out


class Sequential(Recommender):
    """``vectors``: float32 (items, d), frozen from the network's text and id parts."""

    name = "sequential"

    def __init__(self, settings: SequentialSettings, seed: int = 0) -> None:
        self.settings = settings
        self.seed = seed

    def fit(self, train: Interactions, catalogue: Catalogue) -> Self:
        s = self.settings
        if catalogue.vectors is None:
            raise ValueError(
                "sequential needs the items' text vectors: run `bowerbird encode` first"
            )
        text = torch.from_numpy(np.array(catalogue.vectors, dtype=np.float32))
        counts = np.bincount(train.items, minlength=len(catalogue))
        sold = torch.from_numpy((counts > 0).astype(np.float32))[:, None]
        sequences = self._windows(train)
        with torch.random.fork_rng():
            torch.manual_seed(self.seed)
            self.network = Network(s, text)
            self._train(sequences, sold)
        self.network.eval()
        with torch.no_grad():
            self.vectors = self.network.item_vectors(sold).numpy()
        return self

    def _windows(self, train: Interactions) -> list[np.ndarray]:
        """Return every user's events in pieces of max_length + 1, neighbours sharing one event."""
        step = self.settings.max_length
        bounds = [
            np.append(np.arange(start, stop - 1, step), stop - 1)
            for start, stop in zip(train.offsets[:-1], train.offsets[1:], strict=True)
            if stop - start > 1
        ]
        return [
            train.items[low : high + 1]
            for edges in bounds
            for low, high in itertools.pairwise(edges)
        ]

    def _train(self, sequences: list[np.ndarray], sold: torch.Tensor) -> None:
        s = self.settings
        lengths = np.array([len(sequence) for sequence in sequences])
        batches = [
            np.sort(part)
            for part in np.array_split(
                np.argsort(lengths, kind="stable"), max(1, len(lengths) // s.batch_size)
            )
        ]
        optimiser = torch.optim.AdamW(self.network.parameters(), lr=s.learning_rate)
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimiser, s.learning_rate, total_steps=s.epochs * len(batches), pct_start=0.1
        )
        shuffle = np.random.default_rng(self.seed)
        fast = torch.cpu._is_avx512_bf16_supported()  # elsewhere bf16 is slower than fp32
        self.network.train()
        self.losses: list[float] = []
        for _ in tqdm(range(s.epochs), desc="sequential", unit="epoch"):
            total = 0.0
            for index in shuffle.permutation(len(batches)):
                chosen = [sequences[row] for row in batches[index]]
                width = max(len(sequence) for sequence in chosen)
                block = np.full((len(chosen), width), -1, dtype=np.int64)
                for row, sequence in enumerate(chosen):
                    block[row, width - len(sequence) :] = sequence
                items = torch.from_numpy(block)
                known = items[:, :-1] >= 0
                with torch.autocast("cpu", torch.bfloat16, enabled=fast):
                    vectors = self.network.item_vectors(sold)
                    hidden = self.network(items[:, :-1], vectors)  # (batch, width - 1, d)
                    logits = self.network.dropout(hidden[known]) @ vectors.T  # (events, items)
                loss = F.cross_entropy(logits.float(), items[:, 1:][known])
                optimiser.zero_grad()
                loss.backward()
                nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
                optimiser.step()
                schedule.step()
                total += loss.item()
            self.losses.append(total / len(batches))

    def score(self, histories: Histories) -> np.ndarray:
        scores = np.zeros((len(histories), len(self.vectors)), dtype=np.float32)
        known = histories.lengths() > 0
        if not known.any():
            return scores
        longest = int(min(self.settings.max_length, histories.lengths().max()))
        items = torch.from_numpy(right_aligned(histories, longest)[known])
        vectors = torch.from_numpy(self.vectors)
        with torch.no_grad():
            hidden = self.network(items, vectors)[:, -1]  # (batch, d)
        scores[known] = (hidden @ vectors.T).numpy()
        return scores

    def arrays(self) -> dict[str, np.ndarray]:
        kept = ("position", "encoder")
        weights = {
            name: tensor.numpy()
            for name, tensor in self.network.state_dict().items()
            if name.startswith(kept)
        }
        return {**weights, "vectors": self.vectors}

    def config(self) -> dict[str, Any]:
        return {"settings": self.settings.model_dump(), "seed": self.seed}

    @classmethod
    def from_saved(cls, config: dict[str, Any], arrays: dict[str, np.ndarray]) -> Self:
        model = cls(SequentialSettings(**config["settings"]), config["seed"])
        model.vectors = arrays.pop("vectors")
        # The text and id parts are frozen in ``vectors``: the network needs no items of its own.
        model.network = Network(model.settings, torch.zeros(1, 1)).eval()
        state = {name: torch.from_numpy(array) for name, array in arrays.items()}
        model.network.load_state_dict(state, strict=False)
        return model
