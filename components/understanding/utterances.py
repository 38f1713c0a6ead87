"""Labelled utterances of shoppers, made from sentences with slots: what the tagger is trained on.

In: ``languages/<code>.yaml`` (how shoppers of a language write), ``lexicon.yaml`` (colours,
materials, people, occasions), the names of things and titles. Out: ``Utterance``: a text, its
intent, and the labelled parts of the text.

A language file has for each intent its sentences, one alternative a line or after " | ". In them

- ``$name`` is replaced by one of the alternatives of ``parts``, ``$name?`` also by nothing;
- ``{thing}``, ``{detail}``, ``{person}``, ``{occasion}``, ``{max}``, ``{min}``, ``{about}``,
  ``{ref}`` are filled and labelled with their name in capitals; ``{no_thing}`` and ``{no_detail}``
  are labelled REFUSED;
- ``{thing:DETAIL}`` is a thing that is labelled DETAIL, ``{thing:O}`` one without a label;
- ``{cheap=words}`` labels these words CHEAP, ``{detail=words}`` DETAIL, and so on;
- ``{title}`` is a product's title, ``{n}`` a number, ``{place}`` a town: without a label.

``refs`` are references to the shown products by their place, ``numbers`` the words of numbers,
``money`` how amounts are written ({n} or {word}), ``at_most`` and ``at_least`` what is said before
or after a limit of the price, ``any_price`` what is said where there is none.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import yaml

FOLDER = Path(__file__).parent
Intent = Literal[
    "find",
    "refine",
    "more",
    "cheaper",
    "dearer",
    "reject",
    "similar_to",
    "goes_with",
    "compare",
    "tell_more",
    "not_my_field",
    "thanks",
    "hello",
    "why",
    "restart",
    "whatever",
]
INTENTS: tuple[Intent, ...] = get_args(Intent)
LABELS = (
    "THING",
    "DETAIL",
    "REFUSED",
    "PERSON",
    "OCCASION",
    "MAX",
    "MIN",
    "ABOUT",
    "REF",
    "CHEAP",
    "DEAR",
)
"""Labels of the parts of an utterance."""
TITLE = "PRODUCT"
"""Stands for a title of the catalogue in an utterance."""
PLACES = ("Berlin", "France", "Spain", "London", "Wien", "Paris", "Madrid", "北京", "上海", "Leeds")

_SLOT = re.compile(r"\{(\w+)(?:([:=])([^}]*))?\}")
_ENDING = re.compile(r"[a-z]+")
_PART = re.compile(r"\$([a-z_]+)(\?)?")


@dataclass(frozen=True)
class Utterance:
    """spans: start, end and label of each labelled part, in characters of the text."""

    text: str
    intent: Intent
    language: str
    spans: tuple[tuple[int, int, str], ...]


@cache
def languages() -> tuple[str, ...]:
    """Return the codes of the languages that utterances can be made in: one file each."""
    return tuple(sorted(file.stem for file in (FOLDER / "languages").glob("*.yaml")))


@cache
def language(code: str) -> dict[str, Any]:
    """Return the content of a language's file."""
    return yaml.safe_load((FOLDER / "languages" / f"{code}.yaml").read_text(encoding="utf-8"))


@cache
def lexicon() -> dict[str, dict[str, dict[str, list[str]]]]:
    """Return kind (details, people, occasions) → English name → language → forms."""
    raw = yaml.safe_load((FOLDER / "lexicon.yaml").read_text(encoding="utf-8"))
    return {
        kind: {
            name: {code: _inflected(forms, code) for code, forms in by_code.items()}
            for name, by_code in words.items()
        }
        for kind, words in raw.items()
    }


ENDINGS = {
    "de": ("", "e", "en", "er", "es", "em"),
    "fr": ("", "e", "s", "es"),
    "es": ["o", "a", "os", "as"],
}
"""Endings of adjectives, for "~" in the lexicon."""


def _inflected(forms: list[str], code: str) -> list[str]:
    return [
        form.removesuffix("~") + ending
        for form in forms
        for ending in (ENDINGS.get(code, [""]) if form.endswith("~") else [""])
    ]


def alternatives(text: str) -> list[str]:
    """Return the alternatives of a block: one a line, or after " | ".

    >>> alternatives("a red | a blue\\nsome")
    ['a red', 'a blue', 'some']
    """
    return [one.strip() for line in text.splitlines() for one in line.split(" | ") if one.strip()]


class UtteranceGenerator:
    """Writes utterances in one language. things: names of kinds of product."""

    def __init__(self, code: str, things: Sequence[str], seed: int) -> None:
        self._code = code
        self._random = np.random.default_rng([seed, *code.encode()])
        raw = language(code)
        self._parts = {name: alternatives(text) for name, text in raw["parts"].items()}
        self._sentences = {intent: alternatives(raw[intent]) for intent in INTENTS}
        self._refs = [one for text in raw["refs"].values() for one in alternatives(text)]
        self._money, self._numbers = raw["money"], raw["numbers"]
        words = lexicon()
        self._fillers: dict[str, Sequence[str]] = {
            "thing": things,
            "place": PLACES,
            **{
                slot: [form for name in words[kind] for form in words[kind][name].get(code, [])]
                for slot, kind in (
                    ("detail", "details"),
                    ("person", "people"),
                    ("occasion", "occasions"),
                )
            },
        }

    def write(self, intent: Intent, frame: str | None = None) -> Utterance:
        """Return an utterance of an intent. frame: its sentence, by default a random one."""
        text = frame or self._any(self._sentences[intent])
        for _ in range(12):
            text, changed = _PART.subn(self._part, text)
            if not changed:
                break
        return self._filled(" ".join(text.split()), intent)

    def sentences(self, intent: Intent) -> list[str]:
        return self._sentences[intent]

    def _any(self, options: Sequence[str]) -> str:
        return options[int(self._random.integers(len(options)))]

    def _part(self, found: re.Match[str]) -> str:
        if found[2] and self._random.random() < 0.5:
            return ""
        return self._any(self._parts[found[1]])

    def _filled(self, text: str, intent: Intent) -> Utterance:
        out, spans, at = "", [], 0
        for found in _SLOT.finditer(text):
            out += text[at : found.start()]
            at = found.end()
            slot, kind, value = found.groups()
            label = value if kind == ":" else slot.removesuffix("_detail").removesuffix("_thing")
            label = {"no": "REFUSED"}.get(label, label).upper()
            filler = value if kind == "=" else self._filler(slot.removeprefix("no_"))
            if label in LABELS:
                ending = _ENDING.match(text, at)  # "{thing}s"
                stop = len(out) + len(filler) + (len(ending[0]) if ending else 0)
                spans.append((len(out), stop, label))
            out += filler
        return self._noised(out + text[at:], intent, spans)

    def _filler(self, slot: str) -> str:
        if slot in ("max", "min", "about"):
            return self._amount()
        if slot == "ref":
            return self._any(self._refs)
        if slot == "n":
            return str(self._random.integers(1, 60))
        if slot == "title":
            return TITLE
        return self._any(self._fillers[slot])

    def _amount(self) -> str:
        number = self._any(list(self._numbers))
        return self._any(self._money).format(n=number, word=self._numbers[number])

    def _noised(self, text: str, intent: Intent, spans: list[tuple[int, int, str]]) -> Utterance:
        """Return the utterance as it might be typed: without accents, without punctuation, with a
        slip. No noise changes the number of characters."""
        if self._random.random() < 0.15:
            text = _no_marks(text, spans)
        if self._random.random() < 0.15:
            text = text.translate(_PLAIN)
        if self._random.random() < 0.12 and len(text) > 8 and TITLE not in text:
            at = int(self._random.integers(1, len(text) - 2))
            if text[at].isalpha() and text[at + 1].isalpha() and text[at].isascii():
                text = text[:at] + text[at + 1] + text[at] + text[at + 2 :]
        return Utterance(text, intent, self._code, tuple(spans))


def _no_marks(text: str, spans: list[tuple[int, int, str]]) -> str:
    """Return the text without punctuation outside of the labelled parts."""
    kept = {at for start, stop, _ in spans for at in range(start, stop)}
    return "".join(
        " " if mark in ",.!?¿¡,。!?" and at not in kept else mark for at, mark in enumerate(text)
    )


_PLAIN = str.maketrans("äöüàâéèêëîïôùûçáíóúñ", "aouaaeeeeiiouucaioun")


def same_length(text: str, change: Any) -> str:
    """Return the changed text, the text itself where the change would move its characters."""
    changed = change(text)
    return changed if len(changed) == len(text) else text
