"""Impressions have the place of the shop where they were shown; null in those from before."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    found = sa.inspect(op.get_bind()).get_columns("impressions")
    # A database without the table of its revision passes all scripts again.
    if "surface" not in {column["name"] for column in found}:
        op.add_column("impressions", sa.Column("surface", sa.String(32)))


def downgrade() -> None:
    op.drop_column("impressions", "surface")
