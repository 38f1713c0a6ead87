"""Negation: "no plastic", "not red", "without glass", "nothing made of metal", "sugar-free"."""

from __future__ import annotations

import re

from serving.conversation.message import Text
from serving.conversation.vocabulary import GENERIC, STOP, WORD, Vocabulary, spelling

NOT = (
    r"(?:no|not|non|without|except(?: for)?|excluding|avoid(?:ing)?|other than|anything but"
    r"|nothing(?: (?:with|in|made of|like))?|free (?:of|from)|instead of"
    r"|(?:i )?(?:don't|do not|doesn't|does not|never|can't stand) (?:want|like|need|have|use)?"
    r"|(?:i )?(?:hate|dislike))"
)
LEAD = r"(?: ?(?:a|an|any|the|in|of|made|from|with|too|very|much|more|to|be|it|is|really|like))*"
ENDS = (
    r"(?!(?:and|or|nor|but|for|in|with|under|over|that|which|please|i|my|to|at|as|so|just|only|if|"
    r"something|anything|one|ones)\b)"
)
PHRASE = rf"{ENDS}{WORD}(?: {ENDS}{WORD}){{0,2}}"
SINGLE = rf"{ENDS}{WORD}(?= *(?:$|[,.;!?|]|and\b|or\b|nor\b|please\b))"


def understand_refusals(text: Text, vocabulary: Vocabulary) -> None:
    """Take what the shopper does not want, and what is allowed again."""
    refused: list[str] = []
    if text.take(rf"\bnot{LEAD} (?:expensive|dear|pricey|costly)\b"):
        text.understood["level"] = "cheap"
    if text.take(rf"\bnot{LEAD} cheap\b"):
        text.understood["level"] = "dear"
    again = text.take(rf"\b(?P<again>{WORD}) (?:is|are) (?:fine|ok|okay|allowed|welcome)\b")
    if again and again["again"] not in STOP:
        text.understood["wanted_again"] = (again["again"],)
    # "no plastic, glass or metal": a comma goes on only in a list that ends with or, nor, and.
    more = rf"(?:(?:, ?{SINGLE})*,? ?(?:or|nor|and)(?: no| not)? {SINGLE})?"
    while found := text.take(rf"\b{NOT}{LEAD} (?P<what>{PHRASE}{more})"):
        parts = re.split(r",|\b(?:or|nor|and|no|not)\b", found["what"])
        refused += [" ".join(part.split()) for part in parts]
    while found := text.take(rf"\b(?P<what>{WORD})-free\b|\b(?P<other>{WORD}) free\b"):
        refused.append(found["what"] or found["other"])
    kept = [_refusal(phrase, vocabulary) for phrase in refused]
    text.understood["refused"] = tuple(dict.fromkeys(phrase for phrase in kept if phrase))


def _refusal(phrase: str, vocabulary: Vocabulary) -> str:
    """Return the words that products have: one that none has would void the whole phrase."""
    words = [word.removesuffix("'s") for word in phrase.split()]
    words = [word for word in words if word not in STOP and word not in GENERIC]
    return " ".join(spelt for word in words if (spelt := spelling(word, vocabulary)))
