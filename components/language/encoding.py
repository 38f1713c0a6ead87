"""One vector for each product: the stage ``encode``.

In: ``models/language/finetuned``, ``data/prepared/items.parquet``. Out: ``models/vectors``:
``items.npy`` (float32 (items, width), row = code) and a cache keyed by content. With
``augment.texts``: ``generated.parquet``, the pseudo-texts that the vectors are mixed with, and
``written.jsonl``, what the model wrote (``pseudo_texts.py``).
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd

from components.data.dataset import item_text
from components.language.encoder import TextEncoder, encode_cached, encoder_digest
from components.language.pseudo_texts import mixed, pseudo_texts
from components.settings import Settings


def run(settings: Settings, root: Path) -> None:
    """The stage ``encode``."""
    s = settings.encode
    model, out = root / "models/language/finetuned", root / "models/vectors"
    encoder = TextEncoder(model, s.max_length, s.batch_tokens, s.precision)
    digest = encoder_digest(model)
    table = pd.read_parquet(root / "data/prepared/items.parquet")
    texts, generated = item_text(table), out / "generated.parquet"
    generated.unlink(missing_ok=True)
    if settings.augment.texts:
        made = pseudo_texts(
            table,
            lambda some: encoder.encode(some, with_head=False),
            *(settings.augment, settings.seed, out / "written.jsonl", root),
        )
        vectors = encode_cached(encoder, digest, [*texts, *made["text"]], out)
        vectors = mixed(vectors[: len(texts)], made, vectors[len(texts) :])
        made.to_parquet(generated)
    else:
        vectors = encode_cached(encoder, digest, texts, out)
    partial = out / ".items.npy"
    np.save(partial, vectors)
    partial.rename(out / "items.npy")
    facts = {"items": len(vectors), "width": vectors.shape[1], "weights": digest}
    (out / "encoder.json").write_text(json.dumps(facts))
