"""Network and training of SASRec, in PyTorch.

In: the interactions and a text vector of each item. Out: the trained network. A module of its own,
so that inference does not load PyTorch.
"""

from __future__ import annotations

import hashlib
import json
import math
from pathlib import Path

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional as F

from components.arrays import FloatArray, Int64Array, IntArray
from components.data.dataset import Interactions
from components.device import best_device, fast_at_bf16
from components.progress import progress
from components.recommenders.kernels.losses import sampled_softmax_loss, softmax_loss
from components.settings import Sequential as SequentialSettings

WARM_UP = 0.1
"""The share of the steps in which the learning rate rises; then it falls along a cosine."""


class Block(nn.Module):
    """Causal self-attention and a two-layer perceptron, each added to what came in (pre-norm)."""

    def __init__(self, d: int, heads: int, reach: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.norm_attention, self.norm_perceptron = nn.LayerNorm(d), nn.LayerNorm(d)
        self.query_key_value, self.out = nn.Linear(d, 3 * d), nn.Linear(d, d)
        self.distance = nn.Parameter(torch.zeros(heads, reach))  # added to attention's logits
        self.up, self.down = nn.Linear(d, 4 * d), nn.Linear(4 * d, d)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: torch.Tensor, distances: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Return (batch, length, d). distances: (length, length) steps back. mask: true
        where attention is not allowed."""
        batch, length, d = x.shape
        parts = self.query_key_value(self.norm_attention(x))
        parts = parts.view(batch, length, 3, self.heads, d // self.heads)
        query, key, value = parts.permute(2, 0, 3, 1, 4)  # (batch, heads, length, d / heads) each
        bias = self.distance[:, distances].masked_fill(mask, -torch.inf)
        seen = F.scaled_dot_product_attention(query, key, value, attn_mask=bias.to(query.dtype))
        seen = seen.transpose(1, 2).reshape(batch, length, d)
        x = x + self.dropout(self.out(seen))
        inner = self.dropout(F.gelu(self.up(self.norm_perceptron(x))))
        return x + self.dropout(self.down(inner))


class Network(nn.Module):
    """Item vectors, and a causal transformer over those of a history.

    Positions are relative (Shaw et al. 2018), the same at each place of a sequence: what was
    learned in the middle of a sequence holds at its end, which inference needs.
    """

    text: torch.Tensor

    def __init__(self, settings: SequentialSettings, text: torch.Tensor) -> None:
        super().__init__()
        d, self.settings = settings.dimensions, settings
        self.register_buffer("text", text, persistent=False)  # (items, width)
        self.project = nn.Linear(text.shape[1], d, bias=False)
        self.delta = nn.Embedding(len(text), d)
        nn.init.normal_(self.delta.weight, std=0.02)
        self.blocks = nn.ModuleList(
            Block(d, settings.heads, settings.max_length, settings.dropout)
            for _ in range(settings.layers)
        )
        self.norm = nn.LayerNorm(d)
        self.dropout = nn.Dropout(settings.dropout)

    def item_vectors(self, sold: torch.Tensor, codes: torch.Tensor | None = None) -> torch.Tensor:
        """Return (items, d) unit vectors, of ``codes`` or of all.

        sold: bool (items,); without a sale an item's id vector is not used.
        """
        if codes is None:
            text, delta = self.text, self.delta.weight
        else:
            text, delta, sold = self.text[codes], self.delta(codes), sold[codes]
        if self.training:
            sold = sold & (torch.rand(len(sold), device=sold.device) >= self.settings.id_dropout)
        delta = delta * sold[:, None]
        return F.normalize(F.normalize(self.project(text), dim=1) + delta, dim=1)

    def forward(self, items: torch.Tensor, vectors: torch.Tensor) -> torch.Tensor:
        """Return (batch, length, d) unit vectors: the query for the next item at each place.

        items: (batch, length) rows of ``vectors``, right-aligned, -1 is padding.
        """
        length = items.shape[1]
        place = torch.arange(length, device=items.device)
        back = place[:, None] - place  # (length, length)
        padding = (items < 0)[:, None, None, :]
        mask = (back < 0) | padding & (back != 0)  # padding attends to itself: no NaN
        # Indexing would add up its gradient in a different order each time, on many threads.
        x = F.embedding(items.clamp(min=0), vectors) * math.sqrt(vectors.shape[1])
        x = self.dropout(x)
        for block in self.blocks:
            x = block(x, back.clamp(min=0), mask)
        return F.normalize(self.norm(x).float(), dim=-1)


def right_aligned(items: IntArray, stops: IntArray, lengths: IntArray) -> torch.Tensor:
    """Return int64 (batch, longest): the ``lengths`` items before each of ``stops``, else -1."""
    width = int(lengths.max(initial=0))
    place = np.arange(width)
    index = np.maximum(stops[:, None] - width + place, 0)
    block = np.where(place >= width - lengths[:, None], items[index], -1)
    return torch.from_numpy(block.astype(np.int64))


def windows(offsets: IntArray, reach: int) -> tuple[Int64Array, Int64Array]:
    """Return where pieces of at most ``reach`` + 1 events stop and their lengths, int64 (pieces,).

    Each user's events are cut from the newest back; neighbours share one event, the older one's
    last target and the newer one's first input. Users of one event have none.
    """
    counts = np.maximum(np.diff(offsets) - 1, 0)
    pieces = -(-counts // reach)
    users = np.repeat(np.arange(len(counts)), pieces)
    back = np.arange(len(users)) - np.repeat(np.cumsum(pieces) - pieces, pieces)
    stops = offsets[users + 1] - back * reach
    return stops, np.minimum(stops - offsets[users], reach + 1)


def schedule(progress: float) -> float:
    """Return the share of the learning rate at ``progress`` (0 to 1) of the training."""
    if progress < WARM_UP:
        return progress / WARM_UP
    return 0.5 + 0.5 * math.cos(math.pi * (progress - WARM_UP) / (1 - WARM_UP))


class Training:
    """Trains a network on a CPU or, where there is one, a GPU.

    checkpoint: a file that is written after each epoch; training continues from it if it is of the
    same data and settings. losses: each epoch's mean.
    """

    def __init__(
        self, settings: SequentialSettings, seed: int = 0, checkpoint: Path | None = None
    ) -> None:
        self.settings = settings
        self.seed = seed
        self.checkpoint = checkpoint
        self.losses: list[float] = []
        self.device = best_device()
        self.fast = fast_at_bf16(self.device)

    def run(self, train: Interactions, text: FloatArray) -> tuple[Network, FloatArray]:
        """Return the trained network and the items' vectors, float32 (items, d).

        text: float32 (items, width), unit rows.
        """
        counts = torch.from_numpy(np.bincount(train.items, minlength=len(text)))
        counts = counts.to(self.device, torch.float32)
        with torch.random.fork_rng():
            torch.manual_seed(self.seed)
            self.network = Network(self.settings, torch.from_numpy(text)).to(self.device)
            self._train(train, counts)
        self.network.eval()
        with torch.no_grad():
            vectors = self.network.item_vectors(counts > 0).cpu().numpy()
        return self.network.cpu(), vectors

    def _train(self, train: Interactions, counts: torch.Tensor) -> None:
        s = self.settings
        stops, lengths = windows(train.offsets, s.max_length)
        n_batches = max(1, len(stops) // s.batch_size)
        optimiser = torch.optim.AdamW(self.network.parameters(), lr=s.learning_rate, fused=True)
        mark = self._fingerprint(train)
        self.losses = self._resume(optimiser, mark)
        step_loss = self._full_loss if len(counts) <= s.full_softmax_items else self._sampled_loss
        self.network.train()
        done = len(self.losses)
        bar = progress(
            range(done, s.epochs), initial=done, total=s.epochs, desc="sequential", unit="epoch"
        )
        for epoch in bar:
            shuffle = np.random.default_rng([self.seed, epoch])
            torch.manual_seed(int(shuffle.integers(2**62)))  # each epoch has a seed of its own
            order = shuffle.permutation(len(stops))
            # Batches of similar lengths need little padding.
            order = order[np.argsort(lengths[order], kind="stable")]
            batches = np.array_split(order, n_batches)
            total = torch.zeros((), device=self.device)
            for step, chosen in enumerate(shuffle.permutation(n_batches)):
                rows = batches[chosen]
                items = right_aligned(train.items, stops[rows], lengths[rows]).to(self.device)
                rate = s.learning_rate * schedule((epoch + (step + 1) / n_batches) / s.epochs)
                for group in optimiser.param_groups:
                    group["lr"] = rate
                loss = step_loss(items, counts)
                optimiser.zero_grad()
                loss.backward()
                nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
                optimiser.step()
                total += loss.detach()
            self.losses.append(total.item() / n_batches)
            bar.set_postfix(loss=f"{self.losses[-1]:.3f}")
            self._keep(optimiser, mark)
        if self.checkpoint:
            self.checkpoint.unlink(missing_ok=True)

    def _full_loss(self, items: torch.Tensor, counts: torch.Tensor) -> torch.Tensor:
        """Return the cross-entropy over the catalogue. items: (batch, length), -1 is padding."""
        known = items[:, :-1] >= 0
        with self._autocast():
            vectors = self.network.item_vectors(counts > 0).float()  # once a step
            hidden = self.network(items[:, :-1], vectors)[known]  # (events, d)
        kind = torch.bfloat16 if self.fast else torch.float32
        scaled = hidden / self.settings.temperature
        return softmax_loss(scaled, vectors, items[:, 1:][known], kind)

    def _sampled_loss(self, items: torch.Tensor, counts: torch.Tensor) -> torch.Tensor:
        """Return the loss against negatives drawn half by sales, half evenly (Yang et al. 2020).

        Only the vectors of the batch and of the sample are computed.
        """
        n_items, m = len(counts), self.settings.negatives
        share = 0.5 * counts / counts.sum() + 0.5 / n_items  # of the draws, by item
        drawn = torch.cat(
            [
                torch.multinomial(counts, m - m // 2, replacement=True),
                torch.randint(n_items, (m // 2,), device=self.device),
            ]
        )
        known = items[:, :-1] >= 0
        wanted = items[:, 1:][known]
        codes, rows = torch.unique(torch.cat([items[items >= 0], drawn]), return_inverse=True)
        local = items.clone()
        local[items >= 0] = rows[: len(rows) - m]
        with self._autocast():
            vectors = self.network.item_vectors(counts > 0, codes).float()
            hidden = self.network(local[:, :-1], vectors)[known]
        return sampled_softmax_loss(
            hidden / self.settings.temperature,
            F.embedding(local[:, 1:][known], vectors),
            F.embedding(rows[len(rows) - m :], vectors),
            wanted,
            drawn,
            torch.log(share[drawn] * m),
            dtype=torch.bfloat16 if self.fast else torch.float32,
        )

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.fast)

    def _fingerprint(self, train: Interactions) -> str:
        """Return a digest of data and settings: a checkpoint of others is not used."""
        digest = hashlib.blake2b(f"{self.settings!r} {self.seed}".encode())
        for array in (train.items, train.offsets):
            digest.update(np.ascontiguousarray(array).data)
        digest.update(np.ascontiguousarray(self.network.text.cpu().numpy()).data)
        return digest.hexdigest()

    def _keep(self, optimiser: torch.optim.Optimizer, mark: str) -> None:
        """Write weights, moments and losses to the checkpoint, atomically."""
        if self.checkpoint is None:
            return
        tensors = {}
        for name, weight in self.network.named_parameters():
            tensors[name] = weight.detach()
            tensors |= {f"{name}/{key}": value for key, value in optimiser.state[weight].items()}
        partial = self.checkpoint.with_suffix(".partial")
        partial.parent.mkdir(parents=True, exist_ok=True)
        save_file(tensors, partial, {"fingerprint": mark, "losses": json.dumps(self.losses)})
        partial.replace(self.checkpoint)

    def _resume(self, optimiser: torch.optim.Optimizer, mark: str) -> list[float]:
        """Load the checkpoint if it is of this training; return the losses of its epochs."""
        if self.checkpoint is None or not self.checkpoint.exists():
            return []
        with safe_open(self.checkpoint, "pt") as saved:
            if saved.metadata()["fingerprint"] != mark:
                return []
            with torch.no_grad():
                for name, weight in self.network.named_parameters():
                    weight.copy_(saved.get_tensor(name))
                    optimiser.state[weight] = {
                        key: saved.get_tensor(f"{name}/{key}").to(self.device)
                        for key in ("step", "exp_avg", "exp_avg_sq")
                    }
            return json.loads(saved.metadata()["losses"])
