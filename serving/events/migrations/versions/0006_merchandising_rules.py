"""Merchandising rules, and those that applied to an impression."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

_ROW_ID = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    # A database without the table of its revision passes all scripts again.
    inspector = sa.inspect(op.get_bind())
    if "rules" not in {column["name"] for column in inspector.get_columns("impressions")}:
        op.add_column("impressions", sa.Column("rules", sa.Text))
    if not inspector.has_table("merchandising_rules"):
        op.create_table(
            "merchandising_rules",
            sa.Column("row_id", _ROW_ID, primary_key=True, autoincrement=True),
            sa.Column("rule_id", sa.String(64), nullable=False),
            sa.Column("version", sa.BigInteger, nullable=False),
            sa.Column("content", sa.Text),
            sa.Column("role", sa.String(16), nullable=False),
            sa.Column("author", sa.String(100), nullable=False),
            sa.Column("note", sa.String(200), nullable=False),
            sa.Column("timestamp", sa.BigInteger, nullable=False),
            sqlite_autoincrement=True,
        )
        op.create_index(
            "merchandising_rules_version",
            "merchandising_rules",
            ["rule_id", "version"],
            unique=True,
        )


def downgrade() -> None:
    op.drop_table("merchandising_rules")
    op.drop_column("impressions", "rules")
