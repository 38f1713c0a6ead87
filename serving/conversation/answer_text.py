"""The text of answers: what was understood, what was relaxed, how many proposals there are."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from components.recommenders.models.rules import Found
from serving.conversation.dialogue_state import ConversationState
from serving.conversation.message import Message
from serving.conversation.shop_knowledge import ShopKnowledge

PRICE_WISH = re.compile(r"(from|up to) (\d\S*)")
"""How ``satisfy`` names a limit of the price."""

SYMBOLS = {"GBP": "£", "EUR": "€", "USD": "$"}


class AnswerText:
    """Words for one shop."""

    def __init__(self, shop: ShopKnowledge) -> None:
        self._shop = shop

    def money(self, amount: float) -> str:
        """Return an amount in the shop's currency."""
        currency = self._shop.currency or ""
        number = f"{amount:.2f}".removesuffix(".00")
        if symbol := SYMBOLS.get(currency):
            return f"{symbol}{number}"
        return f"{number} {currency}".strip()

    def understood(self, state: ConversationState) -> list[str]:
        """Return what the proposals are looked for by, a part each."""
        parts = [*state.details[::-1], *state.things, *state.needs]
        needs = (need for need in self._shop.rules.needs if need.name in state.needs)
        said = {word for need in needs for word in need.said_as}
        parts += [f"for {word}" for word in state.purpose if word not in said]
        for code in self._shop.codes(filter(None, [state.like])):
            parts.append(f"like {self._shop.engine.titles[code].lower()}")
        if state.min_price is not None:
            parts.append(f"from {self.money(state.min_price)}")
        if state.max_price is not None:
            parts.append(f"up to {self.money(state.max_price)}")
        if state.level is not None:
            parts.append({"cheap": "low price", "dear": "high price"}[state.level])
        return [*parts, *(f"no {word}" for word in state.refused)]

    def wishes(self, names: Iterable[str]) -> list[str]:
        """Return wishes, by their names in ``Found``, as a shopper would say them."""
        plain = []
        for name in names:
            limit = PRICE_WISH.fullmatch(name)
            amount = f"{limit[1]} {self.money(float(limit[2]))}" if limit else None
            plain.append(amount or name.removeprefix("with "))
        return plain

    def notes(self, message: Message) -> Iterator[str]:
        """Yield sentences on what of the message could not be taken as it was said."""
        if message.unknown:
            words = listed([f"“{word}”" for word in message.unknown[:3]])
            yield f"No product here mentions {words}."
        currency = self._shop.currency
        if message.currency and currency and message.currency != currency:
            limit = message.max_price if message.max_price is not None else message.min_price
            if limit is not None:
                yield f"Prices here are in {currency}: I read that as {self.money(limit)}."

    def relaxed(self, found: Found) -> list[str]:
        """Return sentences on the wishes that were given up, empty without one."""
        if not found.relaxed:
            return []
        wishes = listed(self.wishes(found.relaxed))
        sentences = [f"I have nothing that is all of that, so I let go of {wishes}."]
        if price_relaxed(found):
            sentences.append("These are the nearest in price:")
        return sentences

    def opening(self, n: int, state: ConversationState, message: Message) -> str:
        """Return the sentence before ``n`` proposals."""
        kinds = {"more": "more ", "cheaper": "cheaper ", "dearer": "dearer "}
        kind = kinds.get(message.move or "", "")
        count = f"Here is one {kind}idea" if n == 1 else f"Here are {n} {kind}ideas"
        n_terms = len(state.details) + len(state.things)
        parts = self.understood(state)
        what = ", ".join([" ".join(parts[:n_terms]), *parts[n_terms:]] if n_terms else parts)
        return f"{count}: {what}." if what else f"{count} to start from."


def close_ones(n_exact: int) -> str:
    """Return the sentence before ``n_exact`` proposals that meet all wishes, and others."""
    whole = "Only the first meets" if n_exact == 1 else f"The first {n_exact} meet"
    start = f"{whole} everything; the rest come" if n_exact else "These come"
    return f"{start} close:"


def price_relaxed(found: Found) -> bool:
    """Return whether a limit of the price was given up."""
    return any(PRICE_WISH.fullmatch(wish) for wish in found.relaxed)


def listed(words: list[str], last: str = "and") -> str:
    """Return words as a list in a sentence.

    >>> listed(["red", "blue", "green"], "or")
    'red, blue or green'
    """
    return f" {last} ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)
