"""``Words``: the analyser of a catalogue, which texts and queries share.

In: the shares of a catalogue's languages. Out: the terms of its texts, each in its own language,
and of queries, in every language of the catalogue. It is saved as its shares (JSON).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import pandas as pd
import regex

from components.words.languages import catalogue_languages, probabilities, shares
from components.words.segmentation import normalise, without_accents, words
from components.words.stems import stemmer, stop_words

LEAST_SHARE = 0.05
"""Share of a catalogue's texts from which a language is one of the catalogue.

A classifier takes 3 % of short English titles for other languages.
"""
_SCRIPTS = {
    "Arab": "ar ckb fa ku ps sd ug ur",
    "Armn": "hy",
    "Cyrl": "be bg kk ky mk mn ru sr tg uk",
    "Deva": "hi mr ne sa",
    "Grek": "el",
    "Hang": "ko",
    "Hebr": "he yi",
    "Taml": "ta",
    # Without spaces, so segmented by script; their words have no endings to drop.
    "Unspaced": "bo dz ja km lo my th zh",
}
_SCRIPT_OF_LANGUAGE = {code: script for script, codes in _SCRIPTS.items() for code in codes.split()}
_LATIN = "Latn"
_OTHERS = regex.compile(
    r"(?P<Arab>\p{Arabic})|(?P<Armn>\p{Armenian})|(?P<Cyrl>\p{Cyrillic})|(?P<Deva>\p{Devanagari})"
    r"|(?P<Grek>\p{Greek})|(?P<Hang>\p{Hangul})|(?P<Hebr>\p{Hebrew})|(?P<Taml>\p{Tamil})"
    r"|(?P<Unspaced>[\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}])"
)


def _script_of(language: str) -> str:
    return _SCRIPT_OF_LANGUAGE.get(language, _LATIN)


def _script(text: str) -> str:
    """Return the script of most of a text; a character of those without spaces counts as four
    letters."""
    if text.isascii():
        return _LATIN
    found = Counter(str(match.lastgroup) for match in _OTHERS.finditer(text))
    found[_LATIN] = sum(map(str.isalpha, text)) - found.total()
    found["Unspaced"] *= 4
    return found.most_common(1)[0][0]


@dataclass(frozen=True)
class Query:
    """terms: of all words. content: terms of those by which a text meets the query. text: of these
    words, as they are written."""

    terms: list[str]
    content: list[str]
    text: str


class Words:
    """The words of a catalogue's texts and of its queries.

    languages: ISO 639-1 code → share of the texts, largest first. A text's language is the most
    probable one with these shares as prior; where only one of them has the text's script, it is
    that one. A query is read in each language.

    >>> german = Words({"de": 1.0})
    >>> list(german.of_texts(["Häuser für Vögel", "VOGELHAUS"]))
    [['haus', 'fur', 'vogel'], ['vogelhaus']]
    >>> Words({"zh": 0.9, "en": 0.1}).alternatives("两个茶壺 mugs")
    [['两个'], ['茶壶'], ['mug']]
    """

    def __init__(self, languages: dict[str, float]) -> None:
        self.languages = languages or {"en": 1.0}
        self._stems = {code: _Stems(code, self.languages) for code in self.languages}
        self._plain = {code: _Stems(code, self.languages, "en") for code in self.languages}
        # The kana の is usual in Chinese titles, too: it makes no Japanese of them.
        self._japanese: bool | None = "ja" in self.languages
        if self._japanese and "zh" in self.languages:
            self._japanese = None

    @classmethod
    def of(cls, texts: Iterable[str] | pd.Series) -> Self:
        """Return the analyser of a catalogue with these texts; of English if none tells."""
        series: pd.Series = texts
        if not isinstance(texts, pd.Series):
            series = pd.Series(list(texts), dtype=object)
        found = shares(catalogue_languages(series[series != ""].reset_index(drop=True)))
        return cls({code: share for code, share in found.items() if share >= LEAST_SHARE})

    def config(self) -> dict[str, Any]:
        """Return the arguments that make the same analyser, as JSON has them."""
        return {"languages": self.languages}

    def of_texts(self, texts: Iterable[str], for_search: bool = False) -> Iterator[list[str]]:
        """Return an iterator over the terms of each text.

        English words keep their plural ending: on the embedded shop the NDCG@10 of TF-IDF is 0.1653
        with it and 0.1638 without, that of CEASE 0.2086 with and without.

        for_search: English words lose it, and Chinese words are followed by their parts.
        """
        several, by_language = self._several, self._stems if for_search else self._plain
        stems = next(iter(by_language.values()))
        for text in texts:
            normal = normalise(text)
            if several:
                stems = by_language[self.language(normal)]
            yield list(map(stems.__getitem__, words(normal, self._japanese, for_search)))

    def language(self, text: str) -> str:
        """Return the most probable language of the catalogue for a text, of those with its script.

        >>> Words({"de": 0.5, "en": 0.5}).language("Tasse mit Henkel und Deckel")
        'de'
        >>> chinese = Words({"zh": 0.9, "en": 0.1})
        >>> chinese.language("mug"), chinese.language("陶瓷马克杯 350ml with lid")
        ('en', 'zh')
        """
        script = _script(text)
        fitting = [code for code in self.languages if _script_of(code) == script]
        if len(fitting or self.languages) == 1:
            return next(iter(fitting or self.languages))
        odds = probabilities(text.lower(), tuple(self.languages))
        return max(fitting or self.languages, key=lambda code: odds[code] * self.languages[code])

    @cached_property
    def _several(self) -> bool:
        """Whether two languages have one script, so that a word's script does not say its own."""
        scripts = [_script_of(code) for code in self.languages]
        spaced = [script for script in scripts if script != "Unspaced"]
        return len(set(spaced)) < len(spaced)

    def surfaces(self, text: str) -> list[str]:
        """Return the words of a text as they are written, normalised."""
        return words(normalise(text), self._japanese, parts=True)

    def stems(self, word: str) -> list[str]:
        """Return the stems of a normalised word in every language of the catalogue, each once."""
        return list(dict.fromkeys(stems.of(word) for stems in self._stems.values()))

    def alternatives(self, query: str) -> list[list[str]]:
        """Return the stems of each word of a query."""
        return [self.stems(word) for word in words(normalise(query), self._japanese)]

    def of_query(self, query: str) -> Query:
        """Return the terms of a query, in every language of the catalogue.

        Stop words and numbers are no content, unless the query has no other words.
        """
        said = words(normalise(query), self._japanese)
        stop = self._stop_words
        content = [one for one in said if one not in stop and not one.isnumeric()] or said
        return Query(
            [stem for word in said for stem in self.stems(word)],
            [stem for word in content for stem in self.stems(word)],
            query if len(content) == len(said) else " ".join(content),
        )

    @cached_property
    def _stop_words(self) -> frozenset[str]:
        return frozenset().union(*(stop_words(code) for code in self.languages))


class _Stems(dict[str, str]):
    """Word → stem, in a language, and for words of other scripts in the commonest that has it."""

    def __init__(self, language: str, shares: dict[str, float], unstemmed: str = "") -> None:
        super().__init__()
        by_share = [language, *sorted(shares, key=lambda code: -shares[code])]
        self._stemmers: dict[str, Any] = {}
        for code in by_share:
            script = _script_of(code)
            self._stemmers.setdefault(script, stemmer("und" if code == unstemmed else code))

    def __missing__(self, word: str) -> str:
        self[word] = stemmed = self.of(word)
        return stemmed

    def of(self, word: str) -> str:
        """Return the stem without keeping it: a query's words may be any, and endlessly many."""
        found = None if word.isascii() else _OTHERS.match(word)
        script = _LATIN if found is None else found.lastgroup
        return self._stemmers.get(script, without_accents)(word)
