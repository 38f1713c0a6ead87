"""Continued pre-training of the encoder on the shop's corpus: the stage ``pretrain``.

In: ``data/corpus``. Out: ``models/language/pretrained``, ``reports/pretrain.{csv,json}``.
(Don't stop pre-training: Gururangan et al., ACL 2020.)

In several processes: ``torchrun --nproc-per-node 2 -m bowerbird pretrain``. Each computes its rows
of every batch, so the batches and the loss are the same as in one process.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from scipy.stats import sem, t
from transformers import AutoTokenizer, PreTrainedModel

from components.arrays import DoubleArray, TextArray
from components.distributed import open_accelerator
from components.language.corpus import load_corpus
from components.language.families import (
    SCRATCH,
    add_adapters,
    family_of,
    locate,
    merge_adapters,
    open_model,
    save_model,
    weights_digest,
)
from components.language.loop import (
    EarlyStopping,
    Precision,
    ends,
    low_precision,
    train,
)
from components.language.objectives import Batch, Objective, objective_of
from components.language.prompts import read_prompts
from components.settings import Pretrain, Settings
from components.words.analyser import LEAST_SHARE
from components.words.languages import shares

HELD_OUT_BATCHES = 8


def fingerprint(*parts: object) -> str:
    """Return a digest of the inputs of a training: strings by value, paths by content."""
    digest = hashlib.blake2b()
    for part in parts:
        digest.update(part.read_bytes() if isinstance(part, Path) else repr(part).encode())
    return digest.hexdigest()


def step_losses(
    model: PreTrainedModel,
    objective: Objective,
    step: int,
    size: int,
    parts: int,
    share: tuple[int, int],
) -> Iterator[dict[str, torch.Tensor]]:
    """Yield the losses of step ``step``'s micro-batches, each a part of the batch's mean losses.

    size: rows of the batch. parts: number of micro-batches. share: this process's number and the
    number of processes; the mean over the processes is the loss of the whole batch.
    """
    batch = objective.draw(step, size)
    counts = objective.target_counts(batch)
    number, processes = share
    rows = torch.arange(number, size, processes)
    for chunk in rows.chunk(parts):
        sums = objective.losses(model, _to({k: v[chunk] for k, v in batch.items()}, model))
        yield {name: sums[name] * (processes / max(1, counts[name])) for name in sums}


def perplexity(
    model: PreTrainedModel, objective: Objective, size: int, precision: Precision = "auto"
) -> float:
    """Return exp of the mean loss per target token, on fixed held-out batches.

    For masked and permuted words it is the pseudo-perplexity, which is comparable only within one
    family and tokenizer.
    """
    found = _held_out_losses(model, [objective] * HELD_OUT_BATCHES, size, precision)
    loss, targets = found.sum(axis=0)
    return float(np.exp(loss / max(1, targets)))


def _held_out_losses(
    model: PreTrainedModel, objectives: Sequence[Objective], size: int, precision: Precision
) -> DoubleArray:
    """Return float64 (batches, 2): summed loss and number of targets of batch n of objective n."""
    was_training = model.training
    model.eval()
    found = []
    device = next(model.parameters()).device
    with (
        torch.no_grad(),
        torch.autocast(device.type, torch.bfloat16, enabled=low_precision(device, precision)),
    ):
        for number, objective in enumerate(objectives):
            batch = objective.draw(number, size)
            loss = objective.losses(model, _to(batch, model))[objective.loss].item()
            found.append((loss, objective.target_counts(batch)[objective.loss]))
    model.train(was_training)
    return np.array(found, dtype=np.float64)


def perplexity_by_language(
    model: PreTrainedModel,
    objective: Objective,
    languages: TextArray,
    size: int,
    precision: Precision = "auto",
) -> dict[str, dict[str, float | None]]:
    """Return the perplexity on the documents of each language of an objective.

    languages: of each document of the corpus. Languages of fewer than ``LEAST_SHARE`` of the
    documents are left out, as are documents whose language is not clear; with one language nothing
    is returned. A record: documents, perplexity, and low and high of its 95 % interval. The
    documents are drawn into HELD_OUT_BATCHES parts of the same size; the interval is Student's,
    over the mean losses of the parts (None of fewer documents than parts).
    """
    found = {}
    spoken = languages[objective.documents]
    codes = [code for code, share in shares(spoken).items() if share >= LEAST_SHARE]
    for code in codes if len(codes) > 1 else []:
        documents = objective.documents[spoken == code]
        documents = np.random.default_rng(objective.seed).permutation(documents)
        parts = np.array_split(documents, min(HELD_OUT_BATCHES, len(documents)))
        loss, targets = _held_out_losses(
            model, [objective.only(np.sort(part)) for part in parts], size, precision
        ).T
        means = loss / np.maximum(1, targets)
        low, high = None, None
        if len(parts) == HELD_OUT_BATCHES:
            ends_of_log = t.interval(0.95, len(means) - 1, means.mean(), sem(means))
            low, high = np.exp(ends_of_log).tolist()
        value = float(np.exp(means.mean()))
        found[code] = {"documents": len(documents), "perplexity": value, "low": low, "high": high}
    return found


def _to(batch: Batch, model: PreTrainedModel) -> Batch:
    return {name: tensor.to(model.device) for name, tensor in batch.items()}


def _too_short(model: PreTrainedModel, length: int) -> bool:
    """Return whether ``model`` has fewer positions than ``length``."""
    places = getattr(model.config, "max_position_embeddings", -1)  # XLNet's are relative: none
    if model.config.model_type == "roberta":
        places -= model.config.pad_token_id + 1  # its positions start there
    return 0 < places < length


def run(settings: Settings, root: Path) -> None:
    """The stage ``pretrain``.

    Raises:
        ValueError: the encoder cannot be opened, is of an unknown family, or has fewer positions
            than ``corpus.max_length``; or ``pretrain.lora_rank`` is set for a model from scratch.
    """
    s = settings.pretrain
    accelerator = open_accelerator()
    corpus = load_corpus(root / "data/corpus")
    tokenizer = AutoTokenizer.from_pretrained(root / "data/corpus/tokenizer", local_files_only=True)
    model, untrained = open_model(s.encoder, tokenizer, settings.seed)
    prompts = None if s.encoder.startswith(SCRATCH) else read_prompts(locate(s.encoder))
    if _too_short(model, settings.corpus.max_length):
        raise ValueError(
            f"corpus.max_length: {s.encoder} reads at most "
            f"{model.config.max_position_embeddings} tokens, not {settings.corpus.max_length}"
        )
    model.to(accelerator.device)
    objective = objective_of(settings, corpus, tokenizer, held_out=False)
    unseen = objective_of(settings, corpus, tokenizer, held_out=True)
    before = perplexity(model, unseen, s.batch_size, s.precision)
    languages = np.load(root / "data/corpus/languages.npy")
    by_language = {
        "before": perplexity_by_language(model, unseen, languages, s.batch_size, s.precision)
    }
    if s.lora_rank:
        add_adapters(model, untrained, s.lora_rank, settings.seed)
    share = accelerator.process_index, accelerator.num_processes
    mark = fingerprint(settings.seed, s, weights_digest(s.encoder), root / "data/corpus/tokens.npy")
    log = train(
        model,
        lambda step: step_losses(model, objective, step, s.batch_size, s.accumulate, share),
        s.steps,
        s.learning_rate,
        root / "models/language/checkpoints/pretrain",
        mark,
        s.checkpoint_every,
        "pre-training",
        EarlyStopping(
            lambda: perplexity(model, unseen, s.batch_size, s.precision), s.eval_every, s.patience
        ),
        s.precision,
    )
    if s.lora_rank:
        merge_adapters(model)
    after = perplexity(model, unseen, s.batch_size, s.precision)
    by_language["after"] = perplexity_by_language(
        model, unseen, languages, s.batch_size, s.precision
    )
    if accelerator.is_main_process:
        save_model(model, tokenizer, root / "models/language/pretrained", prompts)
        _report(log, before, after, by_language, s, root / "reports")
    accelerator.wait_for_everyone()


def _report(
    log: list[dict[str, float]],
    before: float,
    after: float,
    by_language: dict[str, dict[str, Any]],
    s: Pretrain,
    folder: Path,
) -> None:
    start, end = ends(log)
    report = {
        "family": family_of(s.encoder),
        "loss_start": start,
        "loss_end": end,
        "perplexity_before": before,
        "perplexity_after": after,
        "steps": len(log),
        "stopped_early": len(log) < s.steps,
    }
    if by_language["before"]:
        report["languages"] = by_language
    table = pd.DataFrame(log)
    logged = (np.arange(len(table)) % s.log_every == 0) | table["held_out"].notna()
    table[logged].to_csv(folder / "pretrain.csv", index=False)
    (folder / "pretrain.json").write_text(json.dumps(report, indent=2))
    print(json.dumps(report, indent=2))
