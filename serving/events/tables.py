"""Tables of the event store, and the units and keys used in them.

Times are integer microseconds since 1970, UTC, in every database. Tables are created and changed by
the migrations only (``serving/events/migrations``); a test compares the two.
"""

from __future__ import annotations

import sqlalchemy as sa

SECOND = 1_000_000
HOUR = 3600 * SECOND
DAY = 24 * HOUR

metadata = sa.MetaData()
# SQLite assigns row ids only to a column declared exactly INTEGER.
_RowId = sa.BigInteger().with_variant(sa.Integer, "sqlite")

EVENTS = sa.Table(
    "events",
    metadata,
    sa.Column("row_id", _RowId, primary_key=True, autoincrement=True),
    sa.Column("event_id", sa.String(200), nullable=False, unique=True),
    sa.Column("profile", sa.String(220), nullable=False),
    sa.Column("user_id", sa.String(200)),
    sa.Column("session_id", sa.String(200)),
    sa.Column("item_id", sa.String(200), nullable=False),
    sa.Column("event", sa.String(16), nullable=False),
    sa.Column("rating", sa.Float),
    sa.Column("quantity", sa.Float, nullable=False),
    sa.Column("price", sa.Float),
    sa.Column("timestamp", sa.BigInteger, nullable=False),
    sa.Column("impression_id", sa.String(200)),
    sa.Column("client", sa.String(64)),  # hash of the client that sent the event; null: unknown
    sa.Column("authentication", sa.String(16)),  # one of schema.AUTHENTICATIONS; null: unknown
    sa.Column("received_at", sa.BigInteger, nullable=False),
    sa.Column("order_id", sa.String(200)),  # the shop's id of a purchase's order
    sa.Index("events_profile", "profile", "timestamp"),
    sa.Index("events_received_at", "received_at"),
    sa.Index(
        "events_impression",
        "impression_id",
        sqlite_where=sa.text("impression_id IS NOT NULL"),
        postgresql_where=sa.text("impression_id IS NOT NULL"),
    ),
    sqlite_autoincrement=True,
)
IMPRESSIONS = sa.Table(
    "impressions",
    metadata,
    sa.Column("row_id", _RowId, primary_key=True, autoincrement=True),
    sa.Column("impression_id", sa.String(64), nullable=False, unique=True),
    sa.Column("profile", sa.String(220)),
    sa.Column("user_id", sa.String(200)),
    sa.Column("session_id", sa.String(200)),
    sa.Column("item_ids", sa.Text, nullable=False),  # JSON lists, in the order of the positions
    sa.Column("scores", sa.Text, nullable=False),
    sa.Column("propensities", sa.Text, nullable=False),
    sa.Column("model_version", sa.String(200), nullable=False),
    sa.Column("source", sa.String(32), nullable=False),
    sa.Column("timestamp", sa.BigInteger, nullable=False),
    # JSON object, null where none applied: rules: revisions of the merchandising rules that
    # applied, placed: places, from 1, that a rule decided.
    sa.Column("rules", sa.Text),
    sa.Column("surface", sa.String(32)),  # place of the shop; null: unknown
    sa.Index("impressions_profile", "profile"),
    sa.Index("impressions_timestamp", "timestamp"),
    sqlite_autoincrement=True,
)
IMPRESSION_COUNTS = sa.Table(  # of the impressions that retention removed
    "impression_counts",
    metadata,
    sa.Column("hour", sa.BigInteger, primary_key=True, autoincrement=False),  # since 1970
    sa.Column("model_version", sa.String(200), primary_key=True),
    sa.Column("source", sa.String(32), primary_key=True),
    sa.Column("impressions", sa.BigInteger, nullable=False),
    sa.Column("items", sa.BigInteger, nullable=False),
    sa.Column("followed", sa.BigInteger, nullable=False),  # events that named such an impression
    sa.Column("until", sa.BigInteger, nullable=False),  # time of the newest impression counted
)
ERASURES = sa.Table(
    "erasures",
    metadata,
    sa.Column("row_id", _RowId, primary_key=True, autoincrement=True),
    sa.Column("profile_hash", sa.String(64), nullable=False),
    sa.Column("erased_at", sa.BigInteger, nullable=False),
    sqlite_autoincrement=True,
)
KEYS = sa.Table(
    "keys",
    metadata,
    sa.Column("name", sa.String(32), primary_key=True),
    sa.Column("key", sa.String(64), nullable=False),  # hexadecimal
)
EXPOSURES = sa.Table(
    "exposures",
    metadata,
    sa.Column("row_id", _RowId, primary_key=True, autoincrement=True),
    sa.Column("experiment", sa.String(100), nullable=False),
    sa.Column("profile", sa.String(220), nullable=False),
    sa.Column("arm", sa.String(16), nullable=False),
    sa.Column("model_version", sa.String(200), nullable=False),
    sa.Column(
        "timestamp", sa.BigInteger, nullable=False
    ),  # of the first exposure, the only one kept
    sa.Index("exposures_once", "experiment", "profile", unique=True),
    sa.Index("exposures_profile", "profile"),
    sqlite_autoincrement=True,
)
CATALOGUE = sa.Table(
    "catalogue",
    metadata,
    sa.Column("item_id", sa.String(200), primary_key=True),
    # Null: the value of the training data is used.
    sa.Column("title", sa.Text),
    sa.Column("description", sa.Text),
    sa.Column("brand", sa.Text),
    sa.Column("categories", sa.Text),  # JSON list
    sa.Column("price", sa.Float),
    sa.Column("currency", sa.String(3)),
    sa.Column("available", sa.Boolean),
    sa.Column("revision", sa.BigInteger, nullable=False),
    sa.Column("attributes", sa.Text),  # JSON object: name → value
    sa.Column("image", sa.Text),
    sa.Column("url", sa.Text),
    sa.Column("cleared", sa.Text),  # JSON list: fields that have no value, whatever the training's
    sa.Column("expires_at", sa.BigInteger),  # from then on as if deleted
    sa.Column("deleted", sa.Boolean),  # no product until it is put again
    sa.Index("catalogue_revision", "revision"),
)
MERCHANDISING_RULES = sa.Table(  # a row for each change; none is ever changed or removed
    "merchandising_rules",
    metadata,
    sa.Column("row_id", _RowId, primary_key=True, autoincrement=True),
    sa.Column("rule_id", sa.String(64), nullable=False),
    sa.Column("version", sa.BigInteger, nullable=False),
    sa.Column("content", sa.Text),  # JSON object; null: deleted
    sa.Column("role", sa.String(16), nullable=False),  # of the key
    sa.Column("author", sa.String(100), nullable=False),  # as the request says
    sa.Column("note", sa.String(200), nullable=False),
    sa.Column("timestamp", sa.BigInteger, nullable=False),
    sa.Index("merchandising_rules_version", "rule_id", "version", unique=True),
    sqlite_autoincrement=True,
)
USERS = sa.Table(
    "users",
    metadata,
    sa.Column("profile", sa.String(220), primary_key=True),
    sa.Column("user_id", sa.String(200), nullable=False),
    sa.Column("attributes", sa.Text, nullable=False),  # JSON object: name → value
    sa.Column("revision", sa.BigInteger, nullable=False),
    sa.Index("users_revision", "revision"),
)
CHANGED_DAYS = sa.Table(  # of rows that an erasure or a sign-in removed: their files are outdated
    "changed_days",
    metadata,
    sa.Column("row_id", _RowId, primary_key=True, autoincrement=True),
    sa.Column("name", sa.String(32), nullable=False),  # of the table
    sa.Column("day", sa.BigInteger, nullable=False),  # since 1970, of received_at or timestamp
    sqlite_autoincrement=True,
)
HISTORIES = sa.Table(  # of the training data, for ``serve.histories: store``
    "histories",
    metadata,
    sa.Column("user_id", sa.String(220), primary_key=True),  # as the training data name it
    sa.Column("model_version", sa.String(200), primary_key=True),
    sa.Column("events", sa.Text, nullable=False),  # JSON object of lists, the oldest event first
    sa.Column("attributes", sa.Text),  # JSON object: column → value
    sa.Index("histories_version", "model_version"),
)
SHARED_VERSIONS = sa.Table(  # versions whose histories are all in the table
    "shared_versions",
    metadata,
    sa.Column("model_version", sa.String(200), primary_key=True),
    sa.Column("users", sa.BigInteger, nullable=False),
    sa.Column("until", sa.BigInteger, nullable=False),  # the newest event, seconds since 1970
    sa.Column("has_strengths", sa.Boolean, nullable=False),
    sa.Column("shared_at", sa.BigInteger, nullable=False),
)


def profile_of(user_id: str | None, session_id: str | None) -> str | None:
    """Return the key under which a history is kept: the user's, else the session's, else None.

    >>> profile_of("7", "abc"), profile_of(None, "abc")
    ('user:7', 'session:abc')
    """
    if user_id is not None:
        return f"user:{user_id}"
    return f"session:{session_id}" if session_id is not None else None
