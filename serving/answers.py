"""From a recommend request to the bytes of its answer: history, ranking, rules, exploration, log.

In: questions, in batches (``answer``) or one at a time on the event loop (``from_cache``). Out:
the JSON of a ``RecommendResponse``; what was shown is logged as an impression.

A ranked page depends on the model, the shopper's history and the request alone, so it is kept
until one of them changes: an event of the shopper, another model, a changed product. What must
differ between two answers, the impression and what is drawn for exploration, is made each time.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter, OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
import orjson

from components.recommenders.bandits import Explorer
from serving import metrics
from serving.engine import Answer, Ask
from serving.profiles import History
from serving.schemas import RecommendRequest, RerankRequest
from serving.shop import Loaded, Shop, filters_of

logger = logging.getLogger("bentoml.bowerbird")

PAGE_HISTORY = 10
"""Events before those of a product or basket page that still count there."""


@dataclass(frozen=True)
class Question:
    """A recommend request with the limits applied. profile: key of the stored history."""

    request: RecommendRequest
    profile: str | None


@dataclass(frozen=True)
class Page:
    """What one shopper is to see: ``fixed`` places, then candidates that places are drawn from.

    ids, scores, sources, fragments (an item's JSON): lists of one length, best first. shown: how
    many places there are. start, end: the answer's JSON around its items.
    """

    ids: list[str]
    codes: np.ndarray
    scores: list[float]
    sources: list[str]
    fragments: list[bytes]
    fixed: int
    shown: int
    cold: bool
    version: str
    end: bytes
    whole: _Shown | None
    loaded: Loaded

    @property
    def size(self) -> int:
        """Return about how many bytes it takes."""
        return sum(map(len, self.fragments)) * (2 if self.whole else 1) + 200 * len(self.ids) + 1000


@dataclass(frozen=True)
class _Shown:
    """What an answer and its impression say of the items, as JSON."""

    items: bytes
    ids: str
    scores: str
    propensities: str
    source: str
    sources: tuple[tuple[str, int], ...]


class Pages:
    """The pages asked for lately, at most ``max_bytes`` of them; the least recent goes first."""

    def __init__(self, max_bytes: float) -> None:
        self.max_bytes = max_bytes
        self._pages: OrderedDict[tuple[Any, ...], Page] = OrderedDict()
        self._bytes = 0
        self._models: frozenset[int] = frozenset()
        self._lock = threading.Lock()

    def get(self, key: tuple[Any, ...]) -> Page | None:
        with self._lock:
            page = self._pages.get(key)
            if page is not None:
                self._pages.move_to_end(key)
            return page

    def keep_only(self, models: frozenset[int]) -> None:
        """Forget the pages of all but these models (by number), which could not be freed else."""
        with self._lock:
            if models == self._models:
                return
            self._models = models
            for key in [
                key for key, page in self._pages.items() if page.loaded.number not in models
            ]:
                self._bytes -= self._pages.pop(key).size

    def put(self, key: tuple[Any, ...], page: Page) -> None:
        with self._lock:
            known = key in self._pages or page.loaded.number not in self._models
            if known or page.size > self.max_bytes:
                return
            self._pages[key] = page
            self._bytes += page.size
            while self._bytes > self.max_bytes:
                self._bytes -= self._pages.popitem(last=False)[1].size


class Answers:
    """Answers for one worker; ``answer`` is for one thread, ``from_cache`` for another."""

    def __init__(self, shop: Shop) -> None:
        self.shop = shop
        self.pages = Pages(shop.settings.serve.cache_mb * 1e6)
        self.random = np.random.default_rng()

    def from_cache(self, question: Question) -> bytes | None:
        """Return the answer if its page is at hand, as of the last refresh of the profiles."""
        shop = self.shop
        loaded, arm = shop.served_to(question.profile)
        if arm is not None and not shop.was_exposed(question.profile):
            return None
        key = self._key(question, loaded, arm)
        page = None if key is None else self.pages.get(key)
        if page is None:
            return None
        metrics.CACHED.inc()
        return self._answer(question, page, arm)

    def answer(self, questions: Sequence[Question]) -> list[bytes]:
        """Return the answer of each question, made in one batch."""
        started = time.perf_counter()
        shop = self.shop
        shop.live.refresh()
        self.pages.keep_only(shop.numbers())
        served = [shop.served_to(question.profile) for question in questions]
        shop.expose(
            [
                (question.profile, arm, loaded.version)
                for question, (loaded, arm) in zip(questions, served, strict=True)
                if question.profile is not None and arm is not None
            ]
        )
        pages: dict[int, Page] = {}
        keys: list[tuple[Any, ...] | None] = []
        missing: dict[tuple[int, str | None], list[int]] = {}
        histories: dict[int, History] = {}
        for at, (question, (loaded, arm)) in enumerate(zip(questions, served, strict=True)):
            if question.profile is not None:
                shop.live.get(question.profile)
            keys.append(self._key(question, loaded, arm))
            found = self.pages.get(keys[at]) if keys[at] is not None else None
            if found is not None:
                pages[at] = found
            else:
                histories[at] = self._history(question.request, question.profile, loaded)
                missing.setdefault((id(loaded), arm), []).append(at)
        profiled = time.perf_counter()
        metrics.STAGE["profile"].observe(profiled - started)
        for positions in missing.values():
            loaded, arm = served[positions[0]]
            asks = [
                self._ask(questions[at].request, histories[at], loaded, arm) for at in positions
            ]
            began = time.perf_counter()
            ranked = loaded.engine.recommend(asks)
            metrics.STAGE["rank"].observe(time.perf_counter() - began)
            began = time.perf_counter()
            for at, ask, answer in zip(positions, asks, ranked, strict=True):
                page = self._page(questions[at].request, ask, answer, loaded, arm)
                pages[at] = page
                key = keys[at]
                if key is not None:
                    self.pages.put(key, page)
            metrics.STAGE["rules"].observe(time.perf_counter() - began)
        began = time.perf_counter()
        bodies = [
            self._answer(question, pages[at], served[at][1])
            for at, question in enumerate(questions)
        ]
        metrics.STAGE["answer"].observe(time.perf_counter() - began)
        return bodies

    def _key(self, question: Question, loaded: Loaded, arm: str | None) -> tuple[Any, ...] | None:
        """Return what the page depends on, None where that cannot be said in short."""
        request = question.request
        state = None
        if question.profile is not None:
            state = self.shop.live.state(question.profile)
            if state is None:
                return None
        today = datetime.now(UTC).date() if loaded.policy(arm).rules.rules.boosts else None
        return (
            loaded.number,
            arm,
            question.profile,
            state,
            request.k,
            tuple(request.recent),
            tuple(request.exclude),
            request.page,
            tuple(request.page_items),
            request.category,
            request.min_price,
            request.max_price,
            request.available_only,
            request.exclude_seen,
            request.reasons,
            today,
        )

    def _history(
        self, request: RecommendRequest | RerankRequest, profile: str | None, loaded: Loaded
    ) -> History:
        items = getattr(request, "page_items", [])
        history = loaded.profiles.history(
            request.user_id, profile, [*request.recent, *items] if items else request.recent
        )
        if items:  # what the shopper looks at says more than what lies behind
            keep = slice(-(len(items) + PAGE_HISTORY), None)
            history = replace(history, items=history.items[keep], times=history.times[keep])
        return history

    def _ask(
        self, request: RecommendRequest, history: History, loaded: Loaded, arm: str | None
    ) -> Ask:
        policy = loaded.policy(arm)
        k = request.k
        if not policy.rules.idle:
            k = max(k, policy.rules.rules.pool)
        if policy.explorer is not None:
            k = max(k, request.k + policy.exploration.candidates)
        codes = (loaded.profiles.code(item) for item in (*request.exclude, *request.page_items))
        seen = request.exclude_seen
        return Ask(
            history,
            k,
            filters_of(request),
            self.shop.settings.train.exclude_seen if seen is None else seen,
            tuple(code for code in codes if code >= 0),
        )

    def _page(
        self, request: RecommendRequest, ask: Ask, answer: Answer, loaded: Loaded, arm: str | None
    ) -> Page:
        """Return the page of an engine's answer, after the shop's rules."""
        policy, engine = loaded.policy(arm), loaded.engine
        drawn, total = 0, request.k
        if policy.explorer is not None:
            drawn = min(policy.exploration.slots, request.k)
            total = request.k - drawn + policy.exploration.candidates
        items = np.array(answer.items, dtype=np.int64)
        order, scores = policy.rules.order(
            items,
            _comparable(answer),
            total,
            one_category=request.category is not None,
        )
        if policy.rules.idle:
            scores = np.array(answer.scores)[order]
        chosen = Answer(
            items[order].tolist(), scores.tolist(), [answer.sources[at] for at in order]
        )
        for source in sorted(set(chosen.sources[: request.k]) - {"hybrid"}):
            metrics.FALLBACKS.labels(source).inc()
        reasons: Sequence[str | None] = [None] * len(chosen.items)
        if request.reasons:
            codes = [loaded.profiles.code(item) for item in (*request.recent, *request.page_items)]
            reasons = engine.reasons(chosen, ask.history, codes)
        fragments = [
            orjson.dumps(
                {**engine.describe(code), "score": score, "source": source, "reason": reason}
            )
            for code, score, source, reason in zip(
                chosen.items, chosen.scores, chosen.sources, reasons, strict=True
            )
        ]
        unknown = [
            item
            for item in (*request.recent, *request.exclude, *request.page_items)
            if loaded.profiles.code(item) < 0
        ]
        shown = min(request.k, len(fragments))
        end = orjson.dumps(
            {
                "model_version": loaded.version,
                "unknown_items": list(dict.fromkeys(unknown)),
                "history_length": len(ask.history.items),
                "arm": arm,
            }
        )
        page = Page(
            [engine.ids[code] for code in chosen.items],
            items[order],
            chosen.scores,
            chosen.sources,
            fragments,
            max(0, shown - drawn),
            shown,
            not len(ask.history.items),
            loaded.version,
            end[1:],
            None,
            loaded,
        )
        if drawn and shown:
            return page
        loaded.cover(page.codes)
        return replace(page, whole=_shown(page, range(shown), [1.0] * shown))

    def _draw(self, page: Page, explorer: Explorer) -> _Shown:
        """Return a page with its last places drawn, each with its propensity."""
        rest = np.array(page.scores[page.fixed :])
        # What the rules put first is best, whatever its score: the draw is by their order.
        spread = float(rest.std()) or 1.0
        rest = np.minimum.accumulate(rest) / spread - 1e-6 * np.arange(len(rest))
        slots = page.shown - page.fixed
        drawn, propensities = explorer.choose(rest[None, :], slots, self.random)
        at = [*range(page.fixed), *(page.fixed + drawn[0]).tolist()]
        page.loaded.cover(page.codes[at])
        return _shown(page, at, [1.0] * page.fixed + propensities[0].tolist())

    def _answer(self, question: Question, page: Page, arm: str | None) -> bytes:
        shown = page.whole
        if shown is None:
            explorer = page.loaded.policy(arm).explorer
            assert explorer is not None
            shown = self._draw(page, explorer)
        metrics.count_answer(shown.source, shown.sources, page.cold)
        impression_id = self.shop.log_json(
            question.request,
            shown.ids,
            shown.scores,
            shown.propensities,
            page.version,
            shown.source,
        )
        return b'{"items":[%b],"impression_id":"%b","source":"%b",%b' % (
            shown.items,
            impression_id.encode(),
            shown.source.encode(),
            page.end,
        )

    def rerank(self, request: RerankRequest, profile: str | None) -> bytes:
        """Return the JSON of a ``RerankResponse``: the list in the order of the ranker."""
        loaded, _ = self.shop.served_to(profile)
        self.shop.live.refresh()
        engine = loaded.engine
        codes = {item: loaded.profiles.code(item) for item in request.item_ids}
        known = [code for code in codes.values() if code >= 0]
        ordered, scores = np.empty(0, np.int64), np.empty(0)
        if known:
            ordered, scores = engine.rerank(self._history(request, profile, loaded), known)
        items = [
            {**engine.describe(code), "score": score, "source": "rerank", "reason": None}
            for code, score in zip(ordered.tolist(), scores.tolist(), strict=True)
        ]
        impression_id = self.shop.log_shown(
            request,
            [item["item_id"] for item in items],
            scores.tolist(),
            [1.0] * len(items),
            loaded.version,
            "rerank",
        )
        return orjson.dumps(
            {
                "items": items,
                "model_version": loaded.version,
                "unknown_items": [item for item, code in codes.items() if code < 0],
                "impression_id": impression_id,
            }
        )


def _json(values: list[Any]) -> str:
    return orjson.dumps(values).decode()


def _shown(page: Page, places: Sequence[int], propensities: list[float]) -> _Shown:
    sources = [page.sources[at] for at in places]
    return _Shown(
        b",".join(page.fragments[at] for at in places),
        _json([page.ids[at] for at in places]),
        _json([page.scores[at] for at in places]),
        _json(propensities),
        sources[0] if sources else "none",
        tuple(Counter(sources).items()),
    )


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
