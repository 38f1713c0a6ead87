"""Reviews of the shop's review files."""

from __future__ import annotations

import ibis
import ibis.expr.types as ir

from components.data.schema import RAW
from components.data.sources.columns import complete, read
from components.data.sources.files import File


def reviews_of(con: ibis.BaseBackend, file: File) -> ir.Table:
    """Return a file's reviews; the category is the most specific level."""
    defaults = {
        **dict.fromkeys(("user_id", "title"), ibis.null("string")),
        "category": ibis.null("array<string>"),
        "rating": ibis.null("float32"),
        "timestamp": ibis.null("timestamp('UTC')"),
    }
    rows = complete(read(con, file, "reviews"), defaults)
    return rows.mutate(category=rows.category[-1]).select(*RAW["reviews"].names)
