"""Users: the shop's user files, and the users that only its lines have."""

from __future__ import annotations

from collections.abc import Sequence

import ibis
import ibis.expr.types as ir

from components.data.attributes import nulls
from components.data.erased_rows import without_erased
from components.data.schema import LINES, RAW, UNREADABLE
from components.data.sources.columns import complete, read
from components.data.sources.files import File
from components.data.sources.lines import most_frequent, together
from components.file_erasure import ErasedPeople


def users_table(
    con: ibis.BaseBackend,
    lines: ir.Table,
    files: list[File],
    erasures: ErasedPeople | None = None,
    attributes: Sequence[str] = (),
) -> ir.Table:
    """Return the raw users: those of the shop's user files, then those that only the lines have.

    lines: all interactions, with the feedback. erasures: rows of erased people are left out of the
    user files; ``lines`` must be without them already. attributes: their columns.
    """
    names = [*RAW["users"].names, *attributes]
    bought = lines.filter(lines.user_id.notnull())
    from_lines = (
        bought.select("user_id")
        .distinct()
        .left_join(most_frequent(bought, "user_id", "country"), "user_id")
        .mutate(
            source=ibis.literal(LINES),
            source_row=ibis.null("int64"),
            **{UNREADABLE: ibis.null("string")},
            **nulls(attributes),
        )
        .select(*names)
    )
    if not files:
        return from_lines.order_by("user_id")
    found = [
        without_erased(con, _users_of(con, file, attributes), erasures, "users") for file in files
    ]
    given = together(con, "users", found)
    others = from_lines.anti_join(given, "user_id").order_by("user_id")
    return together(con, "all_users", [given, others])


def _users_of(con: ibis.BaseBackend, file: File, attributes: Sequence[str]) -> ir.Table:
    """Return the users of one user file; attributes that it lacks are null."""
    defaults = {"country": ibis.null("string"), **nulls(attributes)}
    rows = complete(read(con, file, "users"), defaults)
    return rows.select(*RAW["users"].names, *attributes)
