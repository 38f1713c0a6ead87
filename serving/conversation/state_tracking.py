"""Dialogue state tracking: the state after a message; a refinement adds, a new search replaces."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterable

import numpy as np

from components.words.stems import stem
from serving.conversation.dialogue_state import MAX_TURN, ConversationState, alternatives
from serving.conversation.message import Message
from serving.conversation.shop_knowledge import ShopKnowledge
from serving.fields import MAX_REFUSED, MAX_SHOWN, MAX_TERMS


def new_state(before: ConversationState | None) -> ConversationState:
    """Return the state of a conversation that begins, or begins again."""
    return ConversationState(conversation_id=before.conversation_id if before else uuid.uuid4().hex)


def is_open(state: ConversationState) -> bool:
    """Return whether nothing says yet what is looked for."""
    wishes = (state.things, state.details, state.needs, state.purpose, state.like, state.goes_with)
    return not any(wishes)


def stamped(state: ConversationState, before: ConversationState) -> ConversationState:
    """Return the state with the number and the time of this turn."""
    return state.model_copy(
        update={"turn": min(before.turn + 1, MAX_TURN), "said_at": int(time.time())}
    )


def referenced(message: Message, state: ConversationState) -> list[str]:
    """Return the ids of the items that a message names or refers to ("the second one"), without
    references to a place where none was shown."""
    places = (place - 1 if place > 0 else place for place in message.places)
    shown = [state.last[at] for at in places if -len(state.last) <= at < len(state.last)]
    return list(dict.fromkeys([*message.items, *shown]))


class StateTracker:
    """Advances states by messages."""

    def __init__(self, shop: ShopKnowledge) -> None:
        self._shop = shop

    def advance(self, state: ConversationState, message: Message) -> ConversationState:
        """Return the state after a message; ``state`` stays as it is."""
        new = state.model_copy(deep=True)
        # The model may have changed since the last turn, and the rules' needs with it.
        new.needs = [name for name in new.needs if name in self._shop.needs_by_word.values()]
        if message.fresh:
            new.things, new.details, new.purpose, new.needs = [], [], [], []
            new.like, new.level, new.shown = None, None, []
        if message.fresh or message.things or message.needs or message.purpose:
            new.goes_with, new.goes_with_thing = [], None
        new.things = list(message.things)[:MAX_TERMS] or new.things
        for name in ("details", "purpose", "needs", "refused"):
            merged = list(dict.fromkeys([*getattr(message, name), *getattr(new, name)]))
            setattr(new, name, merged[: MAX_REFUSED if name == "refused" else MAX_TERMS])
        _newest_word_wins(new, message)
        if message.any_price or message.min_price is not None or message.max_price is not None:
            new.min_price, new.max_price, new.level = message.min_price, message.max_price, None
        new.level = message.level or new.level
        self._apply_move(new, message, referenced(message, state), state.last)
        return new

    def _apply_move(
        self, new: ConversationState, message: Message, named: list[str], last: list[str]
    ) -> None:
        """named: the item that the message refers to, if any. last: items shown last."""
        if message.move == "reject":
            new.rejected = [*new.rejected, *(named or last)][-MAX_SHOWN:]
        elif message.move == "like" and named:
            # By its place it is like what was looked for; by its title it may be anything.
            new.things = [] if message.items else new.things
            new.like, new.needs, new.purpose = named[0], [], []
            new.goes_with, new.goes_with_thing = [], None
            new.details = list(message.details)
        elif message.move in ("cheaper", "dearer"):
            self._critique_price(new, message.move == "cheaper", named or last)

    def _critique_price(self, new: ConversationState, cheaper: bool, shown: list[str]) -> None:
        """Move the limits of the price to below or above the median of the shown products."""
        prices = self._shop.engine.prices[self._shop.codes(shown)]
        prices = prices[np.isfinite(prices)]
        if not len(prices):
            new.level = "cheap" if cheaper else "dear"
        elif cheaper:
            new.max_price = round(max(0.0, float(np.median(prices)) - 0.01), 2)
            if new.min_price is not None and new.min_price > new.max_price:
                new.min_price = None
        else:
            new.min_price = round(float(np.median(prices)) + 0.01, 2)
            if new.max_price is not None and new.max_price < new.min_price:
                new.max_price = None


def _newest_word_wins(new: ConversationState, message: Message) -> None:
    """A word that was refused is wanted again, or the other way round, by the newest message."""
    wanted = _stems(message.things, message.details, message.wanted_again)
    refused = _stems(message.refused)
    new.refused = _without(new.refused, wanted)
    new.details = _without(new.details, refused)
    new.things = _without(new.things, refused)


def _stems(*terms: Iterable[str]) -> set[str]:
    return {stem(word) for some in terms for term in some for word in alternatives(term)}


def _without(terms: Iterable[str], stems: set[str]) -> list[str]:
    """Return the terms without the alternatives that have one of the stems."""
    left = ([word for word in alternatives(term) if stem(word) not in stems] for term in terms)
    return [" or ".join(words) for words in left if words]
