"""From a recommend request to the bytes of its answer: history, page, exploration, log.

In: questions, on the event loop. Out: the JSON of a ``RecommendResponse``; what was shown is logged
as an impression.

A ranked page depends on the model, the shopper's history and the request alone, so it is kept
until one of them changes: an event of the shopper, another model, a changed product. What must
differ between two answers, the impression and what is drawn for exploration, is made each time.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from hashlib import blake2b
from typing import Any

import numpy as np
import orjson

from components.recommenders.exploration import Explorer
from serving import metrics
from serving.api.schemas import RecommendRequest, RerankRequest
from serving.events.errors import StoreError
from serving.models.store import Loaded, Shop, filters_of
from serving.profiles.history import History
from serving.recommend.batching import Batcher, TooManyWaiting
from serving.recommend.pipeline import Choices, Page, Shown, Wish

STORE_SECONDS = 0.2
"""The longest that an answer waits for the event store; then it is made of what is in memory."""

PAGE_HISTORY = 10
"""Events before those of a product or basket page that still count there."""


@dataclass(frozen=True)
class Question:
    """A recommend request with the limits applied. profile: key of the stored history.

    client: of the ``Caller``. counted: the shopper may be one of a running experiment.
    logged: what is shown is logged as an impression.
    """

    request: RecommendRequest
    profile: str | None
    client: str
    counted: bool = True
    logged: bool = True


class Pages:
    """The pages asked for lately, at most ``max_bytes`` of them; the least recent goes first.

    A key begins with its model's number.
    """

    def __init__(self, max_bytes: float) -> None:
        self.max_bytes = max_bytes
        self._pages: OrderedDict[tuple[Any, ...], Page] = OrderedDict()
        self._bytes = 0
        self._models: frozenset[int] = frozenset()
        self._erasure = 0

    def get(self, key: tuple[Any, ...]) -> Page | None:
        page = self._pages.get(key)
        if page is not None:
            self._pages.move_to_end(key)
        return page

    def put(
        self, key: tuple[Any, ...], page: Page, models: frozenset[int], erasure: int = 0
    ) -> None:
        """Keep a page, and only those of ``models``: the others could not be freed else.

        erasure: row of the newest erasure; with a new one all pages go, that person's among them.
        """
        if erasure != self._erasure:
            self._erasure, self._bytes = erasure, 0
            self._pages.clear()
        if models != self._models:
            self._models = models
            for old in [old for old in self._pages if old[0] not in models]:
                self._bytes -= self._pages.pop(old).size
        if key in self._pages or key[0] not in models or page.size > self.max_bytes:
            return
        self._pages[key] = page
        self._bytes += page.size
        while self._bytes > self.max_bytes:
            self._bytes -= self._pages.popitem(last=False)[1].size


def _digest(request: RecommendRequest) -> bytes:
    """Return a digest of the item ids that a request names: they may take 400 kB, a key stays."""
    if not (request.recent or request.exclude or request.page_items):
        return b""
    named = orjson.dumps([request.recent, request.exclude, request.page_items])
    return blake2b(named, digest_size=16).digest()


class Answers:
    """Answers for one worker, on its event loop."""

    def __init__(self, shop: Shop) -> None:
        self.shop = shop
        self.pages = Pages(shop.settings.serve.cache_mb * 1e6)
        # Who asks for what is being ranked waits for that: one shopper's page has several shelves
        # with the same list, and after a change of models all ask for the home page at once.
        self._making: dict[tuple[Any, ...], asyncio.Task[Page]] = {}
        self.random = np.random.default_rng()
        # Who comes while the store is being read waits for the next reading: it may be theirs.
        self._preparing = Batcher(self._prepare, lambda: 256)

    async def answer(self, question: Question) -> bytes:
        """Return the answer.

        Raises:
            NotReady: no model is loaded yet.
            TooManyWaiting: too many requests wait already.
        """
        started = time.perf_counter()
        shop, profile = self.shop, question.profile
        loaded, arm = shop.served_to(profile if question.counted else None)
        exposed = arm is None or shop.was_exposed(profile)
        if profile is not None:
            if shop.store.history.is_local and exposed:
                shop.live.follow(profile)
            else:
                shown = None if exposed else (profile, str(arm), loaded.version)
                if not await self._prepared(profile, shown):  # outside the experiment, then
                    loaded, arm = shop.current(), None
            if shop.store.database.is_down:
                metrics.WITHOUT_STORE.inc()
        key = self._key(question, loaded, arm)
        page = self.pages.get(key)
        if page is None:
            making = self._making.get(key)
            if making is None:
                making = asyncio.ensure_future(self._make(key, question, loaded, arm))
                self._making[key] = making
            page = await asyncio.shield(making)  # others may wait for it when this one gave up
            metrics.STAGE["page"].observe(time.perf_counter() - started)
        else:
            metrics.CACHED.inc()
        return self._answer(question, page, loaded, arm)

    async def _make(
        self, key: tuple[Any, ...], question: Question, loaded: Loaded, arm: str | None
    ) -> Page:
        """Have a page made and keep it."""
        try:
            wish = self._wish(question, loaded, arm)
            page = await self.shop.ranking.page(loaded.number, loaded.maker, wish)
        finally:
            del self._making[key]
        models = frozenset(one.number for one in self.shop.in_service())
        erasures = self.shop.live.erasures  # None until the event store was read once
        self.pages.put(key, page, models, erasures.last_row if erasures else 0)
        return page

    async def _prepared(self, profile: str, exposure: tuple[str, str, str] | None) -> bool:
        """Have a profile in memory, if the store answers in time; return whether the exposure is
        kept, true without one."""
        if self.shop.store.database.is_down:
            return exposure is None
        try:
            async with asyncio.timeout(STORE_SECONDS):
                return await self._preparing.ask((profile, exposure))
        except (TimeoutError, TooManyWaiting):
            return exposure is None

    def _prepare(self, asked: Sequence[tuple[str, tuple[str, str, str] | None]]) -> list[bool]:
        """Read (profile, exposure) for many at once; return whether each exposure is durable;
        true without one."""
        self.shop.live.refresh()
        for profile, _ in asked:
            self.shop.live.hold(profile)
        exposures = [exposure for _, exposure in asked if exposure is not None]
        if not exposures:
            return [True] * len(asked)
        try:
            self.shop.expose(exposures)
        except StoreError:
            return [exposure is None for _, exposure in asked]
        return [True] * len(asked)

    def close(self) -> None:
        """End what reads for those who wait."""
        self._preparing.close()

    def _key(self, question: Question, loaded: Loaded, arm: str | None) -> tuple[Any, ...]:
        """Return what the page depends on. To be made before the history: a page may be newer than
        its key says, not older."""
        request, profile = question.request, question.profile
        state: object = None
        if profile is not None:
            # Erased from memory meanwhile: what no other key has, so that the page is not kept.
            state = self.shop.live.state(profile) or object()
        today = datetime.now(UTC).date() if loaded.maker.policy(arm).rules.rules.boosts else None
        return (
            loaded.number,
            arm,
            profile,
            state,
            request.k,
            _digest(request),
            request.page,
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

    def _wish(self, question: Question, loaded: Loaded, arm: str | None) -> Wish:
        request, code = question.request, loaded.profiles.code
        just = [code(item) for item in (*request.recent, *request.page_items)]
        exclude = [code(item) for item in (*request.exclude, *request.page_items)]
        named = (*request.recent, *request.exclude, *request.page_items)
        seen = request.exclude_seen
        return Wish(
            self._history(request, question.profile, loaded),
            request.k,
            filters_of(request),
            self.shop.settings.train.exclude_seen if seen is None else seen,
            tuple(found for found in exclude if found >= 0),
            tuple(found for found in just if found >= 0),
            tuple(dict.fromkeys(item for item in named if code(item) < 0)),
            request.reasons,
            arm,
        )

    def _draw(self, choices: Choices, explorer: Explorer) -> Shown:
        """Return a page with its last places drawn, each with its propensity."""
        rest = np.array(choices.scores[choices.fixed :])
        # What the rules put first is best, whatever its score: the draw is by their order.
        spread = float(rest.std()) or 1.0
        rest = np.minimum.accumulate(rest) / spread - 1e-6 * np.arange(len(rest))
        slots = choices.shown - choices.fixed
        drawn, propensities = explorer.choose(rest[None, :], slots, self.random)
        at = [*range(choices.fixed), *(choices.fixed + drawn[0]).tolist()]
        return choices.pick(at, [1.0] * choices.fixed + propensities[0].tolist())

    def _answer(self, question: Question, page: Page, loaded: Loaded, arm: str | None) -> bytes:
        shown = page.shown
        if isinstance(shown, Choices):
            explorer = loaded.maker.policy(arm).explorer
            assert explorer is not None
            shown = self._draw(shown, explorer)
        loaded.covered[shown.codes] = True
        metrics.count_answer(shown.source, shown.sources, page.cold)
        impression_id = self.shop.log_json(
            question.request,
            shown.ids,
            shown.scores,
            shown.propensities,
            page.version,
            shown.source,
            question.client,
            question.logged,
        )
        return b'{"items":[%b],"impression_id":"%b","source":"%b","identified":%b,%b' % (
            shown.items,
            impression_id.encode(),
            shown.source.encode(),
            b"false" if question.profile is None else b"true",
            page.end,
        )

    def rerank(
        self, request: RerankRequest, profile: str | None, client: str, logged: bool = True
    ) -> bytes:
        """Return the JSON of a ``RerankResponse``: the list in the order of the ranker."""
        loaded, _ = self.shop.served_to(profile)
        self.shop.live.follow(profile)
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
            client,
            logged,
        )
        return orjson.dumps(
            {
                "items": items,
                "model_version": loaded.version,
                "unknown_items": [item for item, code in codes.items() if code < 0],
                "impression_id": impression_id,
                "identified": profile is not None,
            }
        )
