"""The dialogue: a message and the state so far → a reply with proposals, and why these.

In: one message, the conversation's state, the shopper's history. Out: a ``Reply``. The message is
parsed (``understanding``), the state advances (``state_tracking``), its wishes are met by the
shop's rules with relaxation (``components.recommenders.models.rules``), and the products that are
left are ranked (``proposals``). All proposals come from the engine, so a reply never names a
product that does not exist or is not available.

Critiques of what was shown ("cheaper", "like the second"): McCarthy et al., IUI 2005.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from components.language.writer import FillsSchema
from components.recommenders.models.rules import Found
from components.understanding.amounts import MOST
from components.understanding.model_reader import ModelReader, Reader
from components.words.stems import stem
from serving.conversation.answer_text import AnswerText, price_relaxed
from serving.conversation.dialogue_state import PRICE_LIMIT, ConversationState, alternatives
from serving.conversation.facts import Facts
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
from serving.conversation.suggestions import (
    ANY_PRICE,
    CHEAPER,
    MORE,
    START_OVER,
    Suggestion,
    Suggestions,
)
from serving.conversation.titles import readable
from serving.conversation.understanding import GrammarUnderstanding, Understanding
from serving.fields import MAX_SHOWN
from serving.filters.conditions import TRUE, Condition
from serving.languages import ENGLISH, Language, languages
from serving.profiles.history import History
from serving.recommend.complements import complements
from serving.recommend.engine import Engine
from serving.recommend.types import Mask
from serving.search import Search

if TYPE_CHECKING:
    from components.understanding.model import UnderstandingModel

FEW_WORDS = 2
"""Words of a message up to which its language is not clear."""
SECONDS = 5.0
"""For a language model to read a message, before the tagger's reading stands."""
SEEDS = 10
"""Products of a kind that stand for it when something should go with it."""
HEADS = 60
"""Best-ranked products whose titles are read for what the product is."""


def _stems(phrase: str) -> list[str]:
    return [stem(word) for word in phrase.casefold().replace("-", " ").split()]


@dataclass(frozen=True)
class Reply:
    """items: item codes, best first. reasons: facts of each. The rest: see ConversationResponse."""

    text: str
    state: ConversationState
    items: list[int] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)
    question: str | None = None
    suggestions: list[Suggestion] = field(default_factory=list)
    understood: list[str] = field(default_factory=list)
    relaxed: list[str] = field(default_factory=list)

    @property
    def options(self) -> list[str]:
        """The suggested next messages."""
        return [one.message for one in self.suggestions]

    @property
    def labels(self) -> list[str]:
        """What a page shows for each of ``options``; empty where it is the same."""
        labels = [one.label for one in self.suggestions]
        return [] if labels == self.options else labels


class Templates:
    """The parts that make texts, in one language."""

    def __init__(self, shop: ShopKnowledge, language: Language) -> None:
        self.text = AnswerText(shop, language)
        self.reasons = ProposalReasons(shop, self.text)
        self.suggestions = Suggestions(shop, self.text)
        self.facts = Facts(shop, self.text)
        self.gettext = language.gettext


Arrange = Callable[[list[int], int], list[int]]
ARRANGED = 500
"""Products of a ranking that ``Arrange`` gets."""


@dataclass(frozen=True)
class Turn:
    """One message with its context. before: the state before it; state: after it. k: proposals.
    templates: in the language of the reply. arrange: as of ``reply``."""

    message: Message
    before: ConversationState
    state: ConversationState
    history: History
    k: int
    templates: Templates
    arrange: Arrange | None

    def arranged(self, ranked: NDArray[np.int64], k: int | None = None) -> NDArray[np.int64]:
        """Return what was ranked by relevance, in the order that the shop's rules leave.

        k: proposals, where they are others than the turn's.
        """
        if self.arrange is None or not len(ranked):
            return ranked
        first = self.arrange(ranked[:ARRANGED].tolist(), k or self.k)
        return np.concatenate([np.array(first, dtype=np.int64), ranked[ARRANGED:]])


class Conversation:
    """Replies of one loaded model. Holds no state of shoppers, so it is thread-safe."""

    def __init__(
        self,
        engine: Engine,
        search: Search,
        model: UnderstandingModel | None = None,
        contact: str = "",
        rates: Mapping[str, float] | None = None,
        language_model: FillsSchema | None = None,
    ) -> None:
        """model: understands the messages; None: the English grammar does. contact: of the shop,
        for questions about other things than products. rates: ``serve.exchange_rates``.
        language_model: reads the messages, checked by ``model``."""
        self.engine = engine
        self.shop = ShopKnowledge(engine)
        self.model = model
        self._understanding: Understanding = (
            GrammarUnderstanding(self.shop, self.shop.needs_by_word)
            if model is None
            else CatalogueUnderstanding(
                self._reader(model, language_model), model.terms(self.shop), self.shop
            )
        )
        self._tracker = StateTracker(self.shop)
        self._finder = ProposalFinder(self.shop, search)
        self._contact, self._rates, self._language_model = contact, rates or {}, language_model

    def extended(self, engine: Engine, search: Search) -> Conversation:
        """Return the conversation over a catalogue with products added or changed."""
        return Conversation(
            *(engine, search, self.model, self._contact, self._rates, self._language_model)
        )

    @staticmethod
    def _reader(model: UnderstandingModel, language_model: FillsSchema | None) -> Reader:
        tagger = TaggerReader(model)
        return tagger if language_model is None else ModelReader(language_model, tagger, SECONDS)

    def translated(self, query: str) -> str:
        """Return a query of a search in the catalogue's words, "" if it has none of them."""
        return self._understanding.translated(query)

    def reply(
        self,
        message: str,
        state: ConversationState | None,
        history: History,
        k: int,
        language: Language = ENGLISH,
        follow: bool = False,
        where: Condition = TRUE,
        arrange: Arrange | None = None,
    ) -> Reply:
        """Return the reply to ``message``.

        state: of the last reply, None to begin. language: of the reply's texts; with ``follow``
        that of the message where it is known. where: what all proposals must meet. arrange: gives
        the best codes by relevance, and how many are shown, their final order.
        """
        said = self._in_own_currency(self._understanding.read(message))
        if follow:
            language = self._language(message, said, state, language)
        if state is None or said.move == "restart":
            state = new_state(state)
        before, advanced = state, self._tracker.advance(state, said)
        advanced.language = language.code if follow else None
        templates = Templates(self.shop, language)
        turn = Turn(said, before, stamped(advanced, before), history, k, templates, arrange)
        # Not details and purposes: "how was your day" has one.
        wishes = (said.things, said.needs, said.refused, said.min_price, said.max_price, said.level)
        if said.move in ("thanks", "hello") and not any(wishes):
            return self._polite(replace(turn, state=stamped(before, before)))
        if said.move == "not_my_field":
            return self._not_my_field(turn)
        if said.move in ("tell_more", "compare"):
            return self._about(turn)
        if said.move == "why" and advanced.last:
            return self._why(turn)
        mask = self._finder.possible(advanced, history, where)
        if said.move == "goes_with" and (seeds := self._seeds(turn)):
            # Only price and refusals count: the other wishes were said of other things.
            after = turn.state
            after.details, after.needs, after.shown = [], [], []
            after.goes_with = [self.engine.ids[code] for code in seeds]
            # Of a product that is named or was shown, things are what should go with it.
            others = said.things if referenced(said, before) else ()
            after.things = [thing for thing in others if not self.shop.is_one(seeds, thing)]
            after.goes_with_thing = said.things[0] if said.things and not after.things else None
            return self._goes_with(turn, mask, seeds)
        if seeds := self.shop.codes(turn.state.goes_with):
            return self._goes_with(turn, mask, seeds)
        known = said.things or said.details or said.needs or said.purpose or said.move
        # Of what was shown before, "something Xish from £8" changes the limits, whatever X is.
        limits = (said.refused, said.min_price is not None, said.max_price is not None)
        if said.unknown and not known and not (before.things and any(limits)):
            return self._not_sold(turn)
        if said.move != "whatever" and is_open(advanced):
            return self._ask_back(turn, mask)
        return self._propose(turn, mask)

    def _in_own_currency(self, said: Message) -> Message:
        """Return a message with its limits of the price in the shop's currency, as far as its rate
        is known."""
        rate = self._rates.get(said.currency or "")
        if rate is None or said.currency == self.shop.currency:
            return said
        low, high = (
            None if limit is None else min(MOST, round(limit * rate, 2))
            for limit in (said.min_price, said.max_price)
        )
        return replace(said, min_price=low, max_price=high)

    def _language(
        self, message: str, said: Message, state: ConversationState | None, other: Language
    ) -> Language:
        """Return the language of a message if there are texts in it; of a short one and of the
        shop's own words, which a click sends, the conversation's so far, else ``other``."""
        known = languages().get((state and state.language) or "", other)
        own = message.strip().casefold() in self._own_words or message.startswith(PRICE_LIMIT)
        if own or (message.isascii() and len(message.split()) <= FEW_WORDS):
            return known
        return languages().get(said.language or "", known)

    @cached_property
    def _own_words(self) -> set[str]:
        """What is suggested as a message: moves, the needs and the categories."""
        names = [MORE, CHEAPER, ANY_PRICE, START_OVER]
        names += [need.name for need in self.shop.rules.needs]
        names += [name for name, _ in self.engine.category_names()]
        return {name.casefold() for name in names}

    def _polite(self, turn: Turn) -> Reply:
        """Answer thanks or a greeting."""
        gettext = turn.templates.gettext
        if turn.message.move == "thanks":
            text = gettext("You are welcome. Tell me if I can find something else.")
            return Reply(text, turn.state)
        question = gettext("What are you looking for, and for whom?")
        options = turn.templates.suggestions.openings(self.shop.available())
        text = gettext("Hello! {question}", question=question)
        return Reply(text, turn.state, question=question, suggestions=options)

    def _why(self, turn: Turn) -> Reply:
        """Say why a product was shown."""
        state, templates = turn.state, turn.templates
        codes = self.shop.codes(referenced(turn.message, state) or state.last[:1])
        if not codes:
            return Reply(templates.gettext("That product is no longer in the shop."), state)
        found = self.shop.satisfy(state, self.shop.available())
        reasons = templates.reasons.of(codes, state, found, turn.history)
        title = readable(self.engine.titles[codes[0]])
        text = templates.gettext("{title}: {reason}.", title=title, reason=reasons[0])
        return Reply(text, state, codes, reasons, understood=templates.text.understood(state))

    def _not_my_field(self, turn: Turn) -> Reply:
        """Say that the question is not about products, and whom to contact."""
        said = turn.templates.gettext("I can only help with products.")
        text = turn.templates.text.sentences([said, *filter(None, [self._contact])])
        return Reply(text, turn.state)

    def _not_sold(self, turn: Turn) -> Reply:
        """Say that the shop has nothing of what was named."""
        templates = turn.templates
        text = templates.text.sentences([*templates.text.notes(turn.message)])
        options = templates.suggestions.openings(self.shop.available())
        return Reply(text, turn.state, suggestions=options)

    def _about(self, turn: Turn) -> Reply:
        """Tell the facts of one product, or compare several."""
        message, state, templates = turn.message, turn.state, turn.templates
        named = referenced(message, turn.before)
        if not named:
            named = turn.before.last[:2] if message.move == "compare" else turn.before.last[:1]
        codes = self.shop.codes(named)
        if not codes or (message.move == "compare" and len(codes) < 2):
            text = templates.gettext(
                "Which products do you mean? Name them, or say “the first” and “the second”."
            )
            return Reply(text, state, question=text)
        facts = templates.facts
        text = facts.described(codes[0]) if len(codes) == 1 else facts.compared(codes)
        reasons = [facts.joined(code) for code in codes]
        return Reply(text, state, codes, reasons, understood=templates.text.understood(state))

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
        state, templates = turn.state, turn.templates
        found = self.shop.satisfy(state, mask)
        allowed = self._allowed(turn, found)
        titles = {self.engine.titles[code] for code in seeds}
        named = {kind for title in titles for kind in self._understanding.kinds(title)}
        thing = state.goes_with_thing
        kinds = [self.shop.items.word(kind) for kind in {*named, *filter(None, [thing])}]
        ranked = complements(self.engine, seeds, allowed, kinds)
        if state.things and not found.relaxed:  # also what nobody bought together
            rest = self._finder.ranked(allowed, state, turn.history)
            every = dict.fromkeys([*ranked.tolist(), *rest.tolist()])
            ranked = self._heads_first(np.array([*every], dtype=np.int64), state)
        codes = turn.arranged(ranked)[: turn.k].tolist()
        if not codes:
            return Reply(templates.gettext("I know of nothing that goes with it."), state)
        state.last = [self.engine.ids[code] for code in codes]
        state.shown = list(dict.fromkeys([*state.shown, *state.last]))[-MAX_SHOWN:]
        what = thing or readable(self.engine.titles[seeds[0]])
        reasons = templates.reasons.of(codes, state, found, turn.history)
        goes = templates.gettext("This goes with {thing}:", thing=alternatives(what)[0])
        text = templates.text.sentences([*templates.text.relaxed(found), goes])
        relaxed = templates.text.wishes(found.relaxed)
        return Reply(text, state, codes, reasons, relaxed=relaxed)

    def _ask_back(self, turn: Turn, mask: Mask) -> Reply:
        """Ask what is looked for, and show a few products by taste and popularity."""
        state, templates = turn.state, turn.templates
        gettext = templates.gettext
        found = self.shop.satisfy(state, mask)
        notes = [*templates.text.notes(turn.message)]
        if found.relaxed:
            wishes = templates.text.language.listed(templates.text.wishes(found.relaxed))
            notes.append(gettext("Nothing is {wishes}.", wishes=wishes))
        question = gettext("What should it be, or whom is it for?")
        few = min(turn.k, FEW)
        ranked = turn.arranged(self._finder.ranked(found.allowed, state, turn.history), few)
        codes = ranked[:few].tolist()
        until_then = gettext("Until then, what others like:")
        text = templates.text.sentences([*notes, question, until_then])
        state.last = [self.engine.ids[code] for code in codes]
        return Reply(
            text if codes else question,
            state,
            codes,
            templates.reasons.of(codes, state, found, turn.history),
            question,
            templates.suggestions.openings(found.allowed),
            templates.text.understood(state),
        )

    def _propose(self, turn: Turn, mask: Mask) -> Reply:
        """Propose products that meet the wishes, or come close."""
        state, message, templates = turn.state, turn.message, turn.templates
        notes = [*templates.text.notes(message)]
        found = self.shop.satisfy(state, mask)
        if message.move in ("cheaper", "dearer") and price_relaxed(found):
            # "Cheaper" than the cheapest is no reason to give up the need: the limits stay.
            state.min_price, state.max_price = turn.before.min_price, turn.before.max_price
            notes.append(
                templates.gettext("I have nothing cheaper that fits.")
                if message.move == "cheaper"
                else templates.gettext("I have nothing dearer that fits.")
            )
            found = self.shop.satisfy(state, mask)
            turn = replace(turn, message=replace(message, move=None))
        allowed = self._allowed(turn, found)
        ranked = self._heads_first(self._finder.ranked(allowed, state, turn.history), state)
        if turn.message is not message:
            ranked = self._finder.by_price(ranked, message.move == "cheaper")
        elif price_relaxed(found):
            ranked = self._finder.nearest_in_price(ranked, state)
        else:
            ranked = turn.arranged(ranked)
        exact: list[int] = ranked[: turn.k].tolist()
        few = min(FEW, turn.k)
        close: list[int] = []
        if len(exact) < few and message.move != "more" and state.things:
            close = self._finder.close(found, allowed, state, turn.history)[: few - len(exact)]
        suggestions = templates.suggestions
        options = suggestions.refinements(allowed, state, more=len(ranked) > turn.k)
        if not exact and not close:
            options = suggestions.without_result(state)
        only_named = self._only_named(ranked, turn)
        notes += self._proposal_notes(turn, found, exact, close, only_named)
        shown = exact + close
        if shown:
            state.last = [self.engine.ids[code] for code in shown]
        state.shown = list(dict.fromkeys([*state.shown, *state.last]))[-MAX_SHOWN:]
        return Reply(
            templates.text.sentences(notes),
            state,
            shown,
            templates.reasons.of(shown, state, found, turn.history),
            None,
            options,
            templates.text.understood(state),
            [*templates.text.wishes(found.relaxed), *only_named],
        )

    def _heads_first(
        self, ranked: NDArray[np.int64], state: ConversationState
    ) -> NDArray[np.int64]:
        """Return ``ranked`` with those of the first HEADS first that are what was looked for: a box
        for buttons is no button."""
        first = ranked[:HEADS]
        order = np.argsort(self._kinship(first, state) < 2, kind="stable")
        return np.concatenate([first[order], ranked[len(first) :]])

    def _kinship(self, codes: NDArray[np.int64], state: ConversationState) -> NDArray[np.int8]:
        """Return of each product 2 if it is one of the state's things, 1 if it is a kind of one, as
        an oven glove is a glove, 0 if its title only names one."""
        wanted = [_stems(word) for thing in state.things for word in alternatives(thing)]
        found = np.zeros(len(codes), dtype=np.int8)
        for place, code in enumerate(codes if wanted else ()):
            heads = [_stems(head) for head in self._understanding.heads(self.engine.titles[code])]
            if any(head in wanted for head in heads):
                found[place] = 2
            elif any(head[-len(one) :] == one for head in heads for one in wanted):
                found[place] = 1
        return found

    def _only_named(self, ranked: NDArray[np.int64], turn: Turn) -> list[str]:
        """Return the things that a message names if they are known, and no product is one: a tray
        for the TV is no TV."""
        things = [word for thing in turn.message.things for word in alternatives(thing)]
        known = [word for word in things if self._understanding.heads(word)]
        if not known or not len(ranked) or self._kinship(ranked[:HEADS], turn.state).any():
            return []
        return known[:1]

    def _allowed(self, turn: Turn, found: Found) -> Mask:
        """Return the items to propose from: of the price level, and new after "show more"."""
        allowed = self._finder.in_level(found.allowed, turn.state)
        if turn.message.move in ("more", "cheaper", "dearer", "like"):
            allowed = allowed.copy()
            allowed[self.shop.codes(turn.before.shown)] = False
        return allowed

    def _proposal_notes(
        self,
        turn: Turn,
        found: Found,
        exact: list[int],
        close: list[int],
        only_named: list[str],
    ) -> list[str]:
        """Return the sentences before the proposals. exact: meet all wishes that were kept.
        only_named: things that the titles of the proposals name, and none is."""
        text, gettext = turn.templates.text, turn.templates.gettext
        notes = text.relaxed(found) if exact else []
        if not exact and not close:
            all_shown = gettext("That was all I have for this.")
            notes.append(all_shown if turn.state.shown else gettext("Nothing fits that."))
        elif only_named:
            notes = [*notes, text.close_ones(0)]
        elif close:
            notes.append(text.close_ones(len(exact)))
        elif not found.relaxed:
            notes.append(text.opening(len(exact), turn.state, turn.message))
        return notes
