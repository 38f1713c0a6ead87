"""Similarity before the head, from vectors after it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from components.arrays import FloatArray
from components.language.encoder import TextEncoder, whitening
from components.language.meaning import Meaning
from tests.encoders import PACKAGED, write_small_encoder

COLOURS = ["red", "blue", "green", "white", "black", "pink", "grey", "gold", "silver", "brown"]
THINGS = ["mug", "plate", "lamp", "candle", "scarf", "clock", "teapot", "vase", "towel", "mirror"]
USES = ["for the kitchen", "as a gift"]
TITLES = [f"{colour} {thing} {use}" for colour in COLOURS for thing in THINGS for use in USES]
QUERY = "a lamp of silver"


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> TextEncoder:
    folder = write_small_encoder(tmp_path_factory.mktemp("encoder"))
    return TextEncoder(folder, precision="fp32", device="cpu")


def with_head(encoder: TextEncoder, texts: list[str]) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Give the encoder a fine-tuned head; return the vectors before and after, and the query's."""
    before = encoder.encode(texts, with_head=False)
    encoder.head = whitening(before)
    with torch.no_grad():  # as training changes it, within the directions that it has
        weight = encoder.head.weight
        noise = torch.randn(weight.shape, generator=torch.Generator().manual_seed(0))
        change = 0.001 * noise @ weight
        change[weight.abs().sum(dim=1) == 0] = 0
        weight += change
    return before, encoder.encode(texts), encoder.encode([QUERY], with_head=False, kind="query")[0]


@pytest.mark.parametrize("products", [200, 40])
def test_cosines_are_those_before_the_head(encoder: TextEncoder, products: int) -> None:
    titles = TITLES[: products * 3 : 3] if products < 200 else TITLES
    if products < 200:  # fewer than the encoder's 384 dimensions: most are no part of the head
        encoder = TextEncoder(PACKAGED, precision="fp32", device="cpu")
    before, after, query = with_head(encoder, titles)
    cosines = before @ query
    found = Meaning(encoder, after, titles[:8]).cosines(QUERY)
    assert np.ptp(found - cosines) < 0.05 * np.ptp(cosines)  # up to a constant
    afterwards = after @ encoder.encode([QUERY], kind="query")[0]
    assert np.corrcoef(afterwards, cosines)[0, 1] < 0.9  # the head is not harmless here


def test_new_and_changed_products_are_as_if_they_had_been_there(encoder: TextEncoder) -> None:
    _, after, _ = with_head(encoder, TITLES)
    meaning = Meaning(encoder, after[:100], TITLES[:8])
    grown_vectors = np.vstack([after[:90], after[90:][::-1]])
    grown = meaning.extended(np.arange(90, 200), grown_vectors)
    whole = Meaning(encoder, grown_vectors, TITLES[:8]).cosines(QUERY)
    assert grown.cosines(QUERY) == pytest.approx(whole, abs=1e-5)
    again = grown.extended(np.empty(0, dtype=np.int64), after[:100])
    assert again.cosines(QUERY) == pytest.approx(meaning.cosines(QUERY), abs=1e-5)


def test_with_a_head_that_is_no_whitening_the_vectors_after_it_are_compared(
    encoder: TextEncoder,
) -> None:
    with_head(encoder, TITLES)
    assert encoder.head is not None
    with torch.no_grad():
        encoder.head.bias *= 3
    vectors = encoder.encode(TITLES)
    query = encoder.encode([QUERY], kind="query")[0]
    found = Meaning(encoder, vectors, TITLES[:8]).cosines(QUERY)
    assert found == pytest.approx(vectors @ query, abs=1e-6)


def test_without_a_head_the_vectors_are_compared_as_they_are(encoder: TextEncoder) -> None:
    encoder.head = None
    vectors = encoder.encode(TITLES)
    query = encoder.encode([QUERY], kind="query")[0]
    assert Meaning(encoder, vectors, []).cosines(QUERY) == pytest.approx(vectors @ query)


def test_a_vector_of_zero_has_no_meaning(encoder: TextEncoder) -> None:
    _, after, _ = with_head(encoder, TITLES)
    after = after.copy()
    after[3] = 0
    found = Meaning(encoder, after, TITLES[:8]).cosines(QUERY)
    assert np.isfinite(found).all()
