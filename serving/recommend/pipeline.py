"""The recommendation pipeline of one model: ranking, business rules, exploration, reasons.

In: a ``Request``. Out: a ``Response``. Nothing here knows a shopper or a store, so the pipeline
runs in the ranking process or in a thread of the endpoint.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from components.recommenders.exploration import Explorer
from components.settings import Exploration, Rules, Serve
from serving import metrics
from serving.arms import TREATMENT
from serving.languages import language
from serving.profiles.history import NO_HISTORY, History
from serving.recommend.business_rules import BusinessRules
from serving.recommend.engine import Engine
from serving.recommend.exploration import explorer_of
from serving.recommend.fallbacks import HOLDOUT
from serving.recommend.merchandising import Arranged, Further, Merchandiser, logged_rules
from serving.recommend.shelves import Shelves, reason_of, title_of
from serving.recommend.steps import Steps
from serving.recommend.types import RULE, Filters, RankedList, Request, Response

OWN_SOURCES = {"personal": {"hybrid", "content", "segment", "popular", HOLDOUT}}
"""Sources of items that are a source's own, where it has several."""


@dataclass(frozen=True)
class Arm:
    """What is done with a ranked list in one arm of an experiment; without one, in control.

    explorer: draws the last places of a list; None: no exploration.
    """

    rules: BusinessRules
    exploration: Exploration
    explorer: Explorer | None

    def width(self, k: int, has_steps: bool = False) -> int:
        """Return how many ranked items the rules and the exploration choose ``k`` from."""
        idle = self.rules.idle and not has_steps
        wanted = k if idle else max(k, self.rules.settings.pool)
        if self.explorer is not None:
            wanted = max(wanted, k + self.exploration.candidates)
        return wanted

    def n_explored(self, k: int) -> int:
        """Return how many of ``k`` places are drawn."""
        return 0 if self.explorer is None else min(self.exploration.slots, k)


class Pipeline:
    """Responses of one model. Holds no state of shoppers, so it is thread-safe."""

    def __init__(self, engine: Engine, serve: Serve) -> None:
        self.engine = engine
        self.serve = serve
        self.merchandiser = Merchandiser(engine)
        experiment = serve.experiment

        def arm(rules: Rules, exploration: Exploration) -> Arm:
            applied = BusinessRules(rules, engine.model.catalogue.table, engine.vectors)
            return Arm(applied, exploration, explorer_of(exploration))

        self._shelves = Shelves(engine, serve.surfaces)
        self._as_ranked = arm(Rules(), Exploration())
        self._control = arm(serve.rules, serve.exploration)
        self._treatment = arm(
            experiment.rules or serve.rules, experiment.exploration or serve.exploration
        )

    def arm(self, name: str | None) -> Arm:
        """Return an arm by its name; None: no experiment."""
        return self._treatment if name == TREATMENT else self._control

    def run(self, requests: Sequence[Request]) -> list[Response]:
        """Return the response to each request; they are ranked in one batch."""
        started = time.perf_counter()
        with metrics.STAGE["rank"].time():
            widths = [self._arm_of(one).width(one.k, one.steps.arranges) for one in requests]
            wider = [
                request if k == request.k else replace(request, k=k)
                for request, k in zip(requests, widths, strict=True)
            ]
            ranked = self._ranked(wider)
        with metrics.STAGE["rules"].time():
            responses = [self._respond(*pair) for pair in zip(requests, ranked, strict=True)]
        seconds = time.perf_counter() - started
        return [replace(response, seconds=seconds) for response in responses]

    def orders(self, variants: Sequence[Sequence[Request]]) -> list[list[RankedList]]:
        """Return the order of each variant of each request: its list, where places are drawn
        followed by the candidates.

        Variants of a request differ in their rules alone, and are ranked once where these exclude
        the same products.
        """
        wanted: dict[tuple[int, Filters], int] = {}
        to_rank: list[Request] = []
        for at, requests in enumerate(variants):
            for request in requests:
                if (at, request.filters) not in wanted:
                    wanted[at, request.filters] = len(to_rank)
                    wide = self._arm_of(request).width(request.k, has_steps=True)
                    to_rank.append(replace(request, k=wide))
        size = self.engine.max_batch
        ranked = [
            one
            for start in range(0, len(to_rank), size)
            for one in self._ranked(to_rank[start : start + size])
        ]
        found: list[list[RankedList]] = []
        for at, requests in enumerate(variants):
            found.append([])
            for request in requests:
                arm = self._arm_of(request)
                total = request.k - arm.n_explored(request.k)
                total += arm.exploration.candidates if arm.explorer is not None else 0
                pool = ranked[wanted[at, request.filters]]
                found[-1].append(self._chosen(arm, request, pool, total).ranked)
        return found

    def _ranked(self, requests: Sequence[Request]) -> list[RankedList]:
        """Return one list a request: of its surface, else of the model."""
        plain = [request for request in requests if request.surface is None]
        on_shelves = [request for request in requests if request.surface is not None]
        lists, shelves = iter(self.engine.recommend(plain)), iter(self._shelves.lists(on_shelves))
        return [next(lists if request.surface is None else shelves) for request in requests]

    def _arm_of(self, request: Request) -> Arm:
        """Return what is done with a request's list."""
        if request.surface is not None and not self.serve.surfaces[request.surface].business_rules:
            return self._as_ranked
        return self.arm(request.arm_name)

    def _respond(self, request: Request, ranked: RankedList) -> Response:
        arm, k = self._arm_of(request), request.k
        total = k
        if arm.explorer is not None:
            total = k - arm.n_explored(k) + arm.exploration.candidates
        chosen, placed, promoted = self._chosen(arm, request, ranked, total)
        for source in sorted(set(chosen.sources[:k]) - {"hybrid", HOLDOUT, RULE}):
            metrics.FALLBACKS.labels(source).inc()
        reasons = None
        if request.reasons:
            reasons = self._reasons(request, chosen, promoted)
        chosen = self.engine.render(chosen, reasons)
        n_shown = min(k, len(chosen.items))
        n_explored = min(arm.n_explored(k), n_shown)
        tail = {
            "model_version": self.engine.version,
            "unknown_items": request.unknown,
            "history_length": request.history.length,
            "arm": request.arm_name,
            **self._of_surface(request, chosen.first(n_shown)),
        }
        return Response.of(
            chosen.first(n_shown),
            [1.0] * n_shown,
            self.engine.ids,
            json_tail=orjson.dumps(tail)[1:],  # without the opening brace
            version=self.engine.version,
            cold=not len(request.history.items),
            n_explored=n_explored,
            exploration_pool=chosen if n_explored else None,
            rules=logged_rules(request.steps, placed),
        )

    def _reasons(self, request: Request, chosen: RankedList, promoted: frozenset[int]) -> list[str]:
        """Return one reason an item: that of its shelf, else a general one."""
        spoken = language(request.language)
        reasons = self.engine.explanations.reasons(
            *(chosen, request.history, request.recent, spoken), promoted
        )
        for at, (code, source) in enumerate(zip(chosen.items, chosen.sources, strict=True)):
            own = reason_of(source, chosen.evidence.get(code, {}), spoken)
            reasons[at] = own or reasons[at]
        return reasons

    def _of_surface(self, request: Request, shown: RankedList) -> dict[str, Any]:
        """Return what a response says of its surface."""
        if request.surface is None:
            return {}
        surface = self.serve.surfaces[request.surface]
        first = shown.sources[0] if shown.sources else "none"
        own = OWN_SOURCES.get(surface.source, {surface.source})
        is_fallback = bool(shown.items) and first not in own
        return {
            "surface": request.surface,
            "title": title_of(request.surface, first, is_fallback, language(request.language)),
            "sources": dict(Counter(shown.sources)),
            "fallback": is_fallback,
        }

    def _chosen(self, arm: Arm, request: Request, ranked: RankedList, n: int) -> Arranged:
        """Return the ``n`` items that the business rules and the merchandisers' choose."""
        if not request.steps.arranges:
            return Arranged(self._ordered(arm, request, ranked, n), [], frozenset())
        boosted, promoted = self.merchandiser.boosted(request, ranked, _comparable(ranked))
        pool = self._ordered(arm, request, boosted, len(ranked.items))
        fixed = request.k - arm.n_explored(request.k)
        return self.merchandiser.arrange(request, pool, fixed, n, promoted, self._more)

    def rearranged(
        self,
        ranked: RankedList,
        steps: Steps,
        k: int,
        filters: Filters,
        history: History = NO_HISTORY,
        exclude: Sequence[int] = (),
        more: Further | None = None,
    ) -> Arranged:
        """Return a list that another route ranked under merchandising rules.

        The first ``serve.rules.pool`` products are arranged, caps and shares hold in the first
        ``k``. exclude: codes that no pin shows. more: as in ``Merchandiser.arrange``; without it
        nothing is added to the list and nothing leaves it: what a cap keeps out of the first places
        follows them.
        """
        request = Request(
            *(history, k, filters), exclude_seen=False, exclude=tuple(exclude), steps=steps
        )
        pool = max(self.serve.rules.pool, k)
        own = ranked.sources[0] if ranked.sources else ""
        first = ranked.first(pool)
        moved, promoted = self.merchandiser.boosted(request, first, _comparable(first, own))
        fixed = k if more is not None else min(k, len(first.items))
        found = self.merchandiser.arrange(request, moved, fixed, pool, promoted, more)
        if more is not None:
            return found._replace(ranked=found.ranked.first(k))
        there = {*found.ranked.items}
        left = [at for at, code in enumerate(moved.items) if code not in there]
        rest = ranked.take(range(pool, len(ranked.items)))
        parts = (found.ranked, moved.take(left), rest)
        whole = RankedList(
            [code for part in parts for code in part.items],
            [score for part in parts for score in part.scores],
            [source for part in parts for source in part.sources],
        )
        return found._replace(ranked=whole)

    def _more(self, request: Request) -> list[int]:
        return self.engine.recommend([request])[0].items

    def _ordered(self, arm: Arm, request: Request, ranked: RankedList, n: int) -> RankedList:
        """Return the ``n`` items that the business rules choose, in their order."""
        if arm.rules.idle:
            return ranked.first(n)
        order, scores = arm.rules.order(
            np.array(ranked.items, dtype=np.int64),
            _comparable(ranked),
            n,
            one_category=request.filters.category is not None,
        )
        return replace(ranked.take(order.tolist()), scores=scores.tolist())


def _comparable(ranked: RankedList, own: str = "hybrid") -> NDArray[np.float64]:
    """Return scores in which no fallback stands above what came before it.

    Scores of different sources have different units: each fallback goes on below the last score.
    Equal scores, as of popular products, are those of the places. own: source that is no fallback.
    """
    scores = np.array(ranked.scores, dtype=np.float64)
    fallback = np.array([source != own for source in ranked.sources], dtype=bool)
    if len(scores) and own != "hybrid" and np.ptp(scores) == 0:
        return -np.arange(len(scores), dtype=np.float64)
    if not fallback.any():
        return scores
    start = int(fallback.argmax())
    step = max(float(scores[:start].std()) if start else 1.0, 1e-6) / 100
    base = scores[start - 1] if start else 0.0
    scores[start:] = base - step * np.arange(1, len(scores) - start + 1)
    return scores
