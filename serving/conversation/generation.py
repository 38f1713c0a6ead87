"""Generation: a language model words an answer, and each sentence is checked before it is sent.

In: a reply of the engine, the writer's pieces. Out: sentences about the proposals only. A
sentence that names another product or another amount, or makes a promise that the catalogue cannot
support, is dropped; if none is left, the reply's own text is sent.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any

import pandas as pd

from components.language.writer import Writer, WriterError
from serving import metrics

logger = logging.getLogger("bentoml.bowerbird")

INSTRUCTIONS = (
    "You help a customer of an online shop. Word the shop's answer in two to four short sentences, "
    "friendly and plain. Speak only of the products listed, by their exact titles and prices, and "
    "only of the facts given. Ask the question, if there is one. No lists, no markup, no promises."
)
LONGEST = 12
"""Words of a title that are looked for in a sentence."""

_SUM = re.compile(
    r"(?:[£€$]\s?(\d+(?:[.,]\d+)*)|(\d+[.,]\d{2})\b|(\d+)\s?(?:pounds|euros?|dollars))"
)
_PROMISE = re.compile(
    r"%|\b(?:discounts?|sale|offers?|free|deliver\w*|shipping|stock|warranty|guarantee\w*|returns?"
    r"|refunds?|rated|ratings?|reviews?|stars?|best-?sell\w*|https?|www)\b"
)


class Titles:
    """The catalogue's titles, to find them in a text."""

    def __init__(self, titles: Sequence[str]) -> None:
        self._titles = titles

    @cached_property
    def _known(self) -> set[str]:
        """The titles of two words and more; made when a writer first needs them."""
        plain = pd.Series(self._titles, dtype=object).str.casefold()
        plain = plain.str.replace(r"[\W_]+", " ", regex=True).str.strip()
        return set(plain[plain.str.contains(" ", regex=False)])

    def named_in(self, text: str) -> set[str]:
        """Return the titles of two words and more that ``text`` holds, in plain lower case."""
        words = _plain(text).split()
        runs = (
            " ".join(words[start : start + length])
            for start in range(len(words))
            for length in range(2, min(LONGEST, len(words) - start) + 1)
        )
        return {run for run in runs if run in self._known}


def _plain(text: str) -> str:
    return re.sub(r"[\W_]+", " ", text.casefold()).strip()


def is_true(sentence: str, proposed: Sequence[dict[str, Any]], said: str, titles: Titles) -> bool:
    """Return whether a sentence names no product and no sum but those proposed, and no promise.

    proposed: title and price of each. said: the reply's own text and facts, all of them true.
    """
    if _PROMISE.search(sentence.casefold()) and not _PROMISE.search(said.casefold()):
        return False
    allowed = {round(float(item["price"]), 2) for item in proposed if item["price"] is not None}
    allowed |= {_sum(found) for found in _SUM.finditer(said)}
    if any(_sum(found) not in allowed for found in _SUM.finditer(sentence)):
        return False
    known = [f" {_plain(text)} " for text in (*(item["title"] for item in proposed), said)]
    named = titles.named_in(sentence)
    return all(any(f" {title} " in text for text in known) for title in named)


def _sum(found: re.Match[str]) -> float:
    digits = next(group for group in found.groups() if group)
    whole, _, part = digits.replace(",", ".").rpartition(".")
    if whole and len(part) == 3:  # 1,000
        whole, part = whole + part, ""
    return round(float(f"{whole.replace('.', '')}.{part}" if whole else part), 2)


def worded(
    writer: Writer | None,
    message: str,
    text: str,
    proposed: Sequence[dict[str, Any]],
    titles: Titles,
) -> Iterator[str]:
    """Yield the answer sentence by sentence: the writer's, where it is true, else ``text``.

    proposed: title, price, currency and reason of each proposal.
    """
    if writer is None or not proposed:
        yield text
        return
    facts = [
        f"{item['title']}, {item['price']} {item['currency']}: {item['reason']}"
        for item in proposed
    ]
    said = "\n".join([text, *facts])
    chat = [
        {"role": "system", "content": INSTRUCTIONS},
        {"role": "user", "content": f"Customer: {message}\nAnswer: {text}\nProducts:\n" + said},
    ]
    spoken = 0
    try:
        for sentence in _sentences(writer.write(chat)):
            if is_true(sentence, proposed, said, titles):
                spoken += 1
                metrics.WORDED.labels("said").inc()
                yield sentence
            else:
                metrics.WORDED.labels("dropped").inc()
    except WriterError as error:
        metrics.WORDED.labels("failed").inc()
        logger.warning("the writer failed: %s", type(error.__cause__ or error).__name__)
    if not spoken:
        yield text


def _sentences(pieces: Iterator[str]) -> Iterator[str]:
    """Yield whole sentences of a text that comes in pieces, each with the blank that ends it."""
    held = ""
    for piece in pieces:
        held += piece
        while found := re.search(r"[.!?][\"'”’)]*\s+|\n+", held):
            sentence, held = held[: found.end()], held[found.end() :]
            if sentence.strip():
                yield sentence.rstrip() + " "
    if held.strip():
        yield held.strip()
