"""Great Expectations: its own count of what ``validate`` found, and the pages of the result.

In: the checks of a table, what they counted in it, and a sample of its rows. Great Expectations
applies its expectations to the sample, and must count in it what the checks count. Out: one result
for the whole table, with the checks' counts, which the data docs show.
"""

from __future__ import annotations

import datetime
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import great_expectations as gx
import pandas as pd
from great_expectations.core import RunIdentifier
from great_expectations.data_context.types.resource_identifiers import (
    ExpectationSuiteIdentifier,
    ValidationResultIdentifier,
)

from components.data.expectations import Check, Counts

SHOWN = 20
"""Unexpected values of an expectation that the pages show."""


@dataclass(frozen=True)
class Found:
    """What a check found in a table: the counts, and the first ``SHOWN`` rows that fail, their
    numbers and their values."""

    counts: Counts
    rows: Sequence[int] = ()
    values: Sequence[Any] = ()


def store_result(
    context: Any,
    table: str,
    checks: Sequence[Check],
    found: Sequence[Found],
    sample: pd.DataFrame,
    of_sample: Sequence[Counts],
) -> list[str]:
    """Keep the result of ``table`` in the data context; return where the sample was counted
    differently.

    found: of the whole table, by check. sample: rows of it, with the columns of all checks.
    of_sample: what the checks count in the sample.

    Raises:
        RuntimeError: Great Expectations could not evaluate an expectation.
    """
    asset = context.data_sources.pandas_default.add_dataframe_asset(table)
    definition = asset.add_batch_definition_whole_dataframe("all")
    data = definition.get_batch({"dataframe": sample})
    suite = gx.ExpectationSuite(name=table, expectations=[one.expectation for one in checks])
    result = data.validate(context.suites.add(suite), result_format="BASIC")
    notes = []
    for check, expected, outcome, own in zip(checks, found, result.results, of_sample, strict=True):
        if "unexpected_count" not in outcome.result:
            raise RuntimeError(
                f"validate: {outcome.expectation_config.type} on table {table} could not be "
                f"evaluated: {outcome.exception_info}"
            )
        missing = "missing_count" in outcome.result
        theirs = Counts(
            outcome.result["element_count"],
            outcome.result["missing_count"] if missing else own.missing,
            outcome.result["unexpected_count"],
        )
        if theirs != own:
            notes.append(
                f"{table}: of {len(sample):,} rows {own.unexpected:,} go to quarantine as "
                f"{check.reason!r}, and Great Expectations counts {theirs.unexpected:,}: a pattern "
                "of `validate` may mean another thing to Python than to the engine; write it with "
                "signs that mean the same to both, such as [0-9]"
            )
        outcome.result = summary(expected, missing)
        outcome.success = expected.counts.unexpected == 0
    _store(context, table, result, data.id)
    return notes


def _store(context: Any, table: str, result: Any, batch_id: str) -> None:
    passed = sum(outcome.success for outcome in result.results)
    result.success = passed == len(result.results)
    result.statistics |= {
        "successful_expectations": passed,
        "unsuccessful_expectations": len(result.results) - passed,
        "success_percent": 100 * passed / len(result.results),
    }
    run = RunIdentifier(run_time=datetime.datetime.now(datetime.UTC))
    result.meta |= {"run_id": run, "validation_time": run.run_time}
    key = ValidationResultIdentifier(ExpectationSuiteIdentifier(table), run, batch_id)
    context.validation_results_store.set(key, result)


def summary(found: Found, missing: bool) -> dict[str, Any]:
    """Return what Great Expectations' result format SUMMARY has.

    missing: whether values that are missing are counted, and not judged.
    """
    counts = found.counts
    n, unexpected = counts.elements, counts.unexpected
    total = _percent(unexpected, n)
    result: dict[str, Any] = {
        "element_count": n,
        "unexpected_count": unexpected,
        "unexpected_percent": total,
    }
    if missing:
        of_values = _percent(unexpected, n - counts.missing)
        result |= {
            "missing_count": counts.missing,
            "missing_percent": _percent(counts.missing, n),
            "unexpected_percent": of_values,
            "unexpected_percent_total": total,
            "unexpected_percent_nonmissing": of_values,
        }
    often = sorted(Counter(found.values).items(), key=lambda pair: (-pair[1], pair[0]))
    return {
        **result,
        "partial_unexpected_list": list(found.values),
        "partial_unexpected_index_list": list(found.rows),
        "partial_unexpected_counts": [{"value": value, "count": k} for value, k in often],
    }


def _percent(part: int, whole: int) -> float | None:
    return part / whole * 100 if whole else None


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
