"""Events have the id of their order; null in events from before."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    found = sa.inspect(op.get_bind()).get_columns("events")
    # A database without the table of its revision passes all scripts again.
    if "order_id" not in {column["name"] for column in found}:
        op.add_column("events", sa.Column("order_id", sa.String(200)))


def downgrade() -> None:
    op.drop_column("events", "order_id")
