"""Validation of the raw tables; bad rows go to quarantine with the reason.

In: ``data/raw``. Out: ``data/valid`` (the rows that passed all checks), ``data/quarantine`` (the
others, unchanged, with the column ``reasons``), ``reports/data_docs`` (Great Expectations'
pages), ``reports/validation.json`` (the counts, also in the timeline, and notes: what a reader
should look at). For each table rows in = kept + quarantined.

Values that could not be read quarantine their row (``price cannot be read``). An item whose price
is not positive is kept without a price: its purchases are as good as others. Events of a product
that no item file has are quarantined and reported, but are no fault of the data (``joins`` says
when they are).

Feedback passes further checks: clients that send mostly bad rows, events above the daily limit of a
user, client or product (see ``feedback``), and false profiles (see ``false_profiles``). Rows of
held days (``held_days``) are quarantined whatever they are like. Feedback without the shop's key
loses its price, and its quantity is capped. Too large a share of bad rows stops the run only in the
shop's own files.

No table is held in memory: the engine, DuckDB or Spark, finds the reasons, of single rows
(``expectations``) and of whole tables (``whole_table``), and they divide the rows in a second pass
of this process, batch by batch. Great Expectations counts a sample for itself and makes the pages
(``data_docs``).
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import great_expectations as gx
import ibis.expr.types as ir
import pandas as pd
from ibis import _

from components.data.charges import charges
from components.data.data_docs import write_data_docs
from components.data.engine import Engine, open_engine
from components.data.expectations import NOT_A_PRODUCT
from components.data.false_profiles import FALSE_PROFILE
from components.data.feedback import BAD_CLIENT
from components.data.held_days import HELD, load_held_days
from components.data.joins import join_of_reviews, joins_of, too_few_known, without_common_ids
from components.data.price_levels import price_levels, prices_of_lines, totals_of_lines
from components.data.quarantine import (
    Outcome,
    faulty_rows,
    frequent_ids,
    lost_kinds,
    print_counts,
    remedy,
    states_of_orders,
    unknown_products,
)
from components.data.schema import NOTES, TABLES
from components.data.table_check import Places, check_table
from components.data.whole_table import Gate, gates_of_interactions
from components.settings import Settings, Validate
from components.timeline import record

KEPT = {
    "without_price": "kept without a price: not positive",
    "partly_returned": "kept whole though partly returned",
}
"""Rows that are kept though something is wrong with them, by their name in the report."""


class TooManyBadRows(ValueError):
    """The shop's own files cannot be right as a whole.

    sentences: why, one for each table or limit.
    """

    def __init__(self, sentences: list[str]) -> None:
        self.sentences = sentences
        super().__init__(
            self.summary
            + "\nLook at data/quarantine/*.parquet and reports/data_docs/index.html; mend the "
            "files or the sources in params.yaml, or change the limits in `validate`."
        )

    @property
    def summary(self) -> str:
        """The sentences without the places to look at."""
        return "the shop's own files cannot be right:\n  " + "\n  ".join(self.sentences)


def run(settings: Settings, root: Path, pages: bool = True) -> None:
    """The stage ``validate``: data/raw → data/valid, data/quarantine and the reports.

    pages: write ``reports/data_docs``.

    Raises:
        TooManyBadRows: the shop's own files cannot be right as a whole.
    """
    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = {"globally": False}
    with open_engine(settings, root) as engine:
        for name in ("valid", "quarantine"):
            shutil.rmtree(root / "data" / name, ignore_errors=True)
            (root / "data" / name).mkdir(parents=True)
        report, too_bad = _validated(engine, context, settings.validate_, root)
    docs = root / "reports/data_docs"
    shutil.rmtree(docs, ignore_errors=True)
    if pages:
        write_data_docs(context, docs)
    file = root / "reports/validation.json"
    file.write_text(json.dumps(report, indent=2))
    _record(root, report, too_bad)
    if too_bad:
        raise TooManyBadRows(too_bad)


def _record(root: Path, report: dict[str, dict[str, Any]], too_bad: list[str]) -> None:
    """Put the counts into the timeline, without examples, which are rows of customers."""
    counts = ("rows", "kept", "quarantined", "reasons")
    facts = {table: {name: found[name] for name in counts} for table, found in report.items()}
    rows, bad = (sum(one[name] for one in facts.values()) for name in ("rows", "quarantined"))
    text = f"validated {rows:,} rows, {bad:,} are in quarantine"
    if too_bad:
        text += "; the run stops: " + "; ".join(too_bad)
    record(root, "validation", text, "training", facts)


def _validated(
    engine: Engine, context: Any, settings: Validate, root: Path
) -> tuple[dict[str, dict[str, Any]], list[str]]:
    """Check all tables; return the report, and why the run must stop."""
    now = pd.Timestamp.now(tz="UTC")
    report: dict[str, dict[str, Any]] = {}
    too_bad: list[str] = []
    file = root / "data/raw" / NOTES
    notes = json.loads(file.read_text()) if file.exists() else {}  # tables of an earlier release
    for table in ("items", "users", "interactions", "reviews"):
        places = Places.below(root, table)
        feedback = table == "interactions" and _has_feedback(engine, places.raw)
        gates: tuple[Gate, ...] = ()
        if table == "interactions":
            held = load_held_days(root)
            gates = gates_of_interactions(settings, *_products(engine, root), feedback, held)
        checked = check_table(engine, context, table, places, settings, now, gates)
        found = Outcome(engine.read(places.valid), _quarantined(engine, places))
        own = found.part(feedback=False) if feedback else found
        report[table] = {**found.counts, "examples": found.examples}
        report[table] |= {"empty": checked.empty, **checked.kept}
        report[table]["notes"] = [*notes.get(table, []), *checked.notes]
        print_counts(table, report[table], own.counts["reasons"], own.examples)
        for what, n in checked.kept.items():
            if n:
                print(f"    {n:>9,} {KEPT[what]}")
        for note in checked.notes:
            print(f"    {note}")
        if table == "interactions":
            _add_feedback(report[table], found.part(feedback=True) if feedback else None)
            too_bad += _of_own_interactions(engine, root, own, report[table], settings)
        if table == "reviews":
            _add_products_of_reviews(engine, root, found, report[table])
        too_bad += _too_bad(table, own, settings)
    return {table: report[table] for table in TABLES}, too_bad


def _has_feedback(engine: Engine, raw: Path) -> bool:
    return bool(engine.read(raw).authentication.count().execute())


def _quarantined(engine: Engine, places: Places) -> ir.Table:
    """Return the quarantined rows with their number, from 0, as ``row``."""
    return engine.read(places.quarantine, "row")


def _products(engine: Engine, root: Path) -> tuple[ir.Table, ir.Table]:
    """Return (item_id) of the valid items, and (item_id, why) of the others."""
    places = Places.below(root, "items")
    products = engine.read(places.valid).select("item_id")
    bad = _quarantined(engine, places)
    bad = bad.filter(bad.item_id.notnull()).anti_join(products, "item_id")
    first = bad.group_by("item_id").aggregate(why=_.reasons.join(", ").argmin(_.row))
    return products, first


def _add_feedback(report: dict[str, Any], feedback: Outcome | None) -> None:
    """Add to the report of the interactions, and print, what became of the feedback.

    Ids that are no products are among its notes: pages that send them learn nothing.
    """
    if feedback is None:
        nothing = {"rows": 0, "kept": 0, "quarantined": 0, "reasons": {}}
        report["feedback"] = {**nothing, "bad_clients": 0, "false_profiles": 0}
        return
    clients = feedback.bad.filter(_.reasons.contains(BAD_CLIENT)).select("client").distinct()
    of_profiles = _.reasons.filter(lambda reason: reason.startswith(FALSE_PROFILE)).length() > 0
    profiles = feedback.bad.filter(of_profiles).select("user_id").distinct()
    report["feedback"] = {
        **feedback.counts,
        "bad_clients": int(clients.count().execute()),
        "false_profiles": int(profiles.count().execute()),
    }
    print_counts("  feedback", feedback.counts, feedback.counts["reasons"], feedback.examples)
    if note := unknown_products(feedback.bad):
        print(f"    {note}")
        report["notes"].append(note)


def _add_products_of_reviews(
    engine: Engine, root: Path, reviews: Outcome, report: dict[str, Any]
) -> None:
    """Add to ``report``, and print, how many reviews are of the shop's products."""
    items = engine.read(Places.below(root, "items").raw)
    if found := join_of_reviews(reviews.good, items):
        print(f"    {found.line()}")
        report["known_items"] = found.report()


def _of_own_interactions(
    engine: Engine, root: Path, own: Outcome, report: dict[str, Any], settings: Validate
) -> list[str]:
    """Add to ``report``, and print, what the shop's own interactions are checked for as a whole.

    Returns: why the run must stop.
    """
    bad = own.bad.filter(~own.bad.reasons.contains(HELD))
    of_products = bad.filter(~bad.reasons.contains(NOT_A_PRODUCT))
    ids = ["user_id", "item_id"]
    joins = joins_of(
        own.good.select(ids).union(of_products.select(ids)),
        *(engine.read(Places.below(root, name).raw) for name in ("items", "users")),
    )
    for name, found in joins.items():
        print(f"    {found.line()}")
        report[name] = found.report()
    items = engine.read(Places.below(root, "items").valid)
    for note in (
        *frequent_ids(own.good),
        *charges(own.good, items),
        *totals_of_lines(own.good, items),
        *without_common_ids(own.good, "user_id"),
    ):
        print(f"    {note}")
        report["notes"].append(note)
    return [
        *too_few_known(joins, settings),
        *([] if "known_items" in joins else without_common_ids(own.good, "item_id")),
        *lost_kinds(own.good, bad),
        *filter(None, [states_of_orders(own.good)]),
        *price_levels(own.good, items, settings),
        *prices_of_lines(own.good),
    ]


def _too_bad(table: str, own: Outcome, settings: Validate) -> list[str]:
    """Return a sentence if too large a share of the shop's own rows is bad."""
    found = own.counts
    share = faulty_rows(own.bad) / max(found["rows"], 1)
    if share <= settings.max_bad_share:
        return []
    worst = ", ".join(f"{reason} ({n:,})" for reason, n in found["reasons"].items())
    advice = "; ".join(filter(None, (remedy(one, table) for one in list(found["reasons"])[:2])))
    return [
        f"{table}: {share:.0%} of {found['rows']:,} rows are bad (validate.max_bad_share is "
        f"{settings.max_bad_share:.0%}): {worst}" + (f": {advice}" if advice else "")
    ]
