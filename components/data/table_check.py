"""The check of one raw table: its rows are divided into valid and quarantined ones.

In: the Parquet file of a raw table. Out: that of the valid table and that of the quarantine. The
table is read twice, in batches: for Great Expectations, and to divide the rows by the reasons that
it and the whole-table checks found.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ibis
import ibis.expr.types as ir
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from ibis import _

from components.data.attributes import attribute_columns, label_of, with_attributes
from components.data.batches import BatchValidation
from components.data.expectations import COPY, NO_PRICE, suite
from components.data.feedback import without_untrusted_values
from components.data.quarantine import NOT_THE_SHOPS
from components.data.schema import ATTRIBUTION, RAW, TABLES
from components.data.whole_table import (
    SAME_ROW,
    Gate,
    apply_orders,
    copies,
    listed,
    pass_gates,
    quarantine_false_profiles,
    raw_rows,
)
from components.settings import Validate

BATCH_ROWS = 250_000
"""Rows of a table that are in memory at a time."""


@dataclass(frozen=True)
class Places:
    """The files of a table: where its rows come from, and where they go."""

    raw: Path
    valid: Path
    quarantine: Path

    @classmethod
    def below(cls, root: Path, table: str) -> Places:
        return cls(
            *(root / "data" / name / f"{table}.parquet" for name in ("raw", "valid", "quarantine"))
        )


def raw_batches(file: Path, table: str) -> Iterator[tuple[int, pa.Table]]:
    """Yield the raw table's rows in batches, each with the number of its first row.

    Columns that the file lacks are null, and so is a number that is not one (NaN). A file without
    rows gives one empty batch.
    """
    source = pq.ParquetFile(file)
    schema = with_attributes(RAW[table], source.schema_arrow.names)
    start = 0
    for batch in source.iter_batches(BATCH_ROWS):
        yield start, _completed(pa.Table.from_batches([batch]), schema)
        start += batch.num_rows
    if not start:
        yield 0, schema.empty_table()


def _completed(rows: pa.Table, schema: pa.Schema) -> pa.Table:
    """Return the rows with the columns and types of ``schema``."""
    columns = []
    for field in schema:
        if field.name not in rows.column_names:
            columns.append(pa.nulls(rows.num_rows, field.type))
            continue
        column = rows[field.name].cast(field.type)
        if pa.types.is_floating(field.type):
            column = pc.if_else(pc.is_nan(column), pa.scalar(None, field.type), column)
        columns.append(column)
    return pa.table(columns, schema=schema)


def find_reasons(
    con: ibis.BaseBackend, context: Any, table: str, file: Path, expectations: list[Any]
) -> str:
    """Return the name of a table of the database with (row, place, reason) of what is wrong.

    Only with what Great Expectations finds, which includes duplicates.
    """
    found_copies = con.create_table(
        f"copies_of_{table}", copies(raw_rows(con, file, table), SAME_ROW[table])
    )
    validation = BatchValidation(context, table, expectations)
    columns = {one.column for one in expectations} - {COPY}
    name = f"reasons_of_{table}"
    con.create_table(name, schema={"row": "int64", "place": "int32", "reason": "string"})
    for start, rows in raw_batches(file, table):
        batch = rows.select(sorted(columns)).to_pandas()
        batch.index = pd.RangeIndex(start, start + rows.num_rows)
        copy = _within(found_copies, batch.index).to_pandas().set_index("row")["copy"]
        batch[COPY] = copy.reindex(batch.index, fill_value=0)
        con.insert(name, validation.failures(batch))
    validation.store()
    return name


def _within(table: ir.Table, rows: pd.RangeIndex) -> pa.Table:
    """Return what a table of the database says of a range of rows, in their order."""
    return table.filter(_.row >= rows.start, _.row < rows.stop).order_by("row").to_pyarrow()


def divide(
    con: ibis.BaseBackend,
    table: str,
    places: Places,
    reasons: str,
    settings: Validate,
    impressions: ir.Table | None = None,
) -> dict[str, int]:
    """Write the rows with reasons to quarantine and the others to the valid table.

    impressions: (row, *ATTRIBUTION) of rows that get these values in the valid table.

    Returns: how many of the valid rows have no value, by column, where any has none. Values that
    are taken from valid rows of feedback are not among them.
    """
    lists = con.create_table(f"lists_of_{table}", listed(con.table(reasons)).order_by("row"))
    attributes = attribute_columns(pq.read_schema(places.raw).names)
    raw, kept = (with_attributes(one[table], attributes) for one in (RAW, TABLES))
    with_reasons = raw.append(pa.field("reasons", pa.list_(pa.string())))
    empty = dict.fromkeys((n for n in raw.names if n not in NOT_THE_SHOPS), 0)
    with (
        pq.ParquetWriter(places.valid, kept) as valid,
        pq.ParquetWriter(places.quarantine, with_reasons) as quarantine,
    ):
        for start, rows in raw_batches(places.raw, table):
            of_batch = _within(lists, pd.RangeIndex(start, start + rows.num_rows))
            bad = of_batch["row"].to_numpy() - start
            good = rows if impressions is None else _with_impressions(rows, start, impressions)
            good = good.filter(~pd.RangeIndex(rows.num_rows).isin(bad))
            good = _without_bad_prices(good) if table == "items" else good
            for name in empty:
                empty[name] += good[name].null_count
            good = _as_trusted(good, settings) if table == "interactions" else good
            valid.write_table(good.select(kept.names))
            quarantine.write_table(
                rows.take(bad).append_column(with_reasons.field("reasons"), of_batch["reasons"])
            )
    return {label_of(name): n for name, n in empty.items() if n}


def _without_bad_prices(items: pa.Table) -> pa.Table:
    at = items.schema.get_field_index("price")
    price = items["price"]
    positive = pc.if_else(pc.less_equal(price, 0), pa.scalar(None, price.type), price)
    return items.set_column(at, items.schema.field(at), positive)


def _with_impressions(rows: pa.Table, start: int, impressions: ir.Table) -> pa.Table:
    """Return the rows, whose first one has the number ``start``, with their impressions."""
    found = _within(impressions, pd.RangeIndex(start, start + rows.num_rows))
    if not found.num_rows:
        return rows
    mask = pd.RangeIndex(start, start + rows.num_rows).isin(found["row"].to_numpy())
    for name in ATTRIBUTION:
        at = rows.schema.get_field_index(name)
        given = found[name].combine_chunks().cast(rows.schema.field(at).type)
        values = pc.replace_with_mask(rows[name].combine_chunks(), mask, given)
        rows = rows.set_column(at, rows.schema.field(at), values)
    return rows


def _as_trusted(rows: pa.Table, settings: Validate) -> pa.Table:
    """Return the rows without the values that their senders may not set."""
    if rows["authentication"].null_count == rows.num_rows:
        return rows
    values = rows.select(["authentication", "price", "quantity"]).to_pandas()
    trusted = without_untrusted_values(values, settings)
    for name in ("price", "quantity"):
        at = rows.schema.get_field_index(name)
        field = rows.schema.field(at)
        rows = rows.set_column(at, field, pa.array(trusted[name], field.type, from_pandas=True))
    return rows


def check_table(
    con: ibis.BaseBackend,
    context: Any,
    table: str,
    places: Places,
    settings: Validate,
    now: pd.Timestamp,
    gates: Sequence[Gate] = (),
) -> tuple[dict[str, int], dict[str, int]]:
    """Divide a raw table into its valid and its quarantined rows.

    gates: further checks, in their order.

    Returns: the empty cells of the valid rows (see ``divide``), and how many of them were kept
    though something is wrong: ``without_price``, their price is not positive, of items;
    ``partly_returned``, of interactions.
    """
    attributes = attribute_columns(pq.read_schema(places.raw).names)
    expected = suite(table, settings, now, attributes)
    reasons = find_reasons(con, context, table, places.raw, expected)
    rows = raw_rows(con, places.raw, table)
    kept = {}
    if table == "items":
        kept["without_price"] = _forgive_prices(con, reasons)
    if table != "interactions":
        pass_gates(con, rows, reasons, gates)
        return divide(con, table, places, reasons, settings), kept
    partly, impressions = apply_orders(con, rows, reasons, settings)
    pass_gates(con, rows, reasons, gates)
    if settings.false_profiles:
        quarantine_false_profiles(con, rows, reasons)
    kept["partly_returned"] = int(partly.anti_join(con.table(reasons), "row").count().execute())
    return divide(con, table, places, reasons, settings, impressions), kept


def _forgive_prices(con: ibis.BaseBackend, reasons: str) -> int:
    """Take away the reason of rows with no other one than their price; return how many."""
    rows = listed(con.table(reasons))
    forgiven = rows.filter(rows.reasons == ibis.array([NO_PRICE])).select("row").to_pyarrow()
    con.create_table("forgiven", forgiven)
    con.raw_sql(f"DELETE FROM {reasons} WHERE row IN (SELECT row FROM forgiven)")
    return forgiven.num_rows
