"""Fine-tuning for recommendation: the vector of the next product near that of the history.

In: ``models/language/pretrained``, ``data/prepared``. Out: ``models/language/finetuned``,
``reports/finetune.{csv,json}``. Only the training window is read.

The loss is InfoNCE (van den Oord et al. 2018) of the product bought next, given the text of the
history. The negatives are the whole catalogue, hard negatives included. Two phases:

1. *head*: a linear layer on the encoder, trained over vectors that are computed once. It is
   initialised as the whitening of the catalogue's vectors (Su et al. 2021); seconds to minutes.
2. *encoder*: each step encodes some products, each text once, and uses several purchases of each
   as targets. The other vectors come from a memory bank of the last vectors before the head (Wu et
   al., CVPR 2018; Wang et al., CVPR 2020), so the head is always current. The learning rate is
   small, because the bank's vectors must not become stale.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch.nn import functional as F

from components.arrays import FloatArray, IntArray
from components.data.dataset import Interactions, item_text, load_prepared
from components.language.batches import whole_passes
from components.language.encoder import TextEncoder, whitening
from components.language.families import weights_digest
from components.language.loop import ends, train
from components.language.pretraining import fingerprint
from components.language.ratings import RatingTask, review_texts
from components.language.retrieval import Retrieval
from components.settings import Finetune, Settings

DECAY = 0.7
"""Weight of a product in the history's vector, relative to the next newer one."""
PAST = 8
"""Products of the history that make up a query."""
EVENTS_PER_PRODUCT = 8
"""Most target purchases of one product in a step."""


class NextProduct:
    """Sampler of purchases, and the loss of the next product among all products.

    data: the interactions to learn from. Products without interactions are not used as negatives,
    so that new products are not pushed away. vectors: float32 (products, width) of the texts before
    the head.

    Raises:
        ValueError: no user has bought two products.
    """

    def __init__(
        self,
        encoder: TextEncoder,
        texts: list[str],
        vectors: FloatArray,
        data: Interactions,
        settings: Finetune,
        seed: int,
    ) -> None:
        self.encoder, self.texts, self.data = encoder, texts, data
        self.settings, self.seed = settings, seed
        second = np.flatnonzero(data.users[1:] == data.users[:-1]) + 1
        second = second[data.items[second] != data.items[second - 1]]
        if not len(second):
            raise ValueError("finetune: no user bought two products before the validation window")
        self.events = second[np.argsort(data.items[second], kind="stable")]
        counts = np.bincount(data.items[second], minlength=data.n_items)
        self.offsets = np.concatenate([[0], np.cumsum(counts)])
        self.targets = np.flatnonzero(counts)
        self.known = np.unique(data.items)
        self.place = np.zeros(data.n_items, dtype=np.int64)
        self.place[self.known] = np.arange(len(self.known))
        for module in encoder.model.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = 0.0  # its noise would make the new vectors differ from the bank's
        self.bank = encoder.tensor(vectors[self.known])  # (known products, width)

    def head_loss(self, step: int) -> torch.Tensor:
        """Return the mean loss of step n's purchases, with the bank's vectors."""
        events = whole_passes(self.events, self.settings.batch_size, self.seed, step)
        return self._loss(self.bank, events, np.empty(0, dtype=np.int64), step)

    def loss(self, step: int) -> torch.Tensor:
        """Return the mean loss of step n's purchases, with their products encoded again."""
        products = np.unique(whole_passes(self.targets, self.settings.products, self.seed, step))
        counts = self.offsets[products + 1] - self.offsets[products]
        owner = np.repeat(np.arange(len(products)), counts)
        inside = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        random = np.random.default_rng([self.seed, 1, step]).random(len(owner))
        events = self.events[self.offsets[products][owner] + inside]
        events = events[np.lexsort((random, owner))][inside < EVENTS_PER_PRODUCT]
        fresh = self.encoder.before_head([self.texts[item] for item in products])
        rows = self.encoder.tensor(self.place[products])
        vectors = self.bank.index_copy(0, rows, fresh)
        self.bank[rows] = fresh.detach()
        return self._loss(vectors, events, self.place[products], step)

    def past(self, events: IntArray) -> IntArray:
        """Return int (events, PAST): products bought before, newest first, padded with -1."""
        back = events[:, None] - np.arange(1, PAST + 1)
        own = back >= self.data.offsets[self.data.users[events]][:, None]
        return np.where(own, self.data.items[np.maximum(back, 0)], -1)

    def _loss(
        self, before_head: torch.Tensor, events: IntArray, rows: IntArray, step: int
    ) -> torch.Tensor:
        """Return the loss. before_head: (known products, width). rows: the step's products in
        it."""
        tensor = self.encoder.tensor
        past, following = self.past(events), self.place[self.data.items[events]]
        column, n = np.arange(len(self.known)), len(self.known)
        if n > self.settings.negatives:  # a sample represents the catalogue
            random = np.random.default_rng([self.seed, 2, step])
            sample = random.choice(n, self.settings.negatives, replace=False)
            bought = self.place[past[past >= 0]]
            chosen = np.unique(np.concatenate([sample, rows, following, bought]))
            column[chosen] = np.arange(len(chosen))
            before_head = before_head[tensor(chosen)]
        vectors = self.encoder.project(before_head)  # (candidates, width)
        there = past >= 0
        places = np.where(there, column[self.place[past]], 0)
        weight = tensor((there * DECAY ** np.arange(PAST)).astype(np.float32))
        # Indexing would add up its gradient in a different order each time, on many threads.
        before = F.embedding(tensor(places), vectors)  # (events, PAST, width)
        query = F.normalize((before * weight[..., None]).sum(dim=1), dim=1)  # (events, width)
        logits = (query @ vectors.T).float() / self.settings.temperature  # (events, candidates)
        target = column[following]
        # Products bought just before are not negatives.
        event, slot = np.nonzero(there & (places != target[:, None]))
        seen = tensor(event), tensor(places[event, slot])
        others = logits.index_put(seen, logits.new_tensor(-torch.inf))
        return F.cross_entropy(others, tensor(target))


def finetune(
    encoder: TextEncoder,
    texts: list[str],
    data: Interactions,
    settings: Finetune,
    seed: int,
    checkpoints: Path,
    mark: str,
    reviews: pd.DataFrame | None = None,
) -> tuple[list[dict[str, float]], RatingTask | None]:
    """Fine-tune ``encoder`` in place; return the log, one record a step, and the ratings' heads.

    texts: of all products, row = code. data: the interactions to learn from. checkpoints: folder
    from which a killed training continues, if ``mark`` (digest of weights and data) is the same.
    reviews: title, text, rating; read if ``settings.tasks`` has rating.

    Raises:
        ValueError: the encoder has been fine-tuned before; no user bought two products.
    """
    if encoder.head is not None:
        raise ValueError(
            "finetune: the encoder is already fine-tuned: start from a pre-trained one"
        )
    s = settings
    vectors = encoder.encode(texts, progress=True, with_head=False)
    encoder.head = whitening(vectors).to(encoder.device)
    products = NextProduct(encoder, texts, vectors, data, s, seed)
    search = None
    if "retrieval" in s.tasks:
        known = [texts[item] for item in products.known]
        search = Retrieval(encoder, known, s.negatives, seed)
    rated = reviews.dropna(subset=["rating"]) if reviews is not None else pd.DataFrame()
    ratings = None
    if "rating" in s.tasks and s.steps and len(rated):
        read = review_texts(rated)
        ratings = RatingTask(encoder, read, rated["rating"].to_numpy(), s.reviews, seed)

    def head_losses(step: int) -> dict[str, torch.Tensor]:
        found = {"next_product": products.head_loss(step)}
        if search is not None:
            found["retrieval"] = search.loss(
                products.bank, s.temperature, step, s.batch_size, False
            )
        return found

    def losses(step: int) -> dict[str, torch.Tensor]:
        found = {"next_product": products.loss(step)}
        if search is not None:
            found["retrieval"] = search.loss(products.bank, s.temperature, step, s.queries, True)
        if ratings is not None:
            found["rating"] = ratings.loss(step)
        return found

    mark = fingerprint(seed, s, mark)
    log = train(
        encoder.head, head_losses, s.head_steps, s.head_learning_rate, checkpoints / "head", mark,
        s.checkpoint_every, "fine-tuning the head",
    )  # fmt: skip
    if s.steps:
        parts = {"model": encoder.model, "head": encoder.head}
        if ratings is not None:
            parts["ratings"] = ratings
        log += train(
            torch.nn.ModuleDict(parts), losses, s.steps, s.learning_rate,
            checkpoints / "encoder", mark, s.checkpoint_every, "fine-tuning",
        )  # fmt: skip
    return [{**record, "step": step} for step, record in enumerate(log)], ratings


def run(settings: Settings, root: Path) -> None:
    """The stage ``finetune``."""
    s = settings.finetune
    prepared = load_prepared(root / "data/prepared")
    reviews = pd.read_parquet(root / "data/valid/reviews.parquet")
    if "timestamp" in reviews:  # reviews of the validation and test windows are not read
        later = pd.to_datetime(reviews["timestamp"], utc=True) >= pd.Timestamp(
            prepared.validation_start, unit="s", tz="UTC"
        )
        reviews = reviews[~later]
    texts = item_text(prepared.catalogue.table)
    start = root / "models/language/pretrained"
    encoder = TextEncoder(start, settings.encode.max_length, training=True)
    mark = fingerprint(
        weights_digest(str(start)),
        root / "data/prepared/interactions.parquet",
        root / "data/valid/reviews.parquet",
    )
    log, ratings = finetune(
        encoder, texts, prepared.interactions.split("train"), s, settings.seed,
        root / "models/language/checkpoints/finetune", mark, reviews,
    )  # fmt: skip
    out = root / "models/language/finetuned"
    encoder.save(out)
    if ratings is not None:
        ratings.save(out)
    tasks = [record["next_product"] for record in log]
    first, last = ends([{"loss": value} for value in tasks])
    report = {"loss_start": first, "loss_end": last, "steps": len(log)}
    pd.DataFrame(log[:: s.log_every]).to_csv(root / "reports/finetune.csv", index=False)
    (root / "reports/finetune.json").write_text(json.dumps(report, indent=2))
    print(json.dumps(report, indent=2))
