"""Texts → unit vectors, and one for each product: the stage ``encode``.

In: ``models/language/finetuned``, ``data/prepared/items.parquet``. Out: ``models/vectors``:
``items.npy`` (float32 (items, width), row = code) and a cache by content, so that only texts that
changed are encoded again.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
import torch
from torch.nn import functional as F
from tqdm import tqdm
from transformers import AutoModel, AutoTokenizer

from components.data.dataset import item_text
from components.language.families import locate, weights_digest
from components.settings import Settings


class TextEncoder:
    """Mean of the last layer over a text's tokens, of length 1 (Reimers and Gurevych 2019)."""

    def __init__(
        self,
        name: str | Path,
        max_length: int = 64,
        batch_size: int = 256,
        precision: Literal["auto", "fp32", "bf16"] = "auto",
    ) -> None:
        place = locate(str(name))
        self.tokenizer = AutoTokenizer.from_pretrained(place)
        self.model = AutoModel.from_pretrained(place).eval()
        self.max_length, self.batch_size = max_length, batch_size
        self.fast = precision == "bf16" or (
            precision == "auto" and torch.cpu._is_avx512_bf16_supported()
        )

    def encode(self, texts: list[str], progress: bool = False) -> np.ndarray:
        """Return float32 (texts, width)."""
        width = self.model.config.hidden_size
        out = np.zeros((len(texts), width), dtype=np.float32)
        # Batches of like length: little padding.
        order = np.argsort([len(text) for text in texts], kind="stable")
        starts = range(0, len(texts), self.batch_size)
        for start in tqdm(starts, desc="encoding", unit="batch", disable=not progress):
            rows = order[start : start + self.batch_size]
            with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=self.fast):
                out[rows] = self.forward([texts[row] for row in rows]).float().numpy()
        return out

    def forward(self, texts: list[str]) -> torch.Tensor:
        """Return (texts, width) with gradients: what fine-tuning trains."""
        batch = self.tokenizer(
            texts, padding=True, truncation=True, max_length=self.max_length, return_tensors="pt"
        )
        hidden = self.model(**batch).last_hidden_state.float()  # (texts, length, width)
        mask = batch["attention_mask"][..., None].float()
        return F.normalize((hidden * mask).sum(dim=1) / mask.sum(dim=1).clamp(min=1), dim=1)


def encode_cached(encoder: TextEncoder, digest: str, texts: list[str], folder: Path) -> np.ndarray:
    """Return the vectors of ``texts``, encoding only those that ``folder`` has not cached.

    digest: of the encoder's weights; the vectors of other weights are not taken.
    """
    keys = np.array(
        [hashlib.blake2b(f"{digest}{text}".encode(), digest_size=16).hexdigest() for text in texts]
    )
    file = folder / "cache.npz"
    width = encoder.model.config.hidden_size
    known, vectors = np.empty(0, dtype="U32"), np.empty((0, width), dtype=np.float32)
    if file.exists():
        with np.load(file) as saved:
            known, vectors = saved["keys"], saved["vectors"]
    wanted, first = np.unique(keys, return_index=True)
    missing = ~np.isin(wanted, known)
    if missing.any():
        fresh = encoder.encode([texts[row] for row in first[missing]], progress=True)
        known, vectors = np.append(known, wanted[missing]), np.vstack([vectors, fresh])
    place = pd.Index(known).get_indexer(keys)
    used = np.isin(known, keys)
    folder.mkdir(parents=True, exist_ok=True)
    partial = folder / ".cache.npz"
    np.savez(partial, keys=known[used], vectors=vectors[used])
    partial.rename(file)
    print(f"{len(texts):,} products, {int(missing.sum()):,} texts encoded anew")
    return vectors[place]


def run(settings: Settings, root: Path) -> None:
    """The stage ``encode``."""
    s = settings.encode
    model, out = root / "models/language/finetuned", root / "models/vectors"
    encoder = TextEncoder(model, s.max_length, s.batch_size, s.precision)
    digest = weights_digest(str(model))
    texts = item_text(pd.read_parquet(root / "data/prepared/items.parquet"))
    vectors = encode_cached(encoder, digest, texts, out)
    partial = out / ".items.npy"
    np.save(partial, vectors)
    partial.rename(out / "items.npy")
    facts = {"items": len(vectors), "width": vectors.shape[1], "weights": digest}
    (out / "encoder.json").write_text(json.dumps(facts))
