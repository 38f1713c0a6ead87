"""A recommendation request in the codes of one model.

In: the body of a request, in the ids of the shop, and the shopper. Out: a ``Request`` with the
shopper's history.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

import numpy as np

from components.settings import Surface
from serving.filters.conditions import TRUE, Condition
from serving.profiles.history import NO_CODES, Codes, History
from serving.recommend.query import RecommendRequest
from serving.recommend.types import Filters, Request, Shopper

PAGE_HISTORY = 10
"""Events of the history that still count on a product or basket page."""


class ReadsHistories(Protocol):
    """Histories in the codes of one model: ``Profiles``, or these as they were at a time."""

    def codes(self, item_ids: Sequence[str]) -> Codes: ...

    def history(
        self, user_id: str | None, profile: str | None, recent: Codes = NO_CODES
    ) -> History: ...


def coded(
    body: RecommendRequest,
    shopper: Shopper,
    profiles: ReadsHistories,
    exclude_seen: bool,
    surface: Surface | None = None,
    arm_name: str | None = None,
    popular: bool = False,
    where: Condition = TRUE,
) -> Request:
    """Return the request in the codes of the model that ``profiles`` belong to.

    exclude_seen: where the body leaves it open. surface: the settings of the body's surface.
    arm_name, popular: as in ``Request``. where: the condition of the body's ``filter``.
    """
    named = [*body.recent, *body.exclude, *body.page_items]
    codes = profiles.codes(named)
    n_recent, n_page = len(body.recent), len(body.page_items)
    in_session, excluded, page = np.split(codes, [n_recent, n_recent + len(body.exclude)])
    recent = np.concatenate([in_session, page])
    # The items of the page are not recommended on it.
    excluded = np.concatenate([excluded, page])
    history = profiles.history(shopper.user_id, shopper.profile, recent)
    if n_page and (surface is None or surface.events is None):
        # What the shopper looks at says more than older events.
        history = history.newest(n_page + PAGE_HISTORY)
    filters, seen = body.filters(where), body.exclude_seen
    if surface is not None:
        history = history.of_kinds(surface.events, surface.exclude)
        filters = _with_defaults(filters, surface)
        if surface.exclude is not None:
            exclude_seen = True  # of the kinds of events that the surface names
    unknown = dict.fromkeys(named[at] for at in np.flatnonzero(codes < 0))
    return Request(
        history=replace(history, events=None),
        k=body.k,
        filters=filters,
        exclude_seen=exclude_seen if seen is None else seen,
        exclude=tuple(excluded[excluded >= 0].tolist()),
        recent=tuple(recent[recent >= 0].tolist()),
        unknown=tuple(unknown),
        reasons=body.reasons,
        arm_name=arm_name,
        popular=popular,
        language=shopper.language,
        never_seen=seen is True,
        surface=body.surface,
        page=tuple(dict.fromkeys(page[page >= 0].tolist())),
        country=body.country,
    )


def _with_defaults(filters: Filters, surface: Surface) -> Filters:
    """Return the filters, with those of the surface where they leave them open."""
    given = {
        name: getattr(surface, name)
        for name in ("category", "min_price", "max_price")
        if getattr(filters, name) is None
    }
    return replace(filters, **given)
