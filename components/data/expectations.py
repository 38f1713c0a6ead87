"""Validation of the raw tables; bad rows go to quarantine with the reason.

In: ``data/raw``. Out: ``data/valid`` (the rows that met every expectation), ``data/quarantine``
(the others, unchanged, with the column ``reasons``), ``reports/data_docs`` (Great Expectations'
pages), ``reports/validation.json`` (the counts). For each table rows in = kept + quarantined.

Feedback passes further gates (see ``feedback``): products that the catalogue does not have, clients
that send mostly bad rows, and more events than count of a user, client and product a day. Too large
a share of bad rows stops the run only where the shop's own files have them.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from components.data.feedback import BAD_CLIENT, believed, of_bad_clients, over_limits
from components.data.schema import EVENTS, INTERACTIONS, TABLES
from components.settings import Settings, Validate

os.environ.setdefault("GX_ANALYTICS_ENABLED", "false")
import great_expectations as gx
import great_expectations.expectations as gxe
from great_expectations.expectations.row_conditions import Column

ROW = "row"  # the column that names a row to Great Expectations and back
COPY = "copy"  # how many equal rows stand above this one
DUPLICATE, UNKNOWN_PRODUCT = "duplicate", "unknown product"

SAME_ROW = {
    # Shops send one file twice, and feedback may repeat what the shop's own export has: equal
    # rows are one event, whatever file they came in.
    "interactions": [
        name
        for name in INTERACTIONS.names
        if name not in ("impression_id", "client", "authentication", "source", "source_row")
    ],
    "items": ["item_id"],
    "users": ["user_id"],
    "reviews": ["user_id", "item_id", "rating", "title", "text", "timestamp"],
}
"""Two rows are duplicates when these columns are equal; the first is kept."""


def suite(table: str, settings: Validate, now: pd.Timestamp) -> list[gxe.Expectation]:
    """Return the expectations of ``table``; the meta of each holds the reason for quarantine.

    now: no event can be later (a day is allowed for clocks that are wrong).
    """
    no_copy = gxe.ExpectColumnValuesToBeInSet(column=COPY, value_set=[0], meta=_why(DUPLICATE))
    item = [
        gxe.ExpectColumnValuesToNotBeNull(column="item_id", meta=_why("no item")),
        gxe.ExpectColumnValuesToNotMatchRegexList(
            column="item_id",
            regex_list=[rf"(?i)^(?:{code})$" for code in settings.non_product_codes]
            or [r"^$"],  # Great Expectations refuses an empty list
            meta=_why("not a product"),
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
        column="price", min_value=0, strict_min=True, meta=_why("price not positive")
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
    marked = frame.assign(
        **{
            ROW: range(len(frame)),
            COPY: frame.groupby(SAME_ROW[table], dropna=False, sort=False).cumcount(),
        }
    )
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
    reasons = pd.concat(parts)
    return reasons.groupby(level=0, sort=True).agg(list)


def refused(
    frame: pd.DataFrame, reasons: pd.Series, settings: Validate, products: pd.Index
) -> pd.Series:
    """Return why interactions that met every expectation are still bad, as ``bad_rows`` does.

    frame: its index counts from 0. reasons: of ``bad_rows``. products: ids of the valid items.
    """
    # A repeated event is no sign of a bad client.
    wrong = reasons.index[reasons.map(lambda found: found != [DUPLICATE])]
    bad = pd.Series(frame.index.isin(wrong), index=frame.index)
    rest = frame.drop(index=reasons.index)
    gates: tuple[Callable[[pd.DataFrame], pd.Index], ...] = (
        lambda rows: rows.index[of_bad_clients(frame, bad, settings)[rows.index]],
        lambda rows: rows.index[~rows["item_id"].isin(products)],
    )
    found = []
    for gate, reason in zip(gates, (BAD_CLIENT, UNKNOWN_PRODUCT), strict=True):
        found.append(pd.Series(reason, index=gate(rest), dtype=object))
        rest = rest.drop(index=found[-1].index)
    return pd.concat([*found, over_limits(rest, settings)]).map(lambda reason: [reason])


def check_table(
    context: Any,
    table: str,
    frame: pd.DataFrame,
    settings: Validate,
    now: pd.Timestamp,
    products: pd.Index,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the good rows and the quarantined rows (with ``reasons``) of ``table``.

    frame: its index counts from 0. products: ids of the valid items, which interactions need.
    """
    reasons = bad_rows(context, table, frame, suite(table, settings, now))
    if table == "interactions":
        reasons = pd.concat([reasons, refused(frame, reasons, settings, products)]).sort_index()
    bad = frame.loc[reasons.index].assign(reasons=reasons.to_numpy())
    return frame.drop(index=reasons.index), bad


def counts(good: pd.DataFrame, bad: pd.DataFrame) -> dict[str, Any]:
    """Return rows, kept, quarantined and the reasons; a row with several counts in each."""
    return {
        "rows": len(good) + len(bad),
        "kept": len(good),
        "quarantined": len(bad),
        "reasons": {key: int(n) for key, n in bad["reasons"].explode().value_counts().items()},
    }


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
    too_bad = []
    products = pd.Index([])
    for table in ("items", *(name for name in TABLES if name != "items")):
        schema = TABLES[table]
        frame = pq.read_table(root / "data/raw" / f"{table}.parquet").to_pandas()
        good, bad = check_table(context, table, frame, settings.validate_, now, products)
        if table == "items":
            products = pd.Index(good["item_id"])
        report[table] = counts(good, bad)
        own = counts(good[~is_feedback(good)], bad[~is_feedback(bad)])
        feedback = counts(good[is_feedback(good)], bad[is_feedback(bad)])
        if table == "interactions":
            clients = bad.loc[is_feedback(bad) & bad["reasons"].map(lambda r: BAD_CLIENT in r)]
            report[table]["feedback"] = {
                **feedback,
                "bad_clients": int(clients["client"].nunique(dropna=False)),
            }
            good = believed(good, settings.validate_)
        pq.write_table(
            pa.Table.from_pandas(good, schema=schema, preserve_index=False),
            places["valid"] / f"{table}.parquet",
        )
        with_reasons = schema.append(pa.field("reasons", pa.list_(pa.string())))
        pq.write_table(
            pa.Table.from_pandas(bad, schema=with_reasons, preserve_index=False),
            places["quarantine"] / f"{table}.parquet",
        )
        for name, found in ((table, report[table]), ("  feedback", feedback)):
            if name == table or found["rows"]:
                print(
                    f"{name:<13}{found['rows']:>10,} rows = {found['kept']:>10,} kept + "
                    f"{found['quarantined']:>10,} quarantined"
                )
        for reason, n in feedback["reasons"].items():
            print(f"    {n:>9,} {reason}")
        share = own["quarantined"] / max(own["rows"], 1)
        if share > settings.validate_.max_bad_share:
            worst = ", ".join(f"{reason} ({n:,})" for reason, n in own["reasons"].items())
            too_bad.append(f"{table}: {share:.0%} of {own['rows']:,} rows are bad: {worst}")
    report = {table: report[table] for table in TABLES}

    docs = root / "reports/data_docs"
    shutil.rmtree(docs, ignore_errors=True)
    write_data_docs(context, docs)
    file = root / "reports/validation.json"
    file.write_text(json.dumps(report, indent=2))
    if too_bad:
        raise ValueError(
            "too many bad rows in the shop's own files (validate.max_bad_share is "
            f"{settings.validate_.max_bad_share:.0%}):\n  "
            + "\n  ".join(too_bad)
            + "\nLook at data/quarantine/*.parquet and reports/data_docs/index.html; mend the "
            "files or the columns in params.yaml, or raise validate.max_bad_share."
        )
