"""Data augmentation for small shops: synthetic categories, item texts and purchases.

In: the catalogue with its vectors, reviews, interactions. Out: rows that are marked as generated,
with a confidence and a weight, filtered by ``augment.min_confidence``. They are used for fitting
only; models are evaluated on the tables without them. ``ablation`` of ``benchmarks/augmentation``
measures the effect of each on the validation window.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from components.arrays import DoubleArray, FloatArray, IntArray, RealArray
from components.data.dataset import Catalogue, Interactions, item_text
from components.data.schema import EVENTS
from components.settings import Augment
from components.words.segmentation import SENTENCE_END

if TYPE_CHECKING:  # transformers is slow to import, and only some functions need it
    from components.language.encoder import TextEncoder

SHARPNESS = 20.0
"""Factor on the cosines before the softmax."""


def zero_shot(
    vectors: FloatArray, names: list[str], encoder: TextEncoder, examples: IntArray | None = None
) -> tuple[IntArray, FloatArray]:
    """Return label int (items,) and confidence float32 (items,) of items from their texts only.

    vectors: unit vectors (items, width) of ``encoder``. names: names of the labels. examples: int
    (items,) the known labels, -1 where unknown. A label's prototype is the mean of the vectors of
    its name and of its examples (Snell et al., NeurIPS 2017); without examples it is the vector of
    the name (Yin et al., EMNLP 2019). Confidence: softmax of the cosines.
    """
    prototypes: RealArray = encoder.encode(names)
    if examples is not None:
        known = examples >= 0
        sums = np.zeros_like(prototypes)
        np.add.at(sums, examples[known], vectors[known])
        counts = np.bincount(examples[known], minlength=len(names))[:, None]
        prototypes = prototypes + sums / np.maximum(counts, 1)
    prototypes /= np.maximum(np.linalg.norm(prototypes, axis=1, keepdims=True), 1e-12)
    logits = SHARPNESS * vectors @ prototypes.T  # (items, labels)
    odds = np.exp(logits - logits.max(axis=1, keepdims=True))
    label = logits.argmax(axis=1)
    return label, (odds.max(axis=1) / odds.sum(axis=1)).astype(np.float32)


def categories(catalogue: Catalogue, encoder: TextEncoder, settings: Augment) -> pd.DataFrame:
    """Return item (code), category, confidence and generated for items without a category.

    The labels are the catalogue's main categories. Empty if all items or no items have one.
    """
    if catalogue.vectors is None:
        raise ValueError("augment: categories need the items' vectors: run `bowerbird encode`")
    known, names = pd.factorize(catalogue.table["main_category"])
    rows = np.flatnonzero(known < 0)
    if not len(rows) or not len(names):
        return _marked({"item": rows[:0], "category": [], "confidence": []})
    label, confidence = zero_shot(catalogue.vectors, list(names), encoder, known)
    rows = rows[confidence[rows] >= settings.min_confidence]
    return _marked({"item": rows, "category": names[label[rows]], "confidence": confidence[rows]})


def summaries(reviews: pd.DataFrame, encoder: TextEncoder, sentences: int = 2) -> pd.DataFrame:
    """Return item_id, text, confidence and generated: the central sentences of an item's reviews.

    Centroid summarisation (Radev et al. 2004) over sentence vectors: the sentences nearest to the
    mean of the product's sentences, in their original order. Confidence: their mean cosine to it.
    """
    parts = reviews["text"].fillna("").map(SENTENCE_END.split)
    flat = pd.DataFrame({"item_id": reviews["item_id"], "text": parts}).explode("text")
    flat = flat[flat["text"].str.len() > 0].reset_index(drop=True)
    if flat.empty:
        return _marked({"item_id": [], "text": [], "confidence": []})
    item, ids = pd.factorize(flat["item_id"])
    vectors = encoder.encode(flat["text"].tolist(), progress=True)
    centre = np.zeros((len(ids), vectors.shape[1]), dtype=np.float32)
    np.add.at(centre, item, vectors)
    centre /= np.maximum(np.linalg.norm(centre, axis=1, keepdims=True), 1e-12)
    flat["confidence"] = (vectors * centre[item]).sum(axis=1)
    flat = flat.drop_duplicates(["item_id", "text"])
    best = flat.sort_values("confidence", ascending=False, kind="stable")
    best = best.groupby("item_id", sort=False).head(sentences).sort_index()
    made = best.groupby("item_id", sort=False).agg({"text": " ".join, "confidence": "mean"})
    return _marked(made.reset_index())


def purchases(
    train: Interactions, catalogue: Catalogue, settings: Augment, seed: int
) -> tuple[Interactions, pd.DataFrame]:
    """Return ``train`` with synthetic purchases of rare items, and a table of the synthetic ones.

    An item with fewer than ``augment.rare`` purchases gets the newest buyers of the item with the
    most similar text, at most ``augment.per_item``, if the cosine is at least
    ``augment.min_confidence``. The weight of a synthetic purchase is ``augment.weight`` times its
    confidence: it is added with that probability, so that the weight affects every model. Columns:
    user, item, time, confidence, weight, generated.
    """
    if catalogue.vectors is None:
        raise ValueError("augment: purchases need the items' vectors: run `bowerbird encode`")
    bought = train.successes().counted()
    sold = np.bincount(bought.items, minlength=train.n_items)
    rare, rich = np.flatnonzero(sold < settings.rare), np.flatnonzero(sold >= settings.rare)
    if not len(rare) or not len(rich):
        return train, _marked({"user": [], "item": [], "time": [], "confidence": []})
    near = np.concatenate(
        [
            _best(catalogue.vectors[rare[start : start + 1024]], catalogue.vectors[rich])
            for start in range(0, len(rare), 1024)
        ],
        axis=1,
    )  # (2, rare): the most similar frequent item, and the cosine
    twin, cosine = rich[near[0].astype(np.int64)], near[1]
    sure = cosine >= settings.min_confidence
    rare, twin, cosine = rare[sure], twin[sure], cosine[sure]
    # The events of each item, newest first: a slice of one order.
    order = np.lexsort((-bought.times, bought.items))
    starts = np.concatenate([[0], np.cumsum(sold)])
    counts = np.minimum(sold[twin], settings.per_item)
    owner = np.repeat(np.arange(len(rare)), counts)
    inside = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    events = order[starts[twin][owner] + inside]
    made = pd.DataFrame(
        {
            "user": bought.users[events],
            "item": rare[owner].astype(np.int32),
            "time": bought.times[events],
            "confidence": cosine[owner].astype(np.float32),
        }
    ).drop_duplicates(["user", "item"])
    made["weight"] = (settings.weight * made["confidence"]).clip(0, 1)
    made = made[np.random.default_rng(seed).random(len(made)) < made["weight"]]
    return _joined(train, made), _marked(made)


def with_summaries(catalogue: Catalogue, made: pd.DataFrame, settings: Augment) -> list[str]:
    """Return the items' texts, with confident summaries for items without a description."""
    sure = made[made["confidence"] >= settings.min_confidence].set_index("item_id")["text"]
    bare = catalogue.table["description"].fillna("").eq("")
    more = catalogue.table["item_id"].map(sure).where(bare).fillna("").str.lower()
    texts = item_text(catalogue.table)
    return [f"{one}. {extra}".rstrip(". ") for one, extra in zip(texts, more, strict=True)]


def _best(rows: FloatArray, others: FloatArray) -> DoubleArray:
    """Return (2, rows): the row of ``others`` with the highest cosine, and that cosine."""
    near = rows @ others.T
    return np.stack([near.argmax(axis=1), near.max(axis=1)])


def _joined(train: Interactions, made: pd.DataFrame) -> Interactions:
    n = len(made)
    nan = np.full(n, np.nan, dtype=np.float32)
    pairs = (
        (train.users, made["user"]),
        (train.items, made["item"]),
        (train.times, made["time"]),
        (train.events, np.full(n, EVENTS.index("purchase"))),
        (train.quantities, np.ones(n)),
        (train.prices, nan),
        (train.ratings, nan),
        (train.splits, np.zeros(n)),
    )
    optional = ("weights", "strengths", "targets", "excluding")
    given = {name: getattr(train, name) for name in optional if getattr(train, name) is not None}
    columns = [np.append(old, np.asarray(new, dtype=old.dtype)) for old, new in pairs]
    order = np.lexsort((columns[2], columns[0]))
    users, items, times, events, quantities, prices, ratings, splits = (
        column[order] for column in columns
    )
    return Interactions(
        *(users, items, times, events, quantities, prices, ratings, splits),
        n_users=train.n_users,
        n_items=train.n_items,
        attributes=train.attributes,
        **{
            name: np.append(array, np.ones(n, dtype=array.dtype))[order]
            for name, array in given.items()
        },
    )


def _marked(made: object) -> pd.DataFrame:
    return pd.DataFrame(made).assign(generated=True)
