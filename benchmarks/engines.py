"""Validate and preprocess on DuckDB and on Spark: the same rows, and what each engine needs.

    make spark
    python -m benchmarks.engines                       # the embedded shop
    python -m benchmarks.engines --lines 10_000_000    # the synthetic shop of ingest_scale

``bowerbird ingest`` makes the raw tables on DuckDB; then ``bowerbird validate`` and ``bowerbird
preprocess`` run with each ``tables.engine`` in turn, each time in a process of its own, Spark with
two cores of this machine (``local[2]``) and its default memory of 1 GB. The tables that both write
are compared by EXCEPT ALL in both directions. Memory is the largest resident set of a command's
processes together, Spark's JVM included. The seconds of Spark include its start. Nothing comes from
the network.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import sys
import tempfile
from pathlib import Path

import duckdb
import pyarrow.parquet as pq
import yaml

from benchmarks.commands import Run, measured
from benchmarks.ingest_scale import write_shop
from components.data.sources.sql import literal

ROOT = Path(__file__).resolve().parents[1]
FILE = Path(__file__).parent / "results/engines.md"
ENGINES = {"duckdb": "DuckDB", "spark": "Spark, `local[2]`"}
SPARK = {"PYSPARK_SUBMIT_ARGS": "--master local[2] --conf spark.ui.enabled=false pyspark-shell"}
STAGES = {"validate": ("valid", "quarantine"), "preprocess": ("prepared",)}
"""The folders of ``data`` that each stage writes."""
GIB = 1 << 30


def command(name: str, root: Path) -> Run:
    """Run a command of Bowerbird in the shop's folder."""
    run = [sys.executable, "-c", "from bowerbird import app; app()", name]
    return measured(name, run, root, SPARK)


def write_embedded_shop(root: Path) -> None:
    (root / "datasets").symlink_to(ROOT / "datasets")
    shutil.copy(ROOT / "params.yaml", root)


def on_engine(root: Path, stage: str, engine: str) -> Run:
    """Run a stage on an engine; copies of its tables are in the folder ``engine`` afterwards."""
    file = root / "params.yaml"
    params = yaml.safe_load(file.read_text(encoding="utf-8"))
    file.write_text(yaml.safe_dump(params | {"tables": {"engine": engine}}), encoding="utf-8")
    run = command(stage, root)
    for folder in STAGES[stage]:
        shutil.copytree(root / "data" / folder, root / engine / folder)
    return run


def compared(root: Path, table: Path) -> tuple[int, int, int]:
    """Return the rows of a table, those that only DuckDB wrote, and those that only Spark wrote."""
    one, other = (root / engine / table for engine in ENGINES)
    sides = [f"SELECT * FROM read_parquet({literal(file)})" for file in (one, other)]
    only = [
        duckdb.sql(f"SELECT count(*) FROM ({a} EXCEPT ALL {b})").fetchall()[0][0]
        for a, b in (sides, sides[::-1])
    ]
    return pq.read_metadata(one).num_rows, only[0], only[1]


def report(shop: str, root: Path) -> str:
    """Run both engines on the shop in ``root``; return the section of the report."""
    (root / "reports").mkdir(exist_ok=True)
    for name in ("sources", "ingest"):
        command(name, root)
    runs = {(stage, name): on_engine(root, stage, name) for stage in STAGES for name in ENGINES}
    needs = "\n".join(
        f"| {stage} | {ENGINES[name]} | {run.seconds:,.0f} | {run.processor:,.0f} | "
        f"{run.memory / GIB:.2f} |"
        for (stage, name), run in runs.items()
    )
    written = root / "duckdb"
    tables = sorted(one.relative_to(written) for one in written.rglob("*.parquet"))
    rows = "\n".join(
        f"| {table.with_suffix('')} | {n:,} | {left:,} | {right:,} |"
        for table, (n, left, right) in ((table, compared(root, table)) for table in tables)
    )
    return f"""## {shop}

| stage | engine | seconds | processor seconds | peak memory, GiB |
|---|---|---|---|---|
{needs}

| table | rows | only on DuckDB | only on Spark |
|---|---|---|---|
{rows}
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--lines", type=int, nargs="*", default=[], help="of synthetic shops, too")
    given = parser.parse_args()
    sections = []
    for lines in (0, *given.lines):
        with tempfile.TemporaryDirectory(prefix="engines-") as folder:
            if lines:
                write_shop(Path(folder), lines, lines // 20, lines // 200)
            else:
                write_embedded_shop(Path(folder))
            shop = f"{lines:,} synthetic lines" if lines else "The embedded shop"
            sections.append(report(shop, Path(folder)))
            print(sections[-1], flush=True)
    FILE.write_text(
        f"""# Validate and preprocess on DuckDB and on Spark

Made by `python -m benchmarks.engines{" --lines" if given.lines else ""}\
{"".join(f" {lines}" for lines in given.lines)}`, whose docstring says how. {platform.machine()},
{os.cpu_count()} cores, shared with other work: the seconds depend on it, the processor time less.
Spark's seconds include the start of its JVM.

"""
        + "\n".join(sections),
        encoding="utf-8",
    )
    print(f"report: {FILE}")


if __name__ == "__main__":
    main()
