"""Limits on the influence of one profile and of one client on everything that is learned.

In: clean interactions (see ``cleaning``). Out: which events count. The others have weight 0 in
``data/prepared``, so that no model learns from them: popularity and item statistics multiply by
the weights, ``Interactions.matrix`` has no entry for them, and models without weights leave them
out (``Interactions.counted``).

The limits of ``feedback`` hold for a day; these hold for all days together, so that a client that
sends a few events of a product each day cannot lift it slowly. Events of the shop's own files and
those sent with its key always count.
"""

from __future__ import annotations

import ibis
import ibis.expr.types as ir
from ibis import _

from components.settings import Preprocess


def counts(interactions: ir.Table, settings: Preprocess) -> ir.BooleanValue:
    """Return whether each event counts: of a profile (or a client) on a product the newest
    ``max_item_influence`` events, and on all products the newest ``max_influence``."""
    if not interactions.filter(~_.by_shop).limit(1).count().execute():
        return ibis.literal(True)
    newest_first = [ibis.desc("seconds"), "item", "user", "event"]
    within = [
        # Apart from the shop's own events, which take no places.
        ibis.row_number().over(group_by=["by_shop", key, *on], order_by=newest_first) < most
        for key in ("user", "client")
        for on, most in ((["item"], settings.max_item_influence), ([], settings.max_influence))
    ]
    return interactions.by_shop | ibis.and_(*within)
