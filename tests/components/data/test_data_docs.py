"""Great Expectations' result is made of the checks' counts, and says what it says of the table."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import great_expectations as gx
import ibis
import pandas as pd
import pytest

from components.data.data_docs import SHOWN, Found, store_result, write_data_docs
from components.data.expectations import COPY, Check, checks, counted
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
            "order_id": pd.Series([None] * N, dtype=object),
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


def stored(
    made: list[Check], table: pd.DataFrame, every: int = 1
) -> tuple[list[str], list[dict[str, Any]], Any]:
    """Return the notes, the stored results of all expectations, and the context."""
    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = {"globally": False}
    kinds = {"order_id": "string", UNREADABLE: "string", "rating": "float64"}
    frame = table.astype(object).where(table.notna(), None)
    memory = ibis.memtable(frame.assign(row=range(N)), schema=_schema(table, kinds))
    rows = ibis.duckdb.connect().create_table("rows", memory)
    found = []
    for one, counts in zip(made, counted(rows, made), strict=True):
        failing = rows.filter(one.fails(rows)).order_by("row").limit(SHOWN).execute()
        found.append(Found(counts, failing["row"].tolist(), failing[one.column].tolist()))
    of_sample = counted(rows.filter(rows.row % every == 0), made)
    notes = store_result(context, "interactions", made, found, table[::every], of_sample)
    (key,) = context.validation_results_store.list_keys()
    results = [
        {**outcome.result, "success": outcome.success, "of": outcome.expectation_config.type}
        for outcome in context.validation_results_store.get(key).results
    ]
    return notes, results, context


def _schema(table: pd.DataFrame, kinds: dict[str, str]) -> dict[str, str]:
    own = {"object": "string", "int64": "int64", "float64": "float64"}
    return {
        **{name: own.get(str(kind), "timestamp('UTC')") for name, kind in table.dtypes.items()},
        **kinds,
        "row": "int64",
    }


def test_the_results_are_those_of_great_expectations_on_the_whole_table(
    settings: Settings, table: pd.DataFrame
) -> None:
    made = checks("interactions", settings.validate_, NOW)
    notes, ours, context = stored(made, table, every=3)
    assert notes == []
    asset = context.data_sources.pandas_default.add_dataframe_asset("whole")
    batch = asset.add_batch_definition_whole_dataframe("all").get_batch({"dataframe": table})
    theirs = batch.validate(context.suites.get("interactions"), result_format="SUMMARY")
    for one, other in zip(ours, theirs.results, strict=True):
        assert one["success"] == other.success
        expected = other.to_json_dict()["result"]  # as the store writes values
        assert {name: one[name] for name in expected} == expected


def test_a_check_that_counts_otherwise_than_great_expectations_is_named(
    settings: Settings, table: pd.DataFrame
) -> None:
    made = checks("interactions", settings.validate_, NOW)
    wrong = [
        replace(one, fails=lambda rows: rows.price < 0) if one.column == "price" else one
        for one in made
    ]
    (note,) = [one for one in stored(wrong, table)[0] if "positive" in one]
    assert "90 rows 1 go to quarantine as 'price not positive'" in note
    assert "counts 2" in note


def test_digits_of_another_script_stop_no_run_and_are_named(
    settings: Settings, table: pd.DataFrame
) -> None:
    table.loc[6, "item_id"] = "gift_0001_٢"  # Python's \\d, and not RE2's
    notes, *_ = stored(checks("interactions", settings.validate_, NOW), table)
    assert len(notes) == 1
    assert "'not a product', and Great Expectations counts 1" in notes[0]


def test_the_pages_count_the_whole_table(
    settings: Settings, table: pd.DataFrame, tmp_path: Path
) -> None:
    *_, context = stored(checks("interactions", settings.validate_, NOW), table, every=3)
    write_data_docs(context, tmp_path)
    (page,) = tmp_path.glob("validations/**/*.html")
    text = page.read_text()
    assert "30 unexpected values found" in text
    assert f"{N} total rows" in text
