"""Titles, descriptions and reviews → tokenised documents: the stage ``corpus``.

In: ``data/prepared/items.parquet``, ``data/valid/reviews.parquet``. Out: ``data/corpus``:
``tokens.npy`` (int32, all sentences one after the other, opened memory-mapped), ``sentences.npy``
(int64 offsets), ``documents.npy`` (int64 offsets into the sentences), ``held_out.npy`` (bool for
each document) and ``corpus.json``. A document is one product or one review.
"""

from __future__ import annotations

import hashlib
import html
import json
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.feature_extraction.text import HashingVectorizer
from tqdm import tqdm

from components.language.families import open_tokenizer
from components.settings import Corpus as CorpusSettings
from components.settings import Settings

_SENTENCE_END = re.compile(r"(?<=[.!?])\s+(?=\S)")


@dataclass(frozen=True)
class Corpus:
    """tokens: int32. sentences, documents: int64 offsets. held_out: bool (documents,)."""

    tokens: np.ndarray
    sentences: np.ndarray
    documents: np.ndarray
    held_out: np.ndarray

    def sentence(self, index: int) -> np.ndarray:
        return self.tokens[self.sentences[index] : self.sentences[index + 1]]


def load_corpus(folder: Path) -> Corpus:
    """Return the corpus of ``folder``, its tokens memory-mapped."""
    names = ("tokens", "sentences", "documents", "held_out")
    return Corpus(*(np.load(folder / f"{name}.npy", mmap_mode="r") for name in names))


def clean(texts: pd.Series) -> pd.Series:
    """Return texts without markup and without doubled white space."""
    plain = texts.fillna("").map(html.unescape)
    return plain.str.replace(r"<[^>]*>|\s+", " ", regex=True).str.strip()


def distinct(texts: pd.Series, similarity: float, block: int = 2048) -> np.ndarray:
    """Return bool (texts,): false where an earlier text is the same or nearly so.

    Near: the cosine of their counts of character 5-grams is at least ``similarity``. Only texts
    of a like length can be, so each is compared with its neighbours by length.
    """
    keep = (~texts.str.lower().duplicated()).to_numpy()
    if similarity >= 1 or not keep.any():
        return keep
    rows = np.flatnonzero(keep)
    order = rows[np.argsort(texts.str.len().to_numpy()[rows], kind="stable")]
    grams = HashingVectorizer(
        analyzer="char_wb", ngram_range=(5, 5), n_features=2**18, alternate_sign=False
    ).transform(texts.iloc[order].str.lower())
    for start in tqdm(range(0, len(order), block), desc="near duplicates", unit="block"):
        window = grams[start : start + 2 * block]
        alike = (grams[start : start + block] @ window.T).tocoo()
        near = (alike.data >= similarity) & (alike.row < alike.col)
        pairs = order[start + alike.row[near]], order[start + alike.col[near]]
        keep[np.maximum(*pairs)] = False
    return keep


def documents_of(items: pd.DataFrame, reviews: pd.DataFrame, settings: CorpusSettings) -> pd.Series:
    """Return one text for each product and review, cleaned, without doubles."""
    parts = [
        clean(items["title"]).str.cat(clean(items["description"]), sep=". ").str.rstrip(". "),
        clean(reviews["title"]).str.cat(clean(reviews["text"]), sep=". ").str.lstrip(". "),
    ]
    texts = pd.concat(parts, ignore_index=True)
    texts = texts[texts.str.len() >= settings.min_characters].reset_index(drop=True)
    kept = distinct(texts, settings.near_duplicate_similarity)
    return texts[kept].reset_index(drop=True)


def held_out(text: str, share: float) -> bool:
    """Return whether a text is validation data: by its hash, so the same in every run."""
    digest = hashlib.blake2b(text.encode(), digest_size=8).digest()
    return int.from_bytes(digest) < share * 2**64


def run(settings: Settings, root: Path) -> None:
    """The stage ``corpus``.

    Raises:
        ValueError: no text is left.
    """
    items = pd.read_parquet(root / "data/prepared/items.parquet")
    reviews = pd.read_parquet(root / "data/valid/reviews.parquet")
    texts = documents_of(items, reviews, settings.corpus)
    if texts.empty:
        raise ValueError("corpus: no text of corpus.min_characters or more in items and reviews")
    tokenizer = open_tokenizer(settings.pretrain.encoder, texts)
    split = [_SENTENCE_END.split(text) for text in texts]
    flat = [sentence for sentences in split for sentence in sentences]
    encoded = tokenizer(
        flat,
        add_special_tokens=False,
        truncation=True,
        max_length=settings.corpus.max_length,
        return_attention_mask=False,
    )["input_ids"]
    lengths = np.array([len(ids) for ids in encoded])
    counts = np.array([len(sentences) for sentences in split])
    partial, out = root / "data/.corpus", root / "data/corpus"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    tokens = np.concatenate([np.asarray(ids, dtype=np.int32) for ids in encoded])
    np.save(partial / "tokens.npy", tokens)
    np.save(partial / "sentences.npy", np.concatenate([[0], np.cumsum(lengths)]))
    np.save(partial / "documents.npy", np.concatenate([[0], np.cumsum(counts)]))
    share = settings.corpus.validation_share
    np.save(partial / "held_out.npy", np.array([held_out(text, share) for text in texts]))
    tokenizer.save_pretrained(partial / "tokenizer")
    facts = {
        "documents": len(texts),
        "dropped": len(items) + len(reviews) - len(texts),
        "sentences": len(flat),
        "tokens": len(tokens),
    }
    (partial / "corpus.json").write_text(json.dumps(facts, indent=2))
    shutil.rmtree(out, ignore_errors=True)
    partial.rename(out)
    print(", ".join(f"{value:,} {name}" for name, value in facts.items()))
