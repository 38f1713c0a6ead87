"""Labels of a tagger become a typed reading."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from components.understanding.reading import Reading, reading_of
from components.understanding.spans import Span, Tagged


def tagged(text: str, code: str, intent: str = "find", **labels: str) -> Tagged:
    """Return the labels of words of a text; THING="mug": the word mug is labelled THING."""
    spans = []
    for label, words in labels.items():
        for word in words.split("|"):
            start = text.index(word)
            spans.append(Span(label, word, start, start + len(word), 0.9))
    spans.sort(key=lambda span: span.start)
    return Tagged(spans, intent, 0.9, code)  # type: ignore[arg-type]


def test_parts_and_price_of_a_german_message() -> None:
    text = "rote Tasse, höchstens zehn Pfund, kein Plastik, für Oma zu Weihnachten"
    found = reading_of(
        tagged(text, "de", DETAIL="rote", THING="Tasse", MAX="zehn Pfund", REFUSED="Plastik",
               PERSON="Oma", OCCASION="Weihnachten"), text,
    )  # fmt: skip
    assert found.things == ["Tasse"]
    assert (found.details, found.refused) == (["rote"], ["Plastik"])
    assert (found.people, found.occasions) == (["Oma"], ["Weihnachten"])
    assert (found.min_price, found.max_price, found.currency) == (None, 10.0, "GBP")


@pytest.mark.parametrize(
    ("text", "code", "label", "amount", "low", "high"),
    [
        ("torchons à moins de 3 livres", "fr", "MIN", "3 livres", None, 3.0),
        ("mugs, no more than 5 pounds", "en", "MIN", "5 pounds", None, 5.0),
        ("相框九镑以下", "zh", "ABOUT", "九镑", None, 9.0),
        ("mugs from at least £4", "en", "MAX", "£4", 4.0, None),
        ("tazas de unas 10 libras", "es", "ABOUT", "10 libras", 7.5, 12.5),
        ("earrings, roughly £4 give or take", "en", "MIN", "£4", 3.0, 5.0),
        ("Deko, ca 2 pfund", "de", "MAX", "2 pfund", 1.5, 2.5),
        ("耳环,4英镑左右", "zh", "MAX", "4英镑", 3.0, 5.0),
        ("tazas, unas 4 libras", "es", "MAX", "4 libras", 3.0, 5.0),
        ("un sac, environ 4 livres", "fr", "MAX", "4 livres", 3.0, 5.0),
    ],
)
def test_the_words_around_an_amount_decide_which_limit_it_is(
    text: str, code: str, label: str, amount: str, low: float | None, high: float | None
) -> None:
    found = reading_of(tagged(text, code, **{label: amount}), text)
    assert (found.min_price, found.max_price) == (low, high)


def test_an_amount_without_a_label_is_the_most_that_may_be_spent() -> None:
    text = "a mug, I have 7 pounds left"
    assert reading_of(tagged(text, "en", THING="mug"), text).max_price == 7.0


def test_a_range_keeps_both_limits_in_order() -> None:
    text = "between 8 and 3 pounds"
    found = reading_of(tagged(text, "en", MIN="8", MAX="3 pounds"), text)
    assert (found.min_price, found.max_price, found.currency) == (3.0, 8.0, "GBP")


@pytest.mark.parametrize(
    ("text", "code", "low", "high"),
    [
        ("three and seven pounds", "en", 3, 7),
        ("vingt et trente euros", "fr", 20, 30),
        ("zwischen 5 und 8,50 €", "de", 5, 8.5),
        ("3到5镑", "zh", 3, 5),
        ("two hundred and fifty pounds", "en", None, 250),  # one number
        ("vingt et un euros", "fr", None, 21),
    ],
)
def test_a_label_over_a_range_is_both_limits(
    text: str, code: str, low: float | None, high: float
) -> None:
    found = reading_of(tagged(text, code, MAX=text), text)
    assert (found.min_price, found.max_price) == (low, high)


@pytest.mark.parametrize(
    ("text", "code", "places"),
    [
        ("the second one", "en", [2]),
        ("das zweite", "de", [2]),
        ("la troisième", "fr", [3]),
        ("el último", "es", [-1]),
        ("第二个", "zh", [2]),
        ("number 3", "en", [3]),
        ("that one", "en", [1]),
    ],
)
def test_references_to_places(text: str, code: str, places: list[int]) -> None:
    assert reading_of(tagged(text, code, "tell_more", REF=text), text).places == places


def test_a_reading_of_a_model_is_checked() -> None:
    with pytest.raises(ValidationError):
        Reading.model_validate({"intent": "buy_everything"})
    with pytest.raises(ValidationError):
        Reading.model_validate({"things": ["x" * 81]})
    with pytest.raises(ValidationError):
        Reading.model_validate({"max_price": -1})
    assert Reading.model_validate_json('{"things": ["mug"], "max_price": 5}').max_price == 5


def test_things_of_a_list_are_alternatives_and_others_are_what_they_are_for() -> None:
    text = "a basket or a box for toys"
    found = reading_of(tagged(text, "en", THING="basket|box|toys"), text)
    assert (found.things, found.uses) == (["basket", "box"], ["toys"])
    text = "eine Tasse, einen Becher und ein Glas"
    found = reading_of(tagged(text, "de", THING="Tasse|Becher|Glas"), text)
    assert (found.things, found.uses) == (["Tasse", "Becher", "Glas"], [])
    text = "首饰盒放耳环"
    found = reading_of(tagged(text, "zh", THING="首饰盒|耳环"), text)
    assert (found.things, found.uses) == (["首饰盒"], ["耳环"])


def test_an_age_and_a_count_are_no_money() -> None:
    text = "kinderregenschirm, sie ist 6. unter fünf pfund"
    found = reading_of(tagged(text, "de", MIN="fünf pfund", MAX="6"), text)
    assert (found.min_price, found.max_price) == (None, 5.0)
    text = "冰箱贴 五个一套的"
    assert reading_of(tagged(text, "zh", MAX="五个"), text).max_price is None


def test_an_ordinal_without_a_label_is_a_reference() -> None:
    text = "erzähl mal mehr zum zweiten"
    assert reading_of(tagged(text, "de", "tell_more"), text).places == [2]
    text = "compare the first and the third one"
    assert reading_of(tagged(text, "en", "compare"), text).places == [1, 3]
    assert reading_of(tagged("is it nice", "en", "tell_more"), "is it nice").places == []


def test_a_large_amount_is_cut() -> None:
    text = "about 9000000 pounds"
    assert reading_of(tagged(text, "en", ABOUT="9000000 pounds"), text).max_price == 1e7


@pytest.mark.parametrize(
    ("text", "code"),
    [("any price", "en"), ("Preis egal", "de"), ("peu importe le prix", "fr"),
     ("cualquier precio", "es"), ("价格不限", "zh"), ("any price", "de")],
)  # fmt: skip
def test_any_price(text: str, code: str) -> None:
    assert reading_of(tagged(text, code), text).any_price
    assert not reading_of(tagged("a mug", code), "a mug").any_price


@pytest.mark.parametrize(
    ("text", "labels", "refused"),
    [
        ("有围裙吗?圆点的就算了", {"THING": "围裙", "DETAIL": "圆点"}, ["圆点"]),
        ("送她礼物,别再是爱心图案了", {"DETAIL": "爱心"}, ["爱心"]),
        ("带波点的不要", {"REFUSED": "波", "THING": "点"}, ["波点"]),
        ("红色的马克杯,不要太大", {"DETAIL": "红色", "THING": "马克杯"}, []),
    ],
)
def test_words_that_refuse_what_stands_before_or_after_them(
    text: str, labels: dict[str, str], refused: list[str]
) -> None:
    found = reading_of(tagged(text, "zh", **labels), text)
    assert found.refused == refused
    assert not set(refused) & {*found.things, *found.details}


def test_an_ordinal_counts_more_than_that() -> None:
    text = "ooh that 2nd one, any details?"
    assert reading_of(tagged(text, "en", "tell_more", REF="that"), text).places == [2]
    text = "how do the first two differ?"
    assert reading_of(tagged(text, "en", "compare", REF="the first two"), text).places == [1, 2]


def test_a_half_after_the_label_belongs_to_the_amount() -> None:
    text = "dos libras y media o menos"
    assert reading_of(tagged(text, "es", MAX="dos libras"), text).max_price == 2.5
