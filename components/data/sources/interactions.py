"""Interactions: lines of the shop's own files, and the exported feedback.

Both have the columns of the raw table (``schema.RAW``), LINE_CATALOGUE and country. Feedback
came over the network, so it says nothing about items and users: those columns are null.
"""

from __future__ import annotations

from pathlib import Path

import ibis
import ibis.expr.types as ir

from components.data.feedback import authentication_of
from components.data.schema import INTERACTIONS, RAW, UNREADABLE
from components.data.sources.columns import LINE_CATALOGUE, complete, read
from components.data.sources.files import File


def interactions_of(con: ibis.BaseBackend, file: File) -> ir.Table:
    """Return a file's interactions, with what its lines say about item and user."""
    rows = read(con, file, "interactions")
    defaults = {
        **dict.fromkeys(("rating", "price"), ibis.null("float32")),
        **dict.fromkeys(("order_id", "impression_id", "country"), ibis.null("string")),
        **dict.fromkeys(("client", "authentication"), ibis.null("string")),
        **dict.fromkeys(("title", "description", "brand"), ibis.null("string")),
        "categories": ibis.null("array<string>"),
        "quantity": ibis.literal(1.0, "float32"),
        "event": ibis.literal(file.source.event),
    }
    return complete(rows, defaults).select(*RAW["interactions"].names, *LINE_CATALOGUE, "country")


def feedback_of(con: ibis.BaseBackend, folder: Path, root: Path) -> list[ir.Table]:
    """Return the feedback's interactions, one table for each Parquet file below ``folder``.

    Their ``authentication`` is never null: null marks the shop's own lines.

    Raises:
        ValueError: a file lacks a column of the contract's interactions.
    """
    tables = []
    for path in sorted((root / folder).rglob("*.parquet")):
        shown = str(path.relative_to(root))
        # Files exported before these columns existed do not say who sent the events.
        found = complete(
            con.read_parquet(str(path)),
            dict.fromkeys(("client", "authentication"), ibis.null("string")),
        )
        missing = set(INTERACTIONS.names) - set(found.columns) - {"source", "source_row"}
        if missing:
            raise ValueError(
                f"feedback file {shown} lacks {', '.join(sorted(missing))}: it must have the "
                "columns that `bowerbird export-feedback` writes"
            )
        tables.append(
            found.mutate(
                source=ibis.literal(shown),
                source_row=ibis.row_number(),
                timestamp=found.timestamp.cast("timestamp('UTC')"),
                **{
                    # A column without values has the type null in the file.
                    name: found[name].cast(ibis.dtype(INTERACTIONS.field(name).type))
                    for name in INTERACTIONS.names
                    if name not in ("source", "source_row", "timestamp", "authentication")
                },
                authentication=authentication_of(found.authentication.cast("string")),
                **dict.fromkeys(("title", "description", "brand"), ibis.null("string")),
                categories=ibis.null("array<string>"),
                country=ibis.null("string"),
                **{UNREADABLE: ibis.null("string")},
            ).select(*RAW["interactions"].names, *LINE_CATALOGUE, "country")
        )
    return tables
