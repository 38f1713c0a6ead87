"""Titles, descriptions, attributes and reviews → tokenised documents: the stage ``corpus``.

In: ``data/prepared``, ``data/valid/reviews.parquet``. Out: ``data/corpus``: ``tokens.npy`` (int32,
all sentences one after the other, opened memory-mapped), ``sentences.npy`` (int64 offsets),
``documents.npy`` (int64 offsets into the sentences), ``starts.npy`` (bool for each token: it
starts a word), ``held_out.npy`` (bool for each document), ``languages.npy`` (its ISO 639 code),
``tokenizer/`` and ``corpus.json``. A document is one product or one review; its adjacent sentences
are the pairs of next sentence prediction.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.feature_extraction.text import HashingVectorizer
from transformers import PreTrainedTokenizerBase

from components.arrays import BoolArray, Int32Array, Int64Array, TextArray
from components.data.dataset import Prepared, category_texts, item_text, load_prepared
from components.language.families import open_tokenizer
from components.language.languages import finding, fits
from components.progress import progress
from components.settings import Corpus as CorpusSettings
from components.settings import Settings
from components.words.languages import UNDETERMINED, catalogue_languages, languages_of
from components.words.segmentation import (
    SENTENCE_END,
    has_unspaced,
    normalise,
    shingles,
    simplified,
    width,
    word_places,
)

_BLOCK = 8192  # texts of which more than the text is in memory at once
_BANDS, _ROWS = 16, 4  # of the signatures: they find 99.98 % of pairs with Jaccard 0.8


@dataclass(frozen=True)
class Corpus:
    """tokens: int32. starts: bool (tokens,), those that start a word. sentences, documents: int64
    offsets. held_out: bool (documents,)."""

    tokens: Int32Array
    starts: BoolArray
    sentences: Int64Array
    documents: Int64Array
    held_out: BoolArray

    def sentence(self, index: int) -> Int32Array:
        return self.tokens[self.sentences[index] : self.sentences[index + 1]]


def load_corpus(folder: Path) -> Corpus:
    """Return the corpus of ``folder``, its tokens memory-mapped."""
    names = ("tokens", "starts", "sentences", "documents", "held_out")
    return Corpus(*(np.load(folder / f"{name}.npy", mmap_mode="r") for name in names))


def clean(texts: pd.Series) -> pd.Series:
    """Return texts in Unicode NFC, without control characters and repeated white space.

    HTML is plain text since ``ingest``, so a remaining ``a <3 and >2`` is no markup.
    """
    plain = texts.fillna("").str.normalize("NFC").str.replace(r"\s+", " ", regex=True)
    return plain.str.replace(r"[\x00-\x1f\x7f\ufffd]", "", regex=True).str.strip()


def distinct(texts: pd.Series, similarity: float) -> BoolArray:
    """Return bool (texts,): false for duplicates and near duplicates of an earlier text.

    Near duplicates: the cosine of their counts of shingles is at least ``similarity``. Only pairs
    are compared that share a band of a MinHash signature (Broder 1997; Leskovec, Rajaraman and
    Ullman, Mining of Massive Datasets, ch. 3), so time and memory grow with the texts.
    """
    normal = texts.map(normalise).map(simplified)
    keep = (~normal.duplicated()).to_numpy()
    if similarity >= 1:
        return keep
    rows = np.flatnonzero(keep & normal.str.strip().astype(bool).to_numpy())
    if not len(rows):
        return keep
    grams = HashingVectorizer(analyzer=shingles, n_features=2**20, alternate_sign=False)
    pairs = _candidate_pairs(normal.iloc[rows], grams)
    for start in progress(range(0, len(pairs), _BLOCK), desc="near duplicates", unit="block"):
        block = rows[pairs[start : start + _BLOCK]]
        texts_of, place = np.unique(block, return_inverse=True)
        counts = grams.transform(normal.iloc[texts_of])  # a text is in several pairs
        first, second = place.reshape(block.shape).T
        cosine = np.asarray(counts[first].multiply(counts[second]).sum(axis=1)).ravel()
        keep[block[cosine >= similarity, 1]] = False
    return keep


def _candidate_pairs(texts: pd.Series, grams: HashingVectorizer) -> Int64Array:
    """Return int64 (pairs, 2) of texts that share a band, the earlier text first.

    Each text of a band is paired with the band's first text and with the previous one.
    """
    random = np.random.default_rng(0)
    odd, shift = random.integers(0, 2**63, (2, _BANDS * _ROWS), dtype=np.uint64)
    odd = odd * np.uint64(2) + np.uint64(1)
    keys = np.empty((_BANDS, len(texts)), dtype=np.uint64)
    for start in progress(range(0, len(texts), _BLOCK), desc="signatures", unit="block"):
        matrix = grams.transform(texts.iloc[start : start + _BLOCK])
        seen = matrix.indices.astype(np.uint64)
        for band in range(_BANDS):
            key = np.zeros(matrix.shape[0], dtype=np.uint64)
            for one in range(band * _ROWS, (band + 1) * _ROWS):
                hashed = (seen * odd[one] + shift[one]) >> np.uint64(32)
                key = key * odd[0] + np.minimum.reduceat(hashed, matrix.indptr[:-1])
            keys[band, start : start + _BLOCK] = key
    found = []
    for key in keys:
        order = np.argsort(key, kind="stable")
        new = np.append(True, key[order][1:] != key[order][:-1])
        head = order[np.flatnonzero(new)[np.cumsum(new) - 1]]
        found.append(np.stack([head[~new], order[~new]], axis=1))
        found.append(np.stack([order[:-1][~new[1:]], order[~new]], axis=1))
    return np.unique(np.concatenate(found), axis=0)


def readable(reviews: pd.DataFrame, prepared: Prepared) -> BoolArray:
    """Return bool (reviews,): reviews that leak nothing about the validation and test windows.

    A dated review must be from before the validation window. A review without a date could be from
    any time: it is read unless its product is bought in the validation or the test window.
    """
    dated = reviews["timestamp"].notna().to_numpy()
    start = pd.Timestamp(prepared.validation_start, unit="s", tz="UTC")
    early = (reviews["timestamp"] < start).to_numpy()
    judged = prepared.interactions.split("validation", "test").items
    foreign = ~reviews["item_id"].isin(prepared.catalogue.ids[np.unique(judged)]).to_numpy()
    return np.where(dated, early, foreign)


def documents_of(items: pd.DataFrame, reviews: pd.DataFrame) -> pd.DataFrame:
    """Return heading, attributes and body of each product and review, cleaned.

    Only the shop's own attributes are used: an inferred category adds nothing to the title.
    """
    own = category_texts(items)
    attributes = clean(items["brand"]).str.cat(clean(own), sep=". ").str.strip(". ")
    products = {
        "heading": clean(items["title"]),
        "attributes": attributes,
        "body": clean(items["description"]),
    }
    opinions = {
        "heading": clean(reviews["title"]),
        "attributes": "",
        "body": clean(reviews["text"]),
    }
    return pd.concat([pd.DataFrame(products), pd.DataFrame(opinions)], ignore_index=True)


def held_out(texts: pd.Series, share: float) -> BoolArray:
    """Return bool (texts,): held-out texts, chosen by their hash and so the same in every run."""
    return pd.util.hash_pandas_object(texts, index=False).to_numpy() < share * 2.0**64


def sentences_of(documents: pd.DataFrame) -> pd.Series:
    """Return all sentences in order, indexed by their document's row."""
    body = documents["body"].map(SENTENCE_END.split).explode()
    parts = pd.concat([documents["heading"], documents["attributes"], body])
    return parts[parts != ""].sort_index(kind="stable")


def tokenise(
    tokenizer: PreTrainedTokenizerBase, sentences: pd.Series, max_length: int
) -> tuple[Int32Array, BoolArray, Int64Array, Int64Array]:
    """Return tokens int32, which of them start a word, lengths int64 (pieces,), and each piece's
    document.

    A sentence longer than ``max_length`` tokens is split into several pieces, not truncated.
    """
    blocks = list(_tokenised(tokenizer, sentences))
    tokens, starts, lengths = (np.concatenate(parts) for parts in zip(*blocks, strict=True))
    pieces = -(-lengths // max_length)  # of each sentence; none if it has no token
    owner = np.repeat(sentences.index.to_numpy(), pieces)
    last = np.cumsum(pieces)[pieces > 0] - 1
    cut = np.full(len(owner), max_length)
    cut[last] = (lengths - (pieces - 1) * max_length)[pieces > 0]
    return tokens, starts, cut, owner


def _tokenised(
    tokenizer: PreTrainedTokenizerBase, sentences: pd.Series
) -> Iterator[tuple[Int32Array, BoolArray, Int64Array]]:
    starts_word = starts_of_words(tokenizer)
    for start in progress(range(0, len(sentences), _BLOCK), desc="tokens", unit="block"):
        texts = sentences.iloc[start : start + _BLOCK].tolist()
        encoded = tokenizer(texts, add_special_tokens=False, return_attention_mask=False)
        ids = encoded["input_ids"]
        flat = np.fromiter((token for one in ids for token in one), dtype=np.int32)
        lengths = np.array([len(one) for one in ids], dtype=np.int64)
        starts, offsets = starts_word[flat], np.append(0, np.cumsum(lengths))
        for row, text in enumerate(texts):
            if has_unspaced(text):
                inside = slice(offsets[row], offsets[row + 1])
                starts[inside] = in_unspaced(text, encoded[row].offsets, starts[inside])
        yield flat, starts, lengths


def starts_of_words(tokenizer: PreTrainedTokenizerBase) -> BoolArray:
    """Return bool (vocabulary,): tokens that start a word, where spaces separate words.

    WordPiece marks tokens that continue a word (##); byte-level BPE and SentencePiece mark the
    space before a word (Ġ, ▁).
    """
    pieces = tokenizer.convert_ids_to_tokens(list(range(len(tokenizer))))
    kind = json.loads(tokenizer.backend_tokenizer.to_str())["model"]["type"]
    if kind == "WordPiece":
        return np.array([not piece.startswith("##") for piece in pieces])
    return np.array([piece.startswith(("Ġ", "Ċ", "▁")) for piece in pieces])


def in_unspaced(text: str, offsets: list[tuple[int, int]], marked: BoolArray) -> BoolArray:
    """Return bool (tokens,): those that start a word of a text with words without spaces.

    Whole-word masking of segmented words, as of Chinese BERT (Cui et al. 2019): a token starts a
    word if a segmented word starts in it. offsets: the characters of each token. marked: what the
    vocabulary says, which holds for the other words.
    """
    begins, inside = np.zeros((2, len(text) + 1), dtype=bool)
    for start, end in word_places(text):
        begins[start], inside[start:end] = True, True
    first = np.array([start for start, _ in offsets])
    last = np.maximum(first + 1, [end for _, end in offsets])
    found = np.array([begins[a:b].any() for a, b in zip(first, last, strict=True)], dtype=bool)
    # Of the byte tokens of one character, which have its offset, the first one starts the word.
    found &= np.append(True, first[1:] != first[:-1])[: len(found)]
    before = np.append(False, inside[:-1])[first]  # a word after one without a space
    return np.where(inside[first], found, marked | found | before)


def select(
    documents: pd.DataFrame, settings: CorpusSettings
) -> tuple[pd.DataFrame, TextArray, dict[str, int]]:
    """Return the selected documents, their languages, and the numbers of dropped ones by reason.

    With ``corpus.languages``, texts of an undetermined language are selected too: most short
    titles are undetermined.
    """
    texts = documents["heading"].str.cat([documents["attributes"], documents["body"]], sep=" ")
    long_enough = (texts.map(width) >= settings.min_characters).to_numpy()
    documents, texts = documents[long_enough], texts[long_enough]
    kept = distinct(texts, settings.near_duplicate_similarity)
    documents, texts = documents[kept], texts[kept]
    languages = languages_of(texts)
    wanted = np.isin(languages, [*settings.languages, UNDETERMINED]) | (not settings.languages)
    dropped = {
        "too short": int((~long_enough).sum()),
        "double": int((~kept).sum()),
        "other language": int((~wanted).sum()),
    }
    return documents[wanted].reset_index(drop=True), languages[wanted], dropped


def run(settings: Settings, root: Path) -> None:
    """The stage ``corpus``.

    Raises:
        ValueError: no text passes the filters.
    """
    s = settings.corpus
    prepared = load_prepared(root / "data/prepared")
    reviews = pd.read_parquet(root / "data/valid/reviews.parquet")
    allowed = readable(reviews, prepared)
    encoder = settings.pretrain.encoder
    products = pd.Series(item_text(prepared.catalogue.table)).drop_duplicates()
    spoken = catalogue_languages(products[products != ""])
    said = finding(encoder, spoken)
    print(said if fits(encoder, spoken) else f"warning: {said}")
    documents = documents_of(prepared.catalogue.table, reviews[allowed])
    documents, languages, dropped = select(documents, s)
    dropped["review of a judged window"] = int((~allowed).sum())
    if documents.empty:
        raise ValueError(
            "corpus: no text of corpus.min_characters or more, in a language of corpus.languages, "
            "in items and reviews"
        )
    texts = documents.agg(" ".join, axis=1)
    sentences = sentences_of(documents)
    tokenizer = open_tokenizer(encoder, sentences)
    tokens, starts, lengths, owner = tokenise(tokenizer, sentences, s.max_length)
    counts = np.bincount(owner, minlength=len(documents))
    arrays = {
        "tokens": tokens,
        "starts": starts,
        "sentences": np.append(0, np.cumsum(lengths)),
        "documents": np.append(0, np.cumsum(counts)),
        "held_out": held_out(texts, s.validation_share),
        "languages": languages,
    }
    partial, out = root / "data/.corpus", root / "data/corpus"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    for name, array in arrays.items():
        np.save(partial / f"{name}.npy", array)
    tokenizer.save_pretrained(partial / "tokenizer")
    facts = {
        "encoder": encoder,
        "documents": len(documents),
        "held out": int(arrays["held_out"].sum()),
        "sentences": len(lengths),
        "tokens": len(tokens),
        "languages": pd.Series(languages).value_counts().to_dict(),
        "dropped": dropped,
    }
    (partial / "corpus.json").write_text(json.dumps(facts, indent=2))
    shutil.rmtree(out, ignore_errors=True)
    partial.rename(out)
    print(json.dumps(facts, indent=2))
