"""Dialogue moves and the product that they refer to."""

from __future__ import annotations

from typing import Any

import pytest

from tests.serving.conversation.small_shop import said


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("cheaper", {"move": "cheaper"}),
        ("something cheaper than the second one", {"move": "cheaper", "places": (2,)}),
        ("show me more", {"move": "more"}),
        ("anything else?", {"move": "more"}),
        ("not that one", {"move": "reject", "places": (1,)}),
        ("none of these", {"move": "reject"}),
        ("more like the third", {"move": "like", "places": (3,)}),
        ("why the last one?", {"move": "why", "places": (-1,)}),
        ("start over", {"move": "restart"}),
        ("surprise me", {"move": "whatever"}),
        ("hello there", {"move": "hello"}),
        ("thanks!", {"move": "thanks"}),
    ],
)
def test_moves(message: str, expected: dict[str, Any]) -> None:
    assert said(message) == expected
