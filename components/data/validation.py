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
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ibis
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from components.data.feedback import (
    BAD_CLIENT,
    of_bad_clients,
    over_limits,
    without_untrusted_values,
)
from components.data.joins import joins_of, too_few_known
from components.data.orders import (
    COLUMNS,
    NO_FAULT,
    PARTLY_RETURNED,
    RETURNS_BREAK,
    USABLE,
    order_problems,
)
from components.data.quarantine import (
    NOT_IN_CATALOGUE,
    counts,
    empty_cells,
    examples,
    faulty_rows,
    largest_customer,
    lost_kinds,
    print_counts,
)
from components.data.schema import EVENTS, ORDER_COLUMNS, RAW, SAME_EVENT, TABLES, UNREADABLE
from components.settings import Settings, Validate

os.environ.setdefault("GX_ANALYTICS_ENABLED", "false")
import great_expectations as gx
import great_expectations.expectations as gxe
from great_expectations.expectations.row_conditions import Column

ROW = "row"  # the column that names a row to Great Expectations and back
COPY = "copy"  # number of equal rows before this one
PARTLY = "partly returned"  # column: a purchase that is kept though a part of it was returned
DUPLICATE, UNKNOWN_PRODUCT = "duplicate", "unknown product"
NOT_A_PRODUCT, NO_PRICE = "not a product", "price not positive"

READ_AS = {
    "interactions": ("timestamp", "price", "quantity", "rating", "version"),
    "items": ("price",),
    "users": (),
    "reviews": ("timestamp", "rating"),
}
"""Columns of a type that a file's text may not have, by table."""

FOLLOWS = {
    "no time": "timestamp cannot be read",
    "rating event without a rating": "rating cannot be read",
}
"""Reasons that say nothing new to another one."""

SAME_ROW = {
    # Shops send one file twice, and feedback may repeat what the shop's own export has: equal
    # rows are one event, whatever file they came in.
    "interactions": [*SAME_EVENT, *ORDER_COLUMNS.names],
    "items": ["item_id"],
    "users": ["user_id"],
    "reviews": ["user_id", "item_id", "rating", "title", "text", "timestamp"],
}
"""Two rows are duplicates when these columns are equal; the first is kept."""


def suite(table: str, settings: Validate, now: pd.Timestamp) -> list[gxe.Expectation]:
    """Return the expectations of ``table``; the meta of each holds the reason for quarantine.

    now: no event can be later (a day is allowed for clocks that are wrong).
    """
    unread = [
        gxe.ExpectColumnValuesToNotMatchRegex(
            column=UNREADABLE, regex=rf"(?:^|; ){name}: '", meta=_why(f"{name} cannot be read")
        )
        for name in READ_AS[table]
    ]
    return [*unread, *_suite(table, settings, now)]


def _suite(table: str, settings: Validate, now: pd.Timestamp) -> list[gxe.Expectation]:
    """Return the expectations on values that could be read."""
    no_copy = gxe.ExpectColumnValuesToBeInSet(column=COPY, value_set=[0], meta=_why(DUPLICATE))
    item = [
        gxe.ExpectColumnValuesToNotBeNull(column="item_id", meta=_why("no item")),
        gxe.ExpectColumnValuesToNotMatchRegexList(
            column="item_id",
            regex_list=[rf"(?i)^(?:{code})$" for code in settings.non_product_codes]
            or [r"^$"],  # Great Expectations refuses an empty list
            meta=_why(NOT_A_PRODUCT),
        ),
    ]
    possible_time = gxe.ExpectColumnValuesToBeBetween(
        column="timestamp",
        min_value=pd.Timestamp(settings.min_timestamp, tz="UTC"),
        max_value=now + pd.Timedelta(days=1),
        meta=_why("impossible time"),
    )
    stars = gxe.ExpectColumnValuesToBeBetween(
        column="rating", min_value=1, max_value=5, meta=_why("rating not within 1 to 5")
    )
    price = gxe.ExpectColumnValuesToBeBetween(
        column="price", min_value=0, strict_min=True, meta=_why(NO_PRICE)
    )
    if table == "interactions":
        return [
            gxe.ExpectColumnValuesToNotBeNull(column="user_id", meta=_why("no customer")),
            *item,
            gxe.ExpectColumnValuesToNotBeNull(column="timestamp", meta=_why("no time")),
            possible_time,
            gxe.ExpectColumnValuesToBeInSet(
                column="event", value_set=list(EVENTS), meta=_why("unknown event")
            ),
            gxe.ExpectColumnValuesToNotMatchRegex(
                column="order_id",
                regex=rf"^(?:{settings.cancelled_orders})$" if settings.cancelled_orders else "^$",
                meta=_why("cancellation"),
            ),
            gxe.ExpectColumnValuesToBeBetween(
                column="quantity", min_value=0, strict_min=True, meta=_why("quantity not positive")
            ),
            price,
            stars,
            gxe.ExpectColumnValuesToNotBeNull(
                column="rating",
                row_condition=Column("event") == "rating",
                meta=_why("rating event without a rating"),
            ),
            no_copy,
        ]
    if table == "items":
        return [*item, price, no_copy]
    if table == "users":
        no_user = gxe.ExpectColumnValuesToNotBeNull(column="user_id", meta=_why("no customer"))
        return [no_user, no_copy]
    no_text = gxe.ExpectColumnValuesToNotBeNull(column="text", meta=_why("no text"))
    return [item[0], no_text, stars, possible_time, no_copy]


def _why(reason: str) -> dict[str, str]:
    return {"reason": reason}


def bad_rows(context: Any, table: str, frame: pd.DataFrame, rules: list[Any]) -> pd.Series:
    """Return why rows are bad: index = position in ``frame``, value = list of reasons.

    The validation is kept in ``context``, whose data docs show it.

    Raises:
        RuntimeError: Great Expectations could not evaluate an expectation.
    """
    batches = context.data_sources.pandas_default.add_dataframe_asset(table)
    definition = context.validation_definitions.add(
        gx.ValidationDefinition(
            name=table,
            data=batches.add_batch_definition_whole_dataframe("all"),
            suite=context.suites.add(gx.ExpectationSuite(name=table, expectations=rules)),
        )
    )
    marked = frame.assign(**{UNREADABLE: frame.get(UNREADABLE), ROW: range(len(frame))})
    # A row that could not be read is no copy of one that says nothing.
    same = [name for name in (*SAME_ROW[table], UNREADABLE) if name in marked]
    marked[COPY] = marked.groupby(same, dropna=False, sort=False).cumcount()
    batch = {"dataframe": marked}
    definition.run(batch_parameters=batch, result_format="SUMMARY")  # for the pages
    # Not through the definition: the pages would list every bad row.
    found = (
        definition.data.data_asset.get_batch_definition("all")
        .get_batch(batch)
        .validate(
            definition.suite,
            result_format={
                "result_format": "COMPLETE",
                "unexpected_index_column_names": [ROW],
                "include_unexpected_rows": False,
            },
        )
    )
    parts = []
    for outcome in found.results:
        if not outcome.success and "unexpected_index_list" not in outcome.result:
            raise RuntimeError(
                f"validate: {outcome.expectation_config.type} on table {table} could not be "
                f"evaluated: {outcome.exception_info}"
            )
        rows = [entry[ROW] for entry in outcome.result.get("unexpected_index_list") or []]
        reason = outcome.expectation_config.meta["reason"]
        parts.append(pd.Series(reason, index=pd.Index(rows, dtype="int64"), dtype=object))
    reasons = pd.concat(parts).groupby(level=0, sort=True).agg(list)
    return reasons.map(lambda found: [one for one in found if FOLLOWS.get(one) not in found])


def with_orders(
    frame: pd.DataFrame, reasons: pd.Series, settings: Validate
) -> tuple[pd.Series, pd.Series]:
    """Return ``reasons`` with those of ``orders``, and bool (rows,): purchases partly returned.

    frame: its index counts from 0. reasons: of ``bad_rows``.
    """
    usable = reasons.map(set(RETURNS_BREAK).issuperset).astype(bool)
    rows = frame.reindex(columns=COLUMNS).assign(**{ROW: frame.index})
    rows[USABLE] = ~rows[ROW].isin(usable.index[~usable])
    fields = [RAW["interactions"].field(name) for name in COLUMNS]
    schema = pa.schema([*fields, (ROW, pa.int64()), (USABLE, pa.bool_())])
    table = ibis.memtable(pa.Table.from_pandas(rows, schema=schema, preserve_index=False))
    problems = ibis.duckdb.connect().execute(order_problems(table, settings))
    found = problems.set_index(ROW)["reason"].sort_index()
    partly = pd.Series(frame.index.isin(found.index[found == PARTLY_RETURNED]), frame.index)
    found = found[found != PARTLY_RETURNED]
    before = reasons.reindex(found.index)
    both = [
        [one for one in (old if isinstance(old, list) else []) if one not in RETURNS_BREAK] + [new]
        for old, new in zip(before, found, strict=True)
    ]
    rest = reasons.drop(index=found.index, errors="ignore")
    return pd.concat([rest, pd.Series(both, found.index, dtype=object)]).sort_index(), partly


def interaction_problems(
    frame: pd.DataFrame,
    reasons: pd.Series,
    settings: Validate,
    products: pd.Index,
    quarantined: pd.Series | None = None,
) -> pd.Series:
    """Return why interactions that met every expectation are still bad, as ``bad_rows`` does.

    frame: its index counts from 0. reasons: of ``bad_rows``. products: ids of the valid items.
    quarantined: why other items are in quarantine, by id.
    """
    # A repeated event or a returned purchase is no sign of a bad client.
    harmless = NO_FAULT | {DUPLICATE}
    wrong = reasons.index[reasons.map(lambda found: not harmless.issuperset(found)).astype(bool)]
    bad = pd.Series(frame.index.isin(wrong), index=frame.index)
    rest = frame.drop(index=reasons.index)
    gates: tuple[Callable[[pd.DataFrame], pd.Series], ...] = (
        lambda rows: pd.Series(
            BAD_CLIENT, index=rows.index[of_bad_clients(frame, bad, settings)[rows.index]]
        ),
        lambda rows: _without_product(rows[~rows["item_id"].isin(products)], quarantined),
    )
    found = []
    for gate in gates:
        found.append(gate(rest).astype(object))
        rest = rest.drop(index=found[-1].index)
    return pd.concat([*found, over_limits(rest, settings)]).map(lambda reason: [reason])


def _without_product(rows: pd.DataFrame, quarantined: pd.Series | None) -> pd.Series:
    """Return why the product of each row is no valid item."""
    why = pd.Series(NOT_IN_CATALOGUE, index=rows.index, dtype=object)
    why = why.mask(is_feedback(rows), UNKNOWN_PRODUCT)
    if quarantined is None or quarantined.empty:
        return why
    of_item = rows["item_id"].map("product in quarantine: " + quarantined)
    return of_item.where(of_item.notna(), why)


def check_table(
    context: Any,
    table: str,
    frame: pd.DataFrame,
    settings: Validate,
    now: pd.Timestamp,
    products: pd.Index,
    quarantined: pd.Series | None = None,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the good rows and the quarantined rows (with ``reasons``) of ``table``.

    frame: its index counts from 0. products: ids of the valid items, which interactions need.
    quarantined: why other items are in quarantine, by id.
    """
    reasons = bad_rows(context, table, frame, suite(table, settings, now))
    if table == "interactions":
        reasons, partly = with_orders(frame, reasons, settings)
        frame = frame.assign(**{PARTLY: partly}) if partly.any() else frame
        more = interaction_problems(frame, reasons, settings, products, quarantined)
        reasons = pd.concat([reasons, more]).sort_index()
    elif table == "items":
        unpriced = reasons.index[reasons.map(lambda found: found == [NO_PRICE])]
        frame = frame.assign(price=frame["price"].mask(frame.index.isin(unpriced)))
        reasons = reasons.drop(index=unpriced)
    bad = frame.loc[reasons.index].assign(reasons=reasons.to_numpy())
    return frame.drop(index=reasons.index), bad


def is_feedback(rows: pd.DataFrame) -> pd.Series:
    """Return bool (rows,): whether a row came through serving; false in all other tables."""
    if "authentication" not in rows:
        return pd.Series(False, index=rows.index)
    return rows["authentication"].notna()


def write_data_docs(context: Any, folder: Path) -> None:
    """Write the pages of all validations in ``context`` to ``folder``; index.html is the first."""
    context.add_data_docs_site(
        site_name="bowerbird",
        site_config={
            "class_name": "SiteBuilder",
            "site_index_builder": {"class_name": "DefaultSiteIndexBuilder"},
            "store_backend": {
                "class_name": "TupleFilesystemStoreBackend",
                "base_directory": str(folder.resolve()),
            },
        },
    )
    context.build_data_docs(site_names=["bowerbird"])


def run(settings: Settings, root: Path) -> None:
    """The stage ``validate``: data/raw → data/valid, data/quarantine and the reports."""
    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = {"globally": False}
    now = pd.Timestamp.now(tz="UTC")
    places = {name: root / "data" / name for name in ("valid", "quarantine")}
    for place in places.values():
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir(parents=True)

    report: dict[str, dict[str, Any]] = {}
    too_bad: list[str] = []
    products, why = pd.Index([]), pd.Series(dtype=object)
    listed: dict[str, pd.DataFrame] = {}
    for table in ("items", "users", "interactions", "reviews"):
        schema = TABLES[table]
        frame = pq.read_table(root / "data/raw" / f"{table}.parquet").to_pandas()
        good, bad = check_table(context, table, frame, settings.validate_, now, products, why)
        if table in ("items", "users"):
            listed[table] = frame[["source", "item_id" if table == "items" else "user_id"]]
        if table == "items":
            products = pd.Index(good["item_id"])
            why = bad.dropna(subset="item_id").drop_duplicates("item_id").set_index("item_id")
            why = why["reasons"].map(", ".join)
            why = why[~why.index.isin(products)]
        own_good, own_bad = good[~is_feedback(good)], bad[~is_feedback(bad)]
        own = counts(own_good, own_bad)
        report[table] = {**counts(good, bad), "examples": examples(bad), "empty": empty_cells(good)}
        print_counts(table, report[table], own["reasons"], examples(own_bad))
        if table == "items":
            report[table]["without_price"] = int((frame["price"] <= 0)[good.index].sum())
            if report[table]["without_price"]:
                print(
                    f"    {report[table]['without_price']:>9,} kept without a price: not positive"
                )
        if PARTLY in good:
            report[table]["partly_returned"] = int(good[PARTLY].sum())
            print(f"    {report[table]['partly_returned']:>9,} kept whole though partly returned")
        if table == "interactions":
            too_bad += _of_interactions(good, bad, listed, report[table], settings.validate_)
            good = without_untrusted_values(good, settings.validate_)
        _write(good, schema, places["valid"] / f"{table}.parquet")
        with_reasons = RAW[table].append(pa.field("reasons", pa.list_(pa.string())))
        _write(bad, with_reasons, places["quarantine"] / f"{table}.parquet")
        share = faulty_rows(own_bad) / max(own["rows"], 1)
        if share > settings.validate_.max_bad_share:
            worst = ", ".join(f"{reason} ({n:,})" for reason, n in own["reasons"].items())
            too_bad.append(
                f"{table}: {share:.0%} of {own['rows']:,} rows are bad (validate.max_bad_share is "
                f"{settings.validate_.max_bad_share:.0%}): {worst}"
            )
    report = {table: report[table] for table in TABLES}

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


def _of_interactions(
    good: pd.DataFrame,
    bad: pd.DataFrame,
    listed: dict[str, pd.DataFrame],
    report: dict[str, Any],
    settings: Validate,
) -> list[str]:
    """Add to ``report``, and print, what only interactions have; return why the run must stop.

    listed: ids and ``source`` of the raw items and users.
    """
    sent, refused_rows = good[is_feedback(good)], bad[is_feedback(bad)]
    own_good, own_bad = good[~is_feedback(good)], bad[~is_feedback(bad)]
    clients = refused_rows.loc[refused_rows["reasons"].map(lambda r: BAD_CLIENT in r)]
    feedback = {
        **counts(sent, refused_rows),
        "bad_clients": int(clients["client"].nunique(dropna=False)),
    }
    report["feedback"] = feedback
    if feedback["rows"]:
        print_counts("  feedback", feedback, feedback["reasons"], examples(refused_rows))
    is_product = own_bad["reasons"].map(lambda reasons: NOT_A_PRODUCT not in reasons).astype(bool)
    events = pd.concat([own_good, own_bad[is_product]])
    joins = joins_of(events, listed["items"], listed["users"])
    for name, found in joins.items():
        print(f"    {found.line()}")
        report[name] = found.report()
    note = largest_customer(own_good)
    if note:
        print(f"    {note}")
    return [*too_few_known(joins, settings), *lost_kinds(own_good, own_bad)]


def _write(frame: pd.DataFrame, schema: pa.Schema, file: Path) -> None:
    """Write ``frame`` as ``schema``; columns that it lacks are null."""
    rows = frame.reindex(columns=schema.names)
    pq.write_table(pa.Table.from_pandas(rows, schema=schema, preserve_index=False), file)
