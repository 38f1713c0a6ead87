"""Texts → unit vectors, by a transformer with or without a fine-tuned head.

In: texts and an encoder's folder or name. Out: float32 (texts, width), and a cache of them keyed by
content, so that only texts that changed are encoded again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
import torch
from safetensors.torch import load_file, save_file
from torch.nn import functional as F
from transformers import AutoModel, AutoTokenizer

from components.arrays import AnyArray, FloatArray, Int64Array
from components.device import best_device, fast_at_bf16
from components.language.families import locate, save_model, weights_digest
from components.language.int8 import Int8Encoder
from components.language.prompts import Kind, read_prompts
from components.progress import progress as with_progress

HEAD = "head.safetensors"


Precision = Literal["auto", "fp32", "bf16", "int8"]


class TextEncoder:
    """Sentence encoder: the mean of the last layer over a text's tokens (Reimers and Gurevych
    2019), through the fine-tuned linear head if there is one, normalised to length 1. A model that
    was trained with prompts reads the one of the texts' kind before each text.

    name: a folder or a name that ``families.locate`` knows. precision: of the computation; auto is
    bf16 if the device is fast at it; int8 is faster on a CPU, and runs on none else (``int8.py``).
    training: leave the weights in fp32, so that they can be trained (under autocast). device: of
    model and head; by default a GPU if there is one.
    """

    def __init__(
        self,
        name: str | Path,
        max_length: int = 64,
        batch_tokens: int = 2048,
        precision: Precision = "auto",
        training: bool = False,
        device: torch.device | str | None = None,
    ) -> None:
        place = locate(str(name))
        self.tokenizer = AutoTokenizer.from_pretrained(place)
        self.prompts = read_prompts(place)
        in_integers = precision == "int8" and not training
        self.device = torch.device("cpu" if in_integers else device or best_device())
        # PyTorch's fused attention has a slow backward pass on a CPU: a step takes 1.4 times as
        # long.
        eager = training and self.device.type == "cpu"
        attention = {"attn_implementation": "eager"} if eager else {}
        self.model = AutoModel.from_pretrained(place, dtype=torch.float32, **attention).eval()
        self.integers = Int8Encoder(self.model) if in_integers else None
        # The session of int8 has its own copy of the weights.
        self.model = self.model.to("meta" if in_integers else self.device)
        self.fast = precision == "bf16" or (precision == "auto" and fast_at_bf16(self.device))
        if self.fast and not training and self.integers is None:
            self.model = self.model.bfloat16()
        self.precision: Precision = "int8" if self.integers else "bf16" if self.fast else "fp32"
        self.max_length, self.batch_tokens = max_length, batch_tokens
        self.width = int(self.model.config.hidden_size)
        self.head: torch.nn.Linear | None = None
        file = Path(place) / HEAD
        if file.exists():
            self.head = linear(**load_file(file)).to(self.device)

    def encode(
        self,
        texts: list[str],
        progress: bool = False,
        with_head: bool = True,
        kind: Kind = "document",
    ) -> FloatArray:
        """Return float32 (texts, width) of length 1."""
        if not texts:  # tokenizers fail
            return np.zeros((0, self.width), dtype=np.float32)
        ids = self._ids(list(dict.fromkeys(texts)), kind)
        row = {text: n for n, text in enumerate(dict.fromkeys(texts))}
        out = np.zeros((len(ids), self.width), dtype=np.float32)
        batches = self._batches(ids, self.batch_tokens)
        mixed = self.fast and self.integers is None and self.model.dtype == torch.float32
        for rows in with_progress(batches, desc="encoding", unit="batch", disable=not progress):
            with torch.inference_mode():
                with torch.autocast(self.device.type, torch.bfloat16, enabled=mixed):
                    found = self._means([ids[n] for n in rows])
                out[rows] = (self.project(found) if with_head else found).float().cpu().numpy()
        return out[[row[text] for text in texts]]

    def before_head(self, texts: list[str], kind: Kind = "document") -> torch.Tensor:
        """Return float32 (texts, width) of length 1, without the head, with gradients."""
        ids = self._ids(texts, kind)
        batches = self._batches(ids, CHUNK)
        found = torch.cat([self._means([ids[n] for n in rows]) for rows in batches])
        return found[self.tensor(np.argsort(np.concatenate(batches), kind="stable"))]

    def tensor(self, array: AnyArray) -> torch.Tensor:
        """Return ``array`` on the encoder's device; on a CPU, the tensor shares its memory."""
        return torch.from_numpy(array).to(self.device)

    def project(self, vectors: torch.Tensor) -> torch.Tensor:
        """Return (texts, width) of length 1: the vectors through the head, if there is one."""
        return vectors if self.head is None else F.normalize(self.head(vectors), dim=1)

    def save(self, folder: Path) -> None:
        """Write model, tokenizer, prompts and head to ``folder``."""
        save_model(self.model, self.tokenizer, folder, self.prompts)
        if self.head is not None:
            state = self.head.state_dict()
            save_file({name: one.contiguous() for name, one in state.items()}, folder / HEAD)

    def _ids(self, texts: list[str], kind: Kind) -> list[list[int]]:
        prompt = self.prompts[kind]
        return self.tokenizer(
            [f"{prompt}{text}" for text in texts],
            truncation=True,
            max_length=self.max_length,
            return_attention_mask=False,
            return_token_type_ids=False,
        )["input_ids"]

    @staticmethod
    def _batches(ids: list[list[int]], tokens: int) -> list[Int64Array]:
        """Yield batches of rows with similar lengths, at most ``tokens`` each, padding included."""
        lengths = np.maximum([len(one) for one in ids], 1)
        order = np.argsort(-lengths, kind="stable")
        batches, start = [], 0
        while start < len(order):
            end = start + max(1, tokens // lengths[order[start]])
            batches.append(order[start:end])
            start = end
        return batches

    def _means(self, ids: list[list[int]]) -> torch.Tensor:
        """Return float32 (texts, width): the mean over the tokens, of length 1."""
        lengths = np.array([len(one) for one in ids])
        there = np.arange(lengths.max(initial=0)) < lengths[:, None]
        padded = np.full(there.shape, self.tokenizer.pad_token_id or 0, dtype=np.int32)
        padded[there] = np.concatenate(ids)
        if self.integers is not None:
            return F.normalize(torch.from_numpy(self.integers.means(padded, lengths)), dim=1)
        mask = self.tensor(there.astype(np.int64))
        # Without padding there is nothing to mask, and attention is faster.
        given = None if there.all() else mask
        hidden = self.model(input_ids=self.tensor(padded), attention_mask=given).last_hidden_state
        weight = mask[..., None].float()  # (texts, length, 1)
        return F.normalize((hidden.float() * weight).sum(dim=1), dim=1)


CHUNK = 1024
"""Tokens of a batch in training."""


def linear(weight: torch.Tensor, bias: torch.Tensor) -> torch.nn.Linear:
    """Return the layer of weight (out, in) and bias (out,)."""
    layer = torch.nn.Linear(weight.shape[1], weight.shape[0])
    layer.load_state_dict({"weight": weight, "bias": bias})
    return layer


def whitening(vectors: FloatArray) -> torch.nn.Linear:
    """Return the layer that makes the coordinates of ``vectors`` (texts, width) uncorrelated.

    Vectors of language models lie in a narrow cone; whitening spreads them (Su et al. 2021). The
    result is scaled so that a vector has a length of about one.
    """
    centre = vectors.mean(axis=0, dtype=np.float64)
    # R of QR has the singular values and right vectors of the whole; the left ones are not needed.
    _, scale, axes = np.linalg.svd(np.linalg.qr(vectors - centre, mode="r"), full_matrices=False)
    used = scale > 1e-3 * max(scale[0], 1e-12)
    weight = np.zeros((vectors.shape[1],) * 2)
    weight[: used.sum()] = axes[used] / scale[used, None] * np.sqrt(len(vectors) / used.sum())
    return linear(torch.from_numpy(weight).float(), torch.from_numpy(-weight @ centre).float())


def encoder_digest(name: str | Path) -> str:
    """Return a digest of an encoder's weights, those of the head included."""
    head = Path(locate(str(name))) / HEAD
    own = hashlib.blake2b(head.read_bytes(), digest_size=16).hexdigest() if head.exists() else ""
    return weights_digest(str(name)) + own


def encode_cached(
    encoder: TextEncoder,
    digest: str,
    texts: list[str],
    folder: Path,
    encode: Callable[[list[str]], FloatArray] | None = None,
) -> FloatArray:
    """Return the vectors of ``texts``, encoding only those that ``folder`` has not cached.

    digest: of the encoder's weights. Cached vectors of other weights, another precision, another
    maximum length or another prompt are not used. encode: as ``encoder.encode``, but elsewhere.
    """
    way = f"{digest} {encoder.precision} {encoder.max_length} {encoder.prompts['document']}"
    keys = np.array(
        [hashlib.blake2b(f"{way}{text}".encode(), digest_size=16).hexdigest() for text in texts]
    )
    file = folder / "cache.npz"
    width = encoder.width
    known, vectors = np.empty(0, dtype="U32"), np.empty((0, width), dtype=np.float32)
    if file.exists():
        with np.load(file) as saved:
            known, vectors = saved["keys"], saved["vectors"]
    wanted, first = np.unique(keys, return_index=True)
    missing = ~np.isin(wanted, known)
    if missing.any():
        encode = encode or partial(encoder.encode, progress=True)
        fresh = encode([texts[row] for row in first[missing]])
        known, vectors = np.append(known, wanted[missing]), np.vstack([vectors, fresh])
    place = pd.Index(known).get_indexer(keys)
    used = np.isin(known, keys)
    folder.mkdir(parents=True, exist_ok=True)
    unfinished = folder / ".cache.npz"
    np.savez(unfinished, keys=known[used], vectors=vectors[used])
    unfinished.rename(file)
    print(f"{len(texts):,} products, {int(missing.sum()):,} texts encoded")
    return vectors[place]
