"""Product terms: what is looked for ("mug"), its features ("red"), whom or what it is for.

Per phrase the last noun is the thing, the other words are its details: "a red metal box" is a box
that is red and of metal.
"""

from __future__ import annotations

import re

from components.words.stems import stem
from serving.conversation.message import Text
from serving.conversation.vocabulary import (
    DETAILS,
    GENERIC,
    RECIPIENTS,
    STOP,
    WORD,
    Vocabulary,
    spelling,
    words,
)

INTO_DETAIL = frozenset(words("in with of made from that which has having but without also"))
"""Words after which details follow: "a box of metal"."""

SEARCH = (
    r"\b(?:(?:i am |i'm )?(?:looking|searching|shopping) for|search for|what about|how about|i need"
    r"|i want|i would like|i'd like|find me|show me|do you (?:have|sell)|have you got|instead)\b"
)
"""Pattern of what begins a new search."""


def understand_terms(text: Text, vocabulary: Vocabulary, needs_by_word: dict[str, str]) -> None:
    """Sort the words that are left into things, details, purposes, needs and unknown words.

    needs_by_word: a word → the name of the need that it states.
    """
    terms = _Terms(vocabulary, {stem(word): name for word, name in needs_by_word.items()})
    if counted := text.take(r"\b(set|pack)s? of\b"):
        terms.details.append(counted[1])
    text.left = re.sub(
        r"\b(?:pairs?|bunch|couple|selection|range|bit|kind|sort) of\b", "", text.left
    )
    while text.take(SEARCH):
        terms.searches = True
    for clause in re.split(r"[|,.;:!?()\"]|\s-\s", text.left):
        terms.read(clause)
    lists = {
        "things": terms.things,
        "details": terms.details,
        "purpose": terms.purpose,
        "needs": terms.needs,
        "unknown": terms.unknown,
    }
    text.understood |= {name: tuple(dict.fromkeys(found)) for name, found in lists.items()}
    text.understood["fresh"] = bool(terms.things) or (terms.searches and bool(terms.purpose))


class _Terms:
    """Reads clauses word by word. searches: the message begins a new search."""

    def __init__(self, vocabulary: Vocabulary, need_of: dict[str, str]) -> None:
        self.things: list[str] = []
        self.details: list[str] = []
        self.purpose: list[str] = []
        self.needs: list[str] = []
        self.unknown: list[str] = []
        self.searches = False
        self._vocabulary = vocabulary
        self._need_of = need_of
        self._phrase: list[str] = []

    def read(self, clause: str) -> None:
        """Sort the words of a clause; a clause ends a phrase."""
        place, alternative = "thing", False
        said = [word.removesuffix("'s") for word in re.findall(WORD, clause)]
        for word, following in zip(said, [*said, ""][1:], strict=True):
            if word in ("for", "to"):
                self._end_phrase(alternative)
                place, alternative = "purpose", False
            elif word == "or":
                self._end_phrase(alternative)
                place, alternative = "thing" if self.things else place, True
            elif word in INTO_DETAIL or (word == "and" and set(self._phrase) - DETAILS):
                self._end_phrase(alternative)
                place, alternative = "detail", False
            elif word in GENERIC and (following in STOP or not self._spelling(following)):
                self.searches = True  # but a gift bag is a thing
            elif word not in STOP and not (place == "purpose" and word.isdigit()):
                self._sort(word, place)
        self._end_phrase(alternative)

    def _sort(self, word: str, place: str) -> None:
        spelt, need = self._spelling(word), self._need_of.get(stem(word))
        if place == "purpose" or word in RECIPIENTS:
            self.purpose.append(word)
            if need is not None:
                self.needs.append(need)
        elif spelt is None and need is not None:
            self.needs.append(need)
        elif spelt is None:
            self.unknown.append(word)
        elif place == "detail":
            self.details.append(spelt)
        else:
            self._phrase.append(spelt)

    def _end_phrase(self, alternative: bool) -> None:
        """Empty the phrase into its thing and details; a need's word alone states the need.

        alternative: the phrase follows "or".
        """
        phrase, self._phrase = self._phrase, []
        nouns = [word for word in phrase if word not in DETAILS]
        thing = nouns[-1] if nouns else None
        need = self._need_of.get(stem(thing)) if thing and len(nouns) == 1 else None
        if thing and need is not None:
            self.needs.append(need)
            self.purpose.append(thing)
        elif thing and alternative and self.things:
            self.things[-1] = f"{self.things[-1]} or {thing}"
        elif thing:
            self.things.append(thing)
        self.details += [word for word in phrase if word != thing]

    def _spelling(self, word: str) -> str | None:
        return spelling(word, self._vocabulary)
