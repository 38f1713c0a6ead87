"""First revision: the schema from before there were migrations.

Its tables may exist already. Databases of the first versions lack the columns ``client`` and
``authentication`` of ``events``, some tables and indexes, and the key of the hashes of erased
profiles; they are added here. No row is removed.
"""

from __future__ import annotations

import secrets

import sqlalchemy as sa
from alembic import op

from components.file_erasure import keyed_hash
from serving.events.errors import ForeignDatabase

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

# The schema as of this revision: a copy of tables.py that later changes leave as it is.
metadata = sa.MetaData()
_RowId = sa.BigInteger().with_variant(sa.Integer, "sqlite")

sa.Table(
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
    sa.Column("client", sa.String(64)),
    sa.Column("authentication", sa.String(16)),
    sa.Column("received_at", sa.BigInteger, nullable=False),
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
sa.Table(
    "impressions",
    metadata,
    sa.Column("row_id", _RowId, primary_key=True, autoincrement=True),
    sa.Column("impression_id", sa.String(64), nullable=False, unique=True),
    sa.Column("profile", sa.String(220)),
    sa.Column("user_id", sa.String(200)),
    sa.Column("session_id", sa.String(200)),
    sa.Column("item_ids", sa.Text, nullable=False),
    sa.Column("scores", sa.Text, nullable=False),
    sa.Column("propensities", sa.Text, nullable=False),
    sa.Column("model_version", sa.String(200), nullable=False),
    sa.Column("source", sa.String(32), nullable=False),
    sa.Column("timestamp", sa.BigInteger, nullable=False),
    sa.Index("impressions_profile", "profile"),
    sa.Index("impressions_timestamp", "timestamp"),
    sqlite_autoincrement=True,
)
sa.Table(
    "impression_counts",
    metadata,
    sa.Column("hour", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("model_version", sa.String(200), primary_key=True),
    sa.Column("source", sa.String(32), primary_key=True),
    sa.Column("impressions", sa.BigInteger, nullable=False),
    sa.Column("items", sa.BigInteger, nullable=False),
    sa.Column("followed", sa.BigInteger, nullable=False),
    sa.Column("until", sa.BigInteger, nullable=False),
)
sa.Table(
    "erasures",
    metadata,
    sa.Column("row_id", _RowId, primary_key=True, autoincrement=True),
    sa.Column("profile_hash", sa.String(64), nullable=False),
    sa.Column("erased_at", sa.BigInteger, nullable=False),
    sqlite_autoincrement=True,
)
sa.Table(
    "keys",
    metadata,
    sa.Column("name", sa.String(32), primary_key=True),
    sa.Column("key", sa.String(64), nullable=False),
)
sa.Table(
    "exposures",
    metadata,
    sa.Column("row_id", _RowId, primary_key=True, autoincrement=True),
    sa.Column("experiment", sa.String(100), nullable=False),
    sa.Column("profile", sa.String(220), nullable=False),
    sa.Column("arm", sa.String(16), nullable=False),
    sa.Column("model_version", sa.String(200), nullable=False),
    sa.Column("timestamp", sa.BigInteger, nullable=False),
    sa.Index("exposures_once", "experiment", "profile", unique=True),
    sa.Index("exposures_profile", "profile"),
    sqlite_autoincrement=True,
)
sa.Table(
    "catalogue",
    metadata,
    sa.Column("item_id", sa.String(200), primary_key=True),
    sa.Column("title", sa.Text),
    sa.Column("description", sa.Text),
    sa.Column("brand", sa.Text),
    sa.Column("categories", sa.Text),
    sa.Column("price", sa.Float),
    sa.Column("currency", sa.String(3)),
    sa.Column("available", sa.Boolean),
    sa.Column("revision", sa.BigInteger, nullable=False),
    sa.Index("catalogue_revision", "revision"),
)


def upgrade() -> None:
    connection = op.get_bind()
    found = set(sa.inspect(connection).get_table_names())
    existing = [table for table in metadata.sorted_tables if table.name in found]
    for table in existing:
        _check(connection, table)
    for table in existing:
        _complete(connection, table)
    metadata.create_all(connection, checkfirst=True)
    _hash_with_key(connection)


def downgrade() -> None:
    raise RuntimeError("no schema came before the first: restore a backup instead")


def _columns(connection: sa.Connection, table: sa.Table) -> set[str]:
    return {column["name"] for column in sa.inspect(connection).get_columns(table.name)}


def _check(connection: sa.Connection, table: sa.Table) -> None:
    """Raise ForeignDatabase if a table of that name lacks a required column."""
    found = _columns(connection, table)
    for column in table.columns:
        if not column.nullable and column.name not in found:
            raise ForeignDatabase(f"its table {table.name} has no column {column.name}")


def _complete(connection: sa.Connection, table: sa.Table) -> None:
    """Add the columns and indexes that an existing table lacks; such columns are nullable."""
    found = _columns(connection, table)
    for column in table.columns:
        if column.name not in found:
            op.add_column(table.name, sa.Column(column.name, column.type))
    for index in table.indexes:
        index.create(connection, checkfirst=True)


def _hash_with_key(connection: sa.Connection) -> None:
    """Make the key of the hashes of erased profiles, and apply it to hashes made without one."""
    keys, erasures = metadata.tables["keys"], metadata.tables["erasures"]
    of_erasures = sa.select(keys.c.key).where(keys.c.name == "erasures")
    key = connection.scalar(of_erasures)
    if key is None:
        key = secrets.token_hex(32)
        connection.execute(sa.insert(keys), {"name": "erasures", "key": key})
    without_key = sa.select(erasures).where(sa.func.length(erasures.c.profile_hash) == 64)
    for row in connection.execute(without_key).all():
        connection.execute(
            sa.update(erasures)
            .where(erasures.c.row_id == row.row_id)
            .values(profile_hash=keyed_hash(row.profile_hash, key))
        )
