"""Vectors of new products, with an encoder and by similar words."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from components.language.encoder import TextEncoder
from serving.models.new_product_vectors import NewProductVectors
from serving.recommend.engine import Engine
from serving.search import Search
from tests.encoders import write_small_encoder


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


def test_each_text_is_encoded_once(engine: Engine, tmp_path: Path) -> None:
    assert engine.vectors is not None
    search = Search(engine.model.catalogue.table, engine.vectors)
    encoder = TextEncoder(write_small_encoder(tmp_path / "encoder"), precision="fp32")
    encoded: list[int] = []  # texts of each batch that the model computes
    encoder.model.register_forward_hook(
        lambda model, args, inputs, output: encoded.append(len(inputs["input_ids"])),
        with_kwargs=True,
    )
    vectors = NewProductVectors(search, engine.vectors, encoder)
    first = vectors(products("a lamp", "a vase"))
    second = vectors(products("a vase", "a bowl", "a bowl"))
    assert sum(encoded) == 3
    assert second[0].tolist() == first[1].tolist()
    assert second[1].tolist() == second[2].tolist()
    distinct = np.vstack([first, second[1]])
    assert distinct == pytest.approx(encoder.encode(["a lamp", "a vase", "a bowl"]), abs=1e-5)
