"""The words of a small shop."""

from __future__ import annotations

from typing import Any

from serving.conversation.message import Message
from serving.conversation.understanding import parse
from serving.conversation.vocabulary import Words

TEXT = """red blue white pink mug cup teapot box wooden plastic glass metal candle christmas
decoration card birthday necklace silver pearl heart bag gift toy set jewellery"""
SHOP = Words(set(TEXT.split()))
NEEDS_BY_WORD = {"child": "for a child", "daughter": "for a child", "kids": "for a child"}


def said(message: str) -> dict[str, Any]:
    """What differs from a message that says nothing."""
    nothing = vars(Message())
    found = vars(parse(message, SHOP, NEEDS_BY_WORD))
    return {name: value for name, value in found.items() if value != nothing[name]}
