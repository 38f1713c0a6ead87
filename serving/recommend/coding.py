"""A recommendation request in the codes of one model.

In: the body of a request, in the ids of the shop, and the shopper. Out: a ``Request`` with the
shopper's history.
"""

from __future__ import annotations

import numpy as np

from serving.filters.conditions import TRUE, Condition
from serving.profiles.profiles import Profiles
from serving.recommend.query import RecommendRequest
from serving.recommend.types import Request, Shopper

PAGE_HISTORY = 10
"""Events of the history that still count on a product or basket page."""


def coded(
    body: RecommendRequest,
    shopper: Shopper,
    profiles: Profiles,
    exclude_seen: bool,
    arm_name: str | None = None,
    popular: bool = False,
    where: Condition = TRUE,
) -> Request:
    """Return the request in the codes of the model that ``profiles`` belong to.

    exclude_seen: where the body leaves it open. arm_name, popular: as in ``Request``. where: the
    condition of the body's ``filter``.
    """
    named = [*body.recent, *body.exclude, *body.page_items]
    codes = profiles.codes(named)
    n_recent, n_page = len(body.recent), len(body.page_items)
    in_session, excluded, page = np.split(codes, [n_recent, n_recent + len(body.exclude)])
    recent = np.concatenate([in_session, page])
    # The items of the page are not recommended on it.
    excluded = np.concatenate([excluded, page])
    history = profiles.history(shopper.user_id, shopper.profile, recent)
    if n_page:
        # What the shopper looks at says more than older events.
        history = history.newest(n_page + PAGE_HISTORY)
    unknown = dict.fromkeys(named[at] for at in np.flatnonzero(codes < 0))
    seen = body.exclude_seen
    return Request(
        history=history,
        k=body.k,
        filters=body.filters(where),
        exclude_seen=exclude_seen if seen is None else seen,
        exclude=tuple(excluded[excluded >= 0].tolist()),
        recent=tuple(recent[recent >= 0].tolist()),
        unknown=tuple(unknown),
        reasons=body.reasons,
        arm_name=arm_name,
        popular=popular,
        language=shopper.language,
        never_seen=seen is True,
    )
