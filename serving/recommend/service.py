"""The recommendation service: request in, JSON out, from the cache where it can be.

In: requests of known shoppers, on the event loop. Out: the JSON of a ``RecommendResponse``,
``RerankResponse`` or ``SimilarResponse``; what is shown is logged as an impression.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import numpy as np
import orjson

from components.settings import Settings
from serving import metrics
from serving.arms import TREATMENT
from serving.events.exposures import ExposureLog
from serving.filters.conditions import TRUE, Condition, both
from serving.filters.expression import compiled
from serving.merchandising.rulebook import Rulebook, RulebookReader
from serving.models.assignment import Assignment
from serving.models.loaded import LoadedModel
from serving.models.store import ModelStore
from serving.profiles.profiles import LiveProfiles
from serving.recommend.batching import TooManyWaiting
from serving.recommend.coding import coded
from serving.recommend.exploration import draw
from serving.recommend.impressions import ImpressionLog
from serving.recommend.merchandising import logged_rules
from serving.recommend.page_cache import Key, PageCache, cache_key
from serving.recommend.profile_reader import ProfileReader
from serving.recommend.query import RecommendRequest, RerankRequest, surface_of
from serving.recommend.ranking import Ranking
from serving.recommend.steps import NO_STEPS, Steps
from serving.recommend.types import Filters, Mask, RankedList, Request, Response, Shopper
from serving.shadow import Shadow

logger = logging.getLogger("bentoml.bowerbird")


@dataclass(frozen=True)
class ShelfContent:
    """A list that is shown. content: JSON of a ``RecommendResponse``. ids: JSON of its item ids."""

    content: bytes
    ids: str

    @property
    def item_ids(self) -> list[str]:
        """The item ids, in their order."""
        found: list[str] = orjson.loads(self.ids)
        return found


class RecommendationService:
    """Recommendations of one worker, on its event loop."""

    def __init__(
        self,
        settings: Settings,
        models: ModelStore,
        live: LiveProfiles,
        ranking: Ranking,
        exposures: ExposureLog,
        impressions: ImpressionLog,
        shadow: Shadow,
        rulebook: RulebookReader,
    ) -> None:
        self.cache = PageCache(settings.serve.cache_mb * 1e6)
        self._exclude_seen = settings.train.exclude_seen
        self._schema = rulebook.schema
        self._rulebook = rulebook
        self._surfaces = settings.serve.surfaces
        self._models = models
        self._live = live
        self._ranking = ranking
        self._exposures = exposures
        self._impressions = impressions
        self._shadow = shadow
        self._reader = ProfileReader(live, exposures)
        # Concurrent identical requests share one computation (single flight): one shopper's page
        # has several shelves with the same list, and after a change of models all ask for the
        # home page at once.
        self._computing: dict[Key, asyncio.Task[Response]] = {}
        self._random = np.random.default_rng()

    async def recommend(self, body: RecommendRequest, shopper: Shopper) -> bytes:
        """Return the JSON of a ``RecommendResponse``. Raises as ``shelf``."""
        return (await self.shelf(body, shopper)).content

    async def page(
        self, bodies: Sequence[RecommendRequest], shopper: Shopper
    ) -> list[ShelfContent]:
        """Return one shelf a body, without a product twice. Raises as ``shelf``.

        What the page itself shows is on none of them.
        """
        shown = list(dict.fromkeys(item for body in bodies for item in body.page_items))
        shelves = []
        for body in bodies:
            exclude = [*body.exclude, *shown]
            shelves.append(await self.shelf(body.model_copy(update={"exclude": exclude}), shopper))
            shown += shelves[-1].item_ids
        return shelves

    async def shelf(self, body: RecommendRequest, shopper: Shopper) -> ShelfContent:
        """Return one list, logged as an impression.

        Raises:
            NotReady: no model is loaded yet.
            TooManyWaiting: too many requests wait already.
        """
        started = time.perf_counter()
        assigned = await self._assign(shopper)
        try:
            response = await self._response(body, shopper, assigned, started)
        except Exception as error:
            if assigned.canary is None or assigned.canary.arm != TREATMENT:
                raise
            # A canary fails no request: its shopper gets the list of the model in service.
            if not isinstance(error, TooManyWaiting):
                metrics.CANARY_LISTS.labels(*assigned.canary, "failed").inc()
                logger.error("the canary failed: %s: %s", type(error).__name__, error)
            assigned = Assignment(self._models.current())
            response = await self._response(body, shopper, assigned, started)
        loaded = assigned.loaded
        if response.exploration_pool is not None:
            explorer = loaded.pipeline.arm(assigned.arm_name).explorer
            assert explorer is not None
            response = draw(response, explorer, loaded.engine.ids, self._random)
        loaded.covered[response.codes] = True
        metrics.count_answer(response.source, response.sources, response.cold)
        impression_id = self._impressions.log(
            shopper,
            response.ids,
            response.scores,
            response.propensities,
            response.version,
            response.source,
            surface_of(body),
            response.rules,
        )
        # json_tail begins inside the object and closes it.
        content = b'{"items":[%b],"impression_id":"%b","source":"%b","identified":%b,%b' % (
            response.items,
            impression_id.encode(),
            response.source.encode(),
            b"false" if shopper.profile is None else b"true",
            response.json_tail,
        )
        return ShelfContent(content, response.ids)

    def rerank(self, body: RerankRequest, shopper: Shopper) -> bytes:
        """Return the JSON of a ``RerankResponse``: the given list in the order of the ranker.

        Raises:
            NotReady: no model is loaded yet.
        """
        assigned = self._models.assign(shopper.profile if shopper.in_experiment else None)
        loaded = assigned.loaded
        self._live.follow(shopper.profile)
        known, unknown = _known(loaded, body.item_ids, loaded.engine.listed)
        steps = self.steps(body.surface or "rerank", shopper.user_id, shopper.profile, loaded)
        allowed = loaded.engine.mask(Filters(where=steps.excluded, available_only=False))
        excluded = [loaded.engine.ids[code] for code in known if not allowed[code]]
        known = [code for code in known if allowed[code]]
        ranked, placed = RankedList([], [], []), list[int]()
        if known:
            recent = loaded.profiles.codes(body.recent)
            history = loaded.profiles.history(shopper.user_id, shopper.profile, recent)
            ranked = loaded.engine.rerank(history, known, assigned.popular)
            if steps.arranges:
                filters = Filters(available_only=False)
                ranked, placed, _ = loaded.pipeline.rearranged(
                    ranked, steps, len(known), filters, history
                )
        item_ids = [loaded.engine.ids[code] for code in ranked.items]
        impression_id = self._impressions.log_items(
            *(shopper, item_ids, ranked.scores, loaded.version, "rerank", body.surface),
            logged_rules(steps, placed),
        )
        return loaded.engine.json_of(
            ranked,
            model_version=loaded.version,
            unknown_items=unknown,
            excluded_items=excluded,
            impression_id=impression_id,
            identified=shopper.profile is not None,
        )

    @staticmethod
    def similar(
        loaded: LoadedModel,
        item_ids: Sequence[str],
        k: int,
        filters: Filters,
        steps: Steps = NO_STEPS,
    ) -> bytes | None:
        """Return the JSON of a ``SimilarResponse``, None where the model knows none of the items.

        steps: the merchandising rules.
        """
        # A deleted product has similar ones, too: its page may still be open.
        known, unknown = _known(loaded, item_ids)
        if not known:
            return None
        engine, pipeline = loaded.engine, loaded.pipeline
        if not steps.arranges:
            ranked = engine.similar(known, k, filters)
        else:
            pool = engine.similar(known, max(k, pipeline.serve.rules.pool), filters)
            ranked, _, _ = pipeline.rearranged(
                *(pool, steps, k, filters),
                exclude=known,
                more=lambda wider: engine.similar(known, wider.k, wider.filters).items,
            )
        return loaded.engine.json_of(ranked, model_version=loaded.version, unknown_items=unknown)

    def preview(
        self,
        body: RecommendRequest,
        shopper: Shopper,
        surface: str,
        books: Sequence[Rulebook],
        now: datetime | None,
    ) -> list[bytes]:
        """Return the JSON of a shopper's list under each rulebook; nothing is kept of it.

        Raises:
            NotReady: no model is loaded yet.
        """
        assigned = Assignment(self._models.current())
        self._live.follow(shopper.profile)
        profiles = assigned.loaded.profiles
        found = []
        for book in books:
            steps = book.steps(
                surface, lambda: profiles.attribute_values(shopper.user_id, shopper.profile), now
            )
            request = self._request(body, shopper, assigned, steps)
            (response,) = assigned.loaded.pipeline.run([request])
            found.append(response.items)
        return found

    def steps(
        self, surface: str, user_id: str | None, profile: str | None, loaded: LoadedModel
    ) -> Steps:
        """Return the merchandising rules for a shopper, whose profile is in memory."""
        book = self._rulebook.book
        return book.steps(surface, lambda: loaded.profiles.attribute_values(user_id, profile))

    def condition(
        self,
        text: str | None,
        user_id: str | None,
        profile: str | None,
        loaded: LoadedModel,
    ) -> Condition:
        """Return the condition of a filter expression for one shopper, whose profile is in memory.

        text: None: no filter.

        Raises:
            FilterError: the expression cannot be used.
        """
        if text is None:
            return TRUE
        found = compiled(text, self._schema)
        values = loaded.profiles.attribute_values(user_id, profile) if found.users else {}
        return found.bound(values, item_id=loaded.profiles.item_id)

    def close(self) -> None:
        """Stop the thread that reads profiles."""
        self._reader.close()

    async def _assign(self, shopper: Shopper) -> Assignment:
        """Return the model and the arms that serve a shopper; load the shopper's profile."""
        profile = shopper.profile
        in_experiment = profile if shopper.in_experiment else None
        assigned = self._models.assign(in_experiment, canary=True)
        if profile is None:
            return assigned
        store = self._live.store
        is_exposed = self._exposures.has(profile, assigned.exposures)
        if store.history.is_local and is_exposed:
            self._live.follow(profile)
        else:
            version = assigned.loaded.version
            new = () if is_exposed else assigned.exposures
            exposed = [(profile, one, version) for one in new]
            if not await self._reader.read(profile, exposed):
                # The exposures were not recorded in time, so the shopper is served the champion, as
                # outside the experiments: no shopper sees an arm without a record.
                assigned = Assignment(self._models.current())
        if store.database.is_down:
            metrics.WITHOUT_STORE.inc()
        return assigned

    async def _response(
        self, body: RecommendRequest, shopper: Shopper, assigned: Assignment, started: float
    ) -> Response:
        """Return the response from the cache, else computed; concurrent requests share one."""
        # Once, so that a list is kept under the rules that it was made with.
        steps = self.steps(surface_of(body), shopper.user_id, shopper.profile, assigned.loaded)
        key = self._key(body, shopper, assigned, steps)
        response = self.cache.get(key)
        if response is not None:
            metrics.CACHED.inc()
            return response
        computing = self._computing.get(key)
        if computing is None:
            computing = asyncio.ensure_future(self._compute(key, body, shopper, assigned, steps))
            self._computing[key] = computing
        response = await asyncio.shield(computing)  # others may wait when this client left
        metrics.STAGE["page"].observe(time.perf_counter() - started)
        return response

    async def _compute(
        self,
        key: Key,
        body: RecommendRequest,
        shopper: Shopper,
        assigned: Assignment,
        steps: Steps,
    ) -> Response:
        """Have a response computed by the ranking process, and cache it."""
        loaded = assigned.loaded
        try:
            request = self._request(body, shopper, assigned, steps)
            response = await self._ranking.respond(loaded.number, loaded.pipeline, request)
        finally:
            del self._computing[key]
        if assigned.canary is not None:
            # Where filters or rules are set or all was seen, a list without the model's items is
            # no failure of the model.
            limited = body.is_filtered or request.never_seen or bool(steps.all)
            without = "hybrid" not in dict(response.sources) and not limited
            result = "failed" if without else "made"
            metrics.CANARY_LISTS.labels(*assigned.canary, result).inc()
            metrics.CANARY_SECONDS.labels(*assigned.canary).observe(response.seconds)
        if not assigned.popular:
            self._shadow.offer(
                lambda other: self._request(body, shopper, Assignment(other), steps), response
            )
        models = frozenset(one.number for one in self._models.in_service())
        erasures = self._live.erasures  # None until the event store was read once
        self.cache.put(key, response, models, erasures.last_row if erasures else 0)
        return response

    def _key(
        self, body: RecommendRequest, shopper: Shopper, assigned: Assignment, steps: Steps
    ) -> Key:
        """Return the cache key. Made before the history is read: a response may be newer than its
        key says, not older."""
        state: object = None
        if shopper.profile is not None:
            # Evicted from memory since: a state that no other key has, so the page is not reused.
            state = self._live.state(shopper.profile) or object()
        loaded, arm_name = assigned.loaded, assigned.arm_name
        rules = loaded.pipeline.arm(arm_name).rules
        dated = body.filter is not None and compiled(body.filter, self._schema).dated
        today = datetime.now(UTC).date() if rules.settings.boosts or dated else None
        arm = (arm_name, assigned.popular, steps.key)
        return cache_key(body, shopper.profile, state, loaded.number, arm, today, shopper.language)

    def _request(
        self,
        body: RecommendRequest,
        shopper: Shopper,
        assigned: Assignment,
        steps: Steps = NO_STEPS,
    ) -> Request:
        """Return the request in the codes of a model."""
        where = self.condition(body.filter, shopper.user_id, shopper.profile, assigned.loaded)
        surface = None if body.surface is None else self._surfaces[body.surface]
        made = coded(
            *(body, shopper, assigned.loaded.profiles, self._exclude_seen, surface),
            *(assigned.arm_name, assigned.popular, both(where, steps.excluded)),
        )
        return replace(made, steps=steps) if steps.all else made


def _known(
    loaded: LoadedModel, item_ids: Sequence[str], mask: Mask | None = None
) -> tuple[list[int], list[str]]:
    """Return the distinct codes of the items that the model knows, and the ids of the others.

    mask: bool (items,), those that count as known; None: all.
    """
    codes = {item: loaded.profiles.code(item) for item in item_ids}
    if mask is not None:
        codes = {item: code if mask[code] else -1 for item, code in codes.items()}
    known = dict.fromkeys(code for code in codes.values() if code >= 0)
    return list(known), [item for item, code in codes.items() if code < 0]
