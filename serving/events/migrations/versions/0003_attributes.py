"""Attributes of users (``PUT /users``) and of products (``PUT /items``)."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # A database without the table of its revision passes all scripts again.
    inspector = sa.inspect(op.get_bind())
    if "attributes" not in {column["name"] for column in inspector.get_columns("catalogue")}:
        op.add_column("catalogue", sa.Column("attributes", sa.Text))
    if not inspector.has_table("users"):
        op.create_table(
            "users",
            sa.Column("profile", sa.String(220), primary_key=True),
            sa.Column("user_id", sa.String(200), nullable=False),
            sa.Column("attributes", sa.Text, nullable=False),
            sa.Column("revision", sa.BigInteger, nullable=False),
        )
        op.create_index("users_revision", "users", ["revision"])


def downgrade() -> None:
    op.drop_table("users")
    op.drop_column("catalogue", "attributes")
