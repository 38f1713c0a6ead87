"""Words of shoppers in five languages become words of an English catalogue, or of none."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pandas as pd
import pytest

from components.recommenders.models.rules import Items
from components.understanding.dictionary import Dictionary, activities, kinds
from components.understanding.terms import PhraseVectors, Term, Terms, phrases_of
from components.understanding.utterances import languages

TITLES = [
    "RED RETROSPOT MUG",
    "HOT WATER BOTTLE TEA AND SYMPATHY",
    "WOODEN PICTURE FRAME WHITE FINISH",
    "REGENCY CAKESTAND 3 TIER",
    "SILVER HEART NECKLACE",
    "SET OF 3 WOODEN SPOONS",
    "VINTAGE CHRISTMAS CANDLE",
    "PACK OF 12 GIFT TAGS",
]


@pytest.fixture(scope="module")
def terms() -> Terms:
    table = pd.DataFrame({"title": TITLES, "price": 1.0})
    return Terms(Items(table), ["en"], Dictionary())


@pytest.mark.parametrize(
    ("text", "code", "word"),
    [
        ("Tasse", "de", "mug"),
        ("tassen", "de", "mug"),
        ("马克杯", "zh", "mug"),
        ("馬克杯", "zh", "mug"),
        ("taza", "es", "mug"),
        ("tazas", "es", "mug"),
        ("热水袋", "zh", "hot water bottle"),
        ("waermflasche", "de", "hot water bottle"),
        ("Wärmflasche", "de", "hot water bottle"),
        ("warmflasche", "de", "hot water bottle"),
        ("bouillotte", "fr", "hot water bottle"),
        ("bolsa de agua caliente", "es", "hot water bottle"),
        ("Tortenständer", "de", "cakestand"),
        ("Halskete", "de", "necklace"),  # a slip
        ("collier", "fr", "necklace"),
        ("rouge", "fr", "red"),
        ("roten", "de", "red"),
        ("红色", "zh", "red"),
        ("madera", "es", "wooden"),
        ("mugs", "en", "mug"),
    ],
)
def test_words_of_other_languages_are_found(terms: Terms, text: str, code: str, word: str) -> None:
    found = terms.term(text, code)
    assert any(one.rstrip("s").replace("-", " ") == word for one in found.words), found


def test_what_the_shop_does_not_sell_is_no_word_of_it(terms: Terms) -> None:
    for text, code in [
        ("Handyladekabel", "de"),
        ("vélo", "fr"),
        ("portátil", "es"),
        ("手机", "zh"),
    ]:
        found = terms.term(text, code)
        assert found.words == ()
        assert found.known, text


def test_a_german_compound_is_a_thing_and_its_detail(terms: Terms) -> None:
    found = terms.term("Weihnachtskerzen", "de")
    assert "candle" in found.words
    assert any("christmas" in detail for detail in found.details)
    spoon = terms.term("Holzlöffel", "de")
    assert spoon.words
    assert all("spoon" in word for word in spoon.words)


def test_the_head_of_a_phrase_is_the_thing(terms: Terms) -> None:
    spanish = terms.term("taza con corazones", "es")
    assert "mug" in spanish.text
    assert any("heart" in one for one in spanish.details)
    english = terms.term("heart shaped thingummy necklace", "en")
    assert english.text == "necklace"


def test_a_name_is_widened_to_the_longest_thing(terms: Terms) -> None:
    text = "me gustaría papel de regalo que cueste poco"
    assert terms.widened("papel", text, "es") == "papel de regalo"
    assert terms.widened("frame", "a nice photo frame please", "en") == "photo frame"
    assert terms.widened("mug", "a mug for my desk", "en") == "mug"
    assert terms.widened("", "a mug", "en") == ""


@pytest.mark.parametrize(
    ("text", "code"),
    [("red sneakers", "en"), ("zapatillas rojas", "es"), ("rote Turnschuhe", "de")],
)
def test_a_detail_does_not_stand_for_a_thing_that_is_not_sold(
    terms: Terms, text: str, code: str
) -> None:
    found = terms.term(text, code)
    assert (found.words, found.known) == ((), True)


def test_words_that_say_nothing_are_no_things() -> None:
    table = pd.DataFrame({"title": ["DINNER IS SERVED SIGN", "WHAT ELSE MUG"], "price": 1.0})
    terms = Terms(Items(table), ["en"], Dictionary())
    assert terms.term("not keen, what else is there", "en").words == ()


def test_both_of_a_pair_are_what_a_product_is(terms: Terms) -> None:
    assert {"teacup", "saucer"} <= set(terms.heads("ROSES TEACUP AND SAUCER"))
    assert "saucer" not in terms.heads("TEACUP WITH SAUCER")


def test_a_phrase_is_known_in_its_other_forms(terms: Terms) -> None:
    widened = terms.widened("bolsas", "bolsas para el agua caliente", "es")
    assert widened == "bolsas para el agua caliente"
    assert terms.term(widened, "es").words[0] == "hot water bottle"
    assert terms.widened("bolsas", "bolsas de colores", "es") == "bolsas"


def test_a_colour_that_is_a_flower_too_is_the_colour() -> None:
    table = pd.DataFrame({"title": ["PINK FRAME", "ENGLISH ROSE FRAME"], "price": 1.0})
    terms = Terms(Items(table), ["en"], Dictionary())
    assert terms.detail("rosa", "es").words == ("pink",)
    assert set(terms.detail("rosas", "es").words) >= {"pink", "rose"}  # colour or flowers
    assert terms.detail("rose", "fr").words == ("pink",)
    assert terms.detail("rose", "en").words == ("rose",)


@pytest.mark.parametrize(
    ("text", "code", "thing"),
    [
        ("my sister loves baking", "en", "apron"),
        ("a mi suegra le encanta cocinar", "es", "apron"),
        ("meine Tante backt gern", "de", "apron"),
        ("elle adore faire des gâteaux", "fr", "apron"),
        ("我妈妈喜欢烘焙", "zh", "apron"),
        ("mein Opa ist Hobbygärtner", "de", "watering can"),
    ],
)
def test_what_somebody_likes_to_do_names_things(text: str, code: str, thing: str) -> None:
    table = pd.DataFrame({"title": ["RED APRON", "ZINC WATERING CAN", "MUG"], "price": 1.0})
    assert thing in Terms(Items(table), ["en"], Dictionary()).activity(text, code)
    table = pd.DataFrame({"title": ["GREEN MUG"], "price": 1.0})
    assert Terms(Items(table), ["en"], Dictionary()).activity(text, code) == ()
    assert Terms(Items(table), ["en"], Dictionary()).activity("a bakelite mug", "en") == ()


def test_of_two_activities_the_first_that_is_named_counts() -> None:
    dictionary, forms = Dictionary(), {one["en"][0]: one["things"] for one in activities()}
    for first, second in permutations(list(forms)[:3], 2):
        assert dictionary.activity(f"{first}, also {second}", "en") == forms[first]


def test_each_activity_has_forms_in_every_language_and_things_of_the_dictionary() -> None:
    dictionary = Dictionary()
    for one in activities():
        assert one.keys() == {"things", *languages()}
        unknown = [name for name in one["things"] if not dictionary.concepts(name, "en")]
        assert len(unknown) <= len(one["things"]) // 2, unknown


def test_kinds_of_titles() -> None:
    titles = pd.Series([*TITLES, "BLUE MUG", "OWL MUG", "SPOTTY MUG"])
    assert kinds(titles, "en") == ["mug"]
    assert kinds(pd.Series(["taza roja", "taza azul", "taza grande"]), "es") == ["taza"]


def test_the_kinds_that_a_title_names_have_their_other_words(terms: Terms) -> None:
    assert "cakestand" in terms.kinds("REGENCY CAKESTAND 3 TIER")
    assert terms.kinds("RED RETROSPOT MUG")[0] == "mug"
    assert terms.kinds("XYLOPHONIC WOTSIT") == ["wotsit"]


def test_meaning_finds_the_nearest_phrase_or_none() -> None:
    known = {"mug": [1.0, 0.1], "frame": [0.0, 1.0], "candle": [-1.0, 0.0]}
    vectors = np.array(list(known.values()), dtype=np.float32)
    said = {"cup": [0.9, 0.2], "noise": [0.0, 0.36]}  # the mean of all says nothing
    meaning = PhraseVectors(
        list(known), vectors, lambda texts: np.array([said[one] for one in texts], np.float32)
    )
    assert meaning.nearest("cup") == "mug"
    assert meaning.nearest("noise", at_least=0.99) is None


def test_phrases_of_titles() -> None:
    titles = pd.Series(["red mug", "red mug tree", "blue mug"])
    assert phrases_of(titles) == ["mug", "red", "red mug"]
    assert phrases_of(titles, most=2) == ["mug", "red"]


def test_of_many_titles_a_sample_is_read() -> None:
    titles = pd.Series(["red mug"] * 500 + ["blue lamp"] * 500 + ["old clock"] * 2)
    found = phrases_of(titles, at_least=10, read=50)
    assert set(found) == {"red", "mug", "red mug", "blue", "lamp", "blue lamp"}
    assert phrases_of(titles, at_least=51, read=50) == []
    assert found == phrases_of(titles, at_least=10, read=50)


def test_a_country_means_no_product_and_a_misspelt_thing_that_is_not_sold_is_none() -> None:
    table = pd.DataFrame({"title": ["RED GAUZE BAG", "DOUBLE SHELF"], "price": 1.0})
    vectors = np.eye(2, dtype=np.float32)
    near = PhraseVectors(["gauze", "shelf"], vectors, lambda texts: vectors[:1])
    terms = Terms(Items(table), ["en"], Dictionary(), near)
    assert terms.term("Gazestoff", "de").words == ("gauze",)
    assert terms.term("Schweiz", "de").words == terms.term("die Schweiz", "de").words == ()
    assert terms.term("double matress", "en") == Term(known=True)
