"""What one shopper is to see: a model's ranking, the shop's rules, and the words beside each item.

In: a ``Wish`` (a history and what was asked for, in a model's codes). Out: a ``Page``, the JSON of
its items ready. Nothing here knows a shopper or a store, so pages are made wherever there is
room: in the ranking process, or in a thread beside the endpoint.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import orjson

from components.recommenders.exploration import EpsilonGreedy, Explorer, GaussianThompson
from components.settings import Exploration, Rules, Serve
from serving import metrics
from serving.experiments import TREATMENT
from serving.profiles.history import History
from serving.recommend.business_rules import RuleBook
from serving.recommend.engine import Answer, Ask, Engine, Filters


@dataclass(frozen=True)
class Wish:
    """One page asked for. exclude, just: item codes, not to be shown and done just now.

    unknown: item ids of the request that the model does not know. arm: of the experiment, if any.
    """

    history: History
    k: int
    filters: Filters = field(default_factory=Filters)
    exclude_seen: bool = True
    exclude: tuple[int, ...] = ()
    just: tuple[int, ...] = ()
    unknown: tuple[str, ...] = ()
    reasons: bool = True
    arm: str | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle as plain values: a tenth of what the objects would cost."""
        history, filters = self.history, self.filters
        return _wish, (
            *(history.items.tobytes(), history.times.tobytes(), history.now, history.events),
            None if history.ratings is None else history.ratings.tobytes(),
            *(filters.category, filters.min_price, filters.max_price, filters.available_only),
            *(self.k, self.exclude_seen, self.exclude, self.just, self.unknown),
            *(self.reasons, self.arm),
        )


def _wish(
    items: bytes,
    times: bytes,
    now: int,
    events: dict[int, str],
    ratings: bytes | None,
    *others: Any,
) -> Wish:
    history = History(
        np.frombuffer(items, np.int32),
        np.frombuffer(times, np.int64),
        now,
        events,
        None if ratings is None else np.frombuffer(ratings, np.float32),
    )
    k, *rest = others[4:]
    return Wish(history, k, Filters(*others[:4]), *rest)


@dataclass(frozen=True)
class Shown:
    """What an answer and its impression say of the items, as JSON.

    codes: of the items. sources: how many came from each.
    """

    codes: list[int]
    items: bytes
    ids: str
    scores: str
    propensities: str
    source: str
    sources: tuple[tuple[str, int], ...]


@dataclass(frozen=True)
class Choices:
    """``fixed`` places of a page, then candidates that the others are drawn from, best first.

    codes, ids, scores, sources, fragments (an item's JSON): of one length. shown: how many places
    there are.
    """

    codes: list[int]
    ids: list[str]
    scores: list[float]
    sources: list[str]
    fragments: list[bytes]
    fixed: int
    shown: int

    def pick(self, places: Sequence[int], propensities: list[float]) -> Shown:
        """Return what is said of some candidates, in that order."""
        sources = [self.sources[at] for at in places]
        return Shown(
            [self.codes[at] for at in places],
            b",".join(self.fragments[at] for at in places),
            _json([self.ids[at] for at in places]),
            _json([self.scores[at] for at in places]),
            _json(propensities),
            sources[0] if sources else "none",
            tuple(Counter(sources).items()),
        )


@dataclass(frozen=True)
class Page:
    """What one shopper is to see: the same each time, or drawn anew from ``shown``.

    end: the answer's JSON after its items. cold: the history is empty.
    """

    shown: Shown | Choices
    end: bytes
    version: str
    cold: bool

    @property
    def size(self) -> int:
        """Return about how many bytes it takes."""
        if isinstance(self.shown, Shown):
            shown = len(self.shown.items) + 20 * len(self.shown.ids)
        else:
            shown = sum(map(len, self.shown.fragments)) + 300 * len(self.shown.ids)
        return shown + len(self.end) + 2000


@dataclass(frozen=True)
class Policy:
    """What is done with a ranked list: the shop's rules, then places to explore with."""

    rules: RuleBook
    exploration: Exploration
    explorer: Explorer | None


def explorer_of(settings: Exploration) -> Explorer | None:
    """Return the policy that ``serve.exploration`` names, None for none."""
    if settings.policy == "epsilon_greedy":
        return EpsilonGreedy(settings.epsilon)
    if settings.policy == "thompson":
        return GaussianThompson(settings.deviation)
    return None


class PageMaker:
    """Pages of one model. Holds no state of shoppers, so any thread may ask it."""

    def __init__(self, engine: Engine, serve: Serve) -> None:
        self.engine = engine
        self.serve = serve
        experiment = serve.experiment

        def policy(rules: Rules, exploration: Exploration) -> Policy:
            book = RuleBook(rules, engine.model.catalogue.table, engine.vectors)
            return Policy(book, exploration, explorer_of(exploration))

        self._control = policy(serve.rules, serve.exploration)
        self._treatment = policy(
            experiment.rules or serve.rules, experiment.exploration or serve.exploration
        )

    def policy(self, arm: str | None) -> Policy:
        """Return what is done for an arm; None: no experiment."""
        return self._treatment if arm == TREATMENT else self._control

    def pages(self, wishes: Sequence[Wish]) -> list[Page]:
        """Return the page of each wish; they are ranked in one batch."""
        with metrics.STAGE["rank"].time():
            answers = self.engine.recommend([self._ask(wish) for wish in wishes])
        with metrics.STAGE["rules"].time():
            return [self._page(*pair) for pair in zip(wishes, answers, strict=True)]

    def _ask(self, wish: Wish) -> Ask:
        policy = self.policy(wish.arm)
        k = wish.k
        if not policy.rules.idle:
            k = max(k, policy.rules.rules.pool)
        if policy.explorer is not None:
            k = max(k, wish.k + policy.exploration.candidates)
        return Ask(wish.history, k, wish.filters, wish.exclude_seen, wish.exclude)

    def _page(self, wish: Wish, answer: Answer) -> Page:
        policy, engine = self.policy(wish.arm), self.engine
        drawn, total = 0, wish.k
        if policy.explorer is not None:
            drawn = min(policy.exploration.slots, wish.k)
            total = wish.k - drawn + policy.exploration.candidates
        chosen = answer.first(total)
        if not policy.rules.idle:
            items = np.array(answer.items, dtype=np.int64)
            one_category = wish.filters.category is not None
            order, scores = policy.rules.order(
                items, _comparable(answer), total, one_category=one_category
            )
            chosen = Answer(
                items[order].tolist(), scores.tolist(), [answer.sources[at] for at in order]
            )
        for source in sorted(set(chosen.sources[: wish.k]) - {"hybrid"}):
            metrics.FALLBACKS.labels(source).inc()
        reasons: Sequence[str | None] = [None] * len(chosen.items)
        if wish.reasons:
            reasons = engine.reasons(chosen, wish.history, wish.just)
        shown = min(wish.k, len(chosen.items))
        choices = Choices(
            chosen.items,
            [engine.ids[code] for code in chosen.items],
            chosen.scores,
            chosen.sources,
            [
                engine.described(code)[:-1]
                + b","
                + orjson.dumps({"score": score, "source": source, "reason": reason})[1:]
                for code, score, source, reason in zip(
                    chosen.items, chosen.scores, chosen.sources, reasons, strict=True
                )
            ],
            max(0, shown - drawn),
            shown,
        )
        end = orjson.dumps(
            {
                "model_version": engine.version,
                "unknown_items": wish.unknown,
                "history_length": len(wish.history.items),
                "arm": wish.arm,
            }
        )
        same = not (drawn and shown)
        return Page(
            choices.pick(range(shown), [1.0] * shown) if same else choices,
            end[1:],
            engine.version,
            not len(wish.history.items),
        )


def _json(values: list[Any]) -> str:
    return orjson.dumps(values).decode()


def _comparable(answer: Answer) -> np.ndarray:
    """Return scores in which no fallback stands above what came before it.

    Scores of different sources have different units: each fallback goes on below the last score.
    """
    scores = np.array(answer.scores, dtype=np.float64)
    first = np.array([source != "hybrid" for source in answer.sources], dtype=bool)
    if not first.any():
        return scores
    start = int(first.argmax())
    step = max(float(scores[:start].std()) if start else 1.0, 1e-6) / 100
    base = scores[start - 1] if start else 0.0
    scores[start:] = base - step * np.arange(1, len(scores) - start + 1)
    return scores
