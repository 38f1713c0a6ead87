"""Memory of the stages ``validate`` and ``preprocess``: bounded, whatever the number of rows."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from benchmarks import ingest_scale
from components.data.schema import RAW

ROOT = Path(__file__).parents[3]
LIMIT_MB = 220

STAGES = """
import resource, sys
from pathlib import Path
from components.data import split, table_check, validation
from components.settings import load_settings

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024  # KiB on Linux

settings = load_settings(sys.argv[1])
memory = settings.ingest.model_copy(update={"memory_gb": 0.1})
table_check.BATCH_ROWS = 20_000
before = peak()
validation.run(settings.model_copy(update={"ingest": memory}), Path(sys.argv[2]))
split.run(settings.model_copy(update={"ingest": memory}), Path(sys.argv[2]))
print(peak() - before)
"""
"""Prints by how many MB the memory grew at most, over that of the imports."""


def write_raw(root: Path, n: int) -> None:
    """Write raw tables with ``n`` interactions of long ids, a tenth of them without a customer."""
    (root / "data/raw").mkdir(parents=True)
    (root / "reports").mkdir()
    random = np.random.default_rng(0)
    users = [f"customer-of-the-shop-{one:012}" for one in range(n // 20)]
    items = [f"product-of-the-shop-{one:012}" for one in range(1000)]
    who = np.array(users)[random.integers(0, len(users), n)].astype(object)
    who[::10] = None
    rows = {
        "user_id": who,
        "item_id": np.array(items)[random.integers(0, 1000, n)],
        "event": ["purchase"] * n,
        "quantity": np.ones(n, dtype=np.float32),
        "price": np.ones(n, dtype=np.float32),
        "timestamp": 1_700_000_000_000_000 + random.integers(0, 365 * 86_400, n) * 1_000_000,
        "order_id": [f"order-of-the-shop-{one:012}" for one in range(n)],
        "source": ["orders.csv"] * n,
        "source_row": np.arange(n),
    }
    tables = {
        "interactions": rows,
        "items": {"item_id": items, "title": items, "source": ["items.csv"] * 1000},
        "users": {"user_id": users, "source": ["users.csv"] * len(users)},
        "reviews": {},
    }
    for name, columns in tables.items():
        length = len(next(iter(columns.values()), []))
        arrays = [
            pa.array(columns[field.name], field.type)
            if field.name in columns
            else pa.nulls(length, field.type)
            for field in RAW[name]
        ]
        table = pa.table(arrays, schema=RAW[name])
        pq.write_table(table, root / "data/raw" / f"{name}.parquet")


@pytest.mark.slow
def test_300_000_lines_need_the_memory_of_a_batch(tmp_path: Path) -> None:
    """It grew by 307 MB when whole tables were read, and grows by 141 MB now."""
    write_raw(tmp_path, 300_000)
    done = subprocess.run(
        [sys.executable, "-c", STAGES, str(ROOT / "params.yaml"), str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stderr
    kept = pq.read_metadata(tmp_path / "data/valid/interactions.parquet").num_rows
    assert kept == 270_000
    assert int(done.stdout.splitlines()[-1]) < LIMIT_MB


@pytest.mark.slow
def test_ten_million_lines_need_two_gigabytes(tmp_path: Path) -> None:
    """As ``python -m benchmarks.ingest_scale`` measures it, with the real commands."""
    n = 10_000_000
    ingest_scale.write_shop(tmp_path, n, n // 20, n // 200)
    for command in ingest_scale.COMMANDS:
        found = ingest_scale.measured(command, tmp_path)
        assert found.memory < 2 * ingest_scale.GIB, command
    rows = {
        name: pq.read_metadata(tmp_path / "data" / name / "interactions.parquet").num_rows
        for name in ("raw", "valid", "quarantine")
    }
    assert rows["raw"] == n + n // 500
    assert rows["raw"] == rows["valid"] + rows["quarantine"]
    assert 0.015 * n < rows["quarantine"] < 0.025 * n
