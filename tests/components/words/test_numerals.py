"""Numbers and currencies in words."""

from __future__ import annotations

import pytest

from components.words.numerals import CURRENCY_WORDS, number_of


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("十", 10),
        ("十二", 12),
        ("二十", 20),
        ("廿一", 21),
        ("一百零五", 105),
        ("一百五", 150),
        ("一百五十", 150),
        ("两千", 2000),
        ("一万二", 12_000),
        ("一万零二", 10_002),
        ("三万五千", 35_000),
        ("贰佰伍拾", 250),
        ("三点五", 3.5),
        ("二〇二四", 2024),
        ("一万亿", 1e12),
        ("5千", 5000),
        ("2k", 2000),
        ("1,200", 1200),
        ("１２．５", 12.5),
        ("๑๒", 12),
    ],
)
def test_numbers_in_words_and_signs(text: str, number: float) -> None:
    assert number_of(text) == number


@pytest.mark.parametrize("text", ["", "点", "三点", "杯", "twelve", "1.2.3", "-", "3,50"])
def test_other_texts_are_no_numbers(text: str) -> None:
    assert number_of(text) is None


def test_a_word_is_of_one_currency() -> None:
    words = [word for said in CURRENCY_WORDS.values() for word in said.split()]
    assert len(words) == len(set(words))
