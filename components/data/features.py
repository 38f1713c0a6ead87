"""Features of users and items at the start of the validation window.

In: clean interactions and items. Out: the feature columns of ``data/prepared``'s items and users
(``schema.ITEM_FEATURES``, ``schema.USER_FEATURES``). Interactions name items and users by the
numbers ``item`` and ``user`` that the two tables have. Only events before ``start`` count, so a
model that uses them in training has not seen the windows it is judged on.
"""

from __future__ import annotations

import ibis
import ibis.expr.types as ir
from ibis import _

from components.data.schema import EVENTS

DAY = 86_400


def item_features(items: ir.Table, interactions: ir.Table, start: int) -> ir.Table:
    """Return ``items`` with its features, in the order of item_id.

    popularity: events before ``start`` (seconds since 1970). first_seen: seconds since 1970 of
    the first event before ``start``, null if none. age_days: days from then to ``start``.
    main_category: the most specific category, null if none.
    """
    before = interactions.filter(_.seconds < start)
    facts = before.group_by("item").aggregate(
        popularity=_.count().cast("int32"), first_seen=_.seconds.min()
    )
    joined = items.left_join(facts, "item").drop("item_right")
    return joined.mutate(
        popularity=joined.popularity.fill_null(0),
        age_days=((start - joined.first_seen) / DAY).cast("float32"),
        # Spark knows no index from the end.
        main_category=ibis.ifelse(
            joined.categories.length() > 0,
            joined.categories[joined.categories.length() - 1],
            ibis.null("string"),
        ),
    ).order_by("item_id")


def user_features(users: ir.Table, interactions: ir.Table, start: int) -> ir.Table:
    """Return ``users`` with recency, frequency, spend and verified, in the order of user_id.

    The classic three of customer analysis. recency_days: days from the user's newest event to
    ``start``, null if none. frequency: moments (orders, visits) before ``start``. spend: the sum
    of price times quantity of the purchases before ``start``. verified: at least one event, at any
    time, is from the shop's own files or was sent with its key. A signed session is not enough:
    sessions are free, and a thousand of them would be a thousand users.
    """
    before = interactions.filter(_.seconds < start)
    facts = before.group_by("user").aggregate(
        recency_days=((start - _.seconds.max()) / DAY).cast("float32"),
        frequency=_.seconds.nunique().cast("int32"),
        spend=(_.price * _.quantity).sum(where=_.event == EVENTS.index("purchase")).cast("float32"),
    )
    known = interactions.group_by("user").aggregate(verified=_.by_shop.any())
    joined = users.left_join(facts, "user").drop("user_right")
    joined = joined.left_join(known, "user").drop("user_right")
    return joined.mutate(
        frequency=joined.frequency.fill_null(0),
        spend=joined.spend.fill_null(0.0).cast("float32"),
        verified=joined.verified.fill_null(False),
    ).order_by("user_id")
