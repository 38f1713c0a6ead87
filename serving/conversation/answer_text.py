"""The text of answers: what was understood, what was relaxed, how many proposals there are.

All texts are of one ``Language``; words of the shop and of the shopper stay as they are.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from functools import reduce

from components.recommenders.models.rules import Found
from serving.conversation.dialogue_state import ConversationState
from serving.conversation.message import Message
from serving.conversation.shop_knowledge import ShopKnowledge
from serving.conversation.titles import readable
from serving.languages import ENGLISH, Language

PRICE_WISH = re.compile(r"(from|up to) (\d\S*)")
"""How ``satisfy`` names a limit of the price."""


class AnswerText:
    """Words for one shop in one language."""

    def __init__(self, shop: ShopKnowledge, language: Language = ENGLISH) -> None:
        self._shop = shop
        self.language = language

    def money(self, amount: float) -> str:
        """Return an amount in the shop's currency."""
        return self.language.money(amount, self._shop.currency or "")

    def at_least(self, amount: float) -> str:
        """Return a lower limit of the price."""
        return self.language.gettext("from {amount}", amount=self.money(amount))

    def at_most(self, amount: float) -> str:
        """Return an upper limit of the price."""
        return self.language.gettext("up to {amount}", amount=self.money(amount))

    def sentences(self, sentences: Sequence[str]) -> str:
        """Return one text of the sentences; not every language has a blank between them."""
        gettext = self.language.gettext
        return reduce(
            lambda first, second: gettext("{first} {second}", first=first, second=second),
            sentences or [""],
        )

    def understood(self, state: ConversationState) -> list[str]:
        """Return what the proposals are looked for by, a part each."""
        gettext = self.language.gettext
        parts = [*state.details[::-1], *state.things, *state.needs]
        needs = (need for need in self._shop.rules.needs if need.name in state.needs)
        said = {word for need in needs for word in need.said_as}
        parts += [gettext("for {word}", word=word) for word in state.purpose if word not in said]
        for code in self._shop.codes(filter(None, [state.like])):
            parts.append(gettext("like {title}", title=readable(self._shop.engine.titles[code])))
        if state.min_price is not None:
            parts.append(self.at_least(state.min_price))
        if state.max_price is not None:
            parts.append(self.at_most(state.max_price))
        if state.level is not None:
            is_low = state.level == "cheap"
            parts.append(gettext("low price") if is_low else gettext("high price"))
        return [*parts, *(gettext("no {word}", word=word) for word in state.refused)]

    def wishes(self, names: Iterable[str]) -> list[str]:
        """Return wishes, by their names in ``Found``, as a shopper would say them."""
        plain = []
        for name in names:
            if limit := PRICE_WISH.fullmatch(name):
                of_price = self.at_least if limit[1] == "from" else self.at_most
                plain.append(of_price(float(limit[2])))
            else:
                plain.append(name.removeprefix("with "))
        return plain

    def notes(self, message: Message) -> Iterator[str]:
        """Yield sentences on what of the message could not be taken as it was said."""
        language = self.language
        if message.unknown:
            words = [language.gettext("“{word}”", word=word) for word in message.unknown[:3]]
            yield language.gettext(
                "No product here mentions {words}.", words=language.listed(words)
            )
        currency = self._shop.currency
        if message.currency and currency and message.currency != currency:
            limit = message.max_price if message.max_price is not None else message.min_price
            if limit is not None:
                yield language.gettext(
                    "Prices here are in {currency}: I read that as {amount}.",
                    currency=currency,
                    amount=self.money(limit),
                )

    def relaxed(self, found: Found) -> list[str]:
        """Return sentences on the wishes that were given up, empty without one."""
        if not found.relaxed:
            return []
        gettext = self.language.gettext
        sentences = [
            gettext(
                "I have nothing that is all of that, so I let go of {wishes}.",
                wishes=self.language.listed(self.wishes(found.relaxed)),
            )
        ]
        if price_relaxed(found):
            sentences.append(gettext("These are the nearest in price:"))
        return sentences

    def opening(self, n: int, state: ConversationState, message: Message) -> str:
        """Return the sentence before ``n`` proposals."""
        ngettext = self.language.ngettext
        n_terms = len(state.details) + len(state.things)
        parts = self.understood(state)
        parts = [" ".join(parts[:n_terms]), *parts[n_terms:]] if n_terms else parts
        what = self.language.gettext(", ").join(parts)
        if not what:
            return ngettext(
                "Here is one idea to start from.", "Here are {n} ideas to start from.", n
            )
        if message.move == "more":
            return ngettext(
                "Here is one more idea: {what}.", "Here are {n} more ideas: {what}.", n, what=what
            )
        if message.move == "cheaper":
            return ngettext(
                "Here is one cheaper idea: {what}.",
                "Here are {n} cheaper ideas: {what}.",
                n,
                what=what,
            )
        if message.move == "dearer":
            return ngettext(
                "Here is one dearer idea: {what}.",
                "Here are {n} dearer ideas: {what}.",
                n,
                what=what,
            )
        return ngettext("Here is one idea: {what}.", "Here are {n} ideas: {what}.", n, what=what)

    def close_ones(self, n_exact: int) -> str:
        """Return the sentence before ``n_exact`` proposals that meet all wishes, and others."""
        if not n_exact:
            return self.language.gettext("These come close:")
        return self.language.ngettext(
            "Only the first meets everything; the rest come close:",
            "The first {n} meet everything; the rest come close:",
            n_exact,
        )


def price_relaxed(found: Found) -> bool:
    """Return whether a limit of the price was given up."""
    return any(PRICE_WISH.fullmatch(wish) for wish in found.relaxed)
