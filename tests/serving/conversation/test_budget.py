"""Budgets and price levels, and numbers that are neither."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.conversation.understanding import parse
from tests.serving.conversation.small_shop import NEEDS_BY_WORD, SHOP, said


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
    found = parse(message, SHOP, NEEDS_BY_WORD)
    assert (found.min_price, found.max_price) == (low, high)


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("not too expensive", {"level": "cheap"}),
        ("any price", {"any_price": True}),
    ],
)
def test_price_levels(message: str, expected: dict[str, Any]) -> None:
    assert said(message) == expected


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
