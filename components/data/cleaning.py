"""Valid rows → clean rows: one interaction for each user, item, event and second; tidy items.

In: ``data/valid``. Out: the tables ``features`` and ``split`` work on. Ibis expressions only.
"""

from __future__ import annotations

import ibis
import ibis.expr.types as ir
from ibis import _

from components.data.schema import EVENTS, NONE, SHOP, codes_of


def clean_items(items: ir.Table) -> ir.Table:
    """Return the items with tidy texts; an item without a title is called by its id."""
    tidy = {name: _tidy(items[name]) for name in ("title", "description", "brand")}
    return items.mutate(
        title=ibis.coalesce(tidy["title"].nullif(""), items.item_id),
        description=ibis.coalesce(tidy["description"], ""),
        brand=ibis.coalesce(tidy["brand"], ""),
        available=items.available.fill_null(True),
    )


def _tidy(text: ir.StringValue) -> ir.StringValue:
    """Return a text with single spaces, none at its ends.

    In forms that mean the same on DuckDB and Spark: Java's ``\\s`` includes the vertical tab, RE2's
    does not, and on Spark Ibis' ``strip`` removes the letters v and f.
    """
    return text.re_replace(r"[\s\x0b]+", " ").re_replace(r"\A | \z", "")


def numbered(table: ir.Table, key: str, name: str) -> ir.Table:
    """Return ``table`` with the place of each row in the order of ``key``, from 0, as ``name``."""
    return table.mutate(**{name: ibis.row_number().over(order_by=key).cast("int32")})


def clean_interactions(interactions: ir.Table, users: ir.Table, items: ir.Table) -> ir.Table:
    """Return one row for each user, item, event and second, of users and items that are known.

    users, items: with their numbers, ``user`` and ``item``, which the rows have in the place of the
    ids: they are a fraction of the size. event: the index into ``schema.EVENTS``. seconds: since
    1970.

    A line that an order repeats (two deliveries of one product) is one purchase of the sum: the
    quantities are added, and the price is the mean price of the units that have one. by_shop: the
    event is in the shop's own files or was sent with its key. client: that sent it, otherwise.
    authenticated: by the shop, or with a signed session. recommended: a served list led to each
    event of the row.
    """
    authentication = interactions.authentication
    known = (
        interactions.mutate(
            seconds=interactions.timestamp.truncate("s").epoch_seconds().cast("int64"),
            event=interactions.event.cases(*codes_of(EVENTS)),
            by_shop=authentication.isnull() | (authentication == SHOP),
            authenticated=authentication.isnull() | (authentication != NONE),
        )
        .join(items.select("item_id", "item"), "item_id")
        .join(users.select("user_id", "user"), "user_id")
    )
    priced = known.price.notnull()
    return known.group_by(["user", "item", "event", "seconds"]).aggregate(
        quantity=known.quantity.sum().cast("float32"),
        price=((known.price * known.quantity).sum() / known.quantity.sum(where=priced)).cast(
            "float32"
        ),
        rating=_.rating.mean().cast("float32"),
        by_shop=_.by_shop.any(),
        client=_.client.max(where=~_.by_shop),
        authenticated=_.authenticated.any(),
        recommended=_.impression_id.notnull().all(),
    )


def at_least(interactions: ir.Table, key: str, n: int) -> ir.Table:
    """Return the interactions of users or items (``key``) that have at least ``n``."""
    if n <= 1:
        return interactions
    counts = interactions.group_by(key).aggregate(n=_.count())
    return interactions.semi_join(counts.filter(counts.n >= n), key)
