"""All steps together, and nothing that a shopper can type breaks them."""

from __future__ import annotations

import time

from hypothesis import given
from hypothesis import strategies as st

from serving.conversation.understanding import parse
from tests.serving.conversation.small_shop import NEEDS_BY_WORD, SHOP, said


def test_a_message_of_many_parts() -> None:
    found = said("a silver necklace for my daughter, between £5 and a tenner, no pearls, not red")
    assert found == {
        "things": ("necklace",),
        "details": ("silver",),
        "purpose": ("daughter",),
        "needs": ("for a child",),
        "refused": ("pearls", "red"),
        "min_price": 5.0,
        "max_price": 10.0,
        "currency": "GBP",
        "fresh": True,
    }


FRAGMENTS = """no not under over between £ € 5 10.50 1,000 pounds p and or , . - mug red for a the
child in cheaper than first #2 why like more without -free | ( ' “ ٣ ½ £5 around"""
PIECES = st.sampled_from(FRAGMENTS.split())


@given(st.one_of(st.text(max_size=300), st.lists(PIECES, max_size=25).map(" ".join)))
def test_whatever_is_typed_is_parsed(message: str) -> None:
    found = parse(message, SHOP, NEEDS_BY_WORD)
    for price in (found.min_price, found.max_price):
        assert price is None or 0 <= price < 1e9
    words = {word for one in found.refused for word in one.split()}
    assert all(SHOP.knows(word) for word in words | set(found.details))


def test_a_long_message_is_parsed_at_once() -> None:
    started = time.perf_counter()
    for message in ("no " * 250, "1 " * 250, "not a " * 125, "a or " * 125, "£" * 500):
        parse(message[:500], SHOP, NEEDS_BY_WORD)
    assert time.perf_counter() - started < 2
