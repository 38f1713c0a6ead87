"""Words: those of the catalogue, and lists of English words that mean something to the parser."""

from __future__ import annotations

from typing import Protocol

from components.words.stems import stem

WORD = r"[^\W_]+(?:['-][^\W_]+)*"
"""Pattern of a word."""


class Vocabulary(Protocol):
    """The words of the catalogue's products."""

    def knows(self, word: str) -> bool:
        """Return whether a product has the word."""
        ...

    def nearest(self, word: str) -> str | None:
        """Return the word of a product that ``word`` may be a misspelling of, None without one."""
        ...


class Words:
    """A vocabulary of given words."""

    def __init__(self, words: set[str]) -> None:
        self._stems = {stem(word) for word in words}

    def knows(self, word: str) -> bool:
        return stem(word) in self._stems

    def nearest(self, word: str) -> str | None:
        return None


def spelling(word: str, vocabulary: Vocabulary) -> str | None:
    """Return the word as products spell it, None where no product has it."""
    return word if vocabulary.knows(word) else vocabulary.nearest(word)


def words(text: str) -> list[str]:
    """Return the words of a list written as text."""
    return text.split()


STOP = frozenset(
    words(
        """
    a able about actually after all also am an and another any are around as at be because been
    before being best buy by can cool could cute did do does doing done find for from fun get give
    good great had has have having he hello help her here hers hi him his hope how i i'd i'll i'm
    i've if in instead into is it it's its just kind know let let's like little look looking lot
    love lovely maybe me mind more most much must my need needs nice now of off oh ok okay on one
    ones only or other our out perfect please possible pretty really recommend right say search see
    sell she should show so some sort still such suggest suitable take than that that's the their
    them then there these they this those through to today too try type up us use useful very want
    was we well were what what's when where which while who will wish with would yes you your yours
    yourself someone somebody person people old years year new age aged ages per each price prices
    priced cost costs money budget make made making ideal budget-friendly color colour
    something anything everything nothing stuff thing things idea ideas product products item items
    option options choice no not give giving who's loves likes enjoys wants needs rather"""
    )
)
"""Words that say nothing about a product."""

GENERIC = frozenset(words("gift gifts present presents surprise treat treats"))
"""Words for any product."""

RECIPIENTS = frozenset(
    words(
        """mum mom mummy mother dad daddy father grandma granny gran grandmother grandpa grandad
    grandfather wife husband girlfriend boyfriend partner sister brother aunt auntie uncle niece
    nephew cousin friend friends colleague colleagues coworker boss teacher teachers neighbour
    neighbor men women man woman lady ladies gentleman teenager teenagers teen teens students
    student family couple couples guest guests host hostess parents grandparents"""
    )
)
"""People a product may be for."""

DETAILS = frozenset(
    words(
        """
    red blue green yellow pink purple orange black white grey gray brown cream ivory gold golden
    silver turquoise navy beige multicolour colourful bright dark pale pastel clear small
    large big mini medium tiny tall short long round square oval wooden wood metal glass ceramic
    porcelain paper plastic cotton leather felt enamel zinc tin crystal wool velvet steel iron
    brass wicker bamboo acrylic vintage retro antique modern traditional classic funny scented
    hanging folding painted spotty striped floral personalised handmade soft warm"""
    )
)
"""Features: colours, sizes, materials, styles."""
