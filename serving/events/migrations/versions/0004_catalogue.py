"""Products are deleted, expire, and have an image and a page; null clears a field."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

COLUMNS = {
    "image": sa.Text,
    "url": sa.Text,
    "cleared": sa.Text,
    "expires_at": sa.BigInteger,
    "deleted": sa.Boolean,
}


def upgrade() -> None:
    # A database without the table of its revision passes all scripts again.
    found = {column["name"] for column in sa.inspect(op.get_bind()).get_columns("catalogue")}
    for name, kind in COLUMNS.items():
        if name not in found:
            op.add_column("catalogue", sa.Column(name, kind))


def downgrade() -> None:
    for name in COLUMNS:
        op.drop_column("catalogue", name)
