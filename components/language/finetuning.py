"""Fine-tuning for recommendation: the next product's text near the history's.

In: ``models/language/pretrained``, ``data/prepared``. Out: ``models/language/finetuned``,
``reports/finetune.{csv,json}``. InfoNCE with in-batch negatives (van den Oord et al. 2018): the
mean vector of a user's last products against the product bought next, among the batch's others.
Only the training window is read.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch.nn import functional as F

from components.data.dataset import Interactions, item_text, load_prepared
from components.language.encoder import TextEncoder
from components.language.families import save_model, weights_digest
from components.language.loop import ends, train
from components.language.pretraining import fingerprint
from components.settings import Settings

PAST = 3
"""Products of the history that make up a query."""


def draw(
    train_data: Interactions, size: int, seed: int, step: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return past int (size, PAST), -1 where the history is shorter, and next int (size,)."""
    random = np.random.default_rng([seed, step])
    second = np.flatnonzero(train_data.users[1:] == train_data.users[:-1]) + 1
    at = random.choice(second, size, replace=len(second) < size)
    back = at[:, None] - np.arange(1, PAST + 1)
    inside = back >= train_data.offsets[train_data.users[at]][:, None]
    return np.where(inside, train_data.items[np.maximum(back, 0)], -1), train_data.items[at]


def contrastive_loss(
    encoder: TextEncoder,
    texts: list[str],
    past: np.ndarray,
    following: np.ndarray,
    temperature: float,
) -> torch.Tensor:
    """Return the mean InfoNCE loss of a batch (shapes as in ``draw``)."""
    items, code = np.unique(np.append(past[past >= 0], following), return_inverse=True)
    vectors = encoder.forward([texts[item] for item in items])  # (distinct items, width)
    lookup = dict(zip(items.tolist(), range(len(items)), strict=True))
    places = torch.tensor([[lookup.get(item, 0) for item in row] for row in past.tolist()])
    weight = torch.from_numpy((past >= 0).astype(np.float32))[..., None]
    query = F.normalize((vectors[places] * weight).sum(dim=1), dim=1)  # (batch, width)
    target = vectors[torch.from_numpy(code[-len(following) :])]
    logits = query @ target.T / temperature  # (batch, batch)
    # Another row's next product is no negative if it is this row's too, or was just bought.
    same = torch.from_numpy(following[None, :] == following[:, None])
    bought = torch.from_numpy((past[:, :, None] == following[None, None, :]).any(axis=1))
    own = torch.eye(len(following), dtype=torch.bool)
    logits = logits.masked_fill((same | bought) & ~own, -torch.inf)
    return F.cross_entropy(logits, torch.arange(len(following)))


def run(settings: Settings, root: Path) -> None:
    """The stage ``finetune``."""
    s = settings.finetune
    prepared = load_prepared(root / "data/prepared")
    texts = item_text(prepared.catalogue.table)
    before = prepared.interactions.split("train")
    start = root / "models/language/pretrained"
    encoder = TextEncoder(start, settings.encode.max_length)

    def step_losses(step: int) -> dict[str, torch.Tensor]:
        past, following = draw(before, s.batch_size, settings.seed, step)
        return {"contrastive": contrastive_loss(encoder, texts, past, following, s.temperature)}

    mark = fingerprint(
        settings.seed, s, weights_digest(str(start)), root / "data/prepared/interactions.parquet"
    )
    checkpoints = root / "models/language/checkpoints/finetune"
    log = train(
        encoder.model, step_losses, s.steps, s.learning_rate, checkpoints, mark,
        s.checkpoint_every, "fine-tuning",
    )  # fmt: skip
    save_model(encoder.model, encoder.tokenizer, root / "models/language/finetuned")
    first, last = ends(log)
    report = {"loss_start": first, "loss_end": last, "steps": len(log)}
    pd.DataFrame(log[:: s.log_every]).to_csv(root / "reports/finetune.csv", index=False)
    (root / "reports/finetune.json").write_text(json.dumps(report, indent=2))
    print(json.dumps(report, indent=2))
