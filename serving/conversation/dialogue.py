"""The dialogue: a message and the state so far → a reply with proposals, and why these.

In: one message, the conversation's state, the shopper's history. Out: a ``Reply``. The message is
parsed (``understanding``), the state advances (``state_tracking``), its wishes are met by the
shop's rules with relaxation (``components.recommenders.models.rules``), and the products that are
left are ranked (``proposals``). All proposals come from the engine, so a reply never names a
product that does not exist or is not available.

Critiques of what was shown ("cheaper", "like the second"): McCarthy et al., IUI 2005.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from components.recommenders.models.rules import Found
from serving.conversation.answer_text import AnswerText, close_ones, listed, price_relaxed
from serving.conversation.dialogue_state import ConversationState
from serving.conversation.message import Message
from serving.conversation.proposals import FEW, ProposalFinder
from serving.conversation.reasons import ProposalReasons
from serving.conversation.shop_knowledge import ShopKnowledge
from serving.conversation.state_tracking import (
    StateTracker,
    is_open,
    new_state,
    referenced,
    stamped,
)
from serving.conversation.suggestions import Suggestions
from serving.conversation.understanding import parse
from serving.fields import MAX_SHOWN
from serving.profiles.history import History
from serving.recommend.engine import Engine
from serving.recommend.types import Mask
from serving.search import Search


@dataclass(frozen=True)
class Reply:
    """items: item codes, best first. reasons: facts of each. The rest: see ConversationResponse."""

    text: str
    state: ConversationState
    items: list[int] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)
    question: str | None = None
    options: list[str] = field(default_factory=list)
    understood: list[str] = field(default_factory=list)
    relaxed: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Turn:
    """One message with its context. before: the state before it; state: after it. k: proposals."""

    message: Message
    before: ConversationState
    state: ConversationState
    history: History
    k: int


class Conversation:
    """Replies of one loaded model. Holds no state of shoppers, so it is thread-safe."""

    def __init__(self, engine: Engine, search: Search) -> None:
        self.engine = engine
        self.shop = ShopKnowledge(engine)
        self._tracker = StateTracker(self.shop)
        self._finder = ProposalFinder(self.shop, search)
        self._text = AnswerText(self.shop)
        self._reasons = ProposalReasons(self.shop, self._text)
        self._suggestions = Suggestions(self.shop, self._text)

    def reply(
        self, message: str, state: ConversationState | None, history: History, k: int
    ) -> Reply:
        """Return the reply to ``message``. state: of the last reply, None to begin."""
        said = parse(message, self.shop.items, self.shop.needs_by_word)
        if state is None or said.move == "restart":
            state = new_state(state)
        before, advanced = state, self._tracker.advance(state, said)
        turn = Turn(said, before, stamped(advanced, before), history, k)
        if said.move in ("thanks", "hello") and advanced == before:
            return self._polite(turn)
        if said.move == "why" and advanced.last:
            return self._why(turn)
        mask = self._finder.possible(advanced, history)
        if said.move != "whatever" and is_open(advanced):
            return self._ask_back(turn, mask)
        return self._propose(turn, mask)

    def _polite(self, turn: Turn) -> Reply:
        """Answer thanks or a greeting."""
        if turn.message.move == "thanks":
            text = "You are welcome. Tell me if I can find something else."
            return Reply(text, turn.state)
        question = "What are you looking for, and for whom?"
        options = self._suggestions.openings(self.shop.available())
        return Reply(f"Hello! {question}", turn.state, question=question, options=options)

    def _why(self, turn: Turn) -> Reply:
        """Say why a product was shown."""
        state = turn.state
        codes = self.shop.codes(referenced(turn.message, state) or state.last[:1])
        if not codes:
            return Reply("That product is no longer in the shop.", state)
        found = self.shop.satisfy(state, self.shop.available())
        reasons = self._reasons.of(codes, state, found, turn.history)
        text = f"{self.engine.titles[codes[0]].capitalize()}: {reasons[0]}."
        return Reply(text, state, codes, reasons, understood=self._text.understood(state))

    def _ask_back(self, turn: Turn, mask: Mask) -> Reply:
        """Ask what is looked for, and show a few products by taste and popularity."""
        state = turn.state
        found = self.shop.satisfy(state, mask)
        notes = [*self._text.notes(turn.message)]
        if found.relaxed:
            notes.append(f"Nothing is {listed(self._text.wishes(found.relaxed))}.")
        question = "What should it be, or whom is it for?"
        ranked = self._finder.ranked(found.allowed, state, turn.history)
        codes = ranked[: min(turn.k, FEW)].tolist()
        text = " ".join([*notes, question, "Until then, what others like:"])
        state.last = [self.engine.ids[code] for code in codes]
        return Reply(
            text if codes else question,
            state,
            codes,
            self._reasons.of(codes, state, found, turn.history),
            question,
            self._suggestions.openings(found.allowed),
            self._text.understood(state),
        )

    def _propose(self, turn: Turn, mask: Mask) -> Reply:
        """Propose products that meet the wishes, or come close."""
        state, message = turn.state, turn.message
        notes = [*self._text.notes(message)]
        found = self.shop.satisfy(state, mask)
        if message.move in ("cheaper", "dearer") and price_relaxed(found):
            # "Cheaper" than the cheapest is no reason to give up the need: the limits stay.
            state.min_price, state.max_price = turn.before.min_price, turn.before.max_price
            notes.append(f"I have nothing {message.move} that fits.")
            found = self.shop.satisfy(state, mask)
        allowed = self._allowed(turn, found)
        ranked = self._finder.ranked(allowed, state, turn.history)
        if price_relaxed(found):
            ranked = self._finder.nearest_in_price(ranked, state)
        exact: list[int] = ranked[: turn.k].tolist()
        few = min(FEW, turn.k)
        close: list[int] = []
        if len(exact) < few and message.move != "more" and state.things:
            close = self._finder.close(found, allowed, state, turn.history)[: few - len(exact)]
        options = self._suggestions.refinements(allowed, state, more=len(ranked) > turn.k)
        if not exact and not close:
            options = ["any price", "start over"] if state.max_price is not None else ["start over"]
        notes += self._proposal_notes(turn, found, exact, close)
        shown = exact + close
        if shown:
            state.last = [self.engine.ids[code] for code in shown]
        state.shown = list(dict.fromkeys([*state.shown, *state.last]))[-MAX_SHOWN:]
        return Reply(
            " ".join(notes),
            state,
            shown,
            self._reasons.of(shown, state, found, turn.history),
            None,
            options,
            self._text.understood(state),
            self._text.wishes(found.relaxed),
        )

    def _allowed(self, turn: Turn, found: Found) -> Mask:
        """Return the items to propose from: of the price level, and new after "show more"."""
        allowed = self._finder.in_level(found.allowed, turn.state)
        if turn.message.move in ("more", "cheaper", "dearer", "like"):
            allowed = allowed.copy()
            allowed[self.shop.codes(turn.before.shown)] = False
        return allowed

    def _proposal_notes(
        self, turn: Turn, found: Found, exact: list[int], close: list[int]
    ) -> list[str]:
        """Return the sentences before the proposals. exact: meet all wishes that were kept."""
        notes = self._text.relaxed(found) if exact else []
        if not exact and not close:
            notes.append(
                "That was all I have for this." if turn.state.shown else "Nothing fits that."
            )
        elif close:
            notes.append(close_ones(len(exact)))
        elif not found.relaxed:
            notes.append(self._text.opening(len(exact), turn.state, turn.message))
        return notes
