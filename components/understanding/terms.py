"""A shopper's words → words of the catalogue, whatever the language of either.

In: a labelled part of a message. Out: ``Term``. Its words are looked up in the catalogue, in the
dictionary of shops, then by meaning in the encoder's space. A word that the dictionary knows, but
no product has, names something that the shop does not sell; it is not replaced by a similar one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise, zip_longest
from typing import Protocol

import numpy as np
import pandas as pd
from babel import Locale, UnknownLocaleError

from components.arrays import FloatArray
from components.understanding.dictionary import HEAD_FIRST, SMALL, Concept, Dictionary
from components.understanding.plain import plain, words
from components.words.stems import stem, stop_words

WIDEST = 4
"""Words by which a name of a thing may be longer than what was labelled."""
LONGEST_NAME = 5
"""Words of a name of a thing, or characters of a Chinese one, that are looked up."""
REMEMBERED = 20_000
"""Phrases of which it is remembered whether a product has them."""
CLOSE = 0.75
"""Centred cosine from which on a phrase of the catalogue says the same as an unknown word.

Of 2,500 words of the dictionary in four languages, multilingual-e5-small answers 2 % at it, 8 of
10 of them rightly; at 0.55 it answers 12 %, half of them rightly.
"""
MOST_PHRASES, MOST_TITLES = 20_000, 200_000
"""Phrases of a catalogue that meanings are looked up in, and titles that they are read from.

A million titles, put together of halves of real ones, have 190,000: half an hour to encode, 290 MB
of vectors, 2.2 GB while they are counted. A real catalogue of 92,000 products has 7,000.
"""
_WORDS = re.compile(r"[^\W_]+(?:['-][^\W_]+)*")
_GENERAL = frozenset(
    words(
        """gift gifts present presents souvenir surprise set sets geschenk geschenke präsent
        cadeau cadeaux regalo regalos detalle obsequio 礼物 禮物 礼品"""
    )
)
"""Words for any product."""
_AFTER = frozenset(words("with w for in mit für aus avec pour con para"))
"""Words of a title after which follows what the product has or is for."""


class Vocabulary(Protocol):
    """The words of the catalogue's products."""

    def knows(self, word: str) -> bool:
        """Return whether some product has the word, singular or plural."""
        ...

    def together(self, phrase: str) -> bool:
        """Return whether some product has all words of a phrase."""
        ...

    def nearest(self, word: str) -> str | None:
        """Return the word of a product that ``word`` may be a misspelling of, None without one."""
        ...


@dataclass(frozen=True)
class Term:
    """words: phrases of the catalogue, any of which says it, empty if no product does. details: of
    the same part, such as the material in a German compound. known: the dictionary has it, so that
    empty words mean that the shop does not sell it."""

    words: tuple[str, ...] = ()
    details: tuple[str, ...] = ()
    known: bool = False

    @property
    def text(self) -> str:
        """The alternatives in one text, "mug or cup"."""
        return " or ".join(self.words)


class PhraseVectors:
    """Phrases of the catalogue by their meaning. vectors: float32 (phrases, width)."""

    def __init__(
        self,
        phrases: Sequence[str],
        vectors: FloatArray,
        encode: Callable[[list[str]], FloatArray],
    ) -> None:
        self._phrases, self._encode = list(phrases), encode
        self._mean = vectors.mean(axis=0)
        self._vectors = self._centred(vectors)

    def _centred(self, vectors: FloatArray) -> FloatArray:
        # All vectors of this kind of encoder point into one cone; without their mean they differ.
        moved = vectors - self._mean
        return moved / np.maximum(np.linalg.norm(moved, axis=1, keepdims=True), 1e-9)

    def nearest(self, word: str, at_least: float = CLOSE) -> str | None:
        """Return the phrase of the nearest meaning, None below a cosine of ``at_least``."""
        if not self._phrases:
            return None
        cosines = self._vectors @ self._centred(self._encode([word]))[0]
        best = int(cosines.argmax())
        return self._phrases[best] if cosines[best] >= at_least else None


def phrases_of(
    titles: pd.Series, at_least: int = 2, most: int = MOST_PHRASES, read: int = MOST_TITLES
) -> list[str]:
    """Return the words and pairs of words that occur at least so often in titles, at most ``most``,
    the most frequent first. Of more titles than ``read``, a random sample of so many is read.
    """
    if len(titles) > read:
        titles = titles.sample(read, random_state=0)
    words = titles.str.casefold().str.findall(r"[^\W\d_]{2,}")
    pairs = [[" ".join(pair) for pair in pairwise(said)] for said in words]
    counts = pd.concat([words.explode(), pd.Series(pairs).explode()]).value_counts()
    return counts.index[counts >= at_least][:most].tolist()


class Terms:
    """Translates for one catalogue. languages: of the catalogue, ISO 639-1."""

    def __init__(
        self,
        vocabulary: Vocabulary,
        languages: Sequence[str],
        dictionary: Dictionary,
        meaning: PhraseVectors | None = None,
    ) -> None:
        self._vocabulary, self._languages = vocabulary, list(languages)
        self._dictionary, self._meaning = dictionary, meaning
        self._known: dict[str, bool] = {}

    def term(self, text: str, code: str) -> Term:
        """Return what a labelled part says in the catalogue's words. code: the language of it."""
        said = " ".join(_WORDS.findall(text.casefold()))
        found = self._whole(said, code)
        if found.words:
            return found
        if compound := self._dictionary.compound(said, code):
            first, last = (self._whole(part, code) for part in compound)
            if last.words or not found.known:
                return Term(last.words, first.words[:1], known=True)
        if found.known or self._is_unsold(said, code):
            return Term(known=True)
        parts = list(self._parts(said, code))
        if parts:
            head, *details = parts if code in HEAD_FIRST else parts[::-1]
            return Term(head.words, tuple(one.text for one in details), head.known)
        if (near := self._vocabulary.nearest(said)) and code in self._languages:
            return Term((near,))
        is_place = said in _places(code)
        if (
            self._meaning
            and not is_place
            and len(said) >= 5
            and (near := self._meaning.nearest(text))
        ):
            return Term((near,))
        return Term()

    def _is_unsold(self, said: str, code: str) -> bool:
        """Return whether a phrase is about a known thing that no product has: "new sneakers"."""
        words = list(said) if code == "zh" else said.split()
        joint = "" if code == "zh" else " "
        for at in range(1, len(words)):
            part = words[: len(words) - at] if code in HEAD_FIRST else words[at:]
            phrase = joint.join(part)
            if self._dictionary.is_thing(phrase, code):
                return not self._whole(phrase, code).words
        head = (words[0] if code in HEAD_FIRST else words[-1]) if len(words) > 1 else ""
        return not self._vocabulary.nearest(head) and self._whole(head, code) == Term(known=True)

    def detail(self, text: str, code: str) -> Term:
        """Return what a labelled detail says: a colour, even if a thing has the same name, as the
        rose in Spanish."""
        said = " ".join(_WORDS.findall(text.casefold()))
        concept = self._dictionary.detail(said, code)
        forms = [] if concept is None else self._forms([concept])
        return Term(_shortest(forms), known=True) if forms else self.term(text, code)

    def activity(self, text: str, code: str) -> tuple[str, ...]:
        """Return the catalogue's words of things for an activity, such as cooking, that a text
        names, empty if it names none."""
        names = self._dictionary.activity(text, code)
        found = [word for name in names for word in self._whole(name, "en").words[:2]]
        return tuple(dict.fromkeys(found))

    def widened(self, part: str, text: str, code: str) -> str:
        """Return the longest name of a thing in a text that holds ``part`` as its first or last
        words, ``part`` itself without one: "papel" in "papel de regalo barato" is "papel de
        regalo"."""
        said, words = _WORDS.findall(part.casefold()), _WORDS.findall(text.casefold())
        for start in range(len(words) - len(said) + 1) if said else ():
            if words[start : start + len(said)] != said:
                continue
            for more in range(WIDEST, 0, -1):
                stop = start + len(said)
                for phrase in (words[start : stop + more], words[max(0, start - more) : stop]):
                    if len(phrase) > len(said) and self.is_thing(" ".join(phrase), code):
                        return " ".join(phrase)
        return part

    def is_thing(self, text: str, code: str) -> bool:
        """Return whether a text is the name of a thing, and not of a detail."""
        said = " ".join(_WORDS.findall(text.casefold()))
        return self._dictionary.is_thing(said, code) and not self.is_detail(text, code)

    def is_detail(self, text: str, code: str) -> bool:
        """Return whether a text is the name of a colour, a material, a size or a style."""
        said = " ".join(_WORDS.findall(text.casefold()))
        return self._dictionary.named("details", said, code) is not None

    def thing_in(self, text: str, code: str) -> str | None:
        """Return the first thing that a text names and the catalogue has, None without one. Words
        for any product, such as "gift", are none."""
        said = _WORDS.findall(text.casefold())
        for start in range(len(said)):
            for stop in range(min(len(said), start + 4), start, -1):
                phrase = " ".join(said[start:stop])
                general = plain(phrase) in _GENERAL
                if not general and self.is_thing(phrase, code) and self._whole(phrase, code).words:
                    return phrase
        return None

    def heads(self, title: str) -> list[str]:
        """Return what a title's product is, in each word for it: the last thing that it names
        before "with" and its like. "Button box" is a box."""
        words = _WORDS.findall(title.casefold())
        cut = next((at for at, word in enumerate(words) if at and word in _AFTER), len(words))
        things = self._things(words[:cut])
        pair = f"{things[-2]} and {things[-1]}" if len(things) > 1 else ""
        found = things[-2:] if pair and pair in " ".join(words) else things[-1:]
        found = [part for phrase in found for part in phrase.split(" and ")]  # teacup and saucer
        code = self._languages[0]
        return [*found, *(word for phrase in found for word in self._whole(phrase, code).words)]

    def kinds(self, title: str) -> list[str]:
        """Return the things that a title of the catalogue names, with the other words for them,
        else its last word."""
        words = _WORDS.findall(title.casefold())
        found = self._things(words)
        code = self._languages[0]
        others = [word for phrase in found for word in self._whole(phrase, code).words]
        return list(dict.fromkeys([*found, *others])) or words[-1:]

    def _things(self, words: list[str]) -> list[str]:
        """Return the things that words of the catalogue name, the longest from each word on."""
        found, start = [], 0
        while start < len(words):
            for stop in range(min(len(words), start + 4), start, -1):
                phrase = " ".join(words[start:stop])
                if any(self._dictionary.is_thing(phrase, code) for code in self._languages):
                    found.append(phrase)
                    start = stop - 1
                    break
            start += 1
        return found

    def named(self, kind: str, text: str, code: str) -> tuple[str, tuple[str, ...]] | None:
        """Return a word of the lexicon as its English name and its forms in the catalogue's
        languages, None if it has none. kind: people or occasions."""
        for word in (text, *_WORDS.findall(text)):
            if name := self._dictionary.named(kind, word, code):
                forms = [
                    form
                    for concept in self._dictionary.concepts(word, code)[:1]
                    for known in self._languages
                    for form in concept.get(known, ())
                ]
                return name, tuple(forms)
        return None

    def _whole(self, said: str, code: str) -> Term:
        """Return a phrase by the catalogue's own words and the dictionary's."""
        concepts = self._dictionary.concepts(said, code)
        # A word of another language may be a name, but a short one is no word of the catalogue's.
        own = code in self._languages or (not concepts and len(said) > 3)
        words = [said] if own and said and self._together(said) else []
        words += self._forms(concepts)
        return Term(_shortest(words), known=bool(concepts))

    def _together(self, phrase: str) -> bool:
        """Return whether some product has all words of a phrase."""
        known = self._known.get(phrase)
        if known is None:
            if len(self._known) >= REMEMBERED:
                self._known.clear()
            known = self._known[phrase] = self._vocabulary.together(phrase)
        return known

    def _forms(self, concepts: Sequence[Concept]) -> list[str]:
        """Return the concepts' words in the catalogue: of each the first ones, then the others."""
        found = [
            [
                form
                for code in self._languages
                for form in concept.get(code, ())
                if self._together(form)
            ]
            for concept in concepts
        ]
        return [form for forms in zip_longest(*found) for form in forms if form]

    def _parts(self, said: str, code: str) -> Iterator[Term]:
        """Yield the longest known phrases of a phrase, from left to right."""
        words = said.split()
        if len(words) == 1 and not words[0].isascii() and code == "zh":
            words = list(words[0])
        joint = "" if code == "zh" else " "
        start = 0
        while start < len(words):
            for stop in range(min(len(words), start + LONGEST_NAME), start, -1):
                phrase = joint.join(words[start:stop])
                small = plain(phrase) in SMALL or stop_words(code).issuperset(words[start:stop])
                small |= code == "zh" and stop - start < 2 and len(words) > 3
                found = Term() if small else self._whole(phrase, code)
                if found.words:
                    yield found
                    break
            start = stop if found.words else start + 1


@cache
def _places(code: str) -> frozenset[str]:
    """Return the names of countries in a language, as CLDR has them."""
    try:
        names = Locale.parse(code).territories.values()
    except (UnknownLocaleError, ValueError):
        return frozenset()
    return frozenset(name.casefold() for name in names)


def _shortest(words: Sequence[str]) -> tuple[str, ...]:
    """Return the phrases without those that only add words to another one.

    >>> _shortest(["coffee mugs", "mug", "mugs", "cup"])
    ('mug', 'cup')
    """
    sets: dict[frozenset[str], str] = {}
    for word in words:
        sets.setdefault(frozenset(stem(part) for part in word.casefold().split()), word)
    return tuple(word for said, word in sets.items() if not any(other < said for other in sets))
