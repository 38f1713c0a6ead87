"""Refusals, and phrases with "no" that are none."""

from __future__ import annotations

from typing import Any

import pytest

from serving.conversation.understanding import parse
from tests.serving.conversation.small_shop import NEEDS_BY_WORD, SHOP, said


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
    assert parse(message, SHOP, NEEDS_BY_WORD).refused == refused


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("plastic is fine", {"wanted_again": ("plastic",)}),
    ],
)
def test_what_was_refused_is_allowed_again(message: str, expected: dict[str, Any]) -> None:
    assert said(message) == expected
