"""Claims: is everything that a sentence says of one product among that product's facts?

In: a sentence, the facts of the product that it is about. Out: whether all of it is supported; what
is not understood is not supported. A sentence is supported if, without the words that claim nothing
(``claim_words``), it is a sequence of

- the product's whole title;
- the product's own price, in its currency;
- whole facts: a reason of the proposal, or an attribute's name and value. Each ends a clause, and
  has the words that join its parts (``JOINTS``): "3 to 6" is not "3 or 6".

No part of a fact is one: "no mention of plastic" does not support "plastic", and a "green rose
cushion" is no green rose. So negations, comparisons, other titles, other amounts, numbers and
unknown words are never supported, in any language. Terms of sale (``PROMISE``), amounts in titles,
addresses, markup and invisible characters are refused even where a title has them.
"""

from __future__ import annotations

import itertools
import re
import unicodedata
from collections.abc import Iterable, Mapping
from typing import Any

from serving.conversation.claim_words import CURRENCIES, HARMLESS, JOINTS, PROMISE

_UNSPACED = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3041-\u30ff\u3400-\u9fff\uf900-\ufaff"
_TOKEN = re.compile(
    rf"(?P<sign>[{_UNSPACED}])|(?P<number>\d+(?:[.,]\d+)*)|(?P<word>[^\W\d_{_UNSPACED}]+)"
    r"|(?P<symbol>[£€$¥%])"
)
_CLAUSE_END = re.compile(r"[.,;:!?](?!\w)|[，。；：！？、–—]")
_NUMBER = re.compile(r"\d+(?:[.,]\d+)*")
_UNUSUAL = re.compile(r"\w+(?:[./:@]\w+)+|[-+–—]\s*[£€$¥]?\s*\d|[£€$¥]\s*[-+–—]")
_MARKS = frozenset(" .,:;!?'\"’‘“”„«»()&+%/-–—、。，；：！？（）《》「」\n")
_TITLE = "<title>"

Tokens = tuple[str, ...]


class Facts:
    """What may be said of one product.

    product: title, price (None: unknown), currency (ISO 4217 or None), reason, and attributes, if
    it has any. language: ISO 639-1 code of the reasons and of the sentences.
    """

    def __init__(self, product: Mapping[str, Any], language: str) -> None:
        self._harmless = _sequences(HARMLESS[language])
        self._joints = JOINTS[language]
        title = str(product["title"])
        facts = [part for part in re.split("[;；]", str(product["reason"])) if part.strip()]
        for name, value in (product.get("attributes") or {}).items():
            values = value if isinstance(value, list) else [value]
            facts += [
                f"{name} {one:g}" if isinstance(one, float) else f"{name} {one}" for one in values
            ]
        self.text = normalised(" | ".join([title, *facts]))
        """All facts, to look runs of letters up in."""
        self._title = tokens(title)
        self._prices = _prices(product["price"], product["currency"])
        self._facts = {self._claims(tokens(fact)) for fact in facts}

    def support(self, sentence: str, named: bool) -> bool:
        """Return whether the facts support all that a sentence says.

        named: the sentence before it was sent and named the product, so "it" is this product.
        """
        text = normalised(sentence)
        if not self._is_plain(text) or PROMISE.search(text):
            return False
        clauses = [tokens(clause) for clause in _CLAUSE_END.split(sentence)]
        said = tuple(itertools.chain(*clauses))
        lasts = {end - 1 for end in itertools.accumulate(map(len, clauses))}
        claims: list[str] = []
        ends: set[int] = set()  # of clauses, as places in claims
        names, at = named, 0
        while at < len(said):
            kind, n = self._next(said, at)
            names = names or kind == _TITLE
            if kind:
                claims.append(kind)
            if not lasts.isdisjoint(range(at, at + n)):
                ends.add(len(claims))
            at += n
        return names and self._is_covered(tuple(claims), ends)

    def _next(self, said: Tokens, at: int) -> tuple[str, int]:
        """Return what the tokens from ``at`` on claim, "" for nothing, and how many these are."""
        n = len(self._title)
        if n and said[at : at + n] == self._title and not any(map(_is_amount, self._title)):
            return _TITLE, n
        if said[at] in self._joints:
            return said[at], 1
        for n in (3, 2, 1):
            if said[at : at + n] in self._harmless:
                return "", n
        return "" if said[at] in self._prices else said[at], 1

    def _is_plain(self, text: str) -> bool:
        """Return whether a text is letters, digits, amounts and the marks of a sentence.

        Signs before numbers ("-£5"), words joined as in an address, and accents without a letter of
        their own (which can strike a price through) are allowed as the facts have them.
        """
        for char in set(text) - _MARKS:
            kind = unicodedata.category(char)
            if kind not in _LETTERS_AND_AMOUNTS and not (kind[0] == "M" and char in self.text):
                return False
        unusual = (found[0] for found in _UNUSUAL.finditer(text))
        return all(one in self.text for one in unusual if not _NUMBER.fullmatch(one))

    def _claims(self, fact: Tokens) -> Tokens:
        """Return a fact's tokens without words that claim nothing and the product's price."""
        left: list[str] = []
        at = 0
        while at < len(fact):
            kind, n = self._next(fact, at)
            left += [kind] if kind else []
            at += n
        return tuple(left)

    def _is_covered(self, claims: Tokens, ends: set[int]) -> bool:
        """Return whether the claims are a sequence of facts. ends: where clauses end.

        A fact ends its clause, else "not metal or red" would pass as "not metal" and a second fact.
        """
        reached = {0}
        for at in range(len(claims)):
            if at in reached:
                if claims[at] == _TITLE or claims[at] in self._joints:
                    reached.add(at + 1)
                reached |= {end for end in ends if claims[at:end] in self._facts}
        return len(claims) in reached


def tokens(text: str) -> Tokens:
    """Return words, numbers and amounts of a text; characters of scripts without spaces alone.

    >>> tokens("The Children's mug: £2.50, 6 cm, 红色")
    ('the', 'childrens', 'mug', 'GBP 2.50', '6', 'cm', '红', '色')
    """
    text = re.sub(r"['’‘](?=s\b)", "", normalised(text))
    found: list[str] = []
    currency: str | None = None  # of a sign or word that no number has followed yet
    for match in _TOKEN.finditer(text):
        token = match[0]
        if match.lastgroup == "number":
            value = _number(token)
            found.append(f"{currency} {value:.2f}" if currency else f"{value:g}")
            if currency is None and re.search(r"[.,]\d{1,2}$", token):
                found[-1] = f"{value:.2f}"
            currency = None
            continue
        if currency is not None:
            found.append(currency)  # of no amount
            currency = None
        if token not in CURRENCIES:
            found.append(token)
        elif found and re.fullmatch(r"[\d.]+(?:e\+\d+)?", found[-1]):
            found[-1] = f"{CURRENCIES[token]} {float(found[-1]):.2f}"
        else:
            currency = CURRENCIES[token]
    return tuple(found if currency is None else [*found, currency])


def normalised(text: str) -> str:
    """Return a text in Unicode NFKC and case folded; characters stay as many as they mean."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())


_LETTERS_AND_AMOUNTS = {"Ll", "Lu", "Lt", "Lm", "Lo", "Nd", "Sc", "Zs"}


def _number(digits: str) -> float:
    """Return a number's value: a separator before three digits is of thousands."""
    whole, _, part = digits.replace(",", ".").rpartition(".")
    if not whole:
        return float(part)
    if len(part) == 3:
        whole, part = whole + part, "0"
    return float(f"{whole.replace('.', '')}.{part}")


def _prices(price: float | None, currency: str | None) -> set[str]:
    """Return the tokens of a price: with its currency, and as a number with decimals alone."""
    if price is None:
        return set()
    # Titles and reasons may round half a penny either way.
    rounded = {f"{float(price) + step:.2f}" for step in (-1e-4, 1e-4)}
    own = {f"{currency} {one}" for one in rounded} if currency else set()
    return own | {one for one in rounded if not one.endswith(".00")}


def _is_amount(token: str) -> bool:
    return " " in token


def _sequences(words: Iterable[str]) -> set[Tokens]:
    return {tokens(word) for word in words}


def true_part(sentence: str, facts: Facts, named: bool) -> str:
    """Return the sentence, or its longest beginning up to a comma that the facts support.

    "" if there is none. The beginning is judged as a sentence of its own.
    """
    if facts.support(sentence, named):
        return sentence
    for cut in reversed([found.start() for found in re.finditer(r"[,;:，；：](?!\d)", sentence)]):
        beginning = f"{sentence[:cut].rstrip()}."
        if facts.support(beginning, named) and len(tokens(beginning)) > 1:
            return beginning
    return ""
