"""The check of one raw table: its rows are divided into valid and quarantined ones.

In: the Parquet file of a raw table. Out: that of the valid table and that of the quarantine. The
engine finds the reasons, of single rows (``expectations``) and of whole tables (``whole_table``);
then the table is read in batches, and its rows are divided by them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ibis
import ibis.expr.types as ir
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from ibis import _

from components.data.attributes import attribute_columns, label_of, with_attributes
from components.data.data_docs import SHOWN, Found, store_result
from components.data.engine import Engine
from components.data.expectations import COPY, NO_PRICE, Check, checks, counted, reasons_of
from components.data.feedback import without_untrusted_values
from components.data.quarantine import NOT_THE_SHOPS
from components.data.schema import ATTRIBUTION, RAW, TABLES
from components.data.whole_table import (
    SAME_ROW,
    Gate,
    apply_orders,
    copies,
    raw_rows,
    with_false_profiles,
    with_gate,
)
from components.settings import Validate

BATCH_ROWS = 250_000
"""Rows of a table that are in memory at a time."""
SAMPLE_ROWS = 100_000
"""Rows of a table that Great Expectations counts, too, at most."""


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


def divide(
    engine: Engine,
    table: str,
    places: Places,
    reasons: ir.Table,
    settings: Validate,
    impressions: ir.Table | None = None,
) -> dict[str, int]:
    """Write the rows with reasons to quarantine and the others to the valid table.

    reasons: (row, reasons). impressions: (row, *ATTRIBUTION) of rows that get these values in the
    valid table.

    Returns: how many of the valid rows have no value, by column, where any has none. Values that
    are taken from valid rows of feedback are not among them.
    """
    attributes = attribute_columns(pq.read_schema(places.raw).names)
    raw, kept = (with_attributes(one[table], attributes) for one in (RAW, TABLES))
    with_reasons = raw.append(pa.field("reasons", pa.list_(pa.string())))
    empty = dict.fromkeys((n for n in raw.names if n not in NOT_THE_SHOPS), 0)
    marked = reasons if impressions is None else reasons.outer_join(impressions, "row")
    if impressions is not None:
        marked = marked.mutate(row=ibis.coalesce(marked.row, marked.row_right))
    marks = _InOrder(engine, marked)
    with (
        pq.ParquetWriter(places.valid, kept) as valid,
        pq.ParquetWriter(places.quarantine, with_reasons) as quarantine,
    ):
        for start, rows in raw_batches(places.raw, table):
            found = marks.below(start + rows.num_rows)
            quarantined = found.filter(found["reasons"].is_valid())
            bad = quarantined["row"].to_numpy() - start
            good = rows if impressions is None else _with_impressions(rows, start, found)
            good = good.filter(~pd.RangeIndex(rows.num_rows).isin(bad))
            good = _without_bad_prices(good) if table == "items" else good
            for name in empty:
                empty[name] += good[name].null_count
            good = _as_trusted(good, settings) if table == "interactions" else good
            valid.write_table(good.select(kept.names))
            lists = quarantined["reasons"].cast(pa.list_(pa.string()))
            quarantine.write_table(
                rows.take(bad).append_column(with_reasons.field("reasons"), lists)
            )
    return {label_of(name): n for name, n in empty.items() if n}


class _InOrder:
    """The rows of a table in the order of its column ``row``, handed out part by part."""

    def __init__(self, engine: Engine, table: ir.Table) -> None:
        self._batches = engine.batches(table.order_by("row"))
        self._rest = table.schema().to_pyarrow().empty_table()

    def below(self, stop: int) -> pa.Table:
        """Return the rows numbered below ``stop`` that were not returned before."""
        parts = [self._rest]
        while not parts[-1].num_rows or parts[-1]["row"][-1].as_py() < stop:
            batch = next(self._batches, None)
            if batch is None:
                break
            parts.append(pa.Table.from_batches([batch]))
        rows = pa.concat_tables(parts)
        n = int(np.searchsorted(rows["row"].to_numpy(), stop))
        self._rest = rows.slice(n)
        return rows.slice(0, n)


def _without_bad_prices(items: pa.Table) -> pa.Table:
    at = items.schema.get_field_index("price")
    price = items["price"]
    positive = pc.if_else(pc.less_equal(price, 0), pa.scalar(None, price.type), price)
    return items.set_column(at, items.schema.field(at), positive)


def _with_impressions(rows: pa.Table, start: int, marks: pa.Table) -> pa.Table:
    """Return the rows, whose first one has the number ``start``, with their impressions."""
    found = marks.filter(marks["impression_id"].is_valid())
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


@dataclass(frozen=True)
class Checked:
    """What a reader should know of a table that was divided.

    empty: the empty cells of the valid rows (see ``divide``). kept: how many of them were kept
    though something is wrong: ``without_price``, their price is not positive, of items;
    ``partly_returned``, of interactions. notes: sentences.
    """

    empty: dict[str, int]
    kept: dict[str, int]
    notes: list[str]


def check_table(
    engine: Engine,
    context: Any,
    table: str,
    places: Places,
    settings: Validate,
    now: pd.Timestamp,
    gates: Sequence[Gate] = (),
) -> Checked:
    """Divide a raw table into its valid and its quarantined rows.

    context: Great Expectations', which has the result of the table afterwards. gates: further
    checks, in their order.
    """
    attributes = attribute_columns(pq.read_schema(places.raw).names)
    made = checks(table, settings, now, attributes)
    rows = raw_rows(engine, places.raw, table)
    copied = engine.keep(f"copies_of_{table}", copies(rows, SAME_ROW[table]))
    numbered = rows.left_join(copied, "row").drop("row_right").fill_null({COPY: 0})
    notes = _document(engine, context, table, numbered, made)
    reasons = engine.keep(f"reasons_of_{table}", reasons_of(numbered, made))
    kept, impressions = {}, None
    if table == "items":
        price_alone = reasons.reasons == ibis.array([NO_PRICE])
        kept["without_price"] = int(reasons.filter(price_alone).count().execute())
        reasons = reasons.filter(~price_alone)
    if table == "interactions":
        found, partly, impressions = apply_orders(engine, rows, reasons, settings)
        reasons = engine.keep("reasons_with_orders", found)
    for n, gate in enumerate(gates):
        reasons = engine.keep(f"reasons_{n}_of_{table}", with_gate(rows, reasons, gate))
    if table == "interactions":
        if settings.false_profiles:
            found = with_false_profiles(engine, rows, reasons)
            reasons = engine.keep("reasons_with_false_profiles", found)
        kept["partly_returned"] = int(partly.anti_join(reasons, "row").count().execute())
    return Checked(divide(engine, table, places, reasons, settings, impressions), kept, notes)


def _document(
    engine: Engine, context: Any, table: str, rows: ir.Table, made: Sequence[Check]
) -> list[str]:
    """Keep what the checks find in ``rows`` as Great Expectations' result; return its notes."""
    counts = counted(rows, made)
    found = []
    for one, own in zip(made, counts, strict=True):
        shown = pd.DataFrame({"row": [], "value": []})
        if own.unexpected:
            failing = rows.filter(one.fails(rows)).select("row", value=one.column)
            shown = _fetched(engine, failing.order_by("row").limit(SHOWN))
        found.append(Found(own, shown["row"].tolist(), shown["value"].tolist()))
    n = max((one.elements for one in counts), default=0)
    every = n // SAMPLE_ROWS + 1
    chosen = rows.filter(_.row % every == 0)
    columns = sorted({one.column for one in made} | {"event"} & set(rows.columns))
    sample = _fetched(engine, chosen.select("row", *columns).order_by("row"))
    of_sample = counts if every == 1 else counted(chosen, made)
    return store_result(context, table, made, found, sample, of_sample)


def _fetched(engine: Engine, table: ir.Table) -> pd.DataFrame:
    batches = list(engine.batches(table))
    return pa.Table.from_batches(batches, table.schema().to_pyarrow()).to_pandas()
