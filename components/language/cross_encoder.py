"""Cross-encoder: how well a product's text follows the newest titles of a history, read together.

In: lists of products, each with the newest products of a history, the product bought next first.
Out: a transformer that reads both texts at once (Nogueira and Cho 2019), fine-tuned so that the
product bought comes first, and its distillation into a *vector pair*: a vector of the history and
one of the product, whose inner product has the differences of the cross-encoder's scores
(margin-MSE, Hofstätter et al. 2020). Serving multiplies vectors; no transformer runs at request
time, and a product without a purchase has a vector from its text.

Both trainings write checkpoints and continue from them (``loop.py``).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.nn import functional as F

from components.arrays import FloatArray, IntArray
from components.device import best_device, fast_at_bf16
from components.language.batches import whole_passes
from components.language.families import open_layers, weights_digest
from components.language.loop import EarlyStopping, train
from components.progress import progress
from components.settings import CrossEncoder as CrossEncoderSettings

if TYPE_CHECKING:
    from transformers import BatchEncoding, PreTrainedModel

NOTHING = -1
"""The code that fills rows with fewer products."""
SHARPNESS, HEAD_RATE = 5.0, 50.0
"""Factor on the cosine from which the cross-encoder starts, and on its head's learning rate."""
STANDARDISED = 256
"""Pairs whose means are the cross-encoder's centre."""
SETTING = "train.cross_encoder.encoder"
PAIRS = 128
"""Pairs of texts that are scored at once."""
HELD_OUT = 0.1
"""Share of the lists that end the distillation early."""
PAIR_BATCH, PAIR_RATE = 64, 1e-2
"""Lists of a step of the distillation, and its learning rate."""


@dataclass(frozen=True)
class Lists:
    """Products to order for histories.

    past: int (lists, n), the newest products of each history, newest first. candidates: int (lists,
    m), the product bought next, then others. Shorter rows end with NOTHING.
    """

    past: IntArray
    candidates: IntArray

    def __len__(self) -> int:
        return len(self.past)

    def take(self, rows: slice | IntArray) -> Lists:
        """Return some of the lists."""
        return Lists(self.past[rows], self.candidates[rows])


class Network(torch.nn.Module):
    """A transformer over both texts, and a score of the means of each text's tokens.

    The means are standardised, since they differ little from pair to pair (``standardise``). The
    score starts as SHARPNESS times their cosine: from there it learns faster than from random
    weights on the first token. The weights of the means learn HEAD_RATE times as fast as the
    transformer. The token embeddings are not trained.
    """

    centre: torch.Tensor
    spread: torch.Tensor

    def __init__(self, model: PreTrainedModel) -> None:
        super().__init__()
        self.model = model
        self.model.get_input_embeddings().requires_grad_(False)
        width = model.config.hidden_size
        self.both = torch.nn.Parameter(torch.full((width,), SHARPNESS / HEAD_RATE))
        self.alone = torch.nn.Parameter(torch.zeros(width))
        self.register_buffer("centre", torch.zeros(2, width))
        self.register_buffer("spread", torch.ones(2, width))

    def forward(self, encoded: Mapping[str, torch.Tensor], part: torch.Tensor) -> torch.Tensor:
        """Return float32 (pairs,). part: int (pairs, length), 0 for the tokens of the first text, 1
        for those of the second, -1 for others."""
        means = self._means(encoded, part)
        with torch.autocast(means.device.type, enabled=False):  # bf16 rounds small differences away
            first, second = F.normalize((means - self.centre) / self.spread, dim=2).unbind(dim=1)
            return HEAD_RATE * (first * second @ self.both + second @ self.alone)

    def standardise(self, encoded: Mapping[str, torch.Tensor], part: torch.Tensor) -> None:
        """Take centre and spread of the means of some pairs."""
        with torch.no_grad():
            means = self._means(encoded, part)
        self.centre, self.spread = means.mean(dim=0), means.std(dim=0) + 1e-6

    def _means(self, encoded: Mapping[str, torch.Tensor], part: torch.Tensor) -> torch.Tensor:
        """Return float32 (pairs, 2, width)."""
        hidden = self.model(**encoded).last_hidden_state.float()  # (pairs, length, width)
        with torch.autocast(hidden.device.type, enabled=False):
            mask = torch.stack([part == 0, part == 1], dim=1).float()  # (pairs, 2, length)
            return mask @ hidden / mask.sum(dim=2, keepdim=True).clamp(min=1)


class CrossEncoder:
    """The relevance of a product to a history.

    titles, texts: of all products, row = code: what is read of the history and of the product.

    Raises:
        ValueError: ``settings.encoder`` cannot be opened.
    """

    def __init__(
        self, settings: CrossEncoderSettings, titles: Sequence[str], texts: Sequence[str]
    ) -> None:
        self.titles, self.texts, self.max_length = titles, texts, settings.max_length
        self.tokenizer, model = open_layers(settings.encoder, settings.layers, SETTING)
        self.device = best_device()
        self.fast = fast_at_bf16(self.device)
        self.network = Network(model).to(self.device).eval()

    def logits(self, past: IntArray, candidates: IntArray) -> torch.Tensor:
        """Return float32 (pairs,), with gradients. past: int (pairs, n), candidates: (pairs,)."""
        return self.network(*self._encoded(past, candidates))

    def _encoded(self, past: IntArray, candidates: IntArray) -> tuple[BatchEncoding, torch.Tensor]:
        """Return the tokens of pairs, and which text each is of, see ``Network.forward``."""
        histories = ["; ".join(self.titles[code] for code in row if code >= 0) for row in past]
        encoded = self.tokenizer(
            histories,
            [self.texts[code] for code in candidates],
            truncation="longest_first",
            max_length=self.max_length,
            padding=True,
            return_tensors="pt",
        )
        part = [
            [NOTHING if one is None else one for one in encoded.sequence_ids(row)]
            for row in range(len(histories))
        ]
        return encoded.to(self.device), torch.tensor(part, device=self.device)

    def score(self, lists: Lists) -> FloatArray:
        """Return float32 (lists, m): higher is better, NaN where there is no candidate."""
        scores = np.full(lists.candidates.shape, np.nan, dtype=np.float32)
        rows, columns = np.nonzero(lists.candidates >= 0)
        items = lists.candidates[rows, columns]
        length = np.array([len(one) for one in self.texts])  # of similar length, less padding
        order = np.argsort(
            length[items] + np.where(lists.past >= 0, length[lists.past], 0).sum(axis=1)[rows],
            kind="stable",
        )
        for start in progress(range(0, len(order), PAIRS), desc="scoring pairs", unit="batch"):
            at = order[start : start + PAIRS]
            mixed = torch.autocast(self.device.type, torch.bfloat16, enabled=self.fast)
            with torch.inference_mode(), mixed:
                found = self.logits(lists.past[rows[at]], items[at])
            scores[rows[at], columns[at]] = found.cpu().numpy()
        return scores

    def fit(
        self, lists: Lists, settings: CrossEncoderSettings, seed: int, checkpoint: Path
    ) -> list[dict[str, float]]:
        """Fine-tune so that each list's first product comes first; return the log of the losses.

        The loss is the cross-entropy of the bought product among its list (Gao et al. 2021, with
        hard negatives). One pass over the lists. checkpoint: folder that a killed training
        continues from.
        """

        def losses(step: int) -> dict[str, torch.Tensor]:
            batch = lists.take(whole_passes(np.arange(len(lists)), settings.batch_size, seed, step))
            there = batch.candidates >= 0
            past = np.repeat(batch.past, there.sum(axis=1), axis=0)
            logits = torch.full(there.shape, -torch.inf, device=self.device)  # (lists, m)
            mask = torch.from_numpy(there).to(self.device)
            logits = logits.masked_scatter(mask, self.logits(past, batch.candidates[there]))
            first = torch.zeros(len(batch), dtype=torch.int64, device=self.device)
            return {"relevance": F.cross_entropy(logits, first)}

        rows, columns = np.nonzero(lists.candidates >= 0)
        some = slice(0, STANDARDISED)
        self.network.standardise(
            *self._encoded(lists.past[rows[some]], lists.candidates[rows[some], columns[some]])
        )
        steps = max(1, len(lists) // settings.batch_size)
        mark = _digest(
            weights_digest(settings.encoder),
            *(seed, settings, self.titles, self.texts, lists.past, lists.candidates),
        )
        return train(
            self.network, losses, steps, settings.learning_rate, checkpoint, mark,
            settings.checkpoint_every, "cross-encoder",
        )  # fmt: skip


class VectorPair(torch.nn.Module):
    """Vectors of histories and products from the products' text vectors.

    The vector of a history is the mean of its products' projections, weighted by a softmax over
    their positions and texts, and a 1; that of a product is another projection, whose last
    coordinate is therefore added to the score for any history.
    """

    def __init__(self, rank: int, settings: CrossEncoderSettings) -> None:
        super().__init__()
        width = min(settings.dimensions, rank)
        self.item = torch.nn.Linear(rank, width + 1)
        self.past = torch.nn.Linear(rank, width + 1)  # the last output weighs the product
        self.position = torch.nn.Parameter(-0.3 * torch.arange(float(settings.past)))
        with torch.no_grad():  # the start: cosines of the coordinates with the most variance
            for layer in (self.item, self.past):
                layer.bias.zero_()
                layer.weight.zero_()
                layer.weight[:width] = 3.0 * torch.eye(width, rank)

    def forward(
        self, past: torch.Tensor, there: torch.Tensor, candidates: torch.Tensor
    ) -> torch.Tensor:
        """Return (lists, m). past: (lists, n, rank), there: bool (lists, n), candidates: (lists, m,
        rank)."""
        found = self.past(past)  # (lists, n, width + 1)
        weight = (found[..., -1] + self.position).masked_fill(~there, -torch.inf).softmax(dim=1)
        query = (weight[..., None] * found[..., :-1]).sum(dim=1)  # (lists, width)
        items = self.item(candidates)  # (lists, m, width + 1)
        return (items[..., :-1] @ query[..., None])[..., 0] + items[..., -1]

    def arrays(self) -> dict[str, FloatArray]:
        """Return the parameters by name: item_weight, item_bias, past_weight, past_bias,
        position."""
        state = self.state_dict()
        return {name.replace(".", "_"): one.numpy().copy() for name, one in state.items()}


def distil(
    lists: Lists,
    scores: FloatArray,
    vectors: FloatArray,
    settings: CrossEncoderSettings,
    seed: int,
    checkpoint: Path,
) -> tuple[VectorPair, float]:
    """Return the vector pair that reproduces ``scores``, and its agreement with them.

    scores: float32 (lists, m) of the cross-encoder. vectors: float32 (items, rank). The loss is the
    mean squared error of the differences of all pairs of a list's scores. Agreement: the mean
    correlation within the lists that were held out. checkpoint: as in ``CrossEncoder.fit``.
    """
    n_held_out = max(1, int(HELD_OUT * len(lists)))
    text = torch.from_numpy(vectors)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        pair = VectorPair(vectors.shape[1], settings)

    def centred(rows: IntArray | slice) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return the scores of both models less the list's mean, (lists, m), and which exist."""
        part = lists.take(rows)
        known = torch.from_numpy(part.candidates >= 0)
        there = torch.from_numpy(part.past >= 0)
        found = pair(text[np.maximum(part.past, 0)], there, text[np.maximum(part.candidates, 0)])
        wanted = torch.from_numpy(np.nan_to_num(scores[rows]))
        count = known.sum(dim=1, keepdim=True)
        made = []
        for one in (found, wanted):
            one = one * known
            made.append((one - one.sum(dim=1, keepdim=True) / count) * known)
        return made[0], made[1], known

    def error(rows: IntArray | slice) -> torch.Tensor:
        # The mean over all pairs of a list is twice the variance of the error.
        found, wanted, known = centred(rows)
        return 2 * ((found - wanted) ** 2).sum() / known.sum()

    def held_out() -> float:
        with torch.no_grad():
            return error(slice(0, n_held_out)).item()

    learned = np.arange(n_held_out, len(lists)) if len(lists) > n_held_out else np.arange(1)
    train(
        pair,
        lambda step: {"margin": error(whole_passes(learned, PAIR_BATCH, seed, step))},
        settings.steps,
        PAIR_RATE,
        checkpoint,
        _digest(seed, settings, lists.past, lists.candidates, scores, vectors),
        settings.steps,
        "distillation",
        EarlyStopping(held_out, max(1, settings.steps // 20), 3),
        precision="fp32",
    )
    with torch.no_grad():
        found, wanted, _ = centred(slice(0, n_held_out))
        agreement = F.cosine_similarity(found, wanted, dim=1).mean().item()
    return pair, agreement


def _digest(*parts: object) -> str:
    """Return a digest of a training's inputs: arrays by content, others by their repr."""
    digest = hashlib.blake2b()
    for part in parts:
        array = isinstance(part, np.ndarray)
        digest.update(np.ascontiguousarray(part).tobytes() if array else repr(part).encode())
    return digest.hexdigest()
