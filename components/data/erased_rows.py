"""The rows of erased people are left out of the raw tables."""

from __future__ import annotations

import ibis
import ibis.expr.types as ir
import pandas as pd
import pyarrow as pa
from ibis import _

from components.file_erasure import ErasedPeople


def without_erased(
    con: ibis.BaseBackend, table: ir.Table, erasures: ErasedPeople | None, name: str
) -> ir.Table:
    """Return ``table`` without the rows of erased people, and print how many those are.

    What a person did after the erasure stays. A row without a time, or of a table without the
    column ``timestamp``, may be from before it and is left out. The order of the rows stays.
    """
    if erasures is None or not erasures.times:
        return table
    ids = table.filter(_.user_id.notnull()).select("user_id").distinct().to_pyarrow_batches()
    erased = erasures.among(user for batch in ids for user in batch.column(0).to_pylist())
    if not erased:
        return table
    times = pd.to_datetime(list(erased.values()), unit="us", utc=True)
    people = con.create_table(
        ibis.util.gen_name("erased"),
        pa.Table.from_pandas(pd.DataFrame({"erased_user": list(erased), "erased_at": times})),
        temp=True,
    )
    marked = table.mutate(place=ibis.row_number()).left_join(people, [("user_id", "erased_user")])
    kept = marked.erased_at.isnull()
    if "timestamp" in table.columns:
        kept = kept | (marked.timestamp > marked.erased_at.cast("timestamp('UTC')")).fill_null(
            False
        )
    left_out = int(marked.filter(~kept).count().execute())
    print(f"{name:<13}{left_out:>10,} rows of {len(erased):,} erased people left out")
    return marked.filter(kept).order_by("place").select(*table.columns)
