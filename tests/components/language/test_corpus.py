"""The corpus: clean, without doubles, split by text and not by chance."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.language import corpus
from components.language.families import open_tokenizer
from components.settings import Settings


@pytest.fixture(scope="module")
def built(small_shop, tmp_path_factory):
    """data/corpus of the small shop."""
    source, settings = small_shop
    root = tmp_path_factory.mktemp("corpus")
    (root / "data").symlink_to(source / "data")
    corpus.run(settings, root)
    return root, settings


def test_markup_and_white_space_go() -> None:
    texts = pd.Series(["<b>Red</b>&amp;  blue\n", None])
    assert corpus.clean(texts).tolist() == ["Red & blue", ""]


def test_near_doubles_are_found_and_the_first_stays() -> None:
    texts = pd.Series(
        [
            "white hanging heart t-light holder",
            "White Hanging Heart T-Light Holder",
            "white hanging heart t-light holders",
            "red woolly hottie white heart",
        ]
    )
    assert corpus.distinct(texts, 0.9).tolist() == [True, False, False, True]
    assert corpus.distinct(texts, 1.0).tolist() == [True, False, True, True]


@given(st.lists(st.text(max_size=30), max_size=12), st.floats(0.5, 1))
def test_distinct_keeps_one_of_each_text(texts: list[str], similarity: float) -> None:
    series = pd.Series(texts, dtype=str)
    kept = corpus.distinct(series, similarity)
    assert len(kept) == len(texts)
    left = series[kept].str.lower()
    assert not left.duplicated().any()
    assert not texts or kept[0]


def test_what_is_held_out_depends_on_the_text_alone() -> None:
    texts = [f"text number {n}" for n in range(4000)]
    chosen = [corpus.held_out(text, 0.05) for text in texts]
    assert chosen == [corpus.held_out(text, 0.05) for text in texts]
    assert np.mean(chosen) == pytest.approx(0.05, abs=0.015)
    more = [corpus.held_out(text, 0.2) for text in texts]
    assert all(big for small, big in zip(chosen, more, strict=True) if small)


def test_the_stored_tokens_are_the_texts(built) -> None:
    root, settings = built
    loaded = corpus.load_corpus(root / "data/corpus")
    assert isinstance(loaded.tokens, np.memmap)
    tokenizer = open_tokenizer(settings.pretrain.encoder, [])
    text = " ".join(
        tokenizer.decode(loaded.sentence(row))
        for row in range(loaded.documents[0], loaded.documents[1])
    )
    items = pd.read_parquet(root / "data/prepared/items.parquet")
    assert text == corpus.clean(items["title"])[0].lower()
    assert loaded.sentences[-1] == len(loaded.tokens)
    assert loaded.documents[-1] == len(loaded.sentences) - 1
    assert len(loaded.held_out) == len(loaded.documents) - 1
    lengths = np.diff(loaded.sentences)
    assert (lengths > 0).all()
    assert (lengths <= settings.corpus.max_length).all()


def test_without_any_text_it_says_so(built, tmp_path, settings: Settings) -> None:
    root, small = built
    strict = small.corpus.model_copy(update={"min_characters": 100_000})
    with pytest.raises(ValueError, match="min_characters"):
        corpus.run(small.model_copy(update={"corpus": strict}), root)
