"""TF-IDF: cosine of the words, all items of a larger catalogue, no item without a word."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from components.data.dataset import Catalogue, Histories
from components.recommenders.models.tfidf import TFIDF, word_vectors
from components.settings import TFIDF as Settings


def catalogue(*titles: str) -> Catalogue:
    table = pd.DataFrame({"title": list(titles), "brand": None, "description": None})
    return Catalogue(table.assign(categories=[[]] * len(titles), categories_inferred=False))


def test_scores_are_cosines_with_the_history() -> None:
    shop = catalogue("red mug", "blue mug", "red scarf", "kite")
    model = TFIDF(Settings(decay=1.0)).fit(None, shop)  # type: ignore[arg-type]
    vectors = word_vectors(["red mug", "blue mug", "red scarf", "kite"]).toarray()
    scores = model.score(Histories.from_lists([[0]]))[0]
    np.testing.assert_allclose(scores, vectors @ vectors[0], atol=1e-6)
    assert scores[3] == 0
    assert model.score(Histories.from_lists([[]])).tolist() == [[0, 0, 0, 0]]


def test_new_items_have_vectors_of_their_own() -> None:
    model = TFIDF(Settings()).fit(None, catalogue("red mug", "kite"))  # type: ignore[arg-type]
    grown = model.extended(catalogue("red mug", "kite", "green kite"))
    scores = grown.score(Histories.from_lists([[1]]))[0]
    assert scores[2] > scores[0]
    assert model.matrix.shape[0] == 2  # the model itself stays as it was


def test_without_any_word_it_says_what_is_missing() -> None:
    with pytest.raises(ValueError, match="titles"):
        TFIDF(Settings()).fit(None, catalogue("", "-"))  # type: ignore[arg-type]
