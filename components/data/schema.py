"""The contract's tables: column names and types, in one place.

Raw and valid tables (``data/raw``, ``data/valid``) hold the shop's own ids as strings. Raw tables
also say which row of which file they come from and what in it could not be read (``RAW``). Prepared
tables (``data/prepared``) hold dense int32 codes: the code of an item or user is its row number
in ``items.parquet`` or ``users.parquet``, which makes those two files the vocabulary.

Tables of items and users have further columns at their end where attributes are declared (see
``attributes``).
"""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

EVENTS = ("view", "click", "cart", "purchase", "rating", "dislike")
"""Event names in the order of their int8 codes in the prepared interactions."""

AUTHENTICATIONS = SHOP, SESSION, NONE = ("shop", "session", "none")
"""How a feedback event was authenticated: the shop's API key, a signed session token, or not.

In raw and valid tables null marks the shop's own files; feedback of unknown senders is "none".
"""

STATUSES = CANCELLED, RETURNED = ("cancelled", "returned")
"""States in which the purchase of a row does not stand; see ``validate.returns``."""

NOTES = "notes.json"
"""File in data/raw: what a reader should know of the shop's files, in sentences by table."""

OLDER_VERSION = "older version"
"""State of a row of an order that its source has in a newer version, too."""


def codes_of(names: Sequence[str]) -> list[tuple[str, int]]:
    """Return each name with its place, from 0.

    >>> codes_of(STATUSES)
    [('cancelled', 0), ('returned', 1)]
    """
    return [(name, n) for n, name in enumerate(names)]


UTC = pa.timestamp("us", tz="UTC")

INTERACTIONS = pa.schema(
    [
        ("user_id", pa.string()),  # null where the shop did not know the customer: quarantined
        ("item_id", pa.string()),
        ("event", pa.string()),  # one of EVENTS
        ("rating", pa.float32()),  # 1 to 5, null for other events
        ("quantity", pa.float32()),  # 1 where the shop has none
        ("price", pa.float32()),  # of one unit, null where the shop has none
        ("timestamp", UTC),
        ("order_id", pa.string()),  # null where the shop has none
        ("impression_id", pa.string()),  # the served list that led here; null: an organic event
        ("list_source", pa.string()),  # what made that list, as "hybrid"; null where not known
        ("position", pa.int16()),  # of the item in that list, from 1; null where not known
        ("client", pa.string()),  # hash of the client that sent the event; null in the shop's files
        ("authentication", pa.string()),  # one of AUTHENTICATIONS; null in the shop's files
        ("source", pa.string()),  # file the row came from
        ("source_row", pa.int64()),  # and its row number there, from 0
    ]
)

ITEMS = pa.schema(
    [
        ("item_id", pa.string()),
        ("title", pa.string()),
        ("description", pa.string()),
        ("brand", pa.string()),
        # A path: most general first. A set: see ``categories_set``
        ("categories", pa.list_(pa.string())),
        ("categories_inferred", pa.bool_()),  # true: made from the title, not the shop's own
        ("price", pa.float32()),
        ("currency", pa.string()),
        ("available", pa.bool_()),
        ("image", pa.string()),  # address of its picture, see ``web_addresses``
        ("url", pa.string()),  # and of its page
        # True: the categories are a set of tags, no path. Their order does not come from the shop:
        # the last one is the one that stands for the item where a single one is needed
        ("categories_set", pa.bool_()),
        ("source", pa.string()),
    ]
)

BATCH = "batch"
"""``list_source`` of the lists of `bowerbird recommend-all`; many of them are never seen, as in an
e-mail that is not opened."""

ATTRIBUTION = ("impression_id", "list_source", "position")
"""Columns that say which served list led to an event, and from which place."""

SAME_EVENT = (
    "user_id",
    "item_id",
    "event",
    "rating",
    "quantity",
    "price",
    "timestamp",
    "order_id",
)
"""Columns that equal rows of one event share, whatever file they are in."""

USERS = pa.schema([("user_id", pa.string()), ("country", pa.string()), ("source", pa.string())])

REVIEWS = pa.schema(
    [
        ("user_id", pa.string()),  # null where the source has none
        ("item_id", pa.string()),
        ("rating", pa.float32()),
        ("title", pa.string()),
        ("text", pa.string()),
        ("category", pa.string()),
        ("timestamp", UTC),  # null where the source has none
        ("source", pa.string()),
        ("source_row", pa.int64()),
    ]
)

TABLES = {"interactions": INTERACTIONS, "items": ITEMS, "users": USERS, "reviews": REVIEWS}

LINES = "lines"
"""``source`` of the items and users that no file has, only the interactions."""

UNREADABLE = "unreadable"
"""Column of the raw tables: values that are not of their type, as ``price: '12,50'``; else null."""


_CONVERTED = [
    pa.field("price_given", pa.float32()),  # the file's price where it was converted, else null
    pa.field("currency_given", pa.string()),  # and its currency
]
ORDER_COLUMNS = pa.schema(
    [
        # 0, or how many equal rows of its file come before it where equal rows are pieces
        ("piece", pa.int64()),
        ("status", pa.string()),  # one of STATUSES, OLDER_VERSION, null where the row stands
        ("version", pa.float64()),  # of the order, the newest is the highest; null without one
    ]
)
"""Columns of the raw interactions that say what a row means for others."""

_RAW_ONLY = {
    "interactions": [*_CONVERTED, *ORDER_COLUMNS],
    "items": _CONVERTED,
    "users": [],
    "reviews": [],
}


def _raw(name: str) -> pa.Schema:
    """Return the schema of a raw table: with ``source_row`` (null if not of a file), the columns
    that the valid table lacks, and UNREADABLE."""
    schema = TABLES[name]
    if "source_row" not in schema.names:
        schema = schema.append(pa.field("source_row", pa.int64()))
    for field in (*_RAW_ONLY[name], pa.field(UNREADABLE, pa.string())):
        schema = schema.append(field)
    return schema


RAW = {name: _raw(name) for name in TABLES}
"""Schemas of the raw and the quarantined tables by name."""

PREPARED_INTERACTIONS = pa.schema(
    [
        ("user", pa.int32()),
        ("item", pa.int32()),
        ("event", pa.int8()),  # index into EVENTS
        ("timestamp", pa.int64()),  # seconds since 1970, UTC
        ("quantity", pa.float32()),
        ("price", pa.float32()),
        ("rating", pa.float32()),
        ("split", pa.int8()),  # index into SPLITS
        # false: only feedback without authentication has it, so it is no target of a comparison
        ("authenticated", pa.bool_()),
        # of the event in what models learn: 0 above the limits of ``influence``,
        # preprocess.recommended_weight where a served list led to it, else 1
        ("weight", pa.float32()),
        ("strength", pa.float32()),  # preprocess.event_weights of what the event means
        ("target", pa.bool_()),  # whether it is a success: preprocess.targets
        ("excluding", pa.bool_()),  # whether it excludes its item: preprocess.excluding
    ]
)
"""Sorted by (user, timestamp, item, event); one row for each user, item, event and second."""

SPLITS = ("train", "validation", "test")

NEWCOMERS = "newcomers.parquet"
"""Of data/prepared: user_id and attributes of the users without an interaction."""

# items.parquet of data/prepared: ITEMS' columns, row number = code, and these features, all
# known at the start of the validation window
ITEM_FEATURES = ("popularity", "first_seen", "age_days", "main_category")
# users.parquet of data/prepared: USERS' columns, row number = code, and these features
USER_FEATURES = ("recency_days", "frequency", "spend")
# ... and ``verified``: known from the shop's own files or its key, see ``features``
