"""Days whose exported rows changed, and the histories of the training data by customer."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # A database without the table of its revision passes all scripts again.
    there = set(sa.inspect(op.get_bind()).get_table_names())
    row_id = sa.BigInteger().with_variant(sa.Integer, "sqlite")
    if "changed_days" not in there:
        op.create_table(
            "changed_days",
            sa.Column("row_id", row_id, primary_key=True, autoincrement=True),
            sa.Column("name", sa.String(32), nullable=False),
            sa.Column("day", sa.BigInteger, nullable=False),
            sqlite_autoincrement=True,
        )
    if "histories" not in there:
        op.create_table(
            "histories",
            sa.Column("user_id", sa.String(220), primary_key=True),
            sa.Column("model_version", sa.String(200), primary_key=True),
            sa.Column("events", sa.Text, nullable=False),
            sa.Column("attributes", sa.Text),
        )
        op.create_index("histories_version", "histories", ["model_version"])
    if "shared_versions" not in there:
        op.create_table(
            "shared_versions",
            sa.Column("model_version", sa.String(200), primary_key=True),
            sa.Column("users", sa.BigInteger, nullable=False),
            sa.Column("until", sa.BigInteger, nullable=False),
            sa.Column("has_strengths", sa.Boolean, nullable=False),
            sa.Column("shared_at", sa.BigInteger, nullable=False),
        )


def downgrade() -> None:
    for name in ("changed_days", "histories", "shared_versions"):
        op.drop_table(name)
