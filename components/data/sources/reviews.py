"""Reviews of the shop's review files."""

from __future__ import annotations

import ibis
import ibis.expr.types as ir

from components.data.schema import RAW
from components.data.sources.columns import complete, read
from components.data.sources.files import File
from components.data.sources.languages import only_preferred


def reviews_of(con: ibis.BaseBackend, file: File) -> ir.Table:
    """Return a file's reviews; the category is the most specific level.

    With ``languages`` of the source, only reviews in these languages.
    """
    defaults = {
        **dict.fromkeys(("user_id", "title"), ibis.null("string")),
        "category": ibis.null("array<string>"),
        "rating": ibis.null("float32"),
        "timestamp": ibis.null("timestamp('UTC')"),
    }
    read_rows = only_preferred(read(con, file, "reviews"), file.shown, file.source.languages)
    rows = complete(read_rows, defaults)
    return rows.mutate(category=rows.category[-1]).select(*RAW["reviews"].names)
