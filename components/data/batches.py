"""Great Expectations on a table in batches: memory is needed for one batch, not for the table.

In: the batches of a table as pandas frames and its expectations. Out: the rows that fail with the
reasons, and one result for the whole table, which the data docs show.
"""

from __future__ import annotations

import datetime
from collections import Counter
from pathlib import Path
from typing import Any

import great_expectations as gx
import pandas as pd
from great_expectations.core import ExpectationSuiteValidationResult, RunIdentifier
from great_expectations.data_context.types.resource_identifiers import (
    ExpectationSuiteIdentifier,
    ValidationResultIdentifier,
)

from components.data.expectations import FOLLOWS

SHOWN = 20
"""Unexpected values of an expectation that the pages show."""


class BatchValidation:
    """The expectations of one table, applied to its batches.

    context: the data context; its data docs show the result after ``store``.
    """

    def __init__(self, context: Any, table: str, expectations: list[Any]) -> None:
        self._context = context
        self._table = table
        asset = context.data_sources.pandas_default.add_dataframe_asset(table)
        self._batches = asset.add_batch_definition_whole_dataframe("all")
        self._suite = context.suites.add(gx.ExpectationSuite(name=table, expectations=expectations))
        self._result: ExpectationSuiteValidationResult | None = None

    def failures(self, batch: pd.DataFrame) -> pd.DataFrame:
        """Return row (its label in ``batch``), place and reason of all that is wrong in a batch.

        place: position of the expectation in the suite.

        Raises:
            RuntimeError: Great Expectations could not evaluate an expectation.
        """
        data = self._batches.get_batch({"dataframe": batch})
        found = data.validate(
            self._suite,
            result_format={"result_format": "COMPLETE", "include_unexpected_rows": False},
        )
        parts = [self._rows(place, outcome) for place, outcome in enumerate(found.results)]
        self._add(found, data.id)
        return _first_causes(pd.concat(parts, ignore_index=True))

    def _rows(self, place: int, outcome: Any) -> pd.DataFrame:
        if not outcome.success and "unexpected_index_list" not in outcome.result:
            raise RuntimeError(
                f"validate: {outcome.expectation_config.type} on table {self._table} could not be "
                f"evaluated: {outcome.exception_info}"
            )
        rows = outcome.result.get("unexpected_index_list") or []
        reason = outcome.expectation_config.meta["reason"]
        return pd.DataFrame(
            {"row": pd.Series(rows, dtype="int64"), "place": place, "reason": reason}
        )

    def _add(self, found: ExpectationSuiteValidationResult, batch_id: str) -> None:
        """Add a batch's result to that of the table."""
        before = [one.result for one in self._result.results] if self._result else None
        for n, outcome in enumerate(found.results):
            parts = [before[n], outcome.result] if before else [outcome.result]
            outcome.result = summary(parts)
            outcome.success = outcome.result["unexpected_count"] == 0
        self._result, self._batch_id = found, batch_id

    def store(self) -> None:
        """Keep the table's result in the context."""
        result = self._result
        assert result is not None, "no batch was validated"
        passed = sum(outcome.success for outcome in result.results)
        result.success = passed == len(result.results)
        result.statistics |= {
            "successful_expectations": passed,
            "unsuccessful_expectations": len(result.results) - passed,
            "success_percent": 100 * passed / len(result.results),
        }
        run = RunIdentifier(run_time=datetime.datetime.now(datetime.UTC))
        result.meta |= {"run_id": run, "validation_time": run.run_time}
        key = ValidationResultIdentifier(
            ExpectationSuiteIdentifier(self._table), run, self._batch_id
        )
        self._context.validation_results_store.set(key, result)


def _first_causes(found: pd.DataFrame) -> pd.DataFrame:
    """Return the reasons without those that follow from another one of the same row."""
    for reason, cause in FOLLOWS.items():
        explained = found.loc[found["reason"] == cause, "row"]
        found = found[(found["reason"] != reason) | ~found["row"].isin(explained)]
    return found


def summary(parts: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the result of an expectation on a table, from those on its batches.

    It has what Great Expectations' result format SUMMARY has for the whole table.
    """
    counts: dict[str, Any] = {
        name: sum(part[name] for part in parts)
        for name in ("element_count", "missing_count", "unexpected_count")
        if name in parts[0]
    }
    n, unexpected = counts["element_count"], counts["unexpected_count"]
    total = _percent(unexpected, n)
    percents = {"unexpected_percent": total}
    if "missing_count" in counts:
        of_values = _percent(unexpected, n - counts["missing_count"])
        percents = {
            "unexpected_percent": of_values,
            "missing_percent": _percent(counts["missing_count"], n),
            "unexpected_percent_total": total,
            "unexpected_percent_nonmissing": of_values,
        }
    shown, rows = (
        [value for part in parts for value in part.get(name) or []][:SHOWN]
        for name in ("partial_unexpected_list", "partial_unexpected_index_list")
    )
    often = sorted(Counter(shown).items(), key=lambda pair: (-pair[1], pair[0]))
    return {
        **counts,
        **percents,
        "partial_unexpected_list": shown,
        "partial_unexpected_index_list": rows,
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
