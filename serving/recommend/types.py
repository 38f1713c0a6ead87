"""The types that a recommendation passes through: request, ranked list, response.

Item ids become row numbers of the loaded model's catalogue ("codes") when a ``Request`` is made,
and ids again when a ``Response`` is made; everything in between works on codes. ``Request`` and
``Response`` are what the endpoint and its ranking process exchange.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from serving.filters.conditions import TRUE, Bound, Condition, Has, Within, conjuncts
from serving.filters.expression import DECLARED
from serving.languages import SOURCE
from serving.profiles.history import ABSENT, History
from serving.recommend.steps import NO_STEPS, Steps

RULE = "rule"
"""Source of products that a merchandising rule put into a list."""

Mask = NDArray[np.bool_]
"""Of the items of a catalogue."""


@dataclass(frozen=True)
class Shopper:
    """The shopper of a request.

    profile: key of the stored history, None for an anonymous request. client: keyed hash of what
    sent the request. in_experiment: the shopper may be counted in the running experiment. logged:
    what is shown is logged as an impression. language: code of the answer's language.
    """

    user_id: str | None
    session_id: str | None
    profile: str | None
    client: str
    in_experiment: bool = True
    logged: bool = True
    language: str = SOURCE


AttributeFilter = tuple[str, tuple[str, ...], Bound | None, Bound | None]
"""Name of an attribute, the values of which an item needs one, and bounds of a number or date."""


@dataclass(frozen=True)
class Filters:
    """What an item must meet to be shown: the condition ``where`` and all other fields, which are
    short for conditions. category: compared without case, any level. attributes: all of them are
    met; values are compared without case."""

    category: str | None = None
    min_price: float | None = None
    max_price: float | None = None
    available_only: bool = True
    attributes: tuple[AttributeFilter, ...] = ()
    where: Condition = TRUE

    def conditions(self) -> list[Condition]:
        """Return the conditions that must all be met, without ``available_only``.

        >>> Filters(category="Mugs", max_price=5.0).conditions()
        [Has(attribute='category', values=('mugs',)), Within(attribute='price', low=None, high=5.0)]
        """
        found: list[Condition] = []
        if self.category is not None:
            found.append(Has("category", (self.category.casefold(),)))
        if self.min_price is not None or self.max_price is not None:
            found.append(Within("price", self.min_price, self.max_price))
        for name, values, low, high in self.attributes:
            attribute = DECLARED + name
            found.append(Has(attribute, values) if values else Within(attribute, low, high))
        return [*found, *conjuncts(self.where)]


@dataclass(frozen=True)
class Request:
    """A request for ``k`` items, in the codes of one model.

    never_seen: no item that ``exclude_seen`` leaves out is shown, not even in place of an empty
    list. exclude: not to be shown. recent: chosen in this session, for the reasons. unknown: item
    ids of the request that the model does not know. arm_name: of the experiment's arm, if any.
    popular: the holdout's popular products are wanted instead of the model's. language: code of the
    reasons' language. steps: the merchandising rules that apply; what they exclude is in the
    filters too. surface: of ``serve.surfaces``; None: the ranked list without one. page: codes of
    what the page shows. country: of the trends of ``ShelfStatistics``.
    """

    history: History
    k: int
    filters: Filters = field(default_factory=Filters)
    exclude_seen: bool = True
    exclude: tuple[int, ...] = ()
    recent: tuple[int, ...] = ()
    unknown: tuple[str, ...] = ()
    reasons: bool = True
    arm_name: str | None = None
    popular: bool = False
    language: str = SOURCE
    never_seen: bool = False
    steps: Steps = NO_STEPS
    surface: str | None = None
    page: tuple[int, ...] = ()
    country: str | None = None

    def free(self, mask: Mask) -> Mask:
        """Return bool (items,): the items of ``mask`` that the request and the history allow."""
        free = mask.copy()
        free[list(self.exclude)] = False
        free[self.history.excluded if self.exclude_seen else self.history.disliked] = False
        return free

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle as plain values, at a tenth of the cost of the objects."""
        history, filters = self.history, self.filters
        return _unpickle_request, (
            *(history.items.tobytes(), history.times.tobytes(), history.now, history.kinds),
            {name: array.tobytes() for name, array in history.optional().items()},
            None if history.attributes is None else history.attributes.tobytes(),
            *(filters.category, filters.min_price, filters.max_price, filters.available_only),
            *(filters.attributes, filters.where),
            *(self.k, self.exclude_seen, self.exclude, self.recent, self.unknown),
            *(self.reasons, self.arm_name, self.popular, self.language, self.never_seen),
            self.steps,
            *(self.surface, self.page, self.country),
        )


def _unpickle_request(
    items: bytes,
    times: bytes,
    now: int,
    kinds: dict[int, str],
    optional: dict[str, bytes],
    attributes: bytes | None,
    *others: Any,
) -> Request:
    history = History(
        np.frombuffer(items, np.int32),
        np.frombuffer(times, np.int64),
        **{name: np.frombuffer(array, ABSENT[name].dtype) for name, array in optional.items()},
        now=now,
        kinds=kinds,
        attributes=None if attributes is None else np.frombuffer(attributes, np.int32),
    )
    k, *rest = others[6:]
    return Request(history, k, Filters(*others[:6]), *rest)


@dataclass(frozen=True)
class RankedList:
    """items: int codes, best first. scores: float, comparable within a source.

    sources: "hybrid", "content", "segment" (popular in the history's categories), "popular",
    "similar", "holdout", "rule" or a source of ``shelves``, one an item. rendered: each item's
    JSON, once the list was rendered. evidence: figures behind an item, by its code and their names.
    """

    items: list[int]
    scores: list[float]
    sources: list[str]
    rendered: list[bytes] = field(default_factory=list)
    evidence: dict[int, dict[str, float]] = field(default_factory=dict)

    def first(self, k: int) -> RankedList:
        """Return the list cut to its first ``k`` items."""
        return replace(
            self,
            items=self.items[:k],
            scores=self.scores[:k],
            sources=self.sources[:k],
            rendered=self.rendered[:k],
        )

    def take(self, places: Sequence[int]) -> RankedList:
        """Return the items at some places, in that order."""
        return RankedList(
            [self.items[at] for at in places],
            [self.scores[at] for at in places],
            [self.sources[at] for at in places],
            [self.rendered[at] for at in places] if self.rendered else [],
            self.evidence,
        )


@dataclass(frozen=True)
class Response:
    """What a response and its impression say of the items, as JSON.

    codes: of the items. items: their JSON. ids, scores, propensities: JSON lists. source: of the
    first item, "none" without one. sources: how many items came from each. json_tail: the end of
    the response's JSON, after its items and its impression; it closes the object. cold: the history
    is empty. seconds: in which the batch with the list was ranked.

    Where the last ``n_explored`` places are drawn at random for each answer, exploration_pool is
    the rendered list that they are drawn from: first the places that stay, then the candidates.
    rules: as ``IMPRESSIONS.rules``.
    """

    codes: list[int]
    items: bytes
    ids: str
    scores: str
    propensities: str
    source: str
    sources: tuple[tuple[str, int], ...]
    json_tail: bytes
    version: str
    cold: bool
    seconds: float = 0.0
    n_explored: int = 0
    exploration_pool: RankedList | None = None
    rules: str | None = None

    @classmethod
    def of(
        cls,
        ranked: RankedList,
        propensities: list[float],
        item_ids: Sequence[str],
        **rest: Any,
    ) -> Response:
        """Return the response that shows a rendered list.

        item_ids: code → item id. rest: the fields from ``json_tail`` on.
        """
        return cls(
            ranked.items,
            b",".join(ranked.rendered),
            _json([item_ids[code] for code in ranked.items]),
            _json(ranked.scores),
            _json(propensities),
            # What a rule put first is not what made the list.
            next(one for one in (*ranked.sources, "none") if one != RULE),
            tuple(Counter(ranked.sources).items()),
            **rest,
        )

    @property
    def size(self) -> int:
        """Return about how many bytes it takes in memory."""
        shown = len(self.items) + 20 * len(self.ids)
        if self.exploration_pool is not None:
            rendered = self.exploration_pool.rendered
            shown += sum(map(len, rendered)) + 300 * len(rendered)
        return shown + len(self.json_tail) + 2000


def _json(values: list[Any]) -> str:
    return orjson.dumps(values).decode()
