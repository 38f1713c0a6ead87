"""Validation of the raw tables; bad rows go to quarantine with the reason.

In: ``data/raw``. Out: ``data/valid`` (the rows that passed all checks), ``data/quarantine`` (the
others, unchanged, with the column ``reasons``), ``reports/data_docs`` (Great Expectations'
pages), ``reports/validation.json`` (the counts). For each table rows in = kept + quarantined.

Values that could not be read quarantine their row (``price cannot be read``). An item whose price
is not positive is kept without a price: its purchases are as good as others. Events of a product
that no item file has are quarantined and reported, but are no fault of the data (``joins`` says
when they are).

Feedback passes further checks (see ``feedback``): clients that send mostly bad rows, and events
above the daily limit of a user, client or product. Feedback without the shop's key loses its
price, and its quantity is capped. Too large a share of bad rows stops the run only in the shop's
own files.

No table is held in memory: Great Expectations sees one batch of rows after another (``batches``),
the database finds what needs the whole table (``whole_table``), and the reasons of both divide the
rows in a second pass.
"""

from __future__ import annotations

import json
import os
import shutil
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

from components.data.batches import BatchValidation, write_data_docs
from components.data.engine import database
from components.data.expectations import COPY, NO_PRICE, NOT_A_PRODUCT, suite
from components.data.feedback import BAD_CLIENT, without_untrusted_values
from components.data.joins import joins_of, too_few_known
from components.data.quarantine import (
    NOT_THE_SHOPS,
    Outcome,
    faulty_rows,
    largest_customer,
    lost_kinds,
    print_counts,
)
from components.data.schema import RAW, TABLES
from components.data.whole_table import (
    SAME_ROW,
    Gate,
    apply_orders,
    copies,
    gates_of_interactions,
    listed,
    pass_gates,
    raw_rows,
)
from components.settings import Settings, Validate

os.environ.setdefault("GX_ANALYTICS_ENABLED", "false")
import great_expectations as gx

KEPT = {
    "without_price": "kept without a price: not positive",
    "partly_returned": "kept whole though partly returned",
}
"""Rows that are kept though something is wrong with them, by their name in the report."""

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
    start = 0
    for batch in source.iter_batches(BATCH_ROWS):
        yield start, _completed(pa.Table.from_batches([batch]), RAW[table])
        start += batch.num_rows
    if not start:
        yield 0, RAW[table].empty_table()


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
    con: ibis.BaseBackend, table: str, places: Places, reasons: str, settings: Validate
) -> dict[str, int]:
    """Write the rows with reasons to quarantine and the others to the valid table.

    Returns: how many of the valid rows have no value, by column, where any has none. Values that
    are taken from valid rows of feedback are not among them.
    """
    lists = con.create_table(f"lists_of_{table}", listed(con.table(reasons)).order_by("row"))
    with_reasons = RAW[table].append(pa.field("reasons", pa.list_(pa.string())))
    empty = dict.fromkeys((n for n in RAW[table].names if n not in NOT_THE_SHOPS), 0)
    with (
        pq.ParquetWriter(places.valid, TABLES[table]) as valid,
        pq.ParquetWriter(places.quarantine, with_reasons) as quarantine,
    ):
        for start, rows in raw_batches(places.raw, table):
            of_batch = _within(lists, pd.RangeIndex(start, start + rows.num_rows))
            bad = of_batch["row"].to_numpy() - start
            good = rows.filter(~pd.RangeIndex(rows.num_rows).isin(bad))
            good = _without_bad_prices(good) if table == "items" else good
            for name in empty:
                empty[name] += good[name].null_count
            good = _as_trusted(good, settings) if table == "interactions" else good
            valid.write_table(good.select(TABLES[table].names))
            quarantine.write_table(
                rows.take(bad).append_column(with_reasons.field("reasons"), of_batch["reasons"])
            )
    return {name: n for name, n in empty.items() if n}


def _without_bad_prices(items: pa.Table) -> pa.Table:
    at = items.schema.get_field_index("price")
    price = items["price"]
    positive = pc.if_else(pc.less_equal(price, 0), pa.scalar(None, price.type), price)
    return items.set_column(at, items.schema.field(at), positive)


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
    reasons = find_reasons(con, context, table, places.raw, suite(table, settings, now))
    rows = raw_rows(con, places.raw, table)
    kept = {}
    if table == "items":
        kept["without_price"] = _forgive_prices(con, reasons)
    partly = apply_orders(con, rows, reasons, settings) if table == "interactions" else ""
    pass_gates(con, rows, reasons, gates)
    if partly:
        whole = con.table(partly).anti_join(con.table(reasons), "row")
        kept["partly_returned"] = int(whole.count().execute())
    return divide(con, table, places, reasons, settings), kept


def _forgive_prices(con: ibis.BaseBackend, reasons: str) -> int:
    """Take away the reason of rows with no other one than their price; return how many."""
    rows = listed(con.table(reasons))
    forgiven = rows.filter(rows.reasons == ibis.array([NO_PRICE])).select("row").to_pyarrow()
    con.create_table("forgiven", forgiven)
    con.raw_sql(f"DELETE FROM {reasons} WHERE row IN (SELECT row FROM forgiven)")
    return forgiven.num_rows


def run(settings: Settings, root: Path) -> None:
    """The stage ``validate``: data/raw → data/valid, data/quarantine and the reports."""
    for name in ("valid", "quarantine"):
        shutil.rmtree(root / "data" / name, ignore_errors=True)
        (root / "data" / name).mkdir(parents=True)
    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = {"globally": False}
    with database(root, settings.ingest.memory_gb) as con:
        report, too_bad = _validated(con, context, settings.validate_, root)
    docs = root / "reports/data_docs"
    shutil.rmtree(docs, ignore_errors=True)
    write_data_docs(context, docs)
    file = root / "reports/validation.json"
    file.write_text(json.dumps(report, indent=2))
    if too_bad:
        raise ValueError(
            "too many bad rows in the shop's own files:\n  "
            + "\n  ".join(too_bad)
            + "\nLook at data/quarantine/*.parquet and reports/data_docs/index.html; mend the "
            "files or the sources in params.yaml, or change the limits in `validate`."
        )


def _validated(
    con: ibis.BaseBackend, context: Any, settings: Validate, root: Path
) -> tuple[dict[str, dict[str, Any]], list[str]]:
    """Check all tables; return the report, and why the run must stop."""
    now = pd.Timestamp.now(tz="UTC")
    report: dict[str, dict[str, Any]] = {}
    too_bad: list[str] = []
    for table in ("items", "users", "interactions", "reviews"):
        places = Places.below(root, table)
        feedback = table == "interactions" and _has_feedback(con, places.raw)
        gates: tuple[Gate, ...] = ()
        if table == "interactions":
            gates = gates_of_interactions(settings, *_products(con, root), feedback)
        empty, kept = check_table(con, context, table, places, settings, now, gates)
        found = Outcome(con.read_parquet(str(places.valid)), _quarantined(con, places))
        own = found.part(feedback=False) if feedback else found
        report[table] = {**found.counts, "examples": found.examples, "empty": empty, **kept}
        print_counts(table, report[table], own.counts["reasons"], own.examples)
        for what, n in kept.items():
            if n:
                print(f"    {n:>9,} {KEPT[what]}")
        if table == "interactions":
            _add_feedback(report[table], found.part(feedback=True) if feedback else None)
            too_bad += _of_own_interactions(con, root, own, report[table], settings)
        too_bad += _too_bad(table, own, settings)
    return {table: report[table] for table in TABLES}, too_bad


def _has_feedback(con: ibis.BaseBackend, raw: Path) -> bool:
    return bool(con.read_parquet(str(raw)).authentication.count().execute())


def _quarantined(con: ibis.BaseBackend, places: Places) -> ir.Table:
    """Return the quarantined rows with their number, from 0, as ``row``."""
    rows = con.read_parquet(str(places.quarantine), file_row_number=True)
    return rows.rename(row="file_row_number")


def _products(con: ibis.BaseBackend, root: Path) -> tuple[ir.Table, ir.Table]:
    """Return (item_id) of the valid items, and (item_id, why) of the others."""
    places = Places.below(root, "items")
    products = con.read_parquet(str(places.valid)).select("item_id")
    bad = _quarantined(con, places)
    bad = bad.filter(bad.item_id.notnull()).anti_join(products, "item_id")
    first = bad.group_by("item_id").aggregate(why=_.reasons.join(", ").argmin(_.row))
    return products, first


def _add_feedback(report: dict[str, Any], feedback: Outcome | None) -> None:
    """Add to the report of the interactions, and print, what became of the feedback."""
    if feedback is None:
        nothing = {"rows": 0, "kept": 0, "quarantined": 0, "reasons": {}, "bad_clients": 0}
        report["feedback"] = nothing
        return
    clients = feedback.bad.filter(_.reasons.contains(BAD_CLIENT)).select("client").distinct()
    report["feedback"] = {**feedback.counts, "bad_clients": int(clients.count().execute())}
    print_counts("  feedback", feedback.counts, feedback.counts["reasons"], feedback.examples)


def _of_own_interactions(
    con: ibis.BaseBackend, root: Path, own: Outcome, report: dict[str, Any], settings: Validate
) -> list[str]:
    """Add to ``report``, and print, what the shop's own interactions are checked for as a whole.

    Returns: why the run must stop.
    """
    of_products = own.bad.filter(~own.bad.reasons.contains(NOT_A_PRODUCT))
    ids = ["user_id", "item_id"]
    joins = joins_of(
        own.good.select(ids).union(of_products.select(ids)),
        *(con.read_parquet(str(Places.below(root, name).raw)) for name in ("items", "users")),
    )
    for name, found in joins.items():
        print(f"    {found.line()}")
        report[name] = found.report()
    note = largest_customer(own.good)
    if note:
        print(f"    {note}")
    return [*too_few_known(joins, settings), *lost_kinds(own.good, own.bad)]


def _too_bad(table: str, own: Outcome, settings: Validate) -> list[str]:
    """Return a sentence if too large a share of the shop's own rows is bad."""
    found = own.counts
    share = faulty_rows(own.bad) / max(found["rows"], 1)
    if share <= settings.max_bad_share:
        return []
    worst = ", ".join(f"{reason} ({n:,})" for reason, n in found["reasons"].items())
    return [
        f"{table}: {share:.0%} of {found['rows']:,} rows are bad (validate.max_bad_share is "
        f"{settings.max_bad_share:.0%}): {worst}"
    ]
