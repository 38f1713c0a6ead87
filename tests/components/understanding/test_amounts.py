"""Amounts of money, as they are written in five languages."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.understanding.amounts import Amount, direction, marked_amount, read_amount
from components.understanding.utterances import language


@pytest.mark.parametrize(
    ("text", "code", "value", "currency"),
    [
        ("£5", "en", 5, "GBP"),
        ("a tenner", "en", 10, "GBP"),
        ("twenty five quid", "en", 25, "GBP"),
        ("1,000 pounds", "en", 1000, "GBP"),
        ("50p", "en", 0.5, None),
        ("1,50 €", "de", 1.5, "EUR"),
        ("1.200 Euro", "de", 1200, "EUR"),
        ("fünfundzwanzig Franken", "de", 25, "CHF"),
        ("einen Zehner", "de", 10, None),
        ("trente-cinq euros", "fr", 35, "EUR"),
        ("cinq livres", "fr", 5, "GBP"),
        ("veinte libras", "es", 20, "GBP"),
        ("20 dólares", "es", 20, "USD"),
        ("五镑", "zh", 5, "GBP"),
        ("二十五块", "zh", 25, "CNY"),
        ("１２英鎊", "zh", 12, "GBP"),
        ("一百零八元", "zh", 108, "CNY"),
    ],
)
def test_amounts(text: str, code: str, value: float, currency: str | None) -> None:
    assert read_amount(text, code) == Amount(value, currency)


@given(cents=st.integers(0, 10_000_000), code=st.sampled_from(["en", "de", "fr", "es", "zh"]))
def test_digits_are_read_as_they_were_written(cents: int, code: str) -> None:
    mark = "." if code in ("en", "zh") else ","
    written = f"{cents // 100}{mark}{cents % 100:02d} €"
    assert read_amount(written, code) == Amount(cents / 100, "EUR")


@pytest.mark.parametrize(
    ("text", "code", "value"),
    [("2 pounds and 50 pence", "en", 2.5), ("two pounds fifty pence", "en", 2.5),
     ("two and a half pounds", "en", 2.5), ("fifty pence", "en", 0.5), ("40 cents", "en", 0.4),
     ("twenty five cents", "en", 0.25), ("zweieinhalb Euro", "de", 2.5),
     ("anderthalb Euro", "de", 1.5), ("zwei Euro fünfzig Cent", "de", 2.5),
     ("deux euros et demi", "fr", 2.5), ("2 euros 5 centimes", "fr", 2.05),
     ("dos euros y medio", "es", 2.5), ("八十五块五", "zh", 85.5), ("两块半", "zh", 2.5)],
)  # fmt: skip
def test_parts_of_a_pound(text: str, code: str, value: float) -> None:
    found = read_amount(text, code)
    assert found is not None
    assert found.value == value


@pytest.mark.parametrize("code", ["en", "de", "fr", "es", "zh"])
def test_the_words_of_numbers_are_read(code: str) -> None:
    for value, word in language(code)["numbers"].items():
        found = read_amount(f"{word} €" if code != "zh" else f"{word}欧元", code)
        assert found is not None, word
        assert found.value == value, word


@given(st.text(max_size=60))
def test_any_text_is_read_or_has_no_amount(text: str) -> None:
    found = read_amount(text, "en")
    assert found is None or 0 <= found.value <= 1e7


def test_only_an_amount_with_a_currency_is_marked() -> None:
    assert marked_amount("a mug for 5 people", "en") is None
    assert marked_amount("a mug, 5 pounds at the very most", "en") == Amount(5, "GBP")
    assert marked_amount("que cueste menos de una libra", "es") == Amount(1, "GBP")
    assert marked_amount("一个马克杯五镑", "zh") == Amount(5, "GBP")


@pytest.mark.parametrize(
    ("text", "code"),
    [("je cherche un livre pour enfants", "fr"), ("trois livres pour enfants", "fr"),
     ("5 livres de cuisine", "fr"), ("我想要一块桌布", "zh"), ("ein Pfund Kaffee", "de"),
     ("a two pound cake tin", "en")],
)  # fmt: skip
def test_books_weights_and_pieces_are_no_money(text: str, code: str) -> None:
    assert marked_amount(text, code) is None


@pytest.mark.parametrize(
    ("text", "code", "value"),
    [("moins de cent", "fr", 100), ("deux cents", "fr", 200), ("twenty-five pounds", "en", 25),
     ("hundred and fifty pounds", "en", 150), ("zwei hundert", "de", 200), ("1.2k", "en", 1200),
     ("5千元", "zh", 5000), ("1.5万", "zh", 15_000), ("廿一块", "zh", 21),
     ("歐元三十", "zh", 30), ("einundzwanzig Euro", "de", 21), ("treinta y cinco euros", "es", 35),
     ("entre vingt et trente euros", "fr", 20), ("between three and seven pounds", "en", 3),
     ("soixante-quinze euros", "fr", 75), ("drei und zwanzig Euro", "de", 23),
     ("one thousand two hundred pounds", "en", 1200), ("dos mil quinientos euros", "es", 2500),
     ("between a hundred and two hundred pounds", "en", 100),
     ("twelve hundred pounds", "en", 1200), ("twenty-five hundred pounds", "en", 2500),
     ("between twenty and five hundred pounds", "en", 20), ("douze cents euros", "fr", 1200)],
)  # fmt: skip
def test_numbers_of_several_words(text: str, code: str, value: float) -> None:
    found = read_amount(text, code)
    assert found is not None
    assert found.value == value


@pytest.mark.parametrize(
    ("before", "code", "limit"),
    [("it mustnt be more than ", "en", "at_most"), ("it can't cost more than ", "en", "at_most"),
     ("I want more than ", "en", "at_least"), ("no less than ", "en", "at_least"),
     ("haven't you got any under ", "en", "at_most"), ("darf nicht über ", "de", "at_most"),
     ("kein Problem, über ", "de", "at_least"), ("ne doit pas être plus de ", "fr", "at_most"),
     ("¿no las hay por menos de ", "es", "at_most"), ("que no sea más de ", "es", "at_most")],
)  # fmt: skip
def test_a_negated_limit_is_the_other_one(before: str, code: str, limit: str) -> None:
    assert direction(before, "", code) == limit
