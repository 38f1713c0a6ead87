"""What lists for all customers cost: seconds a customer, peak memory, megabytes written.

    python -m benchmarks.recommend_all --root FOLDER [--customers 4285 25000 100000] [--workers 1]

FOLDER: a shop with a registered or unregistered model (``bowerbird run`` makes one); it is only
read. For each number of customers the model's folder is linked into a new root, whose histories
repeat those of the real customers under new ids, and ``bowerbird recommend-all`` writes lists of
ten products to Parquet there, with impressions in SQLite. Reported: seconds and processor time of
the whole command and of each customer beyond the smallest number (which leaves out the model's
loading), and the memory (proportional set size) of all its processes, sampled twice a second: the
peak, and the highest of each quarter of the run, which shows whether it grows with the customers.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
import pyarrow as pa
import pyarrow.parquet as pq

from serving.models.versions import find_champion, profiles_file

RESULTS = Path(__file__).parent / "results/recommend_all.md"
REPOSITORY = Path(__file__).resolve().parents[1]
MIB = 2**20
COMMAND = [sys.executable, str(REPOSITORY / "bowerbird.py"), "recommend-all", "--to", "lists"]


def repeated(source: Path, target: Path, customers: int) -> None:
    """Write the histories of ``source`` until there are ``customers``, each copy under new ids."""
    table = pq.read_table(source)
    users = table["user_id"].to_pandas()
    codes, ids = pd.factorize(users)
    copies, rest = divmod(customers, len(ids))
    with pq.ParquetWriter(target, table.schema) as writer:
        for copy in range(copies + (rest > 0)):
            part = table if copy < copies else table.filter(pa.array(codes < rest))
            renamed = part["user_id"].to_pandas() + ("" if copy == 0 else f"-{copy}")
            column = pa.array(renamed, pa.string())
            writer.write_table(part.set_column(0, "user_id", column))


def memory(process: psutil.Process) -> float:
    """Return the proportional set size of a process and its children, MiB."""
    total = 0
    try:
        for one in (process, *process.children(recursive=True)):
            total += one.memory_full_info().pss
    except psutil.Error:  # it has just ended
        return 0.0
    return total / MIB


def run(root: Path, customers: int, workers: int, work: Path) -> dict[str, float]:
    """Return what the command took for so many customers."""
    shop = work / f"{customers}-{workers}"
    champion = find_champion(root)
    file = profiles_file(root, champion)
    assert file is not None
    (shop / "models/profiles").mkdir(parents=True)
    (shop / "models/hybrid").symlink_to(champion.folder.resolve())
    shutil.copy(root / "params.yaml", shop)
    repeated(file, shop / "models/profiles/profiles.parquet", customers)
    environment = {
        "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin",
        "PYTHONPATH": str(REPOSITORY),
        "OMP_NUM_THREADS": "1",
        "BOWERBIRD_RECOMMEND_ALL__WORKERS": str(workers),
    }
    before = psutil.Process().cpu_times()
    start = time.monotonic()
    with (shop / "log").open("wb") as log:
        process = subprocess.Popen(COMMAND, cwd=shop, env=environment, stdout=log, stderr=log)
        watched, samples = psutil.Process(process.pid), []
        while process.poll() is None:
            samples.append(memory(watched))
            time.sleep(0.5)
    seconds = time.monotonic() - start
    if process.returncode:
        raise SystemExit((shop / "log").read_text())
    after = psutil.Process().cpu_times()
    quarters = [float(part.max()) for part in np.array_split(np.array(samples), 4)]
    return {
        "customers": customers,
        "workers": workers,
        "seconds": seconds,
        "cpu": after.children_user
        + after.children_system
        - before.children_user
        - before.children_system,
        "peak": max(quarters),
        **{f"quarter {n}": quarter for n, quarter in enumerate(quarters, 1)},
        "lists_mb": sum(one.stat().st_size for one in (shop / "lists").iterdir()) / 1e6,
        "store_mb": (shop / "var/events/events.db").stat().st_size / 1e6,
    }


def report(rows: pd.DataFrame) -> str:
    """Return the results as Markdown."""
    least = rows[rows["workers"] == rows["workers"].min()].iloc[0]
    lines = [
        "# Lists for all customers",
        "",
        "Made by `python -m benchmarks.recommend_all`, whose docstring gives the protocol.",
        "",
        "| customers | processes | s | processor s | ms a customer | processor ms a customer | "
        "peak, MiB | highest of each quarter, MiB | lists, MB | event store, MB |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows.to_dict("records"):
        more = row["customers"] - least["customers"]
        each = ["–", "–"]
        if more and row["workers"] == least["workers"]:
            each = [f"{1000 * (row[of] - least[of]) / more:.2f}" for of in ("seconds", "cpu")]
        quarters = " ".join(f"{row[f'quarter {n}']:,.0f}" for n in range(1, 5))
        lines.append(
            f"| {row['customers']:,} | {row['workers']} | {row['seconds']:.0f} | {row['cpu']:.0f} "
            f"| {each[0]} | {each[1]} | {row['peak']:,.0f} | {quarters} "
            f"| {row['lists_mb']:.1f} | {row['store_mb']:.1f} |"
        )
    most = rows[rows["workers"] == least["workers"]].iloc[-1]
    if most["customers"] > least["customers"]:
        each = (most["cpu"] - least["cpu"]) / (most["customers"] - least["customers"])
        lines += [
            "",
            f"Extrapolated from {int(most['customers']):,} customers: a million take "
            f"{1e6 * each / 60:.0f} minutes of one processor, "
            f"{1000 * most['store_mb'] / most['customers']:.2f} GB of the event store and "
            f"{1000 * most['lists_mb'] / most['customers']:.2f} GB of Parquet. The machine is "
            f"shared: its load was {os.getloadavg()[2]:.0f} on {os.cpu_count()} processors at the "
            "end, so compare the seconds of the processor.",
        ]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--root", type=Path, default=Path())
    parser.add_argument("--customers", type=int, nargs="+", default=[4285, 25_000, 100_000])
    parser.add_argument("--workers", type=int, nargs="+", default=[1])
    arguments = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory(prefix="bowerbird-") as name:
        for workers in arguments.workers:
            for customers in arguments.customers:
                rows.append(run(arguments.root, customers, workers, Path(name)))
                print(rows[-1], flush=True)
                RESULTS.write_text(report(pd.DataFrame(rows)), encoding="utf-8")


if __name__ == "__main__":
    main()
