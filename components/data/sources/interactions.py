"""Interactions: lines of the shop's own files, and the exported feedback.

Both have the columns LINE: those of the raw table (``schema.RAW``), LINE_CATALOGUE, country and
ENTRY. Feedback came over the network, so it says nothing about items and users: those columns are
null.
"""

from __future__ import annotations

from pathlib import Path

import duckdb
import ibis
import ibis.expr.types as ir
from ibis import _

from components.data.feedback import authentication_of, unreadable_feedback
from components.data.schema import INTERACTIONS, OLDER_VERSION, RAW, SAME_EVENT, UNREADABLE
from components.data.sources.columns import LINE_CATALOGUE, complete, read
from components.data.sources.currencies import Rates
from components.data.sources.files import File
from components.data.sources.statuses import KEPT

ENTRY = "entry"
"""Number of a line's source among ``ingest.interactions``, null for feedback."""

LINE = (*RAW["interactions"].names, *LINE_CATALOGUE, "country", ENTRY)

_DEFAULTS = {
    **{field.name: ibis.null(ibis.dtype(field.type)) for field in RAW["interactions"]},
    **dict.fromkeys(("title", "description", "brand", "country"), ibis.null("string")),
    "categories": ibis.null("array<string>"),
    "quantity": ibis.literal(1.0, "float32"),
    "piece": ibis.literal(0, "int64"),
    ENTRY: ibis.null("int64"),
}
"""Values of the columns that a file lacks."""


def interactions_of(
    con: ibis.BaseBackend, file: File, place: int, rates: Rates, entry: int = 0
) -> ir.Table:
    """Return a file's interactions, with what its lines say about item and user.

    place: the file's number among those of its source. entry: the source's number.

    Raises:
        ValueError: see ``columns.read`` and ``currencies.Rates``.
    """
    rows = read(con, file, "interactions")
    defaults = {
        **_DEFAULTS,
        "event": ibis.literal(file.source.event),
        "version": ibis.literal(place if file.source.later_files == "replace" else None, "float64"),
    }
    rows = rates.converted(complete(rows, defaults), file, "interactions")
    rows = rows.mutate(
        # Of an empty cell. A row with a quantity that cannot be read goes to quarantine.
        quantity=rows.quantity.fill_null(1.0),
        status=rows.status.nullif(KEPT),
        version=ibis.ifelse(rows.order_id.notnull(), rows.version, ibis.null("float64")),
        **{ENTRY: ibis.literal(entry, "int64")},
    )
    return _with_pieces(rows, file).select(*LINE)


def _with_pieces(rows: ir.Table, file: File) -> ir.Table:
    """Return ``rows`` in their order with ``piece``: how many equal rows come before a row, 0 where
    equal rows are no pieces."""
    if file.source.repeated_lines == "duplicate":
        return rows
    same = [*SAME_EVENT, "status", "version", UNREADABLE]
    place = ibis.row_number().over(group_by=same, order_by=rows.source_row)
    return rows.mutate(piece=place).order_by("source_row")


def with_older_versions(lines: ir.Table) -> ir.Table:
    """Return ``lines`` in their order; those of older versions of orders have that status.

    A version is compared with those of the same order in the same source: two sources may use one
    id for two orders.
    """
    if not lines.version.count().execute():
        return lines
    newest = (
        lines.filter(lines.version.notnull())
        .group_by([ENTRY, "order_id"])
        .aggregate(newest=_.version.max())
    )
    joined = lines.mutate(place=ibis.row_number()).left_join(newest, [ENTRY, "order_id"])
    status = ibis.ifelse(joined.version < joined.newest, OLDER_VERSION, joined.status)
    return joined.mutate(status=status).order_by("place").select(*LINE)


def feedback_of(con: ibis.BaseBackend, folder: Path, root: Path) -> list[ir.Table]:
    """Return the feedback's interactions, one table for each Parquet file below ``folder``.

    Their ``authentication`` is never null: null marks the shop's own lines.

    Raises:
        ValueError: a file cannot be read, or lacks a column of the contract's interactions.
    """
    return [_feedback_of(con, path, root) for path in sorted((root / folder).rglob("*.parquet"))]


def _feedback_of(con: ibis.BaseBackend, path: Path, root: Path) -> ir.Table:
    shown = str(path.relative_to(root))
    try:
        found = con.read_parquet(str(path))
    except duckdb.Error as error:
        raise unreadable_feedback(shown, error) from error
    # Files exported before these columns existed do not say who sent the events, nor from which
    # place of a list.
    later = ("client", "authentication", "list_source", "position")
    found = complete(found, {name: _DEFAULTS[name] for name in later})
    of_file = [name for name in INTERACTIONS.names if name not in ("source", "source_row")]
    missing = set(of_file) - set(found.columns)
    if missing:
        raise ValueError(
            f"feedback file {shown} lacks {', '.join(sorted(missing))}: it must have the "
            "columns that `bowerbird export-feedback` writes"
        )
    # A column without values has the type null in the file.
    typed = {name: found[name].cast(ibis.dtype(INTERACTIONS.field(name).type)) for name in of_file}
    rows = found.select(**typed, source=ibis.literal(shown), source_row=ibis.row_number()).mutate(
        quantity=_.quantity.fill_null(1.0),
        authentication=authentication_of(_.authentication),
    )
    return complete(rows, _DEFAULTS).select(*LINE)
