"""A shopper's message: the text that is not yet understood, and what was understood of it."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass, field
from typing import Literal

Move = Literal[
    "more",
    "cheaper",
    "dearer",
    "reject",
    "like",
    "goes_with",
    "compare",
    "tell_more",
    "not_my_field",
    "why",
    "restart",
    "thanks",
    "hello",
    "whatever",
]
"""What to do with the proposals, or with the products that a message names. not_my_field: a
question about delivery, orders, payment, returns or an account."""


@dataclass(frozen=True)
class Message:
    """One message, understood.

    things: kinds of product, "mug or cup" for alternatives. details: their features. purpose: whom
    or what it is for. needs: names of the shop's needs. refused: words or phrases that must not be;
    wanted_again: words no longer refused. unknown: words of no product. level: cheap or dear
    without an amount. move: the dialogue move. places: of the shown products that the message
    refers to, from 1, -1 for the last. items: ids of the products that it names by their titles.
    fresh: a new search, not a refinement. language: ISO 639-1 code, None if it is not known.
    """

    things: tuple[str, ...] = ()
    details: tuple[str, ...] = ()
    purpose: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()
    wanted_again: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()
    min_price: float | None = None
    max_price: float | None = None
    any_price: bool = False
    currency: str | None = None
    level: Literal["cheap", "dear"] | None = None
    move: Move | None = None
    places: tuple[int, ...] = ()
    items: tuple[str, ...] = ()
    fresh: bool = False
    language: str | None = None


@dataclass
class Text:
    """The part of a message that is not yet understood, and the fields of what was.

    Each step takes what it understands out of ``left`` and leaves a bar, which ends a phrase.
    """

    left: str
    understood: dict[str, object] = field(default_factory=dict)

    @classmethod
    def of(cls, message: str) -> Text:
        """Return the text of a message in lower case with plain quotes, dashes and blanks."""
        text = unicodedata.normalize("NFKC", message).casefold()
        text = re.sub("[‘’`´]", "'", text)
        text = re.sub("[–—]", "-", text)
        return cls(" ".join(text.replace("|", " ").split()))

    def take(self, pattern: str) -> re.Match[str] | None:
        """Return the first match, None without one, and put a bar in its place."""
        found = re.search(pattern, self.left)
        if found:
            self.left = f"{self.left[: found.start()]} | {self.left[found.end() :]}"
        return found
