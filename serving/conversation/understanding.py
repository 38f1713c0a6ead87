"""What a shopper's message says: budget, things, details, refusals, moves. Pure; English.

In: one message and the words that the catalogue knows. Out: ``Said``. A small grammar in the
order of the functions below: each takes what it understands out of the text and leaves a bar in
its place, which ends a phrase; what is left at the end are things and their details.

    >>> said = parse("a red mug under 10 pounds, no plastic", Words({"red", "mug", "plastic"}))
    >>> said.things, said.details, said.max_price, said.refused
    (('mug',), ('red',), 10.0, ('plastic',))
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass, field
from typing import Literal, Protocol

from components.recommenders.models.rules import stem

Move = Literal[
    "more", "cheaper", "dearer", "reject", "like", "why", "restart", "thanks", "hello", "whatever"
]

AROUND = 0.25
"""How far from the amount "around 10" reaches, as a share of it."""

MAX_AMOUNT = 1e7


class Vocabulary(Protocol):
    """What the parser asks of the catalogue."""

    def knows(self, word: str) -> bool: ...

    def nearest(self, word: str) -> str | None: ...


class Words:
    """A vocabulary of given words."""

    def __init__(self, words: set[str]) -> None:
        self._stems = {stem(word) for word in words}

    def knows(self, word: str) -> bool:
        return stem(word) in self._stems

    def nearest(self, word: str) -> str | None:
        return None


@dataclass(frozen=True)
class Said:
    """One message, understood.

    things: what is looked for, "mug or cup" for alternatives. details: how it should be. purpose:
    whom or what it is for. needs: names of the shop's needs that were said. refused: words or
    phrases that must not be; wanted_again: words no longer refused. unknown: words of no product.
    level: cheap or dear without an amount. which: the shown product a move speaks of, from 1, -1
    for the last, None for none. fresh: a new search, not a refinement.
    """

    things: tuple[str, ...] = ()
    details: tuple[str, ...] = ()
    purpose: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()
    wanted_again: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()
    min_price: float | None = None
    max_price: float | None = None
    any_price: bool = False
    currency: str | None = None
    level: Literal["cheap", "dear"] | None = None
    move: Move | None = None
    which: int | None = None
    fresh: bool = False


@dataclass
class _Text:
    """The part of the message not yet understood."""

    left: str
    taken: dict[str, object] = field(default_factory=dict)

    def take(self, pattern: str) -> re.Match[str] | None:
        """Return the first match, if there is one, and put a bar in its place."""
        found = re.search(pattern, self.left)
        if found:
            self.left = f"{self.left[: found.start()]} | {self.left[found.end() :]}"
        return found


def parse(message: str, vocabulary: Vocabulary, said_as: dict[str, str] | None = None) -> Said:
    """Return what ``message`` says. said_as: a word → the name of the need it states."""
    text = _Text(_normalised(message))
    _moves(text)
    _prices(text)
    _refusals(text, vocabulary)
    _levels(text)
    _things(text, vocabulary, said_as or {})
    return Said(**text.taken)  # type: ignore[arg-type]


def _normalised(message: str) -> str:
    text = unicodedata.normalize("NFKC", message).casefold()
    text = re.sub("[‘’`´]", "'", text)
    text = re.sub("[–—]", "-", text)
    return " ".join(text.replace("|", " ").split())


def _list(words: str) -> list[str]:
    return words.split()


# --- numbers and money ---------------------------------------------------------------------------

_NUMBERS = {
    **{word: n for n, word in enumerate(_list("one two three four five six seven eight nine"), 1)},
    **{"ten": 10, "twelve": 12, "fifteen": 15, "twenty": 20, "thirty": 30, "forty": 40},
    **{"fifty": 50, "sixty": 60, "eighty": 80, "a hundred": 100, "hundred": 100},
    **{"a fiver": 5, "a tenner": 10, "fiver": 5, "tenner": 10},
}
_CURRENCIES = {
    "GBP": r"£|pounds?|quid|gbp|pence|p|fiver|tenner",
    "EUR": r"€|euros?|eur|cents?",
    "USD": r"\$|dollars?|bucks|usd",
}
_UNIT = r"(?:£|€|\$|(?:pounds?|quid|gbp|pence|euros?|eur|dollars?|bucks|usd|cents?|p)\b)"
_NUMBER = rf"(?:\d{{1,3}}(?:,\d{{3}})+(?:\.\d+)?|\d+(?:[.,]\d{{1,2}})?|(?:{'|'.join(_NUMBERS)})\b)"
# Ages, sizes, counts are no money; nor is the first half of a number.
_NO_MONEY = (
    r"(?![\w.,]*\d| ?(?:years?|yrs?|months?|weeks?|days?|hours?|cm|mm|m|inch\w*|kg|g|ml|l|people"
    r"|persons|pieces|pcs|tiers?|x|%)\b)"
)


def _money(name: str, marked: bool = False) -> str:
    """Return the pattern of an amount; marked: only with a currency."""
    sign_first = rf"(?P<{name}_sign>[£€$]) ?(?P<{name}_0>{_NUMBER})"
    unit_last = rf"\b(?P<{name}_1>{_NUMBER}) ?(?P<{name}_unit>{_UNIT})"
    named = rf"\b(?P<{name}_2>(?:a )?(?:fiver|tenner))\b"
    bare = rf"|\b(?P<{name}_3>{_NUMBER}){_NO_MONEY}"
    return f"(?:{sign_first}|{unit_last}|{named}{'' if marked else bare})"


# --- moves: what to do with what was shown -------------------------------------------------------

_ORDINALS = {
    **{word: n for n, word in enumerate(_list("first second third fourth fifth sixth"), 1)},
    **{word: n for n, word in enumerate(_list("1st 2nd 3rd 4th 5th 6th"), 1)},
    "last": -1,
}
_ONE = (
    rf"(?:(?:the |that |this )?(?P<nth>{'|'.join(_ORDINALS)})(?: (?:one|product|item))?"
    r"|(?:number |no\. ?|#)(?P<n>\d{1,2})|(?P<it>(?:that|this|the) one|that|this|it))\b"
)
_NO_SUM = rf"(?! than [£€$]?{_NUMBER})"
_ALL = r"(?:(?:any|one|none) of )?(?:these|those|them)(?: ones)?\b"
_MOVES: list[tuple[Move, str]] = [
    (
        "restart",
        r"\b(?:start (?:over|again|anew)|new search|reset|forget (?:it|that|everything))\b",
    ),
    ("why", rf"\bwhy\b(?: (?:did you|do you|are you|have you))?(?: \w+)?(?: me)? ?(?:{_ONE})?"),
    ("like", rf"\b(?:(?:more|something|anything|ones?|others?) like|similar to) {_ONE}"),
    ("cheaper", rf"\b(?:cheaper|less expensive|lower (?:in )?pric\w+){_NO_SUM}(?: than {_ONE})?"),
    ("cheaper", r"(?<!not )\btoo (?:expensive|dear|pricey|much(?: money)?)\b"),
    (
        "dearer",
        rf"\b(?:more expensive|pricier|dearer|better quality|fancier){_NO_SUM}(?: than {_ONE})?",
    ),
    (
        "reject",
        rf"\b(?:not|no to|i don't (?:like|want)|don't (?:like|want)|remove) {_ONE}(?! to\b)",
    ),
    ("reject", rf"\b(?:not|none of|i don't (?:like|want)|don't (?:like|want)) ?{_ALL}"),
    (
        "more",
        r"\b(?:show (?:me )?(?:some )?(?:more|others?)|(?:any|some|see|the|something|anything)?"
        r" ?(?:others|other (?:ones|options|ideas|suggestions)|different ones)"
        r"|(?:something|anything|what) else|more (?:options|ideas|please|of (?:these|those|them))"
        r"|next(?: ones| page)?)\b|^more$",
    ),
    (
        "whatever",
        r"\b(?:no (?:idea|preference|clue)|not sure|(?:i )?don't (?:know|mind|care)"
        r"|surprise me|whatever|anything(?: (?:goes|is fine))?$|nothing in particular|up to you)\b",
    ),
    ("thanks", r"\b(?:no )?(?:thanks|thank you|thx|cheers|perfect|great|bye|goodbye)\b"),
    ("hello", r"^(?:hi|hello|hey|good (?:morning|afternoon|evening))\b(?: there)?"),
]


def _moves(text: _Text) -> None:
    """A message makes one move, the first that is found; politeness beside it is dropped."""
    for move, pattern in _MOVES:
        found = text.take(pattern)
        if not found:
            continue
        if "move" not in text.taken or text.taken["move"] in ("thanks", "hello"):
            text.taken["move"] = move
            which = found.groupdict()
            if which.get("nth"):
                text.taken["which"] = _ORDINALS[which["nth"]]
            elif which.get("n"):
                text.taken["which"] = int(which["n"])
            elif which.get("it"):
                text.taken["which"] = 1
        if move not in ("thanks", "hello"):
            text.take(r"\b(?:thanks|thank you|please)\b")
            return


# --- prices --------------------------------------------------------------------------------------

_UNDER = (
    r"(?:under|below|less than|(?:cheaper|less expensive) than|up to|at most|within"
    r"|max(?:imum)?(?: price)?(?: of)?|no(?:t|thing)? (?:more|higher|greater|dearer) than"
    r"|no(?:t|thing)? (?:over|above)|budget(?: is| of)?:?|for less than|<=?)"
)
_OVER = (
    r"(?:over|above|(?:more|dearer|more expensive) than|at least|min(?:imum)?(?: price)?(?: of)?"
    r"|upwards of|starting (?:at|from)|>=?)"
)
_NOT_UNDER = r"(?:no(?:t|thing)? (?:less|lower|cheaper) than|no(?:t|thing)? (?:under|below))"
_ABOUT = r"(?:around|about|roughly|approximately|approx\.?|circa|close to|~)"
_AGED = r"(?:child|children|kids?|boys?|girls?|baby|babies|toddlers?|people|aged?|anyone)"
CHILD_AGE = 12


def _prices(text: _Text) -> None:
    if text.take(
        r"\b(?:any price|(?:the )?(?:price|money|budget) (?:doesn't|does not|is no) (?:matter|limit"
        r"|object)|no (?:budget|price limit|limit)|whatever the price)\b"
    ):
        text.taken["any_price"] = True
    _ages(text)
    a, b, marked_a, marked_b = _money("a"), _money("b"), _money("a", True), _money("b", True)
    for pattern in (
        rf"\bbetween {a} and {b}",
        rf"\bfrom {a} to {b}",
        rf"{a} ?(?:-|to) ?{marked_b}",
        rf"{marked_a} ?(?:-|to) ?{b}",
    ):
        if found := text.take(pattern):
            low, high = sorted((_amount(text, found, "a"), _amount(text, found, "b")))
            text.taken |= {"min_price": low, "max_price": high}
            return
    limits = (
        ("min_price", rf"\b{_NOT_UNDER} {a}"),
        ("max_price", rf"(?<!\w){_UNDER} ?{a}"),
        ("min_price", rf"(?<!\w){_OVER} ?{a}|\bfrom {marked_b}"),
        ("max_price", rf"{marked_a} (?:or|and) (?:less|under|below)\b|{b} (?:max|maximum|tops)\b"),
        ("min_price", rf"{marked_a} (?:or|and) (?:more|over|above|up)\b"),
    )
    for limit, pattern in limits:
        if limit not in text.taken and (found := text.take(pattern)):
            text.taken[limit] = _amount(text, found, "a", "b")
    if text.taken.keys() & {"min_price", "max_price"}:
        return
    if found := text.take(rf"(?<!\w){_ABOUT} ?{a}"):
        amount = _amount(text, found, "a")
        text.taken["min_price"] = round(amount * (1 - AROUND), 2)
        text.taken["max_price"] = round(amount * (1 + AROUND), 2)
    elif found := text.take(rf"(?:\bfor )?{marked_a}"):
        text.taken["max_price"] = _amount(text, found, "a")


def _ages(text: _Text) -> None:
    """Ages are no prices: "for children under 5" without a currency; a young one says child."""
    kind = r"(?:under|over|below|above|of) \d{1,2}\b"
    text.left = re.sub(
        rf"\b({_AGED}) {kind}(?![.,]\d| ?{_UNIT})", lambda found: f"{found[1]} |", text.left
    )
    old = r"\b(\d{1,3})[- ]?(?:years?|yrs?|months?)(?:[- ]olds?)?\b"
    text.left = re.sub(old, lambda found: "child" if int(found[1]) <= CHILD_AGE else "|", text.left)


def _amount(text: _Text, found: re.Match[str], *names: str) -> float:
    """Return the amount that one of the ``_money`` groups holds, and note its currency."""
    groups = found.groupdict()
    name, spelt = next(
        (name, groups[f"{name}_{n}"])
        for name in names
        for n in range(4)
        if groups.get(f"{name}_{n}")
    )
    unit = groups.get(f"{name}_sign") or groups.get(f"{name}_unit") or spelt.removeprefix("a ")
    for currency, pattern in _CURRENCIES.items():
        if re.fullmatch(pattern, unit):
            text.taken["currency"] = currency
    if spelt in _NUMBERS:
        amount = float(_NUMBERS[spelt])
    elif re.fullmatch(r"\d+,\d{1,2}", spelt):
        amount = float(spelt.replace(",", "."))
    else:
        amount = float(spelt.replace(",", ""))
    return min(amount / 100 if unit in ("p", "pence", "cent", "cents") else amount, MAX_AMOUNT)


# --- refusals ------------------------------------------------------------------------------------

_NOT = (
    r"(?:no|not|non|without|except(?: for)?|excluding|avoid(?:ing)?|other than|anything but"
    r"|nothing(?: (?:with|in|made of|like))?|free (?:of|from)|instead of"
    r"|(?:i )?(?:don't|do not|doesn't|does not|never|can't stand) (?:want|like|need|have|use)?"
    r"|(?:i )?(?:hate|dislike))"
)
_LEAD = r"(?: ?(?:a|an|any|the|in|of|made|from|with|too|very|much|more|to|be|it|is|really|like))*"
_WORD = r"[^\W_]+(?:['-][^\W_]+)*"
_ENDS = (
    r"(?!(?:and|or|nor|but|for|in|with|under|over|that|which|please|i|my|to|at|as|so|just|only|if|"
    r"something|anything|one|ones)\b)"
)
_PHRASE = rf"{_ENDS}{_WORD}(?: {_ENDS}{_WORD}){{0,2}}"
_SINGLE = rf"{_ENDS}{_WORD}(?= *(?:$|[,.;!?|]|and\b|or\b|nor\b|please\b))"


def _refusals(text: _Text, vocabulary: Vocabulary) -> None:
    refused: list[str] = []
    if text.take(rf"\bnot{_LEAD} (?:expensive|dear|pricey|costly)\b"):
        text.taken["level"] = "cheap"
    if text.take(rf"\bnot{_LEAD} cheap\b"):
        text.taken["level"] = "dear"
    again = text.take(rf"\b(?P<again>{_WORD}) (?:is|are) (?:fine|ok|okay|allowed|welcome)\b")
    if again and again["again"] not in _STOP:
        text.taken["wanted_again"] = (again["again"],)
    # "no plastic, glass or metal": a comma goes on only in a list that ends with or, nor, and.
    more = rf"(?:(?:, ?{_SINGLE})*,? ?(?:or|nor|and)(?: no| not)? {_SINGLE})?"
    while found := text.take(rf"\b{_NOT}{_LEAD} (?P<what>{_PHRASE}{more})"):
        parts = re.split(r",|\b(?:or|nor|and|no|not)\b", found["what"])
        refused += [" ".join(part.split()) for part in parts]
    while found := text.take(rf"\b(?P<what>{_WORD})-free\b|\b(?P<other>{_WORD}) free\b"):
        refused.append(found["what"] or found["other"])
    kept = [_refusal(phrase, vocabulary) for phrase in refused]
    text.taken["refused"] = tuple(dict.fromkeys(phrase for phrase in kept if phrase))


def _refusal(phrase: str, vocabulary: Vocabulary) -> str:
    """Return the words that products have: one that none has would void the whole phrase."""
    words = [word.removesuffix("'s") for word in phrase.split()]
    words = [word for word in words if word not in _STOP and word not in _GENERIC]
    return " ".join(spelt for word in words if (spelt := _known(word, vocabulary)))


def _known(word: str, vocabulary: Vocabulary) -> str | None:
    return word if vocabulary.knows(word) else vocabulary.nearest(word)


# --- things and details --------------------------------------------------------------------------


def _levels(text: _Text) -> None:
    if text.take(r"\b(?:cheap|inexpensive|affordable|low[- ](?:cost|budget|price[d]?)|bargain)\b"):
        text.taken["level"] = "cheap"
    elif text.take(r"\b(?:expensive|luxury|luxurious|premium|high[- ]end|fancy|posh)\b"):
        text.taken["level"] = "dear"


_STOP = frozenset(
    _list(
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
_GENERIC = frozenset(_list("gift gifts present presents surprise treat treats"))
_RECIPIENTS = frozenset(
    _list(
        """mum mom mummy mother dad daddy father grandma granny gran grandmother grandpa grandad
    grandfather wife husband girlfriend boyfriend partner sister brother aunt auntie uncle niece
    nephew cousin friend friends colleague colleagues coworker boss teacher teachers neighbour
    neighbor men women man woman lady ladies gentleman teenager teenagers teen teens students
    student family couple couples guest guests host hostess parents grandparents"""
    )
)
DETAILS = frozenset(
    _list(
        """
    red blue green yellow pink purple orange black white grey gray brown cream ivory gold golden
    silver turquoise navy beige multicolour colourful bright dark pale pastel clear small
    large big mini medium tiny tall short long round square oval wooden wood metal glass ceramic
    porcelain paper plastic cotton leather felt enamel zinc tin crystal wool velvet steel iron
    brass wicker bamboo acrylic vintage retro antique modern traditional classic funny scented
    hanging folding painted spotty striped floral personalised handmade soft warm"""
    )
)
_INTO_DETAIL = frozenset(_list("in with of made from that which has having but without also"))
_ASKS = (
    r"\b(?:(?:i am |i'm )?(?:looking|searching|shopping) for|search for|what about|how about|i need"
    r"|i want|i would like|i'd like|find me|show me|do you (?:have|sell)|have you got|instead)\b"
)


def _things(text: _Text, vocabulary: Vocabulary, said_as: dict[str, str]) -> None:
    """Sort what is left: per phrase the last noun is the thing, the other words are details."""
    things: list[str] = []
    found: dict[str, list[str]] = {"details": [], "purpose": [], "needs": [], "unknown": []}
    if counted := text.take(r"\b(set|pack)s? of\b"):
        found["details"].append(counted[1])
    text.left = re.sub(
        r"\b(?:pairs?|bunch|couple|selection|range|bit|kind|sort) of\b", "", text.left
    )
    needs = {stem(word): name for word, name in said_as.items()}
    asks = False
    while text.take(_ASKS):
        asks = True
    phrase: list[str] = []

    def close(alternative: bool = False) -> None:
        """Empty the phrase into its thing and details; a need's word alone states the need."""
        nouns = [word for word in phrase if word not in DETAILS]
        thing = nouns[-1] if nouns else None
        if thing and len(nouns) == 1 and stem(thing) in needs:
            found["needs"].append(needs[stem(thing)])
            found["purpose"].append(thing)
        elif thing and alternative and things:
            things[-1] = f"{things[-1]} or {thing}"
        elif thing:
            things.append(thing)
        found["details"] += [word for word in phrase if word != thing]
        phrase.clear()

    for clause in re.split(r"[|,.;:!?()\"]|\s-\s", text.left):
        place, alternative = "thing", False
        words = [word.removesuffix("'s") for word in re.findall(_WORD, clause)]
        for word, following in zip(words, [*words, ""][1:], strict=True):
            spelt = None if word in _STOP else _known(word, vocabulary)
            if word in ("for", "to"):
                close(alternative)
                place, alternative = "purpose", False
            elif word == "or":
                close(alternative)
                place, alternative = "thing" if things else place, True
            elif word in _INTO_DETAIL or (word == "and" and set(phrase) - DETAILS):
                close(alternative)
                place, alternative = "detail", False
            elif word in _GENERIC and (following in _STOP or not _known(following, vocabulary)):
                asks = True  # but a gift bag is a thing
            elif word in _STOP or (place == "purpose" and word.isdigit()):
                continue
            elif place == "purpose" or word in _RECIPIENTS:
                found["purpose"].append(word)
                if stem(word) in needs:
                    found["needs"].append(needs[stem(word)])
            elif spelt is None and stem(word) in needs:
                found["needs"].append(needs[stem(word)])
            elif spelt is None:
                found["unknown"].append(word)
            elif place == "detail":
                found["details"].append(spelt)
            else:
                phrase.append(spelt)
        close(alternative)
    text.taken |= {name: tuple(dict.fromkeys(words)) for name, words in found.items()}
    text.taken["things"] = tuple(dict.fromkeys(things))
    text.taken["fresh"] = bool(things) or (asks and bool(found["purpose"]))
