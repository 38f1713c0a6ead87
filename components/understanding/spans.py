"""What a tagger finds in a text."""

from __future__ import annotations

from dataclasses import dataclass

from components.understanding.utterances import Intent


@dataclass(frozen=True)
class Span:
    """A labelled part. start, stop: in characters of the message. sure: of the label."""

    label: str
    text: str
    start: int
    stop: int
    sure: float


@dataclass(frozen=True)
class Tagged:
    """intent_sure: probability of the intent."""

    spans: list[Span]
    intent: Intent
    intent_sure: float
    language: str
