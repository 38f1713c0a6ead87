"""Network and training of SASRec, in PyTorch.

In: the interactions, a text vector of each item and, where the shop has them, the kinds of the
events and the items' attributes. Out: the trained network. A module of its own, so that inference
does not load PyTorch.
"""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import scipy.sparse as sp
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional as F

from components.arrays import DoubleArray, FloatArray, Int64Array, IntArray
from components.data.dataset import Interactions
from components.device import best_device, fast_at_bf16
from components.distributed import average, average_gradients, check_same, open_accelerator
from components.progress import progress
from components.recommenders.kernels.losses import sampled_softmax_loss, softmax_loss
from components.recommenders.models.sasrec.cooccurrence import cooccurrence_vectors
from components.settings import Sequential as SequentialSettings

DELTA = 0.02
"""Standard deviation of the id vectors' components at the start of a training."""
WARM_UP = 0.1
"""The share of the steps in which the learning rate rises; then it falls along a cosine."""


class Dropout(nn.Dropout):
    """PyTorch's dropout with 16 random bits a unit on CPUs, where its own draws take 4 times as
    long. The probability is rounded to 1 / 65,536."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if not self.training or self.p == 0 or x.device.type != "cpu":
            return super().forward(x)
        n = x.numel()
        words = torch.empty(-(-n // 4), dtype=torch.int64).random_(-(2**63), None)
        bits = words.view(torch.int16)[:n].view(x.shape)
        kept = bits >= round(self.p * 2**16) - 2**15
        return x * kept.to(x.dtype).mul_(1 / (1 - self.p))


class Block(nn.Module):
    """Causal self-attention and a two-layer perceptron, each added to what came in (pre-norm)."""

    def __init__(self, d: int, heads: int, reach: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.norm_attention, self.norm_perceptron = nn.LayerNorm(d), nn.LayerNorm(d)
        self.query_key_value, self.out = nn.Linear(d, 3 * d), nn.Linear(d, d)
        self.distance = nn.Parameter(torch.zeros(heads, reach))  # added to attention's logits
        self.up, self.down = nn.Linear(d, 4 * d), nn.Linear(4 * d, d)
        self.dropout = Dropout(dropout)

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

    attributes: CSR (items, values), see ``Vocabulary.encode``; None: none are known. n_kinds: of
    events, 0 if they do not differ. Vectors of values and kinds begin at 0: one that is never
    trained says nothing.
    """

    text: torch.Tensor
    values: torch.Tensor
    starts: torch.Tensor

    def __init__(
        self,
        settings: SequentialSettings,
        text: torch.Tensor,
        attributes: sp.csr_matrix | None = None,
        n_kinds: int = 0,
    ) -> None:
        super().__init__()
        d, self.settings = settings.dimensions, settings
        self.register_buffer("text", text, persistent=False)  # (items, width)
        self.project = nn.Linear(text.shape[1], d, bias=False)
        self.delta = nn.Embedding(len(text), d)
        nn.init.normal_(self.delta.weight, std=DELTA)
        self.blocks = nn.ModuleList(
            Block(d, settings.heads, settings.max_length, settings.dropout)
            for _ in range(settings.layers)
        )
        self.norm = nn.LayerNorm(d)
        self.dropout = Dropout(settings.dropout)
        self.kinds = nn.Parameter(torch.zeros(n_kinds, d)) if n_kinds else None
        self.attributes = None
        if attributes is not None:
            self.attributes = nn.Parameter(torch.zeros(attributes.shape[1], d))
            for name, array in (("values", attributes.indices), ("starts", attributes.indptr)):
                tensor = torch.from_numpy(array.astype(np.int64))
                self.register_buffer(name, tensor, persistent=False)

    def start_from(self, vectors: FloatArray) -> None:
        """Start the id vectors from ``vectors``, float32 (items, d), at the length that they have
        at random; items whose row is 0 keep their own."""
        found = torch.from_numpy(vectors)
        known = found.any(dim=1)
        with torch.no_grad():
            self.delta.weight[known] = found[known] * (DELTA * math.sqrt(found.shape[1]))

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
        described = self.project(text)
        if self.attributes is not None:
            described = described + self._of_attributes(self.attributes, codes)
        return F.normalize(F.normalize(described, dim=1) + delta, dim=1)

    def _of_attributes(self, vectors: torch.Tensor, codes: torch.Tensor | None) -> torch.Tensor:
        """Return (items, d): the sum of the vectors of the values of each item, of ``codes`` or of
        all. vectors: (values, d)."""
        if codes is None:
            return F.embedding_bag(self.values, vectors, self.starts[:-1], mode="sum")
        first = self.starts[codes]
        counts = self.starts[codes + 1] - first
        bags = counts.cumsum(0) - counts
        place = torch.arange(int(counts.sum()), device=codes.device)
        index = place + torch.repeat_interleave(first - bags, counts)
        return F.embedding_bag(self.values[index], vectors, bags, mode="sum")

    def forward(
        self, items: torch.Tensor, vectors: torch.Tensor, kinds: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Return (batch, length, d) unit vectors: the query for the next item at each place.

        items: (batch, length) rows of ``vectors``, right-aligned, -1 is padding. kinds: (batch,
        length) of the events, if the network has kinds.
        """
        length = items.shape[1]
        place = torch.arange(length, device=items.device)
        back = place[:, None] - place  # (length, length)
        padding = (items < 0)[:, None, None, :]
        mask = (back < 0) | padding & (back != 0)  # padding attends to itself: no NaN
        # Indexing would add up its gradient in a different order each time, on many threads.
        x = F.embedding(items.clamp(min=0), vectors) * math.sqrt(vectors.shape[1])
        if self.kinds is not None:
            assert kinds is not None
            x = x + F.embedding(kinds.clamp(min=0), self.kinds)
        x = self.dropout(x)
        for block in self.blocks:
            x = block(x, back.clamp(min=0), mask)
        return F.normalize(self.norm(x).float(), dim=-1)


def right_aligned(
    values: IntArray | FloatArray, stops: IntArray, lengths: IntArray
) -> torch.Tensor:
    """Return (batch, longest): the ``lengths`` values before each of ``stops``, else -1; int64 of
    integers, else float32."""
    width = int(lengths.max(initial=0))
    place = np.arange(width)
    index = np.maximum(stops[:, None] - width + place, 0)
    block = np.where(place >= width - lengths[:, None], values[index], -1)
    return torch.from_numpy(block.astype(np.float32 if values.dtype.kind == "f" else np.int64))


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


@dataclass(frozen=True)
class Batch:
    """Events of some pieces of histories, right-aligned, (batch, length) each.

    items: int64, -1 is padding. kinds: int64. weights: float32, of each event as a target; None: 1.
    """

    items: torch.Tensor
    kinds: torch.Tensor | None
    weights: torch.Tensor | None

    @property
    def known(self) -> torch.Tensor:
        """bool (batch, length - 1): which places have an event and the next one."""
        return self.items[:, :-1] >= 0

    @property
    def inputs(self) -> torch.Tensor | None:
        """int64 (batch, length - 1): the kinds of the events that are read."""
        return None if self.kinds is None else self.kinds[:, :-1]

    @property
    def weights_of_targets(self) -> torch.Tensor | None:
        """float32 (targets,)."""
        return None if self.weights is None else self.weights[:, 1:][self.known]


class Training:
    """Trains a network on a CPU or, where there is one, a GPU.

    In several processes (``components.distributed``) each computes the loss of its share of the
    same batches. Dropout and sampled negatives differ between them.

    checkpoint: a file that is written after each epoch; training continues from it if it is of the
    same data and settings, in any number of processes. losses: each epoch's mean.
    """

    def __init__(
        self, settings: SequentialSettings, seed: int = 0, checkpoint: Path | None = None
    ) -> None:
        self.settings = settings
        self.seed = seed
        self.checkpoint = checkpoint
        self.losses: list[float] = []
        self._kinds: IntArray | None = None
        self._weights: FloatArray | None = None
        self.accelerator = open_accelerator()
        self.device = best_device()
        self.fast = fast_at_bf16(self.device)

    def run(
        self,
        train: Interactions,
        text: FloatArray,
        kinds: IntArray | None = None,
        attributes: sp.csr_matrix | None = None,
    ) -> tuple[Network, FloatArray]:
        """Return the trained network and the items' vectors, float32 (items, d).

        With ``target_weights`` the loss of a target is weighted by its ``evidence``. text: float32
        (items, width), unit rows. kinds: int (n,) from 0, of each interaction. attributes: see
        ``Network``.
        """
        evidence = train.evidence if self.settings.target_weights else None
        differ = evidence is not None and len(evidence) and (evidence != evidence[0]).any()
        self._weights = evidence if differ else None
        self._kinds = kinds
        counts = torch.from_numpy(np.bincount(train.items, minlength=len(text)))
        counts = counts.to(self.device, torch.float32)
        with torch.random.fork_rng():
            torch.manual_seed(self.seed)
            n_kinds = 0 if kinds is None else int(kinds.max(initial=-1)) + 1
            network = Network(self.settings, torch.from_numpy(text), attributes, n_kinds)
            if self.settings.cooccurrence:
                network.start_from(cooccurrence_vectors(train, self.settings.dimensions, self.seed))
            self.network = network.to(self.device)
            self._train(train, counts)
        self.network.eval()
        with torch.no_grad():
            vectors = self.network.item_vectors(counts > 0).cpu().numpy()
        return self.network.cpu(), vectors

    def _train(self, train: Interactions, counts: torch.Tensor) -> None:
        s = self.settings
        stops, lengths = windows(train.offsets, s.max_length)
        n_batches = max(1, len(stops) // s.batch_size)
        mass = self._mass(stops, lengths)
        process, processes = self.accelerator.process_index, self.accelerator.num_processes
        main = self.accelerator.is_main_process
        parameters = list(self.network.parameters())
        optimiser = torch.optim.AdamW(parameters, lr=s.learning_rate, fused=True)
        mark = self._fingerprint(train)
        self.losses = self._resume(optimiser, mark)
        check_same(
            *(self.accelerator, (mark, len(self.losses))),
            "sequential: the processes have other data, settings or epochs in the checkpoint "
            f"{self.checkpoint}: on several machines they need one folder",
        )
        step_loss = self._full_loss if len(counts) <= s.full_softmax_items else self._sampled_loss
        self.network.train()
        done = len(self.losses)
        bar = progress(
            range(done, s.epochs), initial=done, total=s.epochs, desc="sequential", unit="epoch",
            disable=not main,
        )  # fmt: skip
        for epoch in bar:
            shuffle = np.random.default_rng([self.seed, epoch])
            # Each epoch has a seed of its own, and so has each process.
            torch.manual_seed(int(shuffle.integers(2**62)) + process)
            order = shuffle.permutation(len(stops))
            # Batches of similar lengths need little padding.
            order = order[np.argsort(lengths[order], kind="stable")]
            batches = np.array_split(order, n_batches)
            total = torch.zeros((), device=self.device)
            for step, chosen in enumerate(shuffle.permutation(n_batches)):
                rows = batches[chosen]
                rate = s.learning_rate * schedule((epoch + (step + 1) / n_batches) / s.epochs)
                for group in optimiser.param_groups:
                    group["lr"] = rate
                optimiser.zero_grad()
                own = rows[process::processes]
                if len(own):  # else the batch has fewer pieces than there are processes
                    # The mean over the processes is the mean over the targets of the batch.
                    share = processes * mass[own].sum() / mass[rows].sum()
                    batch = self._batch(train.items, stops[own], lengths[own])
                    loss = step_loss(batch, counts) * share
                    loss.backward()
                    total += loss.detach()
                average_gradients(self.accelerator, parameters)
                nn.utils.clip_grad_norm_(parameters, 1.0)
                optimiser.step()
            loss_of_all = average(self.accelerator, {"loss": total.item() / n_batches})["loss"]
            self.losses.append(loss_of_all)
            bar.set_postfix(loss=f"{loss_of_all:.3f}")
            if main:
                self._keep(optimiser, mark)
        if self.checkpoint and main:
            self.checkpoint.unlink(missing_ok=True)

    def _mass(self, stops: IntArray, lengths: IntArray) -> DoubleArray:
        """Return float64 (pieces,): the weights of each piece's targets, together."""
        if self._weights is None:
            return (lengths - 1).astype(np.float64)
        before = np.concatenate([[0.0], np.cumsum(self._weights, dtype=np.float64)])
        return before[stops] - before[stops - lengths + 1]

    def _batch(self, items: IntArray, stops: IntArray, lengths: IntArray) -> Batch:
        """Return the events before each of ``stops``, on the device."""

        def aligned(values: IntArray | FloatArray) -> torch.Tensor:
            return right_aligned(values, stops, lengths).to(self.device)

        kinds = None if self._kinds is None else aligned(self._kinds)
        weights = None if self._weights is None else aligned(self._weights)
        return Batch(aligned(items), kinds, weights)

    def _full_loss(self, batch: Batch, counts: torch.Tensor) -> torch.Tensor:
        """Return the cross-entropy over the catalogue."""
        items, known = batch.items, batch.known
        with self._autocast():
            vectors = self.network.item_vectors(counts > 0).float()  # once a step
            hidden = self.network(items[:, :-1], vectors, batch.inputs)[known]  # (events, d)
        kind = torch.bfloat16 if self.fast else torch.float32
        scaled = hidden / self.settings.temperature
        return softmax_loss(
            scaled, vectors, items[:, 1:][known], kind, weights=batch.weights_of_targets
        )

    def _sampled_loss(self, batch: Batch, counts: torch.Tensor) -> torch.Tensor:
        """Return the loss against negatives drawn half by sales, half evenly (Yang et al. 2020).

        Only the vectors of the batch and of the sample are computed.
        """
        items, known = batch.items, batch.known
        n_items, m = len(counts), self.settings.negatives
        share = 0.5 * counts / counts.sum() + 0.5 / n_items  # of the draws, by item
        drawn = torch.cat(
            [
                torch.multinomial(counts, m - m // 2, replacement=True),
                torch.randint(n_items, (m // 2,), device=self.device),
            ]
        )
        wanted = items[:, 1:][known]
        codes, rows = torch.unique(torch.cat([items[items >= 0], drawn]), return_inverse=True)
        local = items.clone()
        local[items >= 0] = rows[: len(rows) - m]
        with self._autocast():
            vectors = self.network.item_vectors(counts > 0, codes).float()
            hidden = self.network(local[:, :-1], vectors, batch.inputs)[known]
        return sampled_softmax_loss(
            hidden / self.settings.temperature,
            F.embedding(local[:, 1:][known], vectors),
            F.embedding(rows[len(rows) - m :], vectors),
            wanted,
            drawn,
            torch.log(share[drawn] * m),
            batch.weights_of_targets,
            dtype=torch.bfloat16 if self.fast else torch.float32,
        )

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.fast)

    def _fingerprint(self, train: Interactions) -> str:
        """Return a digest of data and settings: a checkpoint of others is not used."""
        digest = hashlib.blake2b(f"{self.settings!r} {self.seed}".encode())
        arrays = [train.items, train.offsets, self._kinds, self._weights]
        arrays += [tensor.cpu().numpy() for tensor in self.network.buffers()]
        for array in arrays:
            if array is not None:
                digest.update(np.ascontiguousarray(array).data)
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
