"""Vectors of new products, with an encoder and by similar words."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from serving.models.new_product_vectors import NewProductVectors
from serving.recommend.engine import Engine
from serving.search import Search


class CountingEncoder:
    """Encodes a text as its length, and counts the texts."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def encode(self, texts: list[str]) -> np.ndarray:
        self.texts += texts
        return np.array([[len(text), 1.0] for text in texts], dtype=np.float32)


def products(*titles: str) -> pd.DataFrame:
    n = len(titles)
    return pd.DataFrame(
        {
            "title": titles,
            "description": [None] * n,
            "brand": [None] * n,
            "categories": [[] for _ in titles],
            "categories_inferred": [False] * n,
        }
    )


def test_without_an_encoder_similar_words_give_the_vector(engine: Engine) -> None:
    assert engine.vectors is not None
    search = Search(engine.model.catalogue.table, engine.vectors)
    known = engine.titles[7]
    found = NewProductVectors(search, engine.vectors, None)(products(known, "xqzwv kjhgf"))
    assert found.shape == (2, engine.vectors.shape[1])
    assert np.linalg.norm(found[0]) == pytest.approx(1)
    # Nearer to the product of the same words than to nearly all others.
    nearness = np.asarray(engine.vectors) @ found[0]
    assert (nearness > nearness[7]).mean() < 0.05
    assert not found[1].any()  # no product is similar


def test_each_text_is_encoded_once(engine: Engine) -> None:
    assert engine.vectors is not None
    search = Search(engine.model.catalogue.table, engine.vectors)
    encoder = CountingEncoder()
    vectors = NewProductVectors(search, engine.vectors, encoder)
    first = vectors(products("a lamp", "a vase"))
    second = vectors(products("a vase", "a bowl", "a bowl"))
    assert len(encoder.texts) == len(set(encoder.texts)) == 3
    assert second[0].tolist() == first[1].tolist()
    assert second[1].tolist() == second[2].tolist()
