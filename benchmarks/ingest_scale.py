"""Time, memory and disk of ingest, validate and preprocess on a synthetic shop of many lines.

    python -m benchmarks.ingest_scale --lines 100_000_000 --folder /mnt/scratch

The shop: half of the lines as CSV, half as Parquet, in several files; products sell by Zipf's law;
2 % of the lines are bad (no customer, a time, price or quantity that cannot be, a duplicate, a
product that left the catalogue); an item file, a user file, and one event of feedback for 500
lines. The commands ``bowerbird sources``, ``ingest``, ``validate`` and ``preprocess`` run in a
project folder of their own. Memory is the largest resident set of a command's processes together.
Nothing comes from the network.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import tempfile
import time
from pathlib import Path

import duckdb
import pyarrow.parquet as pq
import yaml

from benchmarks.commands import Run, measured, size

RESULTS = Path(__file__).parent / "results"
COMMANDS = ("sources", "ingest", "validate", "preprocess")
FILES = 4
"""Files of each of the two kinds."""
GIB = 1 << 30
SECONDS = 2 * 365 * 86_400
"""The lines' time: two years."""


def uniform(seed: int, row: str = "n") -> str:
    """Return SQL of a number in [0, 1) for each row, the same in every run."""
    return f"((hash({row}, {seed}) >> 11) / 9007199254740992.0)"


def lines_sql(first: int, last: int, users: int, items: int) -> str:
    """Return SQL of the lines ``first`` to ``last``."""
    # Every 250th line is the one before it again.
    return f"""
        SELECT CASE WHEN bad < 0.004 THEN NULL
                    ELSE 'u' || CAST(floor({users} * pow({uniform(1)}, 1.5)) AS BIGINT)
               END AS customer,
               CASE WHEN bad BETWEEN 0.004 AND 0.008 THEN 'gone-' || n % 1000
                    ELSE 'p' || CAST(floor(pow({items}, {uniform(2)}) - 1) AS BIGINT)
               END AS sku,
               CASE WHEN kind < 0.7 THEN 'view' WHEN kind < 0.8 THEN 'cart' ELSE 'purchase'
               END AS event,
               CASE WHEN bad BETWEEN 0.008 AND 0.012 THEN TIMESTAMP '1970-01-01'
                    ELSE TIMESTAMP '2024-01-01'
                         + to_seconds(CAST({SECONDS} * {uniform(3)} AS BIGINT))
               END AS time,
               CASE WHEN bad BETWEEN 0.012 AND 0.014 THEN -1
                    ELSE round(exp(1 + 2 * {uniform(4)}), 2) END AS price,
               CASE WHEN bad BETWEEN 0.014 AND 0.016 THEN 0
                    ELSE 1 + CAST(floor(3 * {uniform(5)}) AS INT) END AS quantity,
               'o' || (n // 3) AS order_number
        FROM (SELECT n, {uniform(6)} AS bad, {uniform(7)} AS kind
              FROM (SELECT line - (line % 250 = 249)::INT AS n
                    FROM range({first}, {last}) AS lines(line)))"""


def write_shop(root: Path, lines: int, users: int, items: int) -> None:
    """Write the shop's files and params.yaml below ``root``."""
    for folder in ("shop/csv", "shop/parquet", "data/feedback", "reports"):
        (root / folder).mkdir(parents=True)
    con = duckdb.connect(config={"memory_limit": "1GB", "temp_directory": str(root / "spilled")})
    share = lines // (2 * FILES)
    for n in range(2 * FILES):
        kind = ("csv", "parquet")[n % 2]
        last = lines if n == 2 * FILES - 1 else (n + 1) * share
        rows = lines_sql(n * share, last, users, items)
        con.execute(f"COPY ({rows}) TO '{root}/shop/{kind}/lines-{n}.{kind}' (FORMAT {kind})")
    con.execute(
        f"""COPY (SELECT 'p' || n AS sku, 'Product ' || n || ' of kind ' || n % 997 AS title,
                  'kind ' || n % 97 || '/' || n % 997 AS category, 'brand ' || n % 499 AS brand,
                  round(exp(1 + 2 * {uniform(8)}), 2) AS price
            FROM range({items}) AS items(n)) TO '{root}/shop/items.csv' (FORMAT csv)"""
    )
    con.execute(
        f"""COPY (SELECT 'u' || n AS id, ['DE', 'FR', 'NL', 'IT'][1 + n % 4] AS country
            FROM range({users}) AS users(n)) TO '{root}/shop/users.parquet'"""
    )
    con.execute(
        f"""COPY (SELECT 'u' || n % {users} AS user_id, 'p' || n % 1000 AS item_id,
                  'click' AS event, NULL::FLOAT AS rating, 1::FLOAT AS quantity,
                  NULL::FLOAT AS price,
                  TIMESTAMPTZ '2025-12-01 00:00:00+00' + to_seconds(n % 86400) AS timestamp,
                  NULL::VARCHAR AS order_id, NULL::VARCHAR AS impression_id,
                  'client ' || n % 300 AS client, 'session' AS authentication
            FROM range({lines // 500}) AS events(n))
            TO '{root}/data/feedback/events-2025-12-01.parquet'"""
    )
    con.close()
    columns = {
        "user_id": "customer",
        "item_id": "sku",
        "event": "event",
        "timestamp": "time",
        "price": "price",
        "quantity": "quantity",
        "order_id": "order_number",
    }
    catalogue = {name: name for name in ("title", "category", "brand", "price")}
    settings = yaml.safe_load((RESULTS.parents[1] / "params.yaml").read_text()) | {
        "validate": {},
        "ingest": {
            "interactions": [
                {"path": f"shop/{kind}", "columns": columns} for kind in ("csv", "parquet")
            ],
            "items": [
                {
                    "path": "shop/items.csv",
                    "columns": {"item_id": "sku", **catalogue},
                    "category_separator": "/",
                }
            ],
            "users": [
                {"path": "shop/users.parquet", "columns": {"user_id": "id", "country": "country"}}
            ],
        },
    }
    (root / "params.yaml").write_text(yaml.safe_dump(settings))


def report(runs: list[Run], root: Path, lines: int, users: int, items: int, written: float) -> str:
    """Return the result as Markdown."""
    rows = {
        name: pq.read_metadata(root / "data" / name / "interactions.parquet").num_rows
        for name in ("raw", "valid", "quarantine", "prepared")
    }
    table = "\n".join(
        f"| `bowerbird {run.command}` | {run.seconds:,.0f} | {run.processor:,.0f} | "
        f"{run.memory / GIB:.2f} | "
        f"{run.disk / GIB:.1f} |"
        for run in runs
    )
    shop = size(root / "shop") / GIB
    said = "".join(run.output for run in runs)
    return f"""# {lines:,} lines through ingest, validate and preprocess

Made by `python -m benchmarks.ingest_scale --lines {lines:_}`, whose docstring describes the shop:
{users:,} customers, {items:,} products, {2 * FILES} files of lines ({shop:.1f} GiB with the items
and users, written in {written:,.0f} s). {platform.machine()}, {os.cpu_count()} cores, shared with
other work: the seconds depend on it, the processor time does not.

| command | seconds | processor seconds | peak memory, GiB | `data/` at its largest, GiB |
|---|---|---|---|---|
{table}

Rows of interactions: {rows["raw"]:,} raw = {rows["valid"]:,} valid + {rows["quarantine"]:,} in
quarantine; {rows["prepared"]:,} prepared.

```
{said.strip()}
```
"""


def run(lines: int, users: int, items: int, root: Path) -> str:
    """Make the shop in the empty folder ``root``, run the commands there, return the report."""
    start = time.perf_counter()
    write_shop(root, lines, users, items)
    written = time.perf_counter() - start
    print(f"shop written in {written:,.0f} s", flush=True)
    runs = []
    for command in COMMANDS:
        runs.append(
            measured(
                command,
                [sys.executable, "-c", "from bowerbird import app; app()", command],
                root,
            )
        )
        done = runs[-1]
        print(
            f"{command:<12}{done.seconds:>8,.0f} s {done.processor:>8,.0f} s processor "
            f"{done.memory / GIB:>6.2f} GiB memory "
            f"{done.disk / GIB:>6.1f} GiB disk",
            flush=True,
        )
    return report(runs, root, lines, users, items, written)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--lines", type=int, default=1_000_000)
    parser.add_argument("--users", type=int, help="default: a twentieth of the lines")
    parser.add_argument("--items", type=int, help="default: a two-hundredth of the lines")
    parser.add_argument("--folder", type=Path, help="where the shop is written; default: /tmp")
    given = parser.parse_args()
    users, items = given.users or given.lines // 20, given.items or given.lines // 200
    with tempfile.TemporaryDirectory(dir=given.folder, prefix="ingest-scale-") as folder:
        text = run(given.lines, users, items, Path(folder))
    file = RESULTS / f"ingest_scale_{given.lines // 1_000_000}_million.md"
    file.write_text(text)
    print(f"report: {file}")


if __name__ == "__main__":
    main()
