"""``Words``: each language's stems, catalogues of several languages, the same after saving."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.words.analyser import Words
from components.words.languages import catalogue_languages, shares
from components.words.stems import is_function_word, stem, stemmer, stop_words
from tests.components.words.test_segmentation import SCRIPTS

PAIRS = {
    "en": ("mugs", "mug"),
    "de": ("Häuser", "haus"),
    "fr": ("théières", "théière"),
    "es": ("sillones", "sillón"),
    "it": ("tazze", "tazza"),
    "pt": ("xícaras", "xícara"),
    "nl": ("kopjes", "kopje"),
    "sv": ("kopparna", "kopparnas"),
    "pl": ("kubki", "kubkami"),
    "ru": ("чайники", "чайник"),
    "tr": ("çaydanlıklar", "çaydanlık"),
    "ko": ("찻주전자를", "찻주전자"),
    "zh": ("茶壺", "茶壶"),
}
ENGLISH = ["Red mug with a handle", "Blue teapot with flowers", "Set of six white plates"] * 10
GERMAN = ["Rote Tasse mit Henkel", "Blaue Teekanne mit Blumen", "Sechs weiße Teller"] * 10
CHINESE = ["日式手绘陶瓷马克杯 350ml 带盖勺", "紫砂茶壺 功夫茶具", "实木台灯"] * 10


@pytest.mark.parametrize("language", PAIRS)
def test_forms_of_a_word_have_one_stem(language: str) -> None:
    words = Words({language: 1.0})
    forms = [words.alternatives(form) for form in PAIRS[language]]
    assert forms[0] == forms[1]


@given(SCRIPTS)
def test_texts_and_queries_have_the_same_words(text: str) -> None:
    words = Words({"zh": 0.6, "en": 0.4})
    (found,) = words.of_texts([text], for_search=True)
    assert set(words.of_query(text).terms) <= set(found)


@given(SCRIPTS, st.sampled_from(["de", "ja", "zh", "th", "ko", "ru", "hi", "ar", "vi"]))
def test_a_saved_analyser_is_the_same(text: str, language: str) -> None:
    words = Words({language: 0.7, "en": 0.3})
    again = Words(**json.loads(json.dumps(words.config())))
    assert list(again.of_texts([text])) == list(words.of_texts([text]))
    assert again.of_query(text) == words.of_query(text)


def test_english_vectors_have_the_words_as_they_are_and_search_their_stems() -> None:
    words = Words.of(ENGLISH)
    assert words.languages == {"en": 1.0}
    assert list(words.of_texts(["Mugs, 2 CAFÉS"])) == [["mugs", "2", "cafes"]]
    assert list(words.of_texts(["Mugs"], for_search=True)) == [["mug"]]


def test_a_catalogue_of_several_languages_is_one_catalogue() -> None:
    words = Words.of([*ENGLISH, *GERMAN, *CHINESE])
    assert set(words.languages) == {"en", "de", "zh"}
    assert words.language("rote tasse mit henkel und deckel") == "de"
    assert words.language("a red mug with a handle") == "en"
    texts = list(words.of_texts([ENGLISH[0], GERMAN[2], CHINESE[1]], for_search=True))
    for query, place in (("mugs", 0), ("Tellern", 1), ("weisse", 1), ("茶壶", 2), ("壺", 2)):
        met = [bool({*words.of_query(query).content} & {*text}) for text in texts]
        assert met == [one == place for one in range(3)], query


def test_stop_words_and_numbers_meet_nothing_but_alone() -> None:
    german = Words({"de": 1.0})
    assert german.of_query("Tasse mit 2 Henkeln").content == ["tass", "henkel"]
    assert german.of_query("mit").content == ["mit"]
    assert german.of_query("2").content == ["2"]
    assert Words({"zh": 1.0}).of_query("带盖的茶壶").content == ["带盖", "茶壶"]


def test_without_a_language_words_are_english() -> None:
    assert Words.of([]).languages == {"en": 1.0}
    assert Words.of(["", "X1"]).languages


def test_stop_words_are_normalised_and_of_many_languages() -> None:
    assert len(stop_words("th")) > 50
    assert stop_words("xx") == frozenset()
    assert is_function_word("nicht")
    assert not is_function_word("teapot")
    assert stemmer("xx")("café") == "cafe"


def test_stemming_is_safe_in_several_threads() -> None:
    german = stemmer("de")
    words = [f"{first}{last}" for first in ("Haus", "Baum", "Tass") for last in ("en", "e", "ern")]
    alone = [german(word.lower()) for word in words]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(german, [word.lower() for word in words] * 300))
    assert together == alone * 300


def test_a_stem_of_english_is_harmans() -> None:
    assert [stem(word) for word in ("pens", "bus", "dress", "parties")] == [
        *("pen", "bus", "dress"),
        "party",
    ]


@pytest.mark.parametrize(
    ("titles", "language"),
    [
        (["日式手绘陶瓷马克杯 350ml 带盖勺", "紫砂茶壺", "iPhone 15 手机壳"], "zh"),
        (["陶器の急須", "茶碗", "コーヒーカップ", "ガラス花瓶"], "ja"),
        (["찻주전자", "커피잔 세트"], "ko"),
        (["ชุดถ้วยกาแฟ", "กาน้ำชา"], "th"),
    ],
)
def test_short_titles_of_a_script_have_its_language(titles: list[str], language: str) -> None:
    import pandas as pd

    assert shares(catalogue_languages(pd.Series(titles * 5))) == {language: 1.0}


def test_a_kana_makes_no_japanese_of_a_chinese_title() -> None:
    words = Words({"zh": 0.9, "en": 0.1})
    (title,) = words.of_texts(["紫砂茶壶の礼盒"], for_search=True)
    assert words.alternatives("礼盒")[0][0] in title
    japanese = Words({"ja": 1.0})
    (title,) = japanese.of_texts(["有田焼の急須セット"], for_search=True)
    assert japanese.alternatives("急須")[0][0] in title
