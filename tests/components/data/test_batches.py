"""Great Expectations in batches says the same as on the whole table."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import great_expectations as gx
import pandas as pd
import pytest

from components.data.batches import BatchValidation, write_data_docs
from components.data.expectations import COPY, suite
from components.data.schema import UNREADABLE
from components.settings import Settings

NOW = pd.Timestamp("2021-01-01", tz="UTC")
N = 90


@pytest.fixture
def table() -> pd.DataFrame:
    """Return interactions with bad rows in each third; more than 20 have no customer."""
    rows = pd.DataFrame(
        {
            "user_id": ["u"] * N,
            "item_id": [f"i{n}" for n in range(N)],
            "event": ["purchase"] * (N - 1) + ["rating"],
            "order_id": None,
            "quantity": 1.0,
            "price": 2.0,
            "rating": float("nan"),
            "timestamp": pd.Timestamp("2020-06-01", tz="UTC"),
            UNREADABLE: None,
            COPY: 0,
        }
    )
    rows.loc[::3, "user_id"] = None
    rows.loc[[4, 50], "price"] = [-1.0, 0.0]
    rows.loc[70, ["timestamp", UNREADABLE]] = [pd.NaT, "timestamp: 'never'"]
    rows.loc[[31, 33], COPY] = [1, 2]
    return rows


def validated(
    settings: Settings, table: pd.DataFrame, rows: int
) -> tuple[pd.DataFrame, list[dict[str, Any]], Any]:
    """Return the failures, the stored results of all expectations, and the context."""
    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = {"globally": False}
    expectations = suite("interactions", settings.validate_, NOW)
    validation = BatchValidation(context, "interactions", expectations)
    batches = [table.iloc[start : start + rows] for start in range(0, N, rows)]
    failures = pd.concat([validation.failures(batch) for batch in batches])
    validation.store()
    (key,) = context.validation_results_store.list_keys()
    stored = context.validation_results_store.get(key)
    results = [
        {**outcome.result, "success": outcome.success, "of": outcome.expectation_config.type}
        for outcome in stored.results
    ]
    return failures.sort_values(["row", "place"], ignore_index=True), results, context


def test_the_size_of_a_batch_changes_nothing(settings: Settings, table: pd.DataFrame) -> None:
    whole, results, _ = validated(settings, table, N)
    in_batches, of_batches, _ = validated(settings, table, 30)
    pd.testing.assert_frame_equal(in_batches, whole)
    assert of_batches == results
    said = whole.groupby("reason")["row"].apply(list)
    assert said["price not positive"] == [4, 50]
    assert said["duplicate"] == [31, 33]
    assert said["timestamp cannot be read"] == [70]
    assert "no time" not in said  # it follows from what cannot be read
    assert said["rating event without a rating"] == [N - 1]


def test_the_results_are_those_of_great_expectations_on_the_whole_table(
    settings: Settings, table: pd.DataFrame
) -> None:
    _, ours, context = validated(settings, table, 30)
    asset = context.data_sources.pandas_default.add_dataframe_asset("whole")
    batch = asset.add_batch_definition_whole_dataframe("all").get_batch({"dataframe": table})
    theirs = batch.validate(context.suites.get("interactions"), result_format="SUMMARY")
    for one, other in zip(ours, theirs.results, strict=True):
        assert one["success"] == other.success
        expected = other.to_json_dict()["result"]  # as the store writes values
        assert {name: one[name] for name in expected} == expected


def test_the_pages_count_the_whole_table(
    settings: Settings, table: pd.DataFrame, tmp_path: Path
) -> None:
    *_, context = validated(settings, table, 30)
    write_data_docs(context, tmp_path)
    (page,) = tmp_path.glob("validations/**/*.html")
    text = page.read_text()
    assert "30 unexpected values found" in text
    assert f"{N} total rows" in text
