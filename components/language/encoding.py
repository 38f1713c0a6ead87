"""One vector for each product: the stage ``encode``.

In: ``models/language/finetuned``, ``data/prepared/items.parquet``. Out: ``models/vectors``:
``items.npy`` (float32 (items, width), row = code) and a cache keyed by content. The texts that are
not cached are encoded where ``encode.engine`` says (``parallel.py``). With
``augment.texts``: ``generated.parquet``, the pseudo-texts that the vectors are mixed with, and
``written.jsonl``, what the model wrote (``pseudo_texts.py``).
"""

from __future__ import annotations

import json
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from components.arrays import FloatArray
from components.data.dataset import item_text
from components.language.encoder import Precision, TextEncoder, encode_cached, encoder_digest
from components.language.pseudo_texts import mixed, pseudo_texts
from components.parallel import ENGINES
from components.progress import Progress, progress
from components.settings import Settings

CHUNK = 1024
"""Texts of a chunk, of similar length."""

_loaded: dict[EncodeTexts, TextEncoder] = {}
"""The encoder of the newest task in this process."""


@dataclass(frozen=True)
class EncodeTexts:
    """A task for ``parallel``: encodes texts in the process that it is sent to.

    model: absolute folder, at the same path on each machine. digest: of its weights, so that a
    process that ran before does not use others. threads: of a process; None: PyTorch's default.
    """

    model: Path
    digest: str
    max_length: int
    batch_tokens: int
    precision: Precision
    threads: int | None

    def __call__(self, texts: list[str]) -> FloatArray:
        """Return float32 (texts, width)."""
        found = _loaded.get(self)
        if found is None:
            if self.threads is not None:
                torch.set_num_threads(self.threads)
            found = self.use(
                TextEncoder(self.model, self.max_length, self.batch_tokens, self.precision)
            )
        return found.encode(texts)

    def use(self, encoder: TextEncoder) -> TextEncoder:
        """Return an encoder that this process has loaded; it is used from now on."""
        _loaded.clear()
        _loaded[self] = encoder
        return encoder


def encode_in_chunks(task: EncodeTexts, engine: str, workers: int, texts: list[str]) -> FloatArray:
    """Return float32 (texts, width), computed by an engine of ``parallel``, by its name."""
    order = np.argsort([len(text) for text in texts], kind="stable")
    size = min(CHUNK, -(-len(texts) // workers))
    chunks = [order[start : start + size] for start in range(0, len(order), size)]
    found: list[FloatArray] = []
    with (
        ENGINES[engine](task, workers, "encode.engine") as compute,
        closing(_progress(len(texts))) as bar,
    ):
        for vectors in compute([texts[row] for row in rows] for rows in chunks):
            found.append(vectors)
            bar.update(len(vectors))
    return np.concatenate(found)[np.argsort(order)]


def _progress(total: int) -> Progress[str]:
    return progress(desc="encoding", unit="text", total=total)


def run(settings: Settings, root: Path) -> None:
    """The stage ``encode``."""
    s = settings.encode
    model, out = root / "models/language/finetuned", root / "models/vectors"
    encoder = TextEncoder(model, s.max_length, s.batch_tokens, s.precision)
    digest = encoder_digest(model)
    task = EncodeTexts(
        model=model.resolve(),
        digest=digest,
        max_length=s.max_length,
        batch_tokens=s.batch_tokens,
        precision=encoder.precision,
        threads=None if s.workers == 1 else 1,
    )
    task.use(encoder)
    encode = partial(encode_in_chunks, task, s.engine, s.workers)
    table = pd.read_parquet(root / "data/prepared/items.parquet")
    texts, generated = item_text(table), out / "generated.parquet"
    generated.unlink(missing_ok=True)
    if settings.augment.texts:
        made = pseudo_texts(
            table,
            lambda some: encoder.encode(some, with_head=False),
            *(settings.augment, settings.seed, out / "written.jsonl", root),
        )
        vectors = encode_cached(encoder, digest, [*texts, *made["text"]], out, encode)
        vectors = mixed(vectors[: len(texts)], made, vectors[len(texts) :])
        made.to_parquet(generated)
    else:
        vectors = encode_cached(encoder, digest, texts, out, encode)
    unfinished = out / ".items.npy"
    np.save(unfinished, vectors)
    unfinished.rename(out / "items.npy")
    facts = {"items": len(vectors), "width": vectors.shape[1], "weights": digest}
    (out / "encoder.json").write_text(json.dumps(facts))
