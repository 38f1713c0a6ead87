"""Things, their details, whom they are for."""

from __future__ import annotations

from typing import Any

import pytest

from tests.serving.conversation.small_shop import said


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
    ],
)
def test_things_and_details(message: str, expected: dict[str, Any]) -> None:
    assert said(message) == expected
