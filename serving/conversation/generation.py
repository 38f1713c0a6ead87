"""Generation: after the reply's own text, a language model words its proposals.

In: a reply's text and proposals, the writer. Out: the text, then sentences about the first
proposals. The text comes first and always, so the shopper loses nothing of it and waits for no
model. Of each sentence only what the product's facts support is sent (``claims``); what a slow,
dead or talkative writer does ends within its time limit.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from typing import Any

from components.language.writer import Writer, WriterError
from serving import metrics
from serving.conversation.claim_words import HARMLESS
from serving.conversation.claims import Facts, true_part
from serving.conversation.prompts import messages_about

logger = logging.getLogger("bentoml.bowerbird")

DESCRIBED = 3
"""Proposals that the writer words; the others are shown without words."""
SENTENCES = 2
"""Sentences about one product."""
LONGEST_SENTENCE = 400
"""Characters after which a text without the end of a sentence is given up."""

_END = re.compile(r"[.!?][\"'”’)]*\s+|[。！？]\s*|\n+")


def worded(
    writer: Writer | None,
    text: str,
    proposed: Sequence[Mapping[str, Any]],
    language: str = "en",
    on_problem: Callable[[str | None], None] = lambda problem: None,
) -> Iterator[str]:
    """Yield the reply's text, then the writer's sentences that are true.

    proposed: of each proposal title, price, currency, reason, categories and attributes, the reason
    in ``language`` (ISO 639-1). Nothing is worded in a language that the writer does not know.
    on_problem: gets a sentence if the writer fails for the first product, None if it answers.
    """
    if writer is None or not proposed or language not in writer.languages & HARMLESS.keys():
        yield text
        return
    yield f"{text} "
    until = time.monotonic() + writer.timeout
    for n, product in enumerate(proposed[:DESCRIBED]):
        left = until - time.monotonic()
        if left <= 0:
            return
        try:
            yield from _sentences_about(writer, product, language, left)
        except WriterError as error:
            metrics.WORDED.labels("failed").inc()
            logger.warning("the writer failed: %s", type(error.__cause__ or error).__name__)
            if n == 0:
                on_problem("the writer does not answer, so answers are templates")
            return
        on_problem(None)


def _sentences_about(
    writer: Writer, product: Mapping[str, Any], language: str, seconds: float
) -> Iterator[str]:
    """Yield what is true of the writer's first sentences about one product."""
    facts = Facts(product, language)
    named = False
    with closing(writer.write(messages_about(product, language), seconds)) as pieces:
        for n, sentence in enumerate(sentences_of(pieces), 1):
            sent = true_part(sentence, facts, named)
            kind = "said" if sent == sentence else "shortened" if sent else "dropped"
            metrics.WORDED.labels(kind).inc()
            named = bool(sent)
            if sent:
                yield f"{sent} "
            if n == SENTENCES:
                return


def sentences_of(pieces: Iterator[str]) -> Iterator[str]:
    """Yield whole sentences of a text that comes in pieces; of a last one that was cut off, the
    part before its last comma."""
    held = ""
    for piece in pieces:
        held += piece
        while found := _END.search(held):
            sentence, held = held[: found.end()].strip(), held[found.end() :]
            if sentence:
                yield sentence
        if len(held) > LONGEST_SENTENCE:
            return
    held = held.strip()
    if held and not _END.search(f"{held} "):
        held = re.sub(r"(?:^|[,;:，；：](?!\d))[^,;:，；：]*$", "", held)
        held = held and f"{held}."
    if held:
        yield held
