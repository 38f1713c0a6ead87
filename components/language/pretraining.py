"""Continued pre-training of the encoder on the shop's corpus: the stage ``pretrain``.

In: ``data/corpus``. Out: ``models/language/pretrained``, ``reports/pretrain.{csv,json}``.
(Don't stop pre-training: Gururangan et al., ACL 2020.)
"""

from __future__ import annotations

import hashlib
import json
import math
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from transformers import AutoTokenizer

from components.language.corpus import Corpus, load_corpus
from components.language.families import family_of, open_model, save_model, weights_digest
from components.language.loop import ends, train
from components.language.objectives import Batches, losses
from components.settings import Settings

HELD_OUT_BATCHES = 8


def fingerprint(*parts: object) -> str:
    """Return a digest of what a training depends on: strings as they are, paths by content."""
    digest = hashlib.blake2b()
    for part in parts:
        digest.update(part.read_bytes() if isinstance(part, Path) else repr(part).encode())
    return digest.hexdigest()


def _batches(corpus: Corpus, tokenizer, held_out: bool, settings: Settings) -> Batches:  # type: ignore[no-untyped-def]
    vocabulary = tokenizer.convert_ids_to_tokens(range(len(tokenizer)))
    documents = np.flatnonzero(corpus.held_out == held_out)
    return Batches(
        corpus,
        documents if len(documents) else np.arange(len(corpus.held_out)),
        (
            tokenizer.cls_token_id,
            tokenizer.sep_token_id,
            tokenizer.pad_token_id,
            tokenizer.mask_token_id,
        ),
        np.array([piece.startswith("##") for piece in vocabulary]),
        settings.corpus.max_length,
        settings.pretrain.mask_probability,
        "nsp" in settings.pretrain.objectives,
        settings.seed,
    )


def perplexity(model: torch.nn.Module, batches: Batches, size: int) -> float:
    """Return exp of the mean masked-language-model loss on fixed held-out batches."""
    model.eval()
    with torch.no_grad():
        found = [losses(model, batches.draw(n, size))[0].item() for n in range(HELD_OUT_BATCHES)]
    return math.exp(float(np.mean(found)))


def run(settings: Settings, root: Path) -> None:
    """The stage ``pretrain``.

    Raises:
        ValueError: the encoder is none of BERT's family.
    """
    s = settings.pretrain
    if family_of(s.encoder) != "bert":
        raise ValueError(
            f"pretrain.encoder: {s.encoder} is of the family {family_of(s.encoder)}; "
            "this stage trains BERT's"
        )
    corpus = load_corpus(root / "data/corpus")
    tokenizer = AutoTokenizer.from_pretrained(root / "data/corpus/tokenizer")
    model, _ = open_model(s.encoder, tokenizer, settings.seed)
    batches = _batches(corpus, tokenizer, False, settings)
    unseen = _batches(corpus, tokenizer, True, settings)
    before = perplexity(model, unseen, s.batch_size)

    def step_losses(step: int) -> dict[str, torch.Tensor]:
        mlm, nsp = losses(model, batches.draw(step, s.batch_size))
        return {
            name: part for name, part in {"mlm": mlm, "nsp": nsp}.items() if name in s.objectives
        }

    mark = fingerprint(settings.seed, s, weights_digest(s.encoder), root / "data/corpus/tokens.npy")
    checkpoints = root / "models/language/checkpoints/pretrain"
    log = train(
        model, step_losses, s.steps, s.learning_rate, checkpoints, mark, s.checkpoint_every,
        "pre-training",
    )  # fmt: skip
    save_model(model, tokenizer, root / "models/language/pretrained")
    start, end = ends(log)
    report = {
        "loss_start": start,
        "loss_end": end,
        "perplexity_before": before,
        "perplexity_after": perplexity(model, unseen, s.batch_size),
        "steps": len(log),
    }
    pd.DataFrame(log[:: s.log_every]).to_csv(root / "reports/pretrain.csv", index=False)
    (root / "reports/pretrain.json").write_text(json.dumps(report, indent=2))
    print(json.dumps(report, indent=2))
