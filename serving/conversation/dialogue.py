"""Find by need: a message and what was said before → proposals, and why these.

In: one message, the conversation's state, the asker's history. Out: a ``Reply``. The message is
parsed (``needs``), its wishes are met by the shop's rules with relaxation (``models.rules``), and
what is left is ordered by reciprocal rank fusion of text search (words and meaning), the asker's
taste and popularity. Only the engine proposes: what does not exist or is not available cannot be
said.

Critiques of what was shown ("cheaper", "like the second"): McCarthy et al., IUI 2005.
"""

from __future__ import annotations

import re
import time
import uuid
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from components.recommenders.base import ExplainsByRules
from components.recommenders.models.rules import (
    Found,
    Items,
    Request,
    Rules,
    satisfy,
    stem,
)
from serving.api.schemas import MAX_SHOWN, MAX_TERMS, ConversationState
from serving.conversation.generation import Titles
from serving.conversation.understanding import DETAILS, Said, parse
from serving.profiles.history import History, stack
from serving.recommend.engine import Engine
from serving.recommend.types import Filters, RankedList
from serving.search import Search

TEXT, LIKE, TASTE, POPULAR = 1.0, 2.0, 0.7, 0.3
"""Weights of the rankings that are fused."""

DEPTH = 500
"""Places of each ranking that count."""

NO_NEWS = ("often bought", "chosen by your history as a whole")
"""Reasons that are left out where there is anything better to say."""

FEW = 3
"""With fewer products that meet everything, close ones are shown beside them."""

MANY = 12
"""With more products than this the answer offers ways to narrow them down."""

PRICE_WISH = re.compile(r"(from|up to) (\d\S*)")
"""How ``satisfy`` names a limit of the price."""

SYMBOLS = {"GBP": "£", "EUR": "€", "USD": "$"}


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


class Conversation:
    """Answers for one loaded model. Holds no state of shoppers, so any thread may ask it."""

    def __init__(self, engine: Engine, search: Search) -> None:
        self.engine = engine
        self.search = search
        models = engine.model.candidates.values()
        self.rule_based = next((one for one in models if isinstance(one, ExplainsByRules)), None)
        self.rules: Rules = self.rule_based.rules if self.rule_based else Rules()
        self._said_as = {word: need.name for need in self.rules.needs for word in need.said_as}
        self.titles = Titles(engine.titles)
        currencies = {currency for currency in engine.currencies if currency}
        self.currency = currencies.pop() if len(currencies) == 1 else None

    @cached_property
    def items(self) -> Items:
        """The index of the catalogue's words; seconds to make where there are a million products,
        so a changed product does not wait for it: the first message after it does."""
        return Items(self.engine.model.catalogue.table)

    def reply(
        self, message: str, state: ConversationState | None, history: History, k: int
    ) -> Reply:
        """Return the answer to ``message``. state: of the last reply, None to begin."""
        said = parse(message, self.items, self._said_as)
        if state is None or said.move == "restart":
            state = ConversationState(conversation_id=state.conversation_id if state else _new_id())
        before = state
        state = self._advance(state, said)
        if said.move in ("thanks", "hello") and state == before:
            return self._polite(said, _stamped(state, before))
        if said.move == "why" and state.last:
            return self._why(said, _stamped(state, before), history)
        mask = self._possible(state, history)
        if said.move != "whatever" and _is_open(state):
            return self._ask_back(said, _stamped(state, before), mask, history, k)
        return self._propose(said, _stamped(state, before), before, mask, history, k)

    # --- state -----------------------------------------------------------------------------------

    def _advance(self, state: ConversationState, said: Said) -> ConversationState:
        """Return the state after a message; a refinement adds, a new need replaces."""
        new = state.model_copy(deep=True)
        # Another model may have come since, with other rules.
        new.needs = [name for name in new.needs if name in self._said_as.values()]
        if said.fresh:
            new.things, new.details, new.purpose, new.needs = [], [], [], []
            new.like, new.level, new.shown = None, None, []
        new.things = list(said.things)[:MAX_TERMS] or new.things
        for name in ("details", "purpose", "needs", "refused"):
            merged = list(dict.fromkeys([*getattr(said, name), *getattr(new, name)]))
            setattr(new, name, merged[:MAX_TERMS])
        # The newest word wins: what was refused is wanted again, what was wanted is refused.
        wanted = {stem(word) for word in (*said.things, *said.details, *said.wanted_again)}
        refused = {stem(word) for word in said.refused}
        new.refused = [word for word in new.refused if stem(word) not in wanted]
        new.details = [word for word in new.details if stem(word) not in refused]
        new.things = [word for word in new.things if stem(word) not in refused]
        if said.any_price or said.min_price is not None or said.max_price is not None:
            new.min_price, new.max_price, new.level = said.min_price, said.max_price, None
        new.level = said.level or new.level
        named = self._named(said, state)
        if said.move == "reject":
            new.rejected = [*new.rejected, *(named or state.last)][-MAX_SHOWN:]
        elif said.move == "like" and named:
            new.like, new.things, new.needs, new.purpose = named[0], [], [], []
            new.details = list(said.details)
        elif said.move in ("cheaper", "dearer"):
            self._critique_price(new, said, named or state.last)
        return new

    def _named(self, said: Said, state: ConversationState) -> list[str]:
        """Return the item that "the second one" is, if it was shown."""
        if said.which is None or not state.last:
            return []
        at = said.which - 1 if said.which > 0 else said.which
        return [state.last[at]] if -len(state.last) <= at < len(state.last) else []

    def _critique_price(self, state: ConversationState, said: Said, shown: list[str]) -> None:
        prices = self.engine.prices[self._codes(shown)]
        prices = prices[np.isfinite(prices)]
        cheaper = said.move == "cheaper"
        if not len(prices):
            state.level = "cheap" if cheaper else "dear"
        elif cheaper:
            state.max_price = round(max(0.0, float(np.median(prices)) - 0.01), 2)
            if state.min_price is not None and state.min_price > state.max_price:
                state.min_price = None
        else:
            state.min_price = round(float(np.median(prices)) + 0.01, 2)
            if state.max_price is not None and state.max_price < state.min_price:
                state.max_price = None

    # --- replies ---------------------------------------------------------------------------------

    def _polite(self, said: Said, state: ConversationState) -> Reply:
        if said.move == "thanks":
            return Reply("You are welcome. Tell me if I can find something else.", state)
        question = "What are you looking for, and for whom?"
        mask = self.engine.mask(Filters())
        return Reply(f"Hello! {question}", state, [], [], question, self._openings(mask))

    def _why(self, said: Said, state: ConversationState, history: History) -> Reply:
        named = self._named(said, state) or state.last[:1]
        codes = self._codes(named)
        if not codes:
            return Reply("That product is no longer in the shop.", state)
        found = satisfy(_request(state), self.rules, self.items, self.engine.mask(Filters()))
        reasons = self._reasons(codes, state, found, history)
        text = f"{self.engine.titles[codes[0]].capitalize()}: {reasons[0]}."
        return Reply(text, state, codes, reasons, understood=self._understood(state))

    def _ask_back(
        self, said: Said, state: ConversationState, mask: np.ndarray, history: History, k: int
    ) -> Reply:
        """The need is too open: ask, and show a few by taste and popularity to start from."""
        found = satisfy(_request(state), self.rules, self.items, mask)
        notes = [*self._notes(said, state)]
        if found.relaxed:
            notes.append(f"Nothing is {_listed(self._plain(found.relaxed))}.")
        question = "What should it be, or whom is it for?"
        codes = self._ranked(found.allowed, state, history)[: min(k, FEW)].tolist()
        text = " ".join([*notes, question, "Until then, what others like:"])
        state.last = [self.engine.items[code] for code in codes]
        return Reply(
            text if codes else question,
            state,
            codes,
            self._reasons(codes, state, found, history),
            question,
            self._openings(found.allowed),
            self._understood(state),
        )

    def _propose(
        self,
        said: Said,
        state: ConversationState,
        before: ConversationState,
        mask: np.ndarray,
        history: History,
        k: int,
    ) -> Reply:
        found = satisfy(_request(state), self.rules, self.items, mask)
        notes = [*self._notes(said, state)]
        if said.move in ("cheaper", "dearer") and _price_gone(found):
            # "Cheaper" than the cheapest is no reason to forget the need: stay where we were.
            state.min_price, state.max_price = before.min_price, before.max_price
            notes.append(f"I have nothing {said.move} that fits.")
            found = satisfy(_request(state), self.rules, self.items, mask)
        allowed = self._by_level(found.allowed, state)
        if said.move in ("more", "cheaper", "dearer", "like"):
            allowed = allowed.copy()
            allowed[self._codes(before.shown)] = False
        ranked = self._ranked(allowed, state, history)
        if _price_gone(found):
            away = self._beyond(state)[ranked]
            ranked = ranked[np.argsort(away, kind="stable")]
        codes = ranked[:k].tolist()
        close: list[int] = []
        if len(codes) < min(FEW, k) and said.move != "more" and state.things:
            close = self._close(found, allowed, state, history)[: min(FEW, k) - len(codes)]
        relaxed = self._plain(found.relaxed)
        options = self._refinements(allowed, state, len(ranked) > k)
        if relaxed and codes:
            notes.append(f"I have nothing that is all of that, so I let go of {_listed(relaxed)}.")
            if _price_gone(found):
                notes.append("These are the nearest in price:")
        if not codes and not close:
            notes.append("That was all I have for this." if state.shown else "Nothing fits that.")
            options = ["any price", "start over"] if state.max_price is not None else ["start over"]
        elif close:
            whole = "Only the first meets" if len(codes) == 1 else f"The first {len(codes)} meet"
            start = f"{whole} everything; the rest come" if codes else "These come"
            notes.append(f"{start} close:")
        elif not relaxed:
            notes.append(self._opening_line(len(codes), state, said))
        shown = codes + close
        if shown:
            state.last = [self.engine.items[code] for code in shown]
        state.shown = list(dict.fromkeys([*state.shown, *state.last]))[-MAX_SHOWN:]
        return Reply(
            " ".join(notes),
            state,
            shown,
            self._reasons(shown, state, found, history),
            None,
            options,
            self._understood(state),
            relaxed,
        )

    def _codes(self, items: Iterable[str]) -> list[int]:
        """Return the codes of those items that the model knows."""
        codes = self.engine.items.get_indexer(list(items))
        return codes[codes >= 0].tolist()

    # --- finding ---------------------------------------------------------------------------------

    def _possible(self, state: ConversationState, history: History) -> np.ndarray:
        """Return bool (items,): available, not rejected, not forbidden by a rule."""
        mask = self.engine.mask(Filters()).copy()
        mask[self._codes([*state.rejected, *filter(None, [state.like])])] = False
        if self.rule_based is not None and len(history.items):
            mask &= np.isfinite(self.rule_based.score(stack([history]))[0])
        return mask

    def _by_level(self, allowed: np.ndarray, state: ConversationState) -> np.ndarray:
        """Return the cheaper or dearer third of ``allowed`` where "cheap" or "luxury" was said."""
        codes = np.flatnonzero(allowed & np.isfinite(self.engine.prices))
        if state.level is None or not len(codes):
            return allowed
        by_price = codes[np.argsort(self.engine.prices[codes], kind="stable")]
        by_price = by_price if state.level == "cheap" else by_price[::-1]
        mask = np.zeros_like(allowed)
        mask[by_price[: max(FEW, len(codes) // 3)]] = True
        return mask

    def _ranked(
        self, allowed: np.ndarray, state: ConversationState, history: History
    ) -> np.ndarray:
        """Return the codes of ``allowed``, best first: weighted reciprocal rank fusion."""
        fused = np.zeros(len(allowed))

        def add(codes: np.ndarray, weight: float) -> None:
            codes = codes[:DEPTH]
            fused[codes] += weight / (60.0 + np.arange(len(codes)))

        query = " ".join([*state.details[::-1], *state.things, *state.purpose])
        if query:
            add(self.search.find(query.replace(" or ", " "), allowed)[0], TEXT)
        if like := self._codes(filter(None, [state.like])):
            alike = np.array(self.engine.similar(like, DEPTH).items, dtype=int)
            add(alike[allowed[alike]], LIKE)
        if len(history.items):
            ids = self.engine.model.recommend(stack([history]), DEPTH, False, allowed)[0][0]
            add(ids[ids >= 0], TASTE)
        popular = self.engine.by_popularity
        add(popular[allowed[popular]], POPULAR)
        found = np.flatnonzero(allowed)
        return found[np.argsort(-fused[found], kind="stable")]

    def _beyond(self, state: ConversationState) -> np.ndarray:
        """Return float (items,): by how much each price lies outside the limits, inf unknown."""
        low = 0.0 if state.min_price is None else state.min_price
        high = np.inf if state.max_price is None else state.max_price
        prices = np.nan_to_num(self.engine.prices, nan=np.inf)
        return np.maximum(np.maximum(low - prices, prices - high), 0.0)

    def _close(
        self, found: Found, allowed: np.ndarray, state: ConversationState, history: History
    ) -> list[int]:
        """Return what is of the kind and the price but misses some other wish, best first."""
        pool = found.possible & ~allowed
        for name, meets in found.wishes.items():
            if PRICE_WISH.fullmatch(name) and name in found.fired:
                pool &= meets
        kinds = [found.wishes[f"with {thing}"] for thing in state.things]
        pool &= np.any(kinds, axis=0)
        met = np.sum(list(found.wishes.values()), axis=0)
        ranked = self._ranked(pool, state, history)
        return ranked[np.argsort(-met[ranked], kind="stable")].tolist()

    # --- words -----------------------------------------------------------------------------------

    def _money(self, amount: float) -> str:
        symbol = SYMBOLS.get(self.currency or "")
        number = f"{amount:.2f}".removesuffix(".00")
        return f"{symbol}{number}" if symbol else f"{number} {self.currency or ''}".strip()

    def _understood(self, state: ConversationState) -> list[str]:
        parts = [*state.details[::-1], *state.things, *state.needs]
        said = {
            word for need in self.rules.needs if need.name in state.needs for word in need.said_as
        }
        parts += [f"for {word}" for word in state.purpose if word not in said]
        for code in self._codes(filter(None, [state.like])):
            parts.append(f"like {self.engine.titles[code].lower()}")
        if state.min_price is not None:
            parts.append(f"from {self._money(state.min_price)}")
        if state.max_price is not None:
            parts.append(f"up to {self._money(state.max_price)}")
        if state.level is not None:
            parts.append({"cheap": "low price", "dear": "high price"}[state.level])
        return [*parts, *(f"no {word}" for word in state.refused)]

    def _plain(self, wishes: Iterable[str]) -> list[str]:
        """Return the names of wishes as a shopper would say them."""
        plain = []
        for wish in wishes:
            limit = PRICE_WISH.fullmatch(wish)
            amount = f"{limit[1]} {self._money(float(limit[2]))}" if limit else None
            plain.append(amount or wish.removeprefix("with "))
        return plain

    def _notes(self, said: Said, state: ConversationState) -> Iterable[str]:
        if said.unknown:
            yield f"No product here mentions {_listed([f'“{word}”' for word in said.unknown[:3]])}."
        if said.currency and self.currency and said.currency != self.currency:
            limit = said.max_price if said.max_price is not None else said.min_price
            if limit is not None:
                yield f"Prices here are in {self.currency}: I read that as {self._money(limit)}."

    def _opening_line(self, found: int, state: ConversationState, said: Said) -> str:
        kind = {"more": "more ", "cheaper": "cheaper ", "dearer": "dearer "}.get(
            said.move or "", ""
        )
        count = f"Here is one {kind}idea" if found == 1 else f"Here are {found} {kind}ideas"
        words = len(state.details) + len(state.things)
        parts = self._understood(state)
        what = ", ".join([" ".join(parts[:words]), *parts[words:]] if words else parts)
        return f"{count}: {what}." if what else f"{count} to start from."

    def _reasons(
        self, codes: list[int], state: ConversationState, found: Found, history: History
    ) -> list[str]:
        """Return the facts of each item: wishes met and missed, price, refusals, taste."""
        ranked = RankedList(codes, [0.0] * len(codes), ["conversation"] * len(codes))
        taste = self.engine.explanations.reasons(ranked, history)
        needs = {need.name: need for need in self.rules.needs if need.name in state.needs}
        texts = []
        for code, liked in zip(codes, taste, strict=True):
            met = [name for name, mask in found.wishes.items() if mask[code]]
            missed = self._plain(name for name in found.wishes if name not in met)
            facts = [f"not {wish}" for wish in missed]
            facts += [f"{word}, as you asked" for word in state.details if f"with {word}" in met]
            for need in (needs[name] for name in met if name in needs):
                suits = [which for which in need.wants if self.items.meets(which)[code]]
                if suits and suits[0].words:
                    facts.append(f"“{' '.join(suits[0].words)}” suits {need.name}")
            price = float(self.engine.prices[code])
            if state.max_price is not None and price <= state.max_price:
                facts.append(f"{self._money(price)} is within {self._money(state.max_price)}")
            if state.refused:
                facts.append(f"no mention of {_listed(state.refused[:3], 'or')}")
            if liked not in NO_NEWS or not facts:
                facts.append(liked)
            texts.append("; ".join(facts))
        return texts

    def _openings(self, mask: np.ndarray) -> list[str]:
        """Return ways to begin: the shop's needs, then its largest categories."""
        needs = [need.name for need in self.rules.needs][:4]
        found = []
        for name, _ in self.engine.category_names()[:20]:
            if (self.items.category(name) & mask).any() and name.casefold() not in DETAILS:
                found.append(name.lower())
        return [*needs, *found[: 7 - len(needs)]]

    def _refinements(self, allowed: np.ndarray, state: ConversationState, more: bool) -> list[str]:
        """Return ways to narrow ``allowed`` down, each of which leaves something."""
        total = int(allowed.sum())
        options = []
        if total > MANY:
            used = {stem(word) for word in [*state.details, *state.things, *state.purpose]}
            words = self.items.words_of(allowed)
            useful = [
                word
                for word, count in words.items()
                if word in DETAILS
                and stem(word) not in used
                and 0.04 * total <= count < 0.7 * total
            ]
            options += useful[:3]
            prices = self.engine.prices[allowed & np.isfinite(self.engine.prices)]
            if len(prices):
                limit = _round(float(np.quantile(prices, 0.4)))
                if state.max_price is None and prices.min() <= limit < prices.max():
                    options.append(f"up to {self._money(limit)}")
        if more:
            options.append("show more")
        if total > 1 and not state.shown:
            options.append("cheaper")
        return options


def _new_id() -> str:
    return uuid.uuid4().hex


def _stamped(state: ConversationState, before: ConversationState) -> ConversationState:
    return state.model_copy(update={"turn": before.turn + 1, "said_at": int(time.time())})


def _is_open(state: ConversationState) -> bool:
    return not (state.things or state.details or state.needs or state.purpose or state.like)


def _price_gone(found: Found) -> bool:
    return any(PRICE_WISH.fullmatch(wish) for wish in found.relaxed)


def _request(state: ConversationState) -> Request:
    return Request(
        must_not=tuple(state.refused),
        must=tuple(state.things),
        needs=tuple(state.needs),
        min_price=state.min_price,
        budget=state.max_price,
        should=tuple(state.details),
    )


def _round(amount: float) -> float:
    """Return a limit that a person would name: 2.5, 8, 15, 40.

    >>> [_round(x) for x in (0.62, 2.31, 8.7, 16.4, 63.0)]
    [0.5, 2.5, 9.0, 15.0, 65.0]
    """
    step = 0.5 if amount < 5 else 1 if amount < 10 else 5 if amount < 100 else 50
    return max(0.5, round(amount / step) * step)


def _listed(words: list[str], last: str = "and") -> str:
    return f" {last} ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)
