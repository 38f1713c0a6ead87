"""What a message says: budgets, refusals, moves; and nothing a shopper can type breaks it."""

from __future__ import annotations

import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.conversation.understanding import Said, Words, parse

TEXT = """red blue white pink mug cup teapot box wooden plastic glass metal candle christmas
decoration card birthday necklace silver pearl heart bag gift toy set jewellery"""
SHOP = Words(set(TEXT.split()))
SAID_AS = {"child": "for a child", "daughter": "for a child", "kids": "for a child"}


def said(message: str) -> dict[str, Any]:
    """What differs from a message that says nothing."""
    nothing = vars(Said())
    found = vars(parse(message, SHOP, SAID_AS))
    return {name: value for name, value in found.items() if value != nothing[name]}


@pytest.mark.parametrize(
    ("message", "low", "high"),
    [
        ("a mug under 10 pounds", None, 10),
        ("a mug, £10 max", None, 10),
        ("at most £1,250.50", None, 1250.5),
        ("a mug for less than ten quid", None, 10),
        ("nothing over 9,50 €", None, 9.5),
        ("no more than £5", None, 5),
        ("my budget is 20", None, 20),
        ("£5 or less", None, 5),
        ("a mug for a fiver", None, 5),
        ("50p", None, 0.5),
        ("cheaper than 3 pounds", None, 3),
        ("at least £5", 5, None),
        ("nothing under 5 pounds", 5, None),
        ("over £20", 20, None),
        ("from £3", 3, None),
        ("between £5 and £15", 5, 15),
        ("from 15 to 5 pounds", 5, 15),
        ("5-10 pounds", 5, 10),
        ("£5 - £10", 5, 10),
        ("around 20 euros", 15, 25),
        ("for children under 5", None, None),
        ("for children under 5, under £4", None, 4),
        ("a set of 6 mugs", None, None),
        ("for 6 people", None, None),
        ("a box under 30 cm", None, None),
    ],
)
def test_budgets(message: str, low: float | None, high: float | None) -> None:
    found = parse(message, SHOP, SAID_AS)
    assert (found.min_price, found.max_price) == (low, high)


@pytest.mark.parametrize(
    ("message", "refused"),
    [
        ("a gift, no plastic", ("plastic",)),
        ("a mug, not red", ("red",)),
        ("a teapot without glass", ("glass",)),
        ("no plastic, glass or metal please", ("plastic", "glass", "metal")),
        ("without glass and plastic", ("glass", "plastic")),
        ("plastic-free toys", ("plastic",)),
        ("I don't want it to be pink", ("pink",)),
        ("i hate red hearts", ("red hearts",)),
        ("nothing made of plastic he hates it", ("plastic",)),
        ("no plastic, a red mug", ("plastic",)),
        ("no idea", ()),
        ("no more than £5", ()),
        ("not too expensive", ()),
        ("no unicorns", ()),
    ],
)
def test_refusals(message: str, refused: tuple[str, ...]) -> None:
    assert parse(message, SHOP, SAID_AS).refused == refused


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("a red and white mug", {"things": ("mug",), "details": ("red", "white"), "fresh": True}),
        ("mugs or cups", {"things": ("mugs or cups",), "fresh": True}),
        ("in blue", {"details": ("blue",)}),
        ("a gift bag", {"things": ("bag",), "details": ("gift",), "fresh": True}),
        (
            "I'm looking for a wooden box for jewellery",
            {"things": ("box",), "details": ("wooden",), "purpose": ("jewellery",), "fresh": True},
        ),
        (
            "a gift for my 8 year old daughter",
            {"purpose": ("child", "daughter"), "needs": ("for a child",), "fresh": True},
        ),
        ("for my mum", {"purpose": ("mum",)}),
        ("unicorn", {"unknown": ("unicorn",)}),
        ("plastic is fine", {"wanted_again": ("plastic",)}),
        ("not too expensive", {"level": "cheap"}),
        ("any price", {"any_price": True}),
        ("cheaper", {"move": "cheaper"}),
        ("something cheaper than the second one", {"move": "cheaper", "which": 2}),
        ("show me more", {"move": "more"}),
        ("anything else?", {"move": "more"}),
        ("not that one", {"move": "reject", "which": 1}),
        ("none of these", {"move": "reject"}),
        ("more like the third", {"move": "like", "which": 3}),
        ("why the last one?", {"move": "why", "which": -1}),
        ("start over", {"move": "restart"}),
        ("surprise me", {"move": "whatever"}),
        ("hello there", {"move": "hello"}),
        ("thanks!", {"move": "thanks"}),
    ],
)
def test_things_details_and_moves(message: str, expected: dict[str, Any]) -> None:
    assert said(message) == expected


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
    found = parse(message, SHOP, SAID_AS)
    for price in (found.min_price, found.max_price):
        assert price is None or 0 <= price < 1e9
    words = {word for one in found.refused for word in one.split()}
    assert all(SHOP.knows(word) for word in words | set(found.details))


@given(
    st.sampled_from(["under {}", "up to {}", "less than {}", "no more than {}", "{} max"]),
    st.integers(1, 99_999),
    st.integers(0, 99),
    st.sampled_from(["£{}", "{} pounds", "{}€", "$ {}"]),
)
def test_every_amount_is_read_as_written(form: str, whole: int, part: int, unit: str) -> None:
    amount = f"{whole:,}" + (f".{part:02}" if part else "")
    found = parse(f"a red mug {form.format(unit.format(amount))}, no glass", SHOP)
    assert found.max_price == pytest.approx(whole + part / 100)
    assert found.min_price is None
    assert (found.things, found.details, found.refused) == (("mug",), ("red",), ("glass",))


def test_a_long_message_is_parsed_at_once() -> None:
    started = time.perf_counter()
    for message in ("no " * 250, "1 " * 250, "not a " * 125, "a or " * 125, "£" * 500):
        parse(message[:500], SHOP, SAID_AS)
    assert time.perf_counter() - started < 2
