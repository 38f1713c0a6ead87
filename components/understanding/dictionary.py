"""A dictionary of the words of shops: what things, colours, people and occasions are called.

In: ``things/*.tsv``, ``lexicon.yaml``, and the names of emoji in Unicode's CLDR, which the package
``emoji`` carries in 14 languages. Out: the forms of a word in another language, names of things for
training sentences.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from functools import cache
from operator import itemgetter

import pandas as pd
import yaml

from components.understanding.plain import plain, words
from components.understanding.utterances import FOLDER, lexicon
from components.words.stems import stemmer

_NO_THINGS = re.compile(
    r"\b(?:face|man|woman|men|women|person|people|boy|girl|flag|button|arrow|arrows|hand|hands|sign|"
    r"skin|tone|o.clock|square|circle|diamond|keycap|mark|thirty|gesturing|finger|fingers|moon|"
    r"speaker|input|symbol|japanese|couple|kiss|family|zodiac|selector|hair|medium|letters?|"
    r"prohibited|no|non|up|down|left|right|vertical|clockwise|hearing|squared|blood|type|fist)\b"
    r"|[^a-z' -]"
)
"""English names of emoji that are no things."""
_WORDS = re.compile(r"[^\W_]+(?:['-][^\W_]+)*")
_FLAG = re.compile("[\U0001f1e6-\U0001f1ff]")
HEAD_FIRST = frozenset({"ca", "es", "fr", "it", "pt", "ro", "th", "vi", "id", "ar", "he"})
"""Languages in which the noun comes before its details: "taza roja"."""
SMALL = frozenset(
    words(
        """a an the of in on for to with and or de du des d la le les l un une en a au aux y el los
        las una para pa pal con del al der die das den dem ein eine einen einem mit und oder aus fur
        im zum zur e o 的 款 个 一 只 把 条"""
    )
)
"""Words of the languages of the dictionary that no product is looked up by, in plain form."""
RARE = 3
"""Titles that must end (or begin) with a phrase for it to be a kind of product."""
SLIP = 0.82
"""Similarity (difflib) from which on an unknown word is a misspelling of a known one."""

Concept = dict[str, list[str]]
"""Language (ISO 639-1) → forms of a word, the most usual first."""


@cache
def things() -> list[Concept]:
    """Return the things that shops sell, and everyday things that have an emoji."""
    found: list[Concept] = []
    for file in sorted((FOLDER / "things").glob("*.tsv")):
        with file.open(encoding="utf-8", newline="") as lines:
            for row in csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE):
                found.append({code: cell.split(" | ") for code, cell in row.items()})
    return [*found, *_emoji()]


def _emoji() -> Iterator[Concept]:
    import emoji

    codes = sorted(emoji.LANGUAGES)
    for code in codes:
        emoji.config.load_language(code)
    seen = set()
    for sign, data in emoji.EMOJI_DATA.items():
        if _FLAG.match(sign) or data["status"] > emoji.STATUS["fully_qualified"]:
            continue
        names = {code: data[code].strip(":").replace("_", " ") for code in codes if code in data}
        if not _NO_THINGS.search(names["en"].casefold()) and names["en"] not in seen:
            seen.add(names["en"])
            yield {code: [name.replace("’", "'").casefold()] for code, name in names.items()}


@cache
def activities() -> list[Concept]:
    """Return what people do: the forms by language, and by ``things`` the English names of what is
    for it."""
    text = (FOLDER / "activities.yaml").read_text(encoding="utf-8")
    return list(yaml.safe_load(text).values())


def names(code: str) -> list[str]:
    """Return the names of things in a language, empty if no dictionary has it."""
    return sorted({form for concept in things() for form in concept.get(code, ())})


def kinds(titles: pd.Series, code: str) -> list[str]:
    """Return the kinds of product that titles name: their last word or two, or the first ones in a
    language whose nouns come first; of at least RARE titles.

    >>> kinds(pd.Series(["red mug", "blue mug", "owl mug", "mug tree"]), "en")
    ['mug']
    """
    details = {form for forms in lexicon()["details"].values() for form in forms.get(code, ())}
    words = titles.str.casefold().str.findall(r"[^\W\d_]{2,}")
    found = []
    for n in (1, 2):
        parts = words.str[:n] if code in HEAD_FIRST else words.str[-n:]
        found.append(parts[words.str.len() > n].str.join(" "))
    counts = pd.concat(found).value_counts()
    return [name for name in counts.index[counts >= RARE] if name not in details]


class Dictionary:
    """Concepts by their forms. people, occasions: the English names of those concepts."""

    def __init__(self) -> None:
        self._concepts: list[Concept] = []
        self._by_form: dict[str, dict[str, list[int]]] = {}
        self._by_stems: dict[str, dict[tuple[str, ...], list[int]]] = {}
        self._names: dict[int, tuple[str, str]] = {}
        for kind, by_name in lexicon().items():
            for name, forms in by_name.items():
                self._names[len(self._concepts)] = (kind, name)
                self._add(forms)
        self._first_thing = len(self._concepts)
        for forms in things():
            self._add(forms)

    def _add(self, concept: Concept) -> None:
        number = len(self._concepts)
        self._concepts.append(concept)
        for code, forms in concept.items():
            by_form = self._by_form.setdefault(code, {})
            for form in forms:
                numbers = by_form.setdefault(plain(form), [])
                if number not in numbers:
                    numbers.append(number)

    def concepts(self, word: str, code: str) -> list[Concept]:
        """Return the concepts of a word of a language, also of a misspelt word or of the parts of a
        compound; empty if none is known."""
        return [self._concepts[number] for number in self._numbers(plain(word), code)]

    def named(self, kind: str, word: str, code: str) -> str | None:
        """Return the English name of a word of the lexicon. kind: details, people or occasions."""
        for number in self._numbers(plain(word), code):
            if self._names.get(number, ("", ""))[0] == kind:
                return self._names[number][1]
        return None

    def detail(self, word: str, code: str) -> Concept | None:
        """Return the concept of a colour, a material, a size or a style, None if the word is none
        of them. A plural that is a thing's too, such as roses, is none."""
        said = plain(word)
        numbers = self._by_form.get(code, {}).get(said, ())
        things = [self._concepts[one][code] for one in numbers if one >= self._first_thing]
        if any(plain(forms[0]) != said for forms in things):
            return None
        details = (one for one in numbers if self._names.get(one, ("", ""))[0] == "details")
        return next((self._concepts[one] for one in details), None)

    def activity(self, text: str, code: str) -> list[str]:
        """Return the English names of the things for the first activity that a text names, empty if
        it names none."""
        said = plain(text) if code == "zh" else f" {' '.join(_WORDS.findall(plain(text)))} "
        around = "" if code == "zh" else " "
        found = [
            (at, one["things"])
            for one in activities()
            for form in one.get(code, ())
            if (at := said.find(f"{around}{plain(form)}{around}")) >= 0
        ]
        return min(found, key=itemgetter(0), default=(0, []))[1]

    def is_thing(self, phrase: str, code: str) -> bool:
        """Return whether a phrase names a thing: as it is written or, of several words, in other
        forms of them."""
        return any(number >= self._first_thing for number in self._exact(plain(phrase), code))

    def _exact(self, said: str, code: str) -> Sequence[int]:
        """Return the concepts of a form, of a phrase also with other endings and small words."""
        found = self._by_form.get(code, {}).get(said)
        if found is None and " " in said:
            found = self._phrases(code).get(_stems(said, code))
        return found or ()

    def _phrases(self, code: str) -> dict[tuple[str, ...], list[int]]:
        """Return the forms of several words by the stems of their words."""
        if code not in self._by_stems:
            by_stems: dict[tuple[str, ...], list[int]] = {}
            for form, numbers in self._by_form.get(code, {}).items():
                if " " in form:
                    by_stems.setdefault(_stems(form, code), []).extend(numbers)
            self._by_stems[code] = by_stems
        return self._by_stems[code]

    def compound(self, word: str, code: str) -> tuple[str, str] | None:
        """Return the two known words that a German compound is made of, None if it is none."""
        if code != "de":
            return None
        said, known = plain(word), self._by_form.get(code, {})
        for at in range(len(said) - 3, 2, -1):
            last = said[at:]
            for joint in ("", "s", "es", "n", "en", "e"):
                first = said[:at].removesuffix(joint) if joint else said[:at]
                if last in known and (first in known or first + "e" in known):
                    return (first if first in known else first + "e"), last
        return None

    def _numbers(self, said: str, code: str) -> list[int]:
        known = self._by_form.get(code, {})
        if exact := self._exact(said, code):
            return list(exact)
        for ending in _PLURALS.get(code, ()):
            if said.endswith(ending) and (stem := said.removesuffix(ending)) in known:
                return known[stem]
        if said.isascii() and said.isalpha() and len(said) >= 5:
            like = [
                form
                for form in known
                if form[:1] == said[:1] and abs(len(form) - len(said)) < 2 and form.isalpha()
            ]
            close = get_close_matches(said, like, 1, SLIP)
            return known[close[0]] if close else []
        return []


def _stems(phrase: str, code: str) -> tuple[str, ...]:
    stem = stemmer(code)
    return tuple(stem(word) for word in phrase.split() if word not in SMALL)


_PLURALS = {
    "en": ("s", "es"),
    "de": ("n", "en", "e", "er", "s"),
    "fr": ("s", "x"),
    "es": ("s", "es"),
}
