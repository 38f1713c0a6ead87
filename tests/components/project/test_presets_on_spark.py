"""The tables of all presets, validated on Spark as on DuckDB."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from components.data.schema import RAW
from components.project.presets import names
from components.settings import Settings
from tests.components.data.test_validation_on_spark import report_of_both, with_limits
from tests.components.project import test_data_set_presets, test_shop_presets
from tests.spark import INTERPRETED, local_spark


def runs(module: ModuleType) -> Iterator[tuple[Any, dict[str, Any]]]:
    """Yield the module's tests that run the stages in a folder, and their other arguments."""
    for name, test in inspect.getmembers(module, inspect.isfunction):
        own = inspect.signature(test).parameters.keys() - {"settings", "tmp_path"}
        if not name.startswith("test_") or "tmp_path" not in inspect.signature(test).parameters:
            continue
        marks = [one.args for one in getattr(test, "pytestmark", []) if one.name == "parametrize"]
        if not own:
            yield test, {}
        elif len(marks) == 1 and own == {marks[0][0]}:
            yield from ((test, {marks[0][0]: value}) for value in marks[0][1])


@pytest.mark.slow
@pytest.mark.timeout(1800)  # the stages run on 27 shops, and once on Spark
def test_tables_of_all_presets_are_divided_as_on_duckdb(settings: Settings, tmp_path: Path) -> None:
    raw: list[Path] = []
    for module in (test_data_set_presets, test_shop_presets):
        for test, others in runs(module):
            folder = tmp_path / f"preset {len(raw)}"
            folder.mkdir()
            test(settings=settings, tmp_path=folder, **others)
            raw.append(folder / "data/raw")
    assert len(raw) >= len(names())
    shop = tmp_path / "all"
    (shop / "data/raw").mkdir(parents=True)
    for name in RAW:
        tables = [pq.read_table(one / f"{name}.parquet") for one in raw if one.exists()]
        every = pa.concat_tables(tables, promote_options="default")
        pq.write_table(every, shop / f"data/raw/{name}.parquet")
    limits = {"max_bad_share": 1, "min_known_items": 0, "min_known_users": 0}
    with local_spark({"spark.sql.files.maxRecordsPerFile": "100"} | INTERPRETED):
        report = report_of_both(shop, with_limits(settings, **limits, max_price_ratio=10**9))
    assert report["interactions"]["kept"] > 50
