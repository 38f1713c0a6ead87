"""Interactions: lines of the shop's own files, and the exported feedback.

Both have the columns of the raw table (``schema.RAW``), LINE_CATALOGUE and country. Feedback
came over the network, so it says nothing about items and users: those columns are null.
"""

from __future__ import annotations

from pathlib import Path

import ibis
import ibis.expr.types as ir

from components.data.feedback import authentication_of
from components.data.schema import INTERACTIONS, RAW, SAME_EVENT, UNREADABLE
from components.data.sources.columns import LINE_CATALOGUE, complete, read
from components.data.sources.currencies import Rates
from components.data.sources.files import File
from components.data.sources.statuses import KEPT


def interactions_of(con: ibis.BaseBackend, file: File, place: int, rates: Rates) -> ir.Table:
    """Return a file's interactions, with what its lines say about item and user.

    place: the file's number among those of its source.

    Raises:
        ValueError: see ``columns.read`` and ``currencies.Rates``.
    """
    rows = read(con, file, "interactions")
    defaults = {
        **dict.fromkeys(("rating", "price"), ibis.null("float32")),
        **dict.fromkeys(("order_id", "impression_id", "country"), ibis.null("string")),
        **dict.fromkeys(("client", "authentication"), ibis.null("string")),
        **dict.fromkeys(("title", "description", "brand"), ibis.null("string")),
        "categories": ibis.null("array<string>"),
        "quantity": ibis.literal(1.0, "float32"),
        "event": ibis.literal(file.source.event),
        "status": ibis.null("string"),
        "version": ibis.literal(place if file.source.later_files == "replace" else None, "float64"),
    }
    rows = rates.converted(complete(rows, defaults), file, "interactions")
    rows = rows.mutate(
        status=rows.status.nullif(KEPT),
        version=ibis.ifelse(rows.order_id.notnull(), rows.version, ibis.null("float64")),
    )
    rows = _with_pieces(rows, file)
    return rows.select(*RAW["interactions"].names, *LINE_CATALOGUE, "country")


def _with_pieces(rows: ir.Table, file: File) -> ir.Table:
    """Return ``rows`` in their order with ``piece``: how many equal rows come before a row, 0 where
    equal rows are no pieces."""
    if file.source.repeated_lines == "duplicate":
        return rows.mutate(piece=ibis.literal(0, "int64"))
    same = [*SAME_EVENT, "status", "version", UNREADABLE]
    place = ibis.row_number().over(group_by=same, order_by=rows.source_row)
    return rows.mutate(piece=place).order_by("source_row")


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
                price_given=ibis.null("float32"),
                currency_given=ibis.null("string"),
                piece=ibis.literal(0, "int64"),
                status=ibis.null("string"),
                version=ibis.null("float64"),
                **{UNREADABLE: ibis.null("string")},
            ).select(*RAW["interactions"].names, *LINE_CATALOGUE, "country")
        )
    return tables
