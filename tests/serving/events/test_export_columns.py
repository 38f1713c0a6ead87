"""Exported files of earlier versions, which lack columns, stay readable."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from serving.events.export import IMPRESSION_FILE, _until


def test_impressions_that_only_an_earlier_file_has_are_kept(tmp_path: Path) -> None:
    old = pa.schema([field for field in IMPRESSION_FILE if field.name != "rules"])
    row = {
        **dict.fromkeys(("impression_id", "user_id", "model_version", "source"), "x"),
        **{"item_ids": ["a"], "scores": [1.0], "propensities": [1.0], "timestamp": 5},
    }
    file = tmp_path / "impressions-2026-01-01.parquet"
    pq.write_table(pa.Table.from_pylist([row], schema=old), file)
    found = _until(file, IMPRESSION_FILE, 10)
    assert found.schema == IMPRESSION_FILE
    assert found["rules"].to_pylist() == [None]
    assert found["item_ids"].to_pylist() == [["a"]]
