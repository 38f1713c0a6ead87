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
from pathlib import Path
from typing import TYPE_CHECKING

from components.recommenders.models.rules import Found
from serving.conversation.answer_text import AnswerText, close_ones, listed, price_relaxed
from serving.conversation.dialogue_state import ConversationState
from serving.conversation.facts import Facts
from serving.conversation.generation import Titles
from serving.conversation.grounding import CatalogueUnderstanding, TaggerReader
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
from serving.conversation.understanding import GrammarUnderstanding, Understanding
from serving.fields import MAX_SHOWN
from serving.profiles.history import History
from serving.recommend.complements import complements
from serving.recommend.engine import Engine
from serving.recommend.types import Mask
from serving.search import Search

if TYPE_CHECKING:
    from components.understanding.model import UnderstandingModel

SEEDS = 10
"""Products of a kind that stand for it when something should go with it."""


def open_understanding(folder: str | Path) -> UnderstandingModel | None:
    """Return what understands messages in a model folder, None where the grammar does.

    Raises:
        OSError, ValueError, KeyError, RuntimeError: the folder's part is damaged.
    """
    place = Path(folder) / "understanding"
    if not (place / "tagger.json").exists():
        return None
    from components.understanding.model import UnderstandingModel  # imports PyTorch

    return UnderstandingModel.load(place)


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

    def __init__(
        self,
        engine: Engine,
        search: Search,
        model: UnderstandingModel | None = None,
        contact: str = "",
    ) -> None:
        """model: understands the messages; None: the English grammar does. contact: of the shop,
        for questions about other things than products."""
        self.engine = engine
        self.shop = ShopKnowledge(engine)
        self.model = model
        self._understanding: Understanding = (
            GrammarUnderstanding(lambda: self.shop.items, self.shop.needs_by_word)
            if model is None
            else CatalogueUnderstanding(TaggerReader(model), model.terms(self.shop), self.shop)
        )
        self.titles = Titles(engine.titles)
        self._tracker = StateTracker(self.shop)
        self._finder = ProposalFinder(self.shop, search)
        self._text = AnswerText(self.shop)
        self._facts = Facts(self.shop, self._text)
        self._contact = contact
        self._reasons = ProposalReasons(self.shop, self._text)
        self._suggestions = Suggestions(self.shop, self._text)

    def extended(self, engine: Engine, search: Search) -> Conversation:
        """Return the conversation over a catalogue with products added or changed."""
        return Conversation(engine, search, self.model, self._contact)

    def reply(
        self, message: str, state: ConversationState | None, history: History, k: int
    ) -> Reply:
        """Return the reply to ``message``. state: of the last reply, None to begin."""
        said = self._understanding.read(message)
        if state is None or said.move == "restart":
            state = new_state(state)
        before, advanced = state, self._tracker.advance(state, said)
        turn = Turn(said, before, stamped(advanced, before), history, k)
        if said.move in ("thanks", "hello") and advanced == before:
            return self._polite(turn)
        if said.move == "not_my_field":
            return self._not_my_field(turn)
        if said.move in ("tell_more", "compare"):
            return self._about(turn)
        if said.move == "why" and advanced.last:
            return self._why(turn)
        mask = self._finder.possible(advanced, history)
        if said.move == "goes_with" and (seeds := self._seeds(turn)):
            return self._goes_with(turn, mask, seeds)
        known = said.things or said.details or said.needs or said.purpose or said.move
        if said.unknown and not known:
            return self._not_sold(turn)
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

    def _not_my_field(self, turn: Turn) -> Reply:
        """Say that the question is not about products, and whom to contact."""
        return Reply(f"I can only help with products. {self._contact}".strip(), turn.state)

    def _not_sold(self, turn: Turn) -> Reply:
        """Say that the shop has nothing of what was named."""
        options = self._suggestions.openings(self.shop.available())
        return Reply(" ".join(self._text.notes(turn.message)), turn.state, options=options)

    def _about(self, turn: Turn) -> Reply:
        """Tell the facts of one product, or compare several."""
        message, state = turn.message, turn.state
        named = referenced(message, turn.before)
        if not named:
            named = turn.before.last[:2] if message.move == "compare" else turn.before.last[:1]
        codes = self.shop.codes(named)
        if not codes or (message.move == "compare" and len(codes) < 2):
            text = "Which products do you mean? Name them, or say “the first” and “the second”."
            return Reply(text, state, question=text)
        text = self._facts.described(codes[0]) if len(codes) == 1 else self._facts.compared(codes)
        reasons = ["; ".join(self._facts.of(code)) for code in codes]
        return Reply(text, state, codes, reasons, understood=self._text.understood(state))

    def _seeds(self, turn: Turn) -> list[int]:
        """Return the products that something should go with: those named, or of a named kind."""
        if named := self.shop.codes(referenced(turn.message, turn.before)):
            return named
        if turn.message.things:
            of_kind = self.shop.items.word(turn.message.things[0])
            popular = self.engine.by_popularity
            return popular[of_kind[popular]][:SEEDS].tolist()
        return self.shop.codes(turn.before.last[:1])

    def _goes_with(self, turn: Turn, mask: Mask, seeds: list[int]) -> Reply:
        """Propose what goes with products, of other kinds than they are."""
        state, message = turn.state, turn.message
        state.things = []
        found = self.shop.satisfy(state, mask)
        titles = {self.engine.titles[code] for code in seeds}
        named = {kind for title in titles for kind in self._understanding.kinds(title)}
        kinds = [self.shop.items.word(kind) for kind in {*named, *message.things}]
        codes = complements(self.engine, seeds, found.allowed, kinds)[: turn.k].tolist()
        if not codes:
            return Reply("I know of nothing that goes with it.", state)
        state.last = [self.engine.ids[code] for code in codes]
        state.shown = list(dict.fromkeys([*state.shown, *state.last]))[-MAX_SHOWN:]
        what = message.things[0] if message.things else self.engine.titles[seeds[0]].lower()
        reasons = self._reasons.of(codes, state, found, turn.history)
        return Reply(f"This goes with {what}:", state, codes, reasons)

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
