"""Reading of messages by a language model with structured output.

In: a message. Out: a ``Reading``, which the model's JSON is constrained to. What the model says is
believed only as far as the message says it: words that are not in it are dropped, a limit of the
price is the one that the other reader found, and a refusal that the other reader found is kept. The
intent, the language and the places that it refers to are the model's.
Where the model is slow, dead or writes nonsense, the other reader's reading stands.
"""

from __future__ import annotations

import logging
import re
from typing import Any, Protocol

from pydantic import ValidationError

from components.language.writer import FillsSchema, WriterError
from components.understanding.plain import plain
from components.understanding.reading import Reading
from components.understanding.utterances import languages
from components.words.segmentation import has_unspaced
from components.words.stems import stemmer

logger = logging.getLogger("bentoml.bowerbird")

PARTS = ("things", "uses", "details", "refused", "people", "occasions")
LIMITS = ("min_price", "max_price", "any_price", "currency")

_TASK = (
    "Read what a shopper writes to a shop. Answer with JSON. Use only the shopper's own words. "
    "intent find: looks for something; refine: changes it; goes_with, similar_to, compare, "
    "tell_more: about products shown; not_my_field: delivery, orders, payment, returns."
)
_EXAMPLES = (
    (
        "a red mug for my mum, no more than 5 pounds, no plastic",
        {"intent": "find", "language": "en", "things": ["mug"], "details": ["red"],
         "refused": ["plastic"], "people": ["mum"]},
    ),
    (
        "Habt ihr Kissen mit Blumen?",
        {"intent": "find", "language": "de", "things": ["Kissen"], "details": ["Blumen"]},
    ),
    ("quelque chose de moins cher", {"intent": "cheaper", "language": "fr"}),
    ("¿cuánto tarda el envío?", {"intent": "not_my_field", "language": "es"}),
    ("第二个详细介绍一下", {"intent": "tell_more", "language": "zh", "places": [2]}),
)  # fmt: skip


class Reader(Protocol):
    """Reads messages."""

    def read(self, text: str) -> Reading:
        """Return what a text says, in the shopper's own words."""
        ...


def schema() -> dict[str, Any]:
    """Return the JSON schema of what a model fills: a ``Reading`` without the limits of the price,
    of which a model would have to count."""
    whole = Reading.model_json_schema()
    without = {*LIMITS, "sure"}
    filled = {name: one for name, one in whole["properties"].items() if name not in without}
    return {**whole, "properties": filled, "required": ["intent", "language", "things"]}


class ModelReader:
    """Reads by a language model. other: reads what the model cannot. seconds: for one message."""

    def __init__(self, model: FillsSchema, other: Reader, seconds: float) -> None:
        self._model, self._other, self._seconds = model, other, seconds
        self._schema = schema()

    def read(self, text: str) -> Reading:
        """Return what a text says."""
        other = self._other.read(text)
        try:
            filled = self._model.fill(messages_for(text), self._schema, self._seconds)
            reading = Reading.model_validate_json(filled)
        except (WriterError, ValidationError) as error:
            logger.warning("the model did not read a message: %s", type(error).__name__)
            return other
        return checked(reading, other, text)


def messages_for(text: str) -> list[dict[str, str]]:
    """Return the chat messages that ask a model to read a text."""
    messages = [{"role": "system", "content": _TASK}]
    for said, example in _EXAMPLES:
        filled = Reading.model_validate(example).model_dump_json(exclude_defaults=True)
        messages.append({"role": "user", "content": said})
        messages.append({"role": "assistant", "content": filled})
    return [*messages, {"role": "user", "content": text}]


def checked(reading: Reading, other: Reading, text: str) -> Reading:
    """Return a model's reading of a text, as far as the text says it."""
    parts = {name: [part for part in getattr(reading, name) if _says(text, part)] for name in PARTS}
    parts["refused"] = list(dict.fromkeys([*other.refused, *parts["refused"]]))[:8]
    refused = {plain(part) for part in parts["refused"]}
    for name in PARTS:  # what is refused is not wanted
        if name != "refused":
            parts[name] = [part for part in parts[name] if plain(part) not in refused]
    limits = {name: getattr(other, name) for name in LIMITS}
    return reading.model_copy(update={**parts, **limits})


def _says(text: str, part: str) -> bool:
    """Return whether a text has a part as whole words, in any form of them; of Chinese and its like
    as characters.

    >>> _says("a book on smugglers", "mug"), _says("two red mugs", "red mug")
    (False, True)
    >>> _says("我要马克杯", "马克杯")
    True
    """
    said, looked_for = plain(text), plain(part)
    if has_unspaced(said):
        return looked_for in said

    said_words, part_words = (re.findall(r"[^\W_]+", one) for one in (said, looked_for))

    def stemmed(words: list[str], code: str) -> str:
        return " ".join(["", *map(stemmer(code), words), ""])

    return bool(part_words) and any(
        stemmed(part_words, code) in stemmed(said_words, code) for code in languages()
    )
