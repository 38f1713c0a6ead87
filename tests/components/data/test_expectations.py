"""Each check's expression finds the rows that Great Expectations finds, in hostile tables."""

from __future__ import annotations

from typing import Any

import great_expectations as gx
import ibis
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from components.data.expectations import COPY, FOLLOWS, Check, checks, counted, reasons_of
from components.data.schema import EVENTS, RAW, UNREADABLE
from components.settings import Settings

NOW = pd.Timestamp("2021-01-01 12:00", tz="UTC")
ROWS = 4000
DAY = 86_400_000_000

TEXTS = [
    *(None, "", " ", "\n", "a", "POST", "post", "POST\n", "POST\n\n", " POST", "P\nOST", "XPOSTX"),
    *("ＰＯＳＴ", "poſt", "M", "m\n", "m\r", "é", "É", "f", "v", "17.0", "\u2028", "nan", "None"),
    *("C5", "C5\n", "c5", "C", "CC5", "gift_0001_20", "GIFT_0001_20", "bank charges", "'", "; "),
    *("a\x00b", "POST\x00", "x" * 5000, "$", "^", "\\", "(", "\U0001f600", "POST|DOT"),
]
UNREAD = [
    *(None, None, None, "", "price: '12,50'", "price: 'x'; timestamp: 'never'", "xprice: 'x'"),
    *("rating: ''", "rating: 'five'; price: '; quantity: 'y''", "price: \n'x'", "version: 'x'"),
    *("\nprice: 'x'", "attribute size: 'big'", "note: 'a'; attribute since: 'b'", ";price: 'x'"),
]
FLOATS = [None, 0.0, -0.0, 1.0, 5.0, 5.000001, 0.999999, -1.0, 1e-45, float("inf"), -float("inf")]
EDGE = (NOW + pd.Timedelta(days=1)).value // 1000
START = pd.Timestamp("2000-01-01", tz="UTC").value // 1000
TIMES = [None, 0, -DAY, START - 1, START, EDGE, EDGE + 1, 2**53, EDGE - DAY]
ATTRIBUTES = ["number:size", "date:since", "category:colour"]


def hostile_table(name: str, seed: int = 0) -> pa.Table:
    """Return rows with values at the edges of all checks, in any combination; ``row`` and COPY."""
    random = np.random.default_rng(seed)

    def some(values: list[Any]) -> list[Any]:
        return [values[n] for n in random.integers(0, len(values), ROWS)]

    columns: dict[str, pa.Array] = {}
    for field in RAW[name]:
        if field.name == "event":
            values = some([*EVENTS, "rating", "rating", "Rating", "", None])
        elif field.name == UNREADABLE:
            values = some(UNREAD)
        elif pa.types.is_timestamp(field.type):
            values = some(TIMES)
        elif pa.types.is_floating(field.type):
            values = some(FLOATS)
        elif pa.types.is_string(field.type):
            values = some(TEXTS)
        else:
            continue
        columns[field.name] = pa.array(values, field.type)
    columns["row"] = pa.array(range(ROWS), pa.int64())
    columns[COPY] = pa.array(some([0, 0, 0, 1, 7]), pa.int64())
    return pa.table(columns)


def by_great_expectations(made: list[Check], rows: pa.Table) -> tuple[dict[int, list[str]], list]:
    """Return the reasons of each row by Great Expectations alone, and its counts."""
    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = {"globally": False}
    asset = context.data_sources.pandas_default.add_dataframe_asset("rows")
    definition = asset.add_batch_definition_whole_dataframe("all")
    frame = rows.to_pandas().set_index("row").rename_axis(None)
    suite = gx.ExpectationSuite(name="all", expectations=[one.expectation for one in made])
    found = definition.get_batch({"dataframe": frame}).validate(
        context.suites.add(suite),
        result_format={"result_format": "COMPLETE", "include_unexpected_rows": False},
    )
    reasons: dict[int, list[str]] = {}
    for outcome in found.results:
        for row in outcome.result.get("unexpected_index_list") or []:
            reasons.setdefault(row, []).append(outcome.expectation_config.meta["reason"])
    for listed in reasons.values():
        for reason, cause in FOLLOWS.items():
            if reason in listed and cause in listed:
                listed.remove(reason)
    return reasons, [outcome.result for outcome in found.results]


@pytest.mark.parametrize("name", list(RAW))
def test_the_expressions_find_what_great_expectations_finds_row_by_row(
    settings: Settings, name: str
) -> None:
    made = checks(name, settings.validate_, NOW, ATTRIBUTES)
    table = hostile_table(name)
    expected, counts = by_great_expectations(made, table)
    con = ibis.duckdb.connect()
    con.raw_sql("SET TimeZone = 'UTC'")
    rows = con.create_table("rows", table)
    found = reasons_of(rows, made).to_pyarrow().to_pylist()
    assert {one["row"]: one["reasons"] for one in found} == expected
    said = {reason for reasons in expected.values() for reason in reasons}
    assert said == {one.reason for one in made}  # the table has rows for each
    for own, theirs in zip(counted(rows, made), counts, strict=True):
        assert own.elements == theirs["element_count"]
        assert own.unexpected == theirs["unexpected_count"]
        assert own.missing == theirs.get("missing_count", own.missing)


def test_without_patterns_an_empty_id_is_no_product(settings: Settings) -> None:
    plain = settings.validate_.model_copy(update={"non_product_codes": [], "cancelled_orders": ""})
    made = checks("interactions", plain, NOW)
    table = hostile_table("interactions", seed=1)
    expected, _ = by_great_expectations(made, table)
    rows = ibis.duckdb.connect().create_table("rows", table)
    found = reasons_of(rows, made).to_pyarrow().to_pylist()
    assert {one["row"]: one["reasons"] for one in found} == expected


def test_a_row_that_passes_all_checks_is_not_listed(settings: Settings) -> None:
    unread = pa.nulls(2, pa.string())
    table = pa.table({"row": [0, 1], "user_id": ["u", None], COPY: [0, 0], UNREADABLE: unread})
    rows = ibis.duckdb.connect().create_table("rows", table)
    found = reasons_of(rows, checks("users", settings.validate_, NOW)).to_pyarrow().to_pylist()
    assert found == [{"row": 1, "reasons": ["no customer"]}]
