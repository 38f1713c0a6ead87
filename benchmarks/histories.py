"""Memory and latency of a worker whose histories are in memory, and read by customer.

    python -m benchmarks.histories --events-url postgresql://… [--root .] [--users 250000]

Protocol: synthetic histories of ``--users`` customers (geometric lengths, 20 events on average)
over the products of the root's model are version 1 of a folder of its own, and are written to the
event store once. A worker's backend is made in a process of its own for each setting of
``serve.histories``, with PostgreSQL as the event store and without a cache of pages; memory is its
proportional set size after loading. Then one process has both backends, which answer the same
random customers in turn, one request at a time: the *first* request of a customer reads the
customer from the store, *again* is the same customers in the same order.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import psutil

from components.credentials import Credential
from components.data.item_table import read_item_table
from components.settings import load_settings
from serving.api.auth import Auth, Keys
from serving.backend import Backend
from serving.events.history_table import share_histories
from serving.events.store import open_store
from serving.recommend.query import RecommendRequest
from serving.recommend.types import Shopper

RESULTS = Path(__file__).parent / "results"
REQUESTS = 500
KINDS = ("memory", "store")
MB = 1024**2


def make_histories(root: Path, file: Path, users: int) -> int:
    """Write histories of synthetic customers; return the number of events."""
    items = read_item_table(root / "models/hybrid")["item_id"].to_numpy()
    draw = np.random.default_rng(0)
    lengths = draw.geometric(1 / 20, users)
    n = int(lengths.sum())
    popular = (len(items) * draw.random(n) ** 3).astype(np.int64)
    start = pd.Timestamp("2011-01-01", tz="UTC").value // 10**9
    seconds = start + draw.integers(0, 28_000_000, n)
    frame = pd.DataFrame(
        {
            "user_id": np.repeat([f"customer-{one}" for one in range(users)], lengths),
            "item_id": items[popular],
            "timestamp": pd.to_datetime(seconds, unit="s", utc=True),
        }
    )
    file.parent.mkdir(parents=True)
    frame.to_parquet(file)
    return n


def open_backend(root: Path, histories: str, url: str) -> Backend:
    """Return a loaded backend that ranks in a thread of this process, without cached pages."""
    settings = load_settings(root / "params.yaml")
    changed = {"ranking": "thread", "cache_mb": 0, "histories": histories}
    serve = settings.serve.model_copy(update={**changed, "events_url": Credential(url)})
    settings = settings.model_copy(update={"serve": serve})
    backend = Backend(settings, root, Auth(Keys(), b"secret").impression_id)
    backend.load()
    return backend


def memory(root: Path, histories: str, url: str) -> dict[str, float]:
    """Load a backend in this process; return its megabytes and the seconds that took."""
    began = time.perf_counter()
    backend = open_backend(root, histories, url)
    seconds = time.perf_counter() - began
    found = {"megabytes": psutil.Process().memory_full_info().pss / MB, "load seconds": seconds}
    backend.close()
    return found


def latency(root: Path, url: str, users: int) -> dict[str, dict[str, float]]:
    """Return the milliseconds of requests of two backends in this process, asked in turn."""
    backends = {kind: open_backend(root, kind, url) for kind in KINDS}
    chosen = np.random.default_rng(1).integers(0, users, REQUESTS)
    found: dict[str, dict[str, float]] = {kind: {} for kind in KINDS}

    async def ask() -> None:
        for name in ("first", "again"):
            times: dict[str, list[tuple[float, float]]] = {kind: [] for kind in KINDS}
            for turn, one in enumerate(chosen):
                user = f"customer-{one}"
                shopper = Shopper(user, None, f"user:{user}", "client", False, False)
                for kind in KINDS if turn % 2 else KINDS[::-1]:  # the second may wait longer
                    backend = backends[kind]
                    start, busy = time.perf_counter(), time.process_time()
                    await backend.recommendations.recommend(RecommendRequest(k=10), shopper)
                    took = time.perf_counter() - start, time.process_time() - busy
                    times[kind].append(took)
            for kind, taken in times.items():
                wall, busy = 1000 * np.array(taken).T
                found[kind] |= {
                    f"{name}, 50th percentile, ms": float(np.percentile(wall, 50)),
                    f"{name}, 99th percentile, ms": float(np.percentile(wall, 99)),
                    f"{name}, processor ms": float(np.mean(busy)),
                }

    asyncio.run(ask())
    for backend in backends.values():
        backend.close()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root", type=Path, default=Path())
    parser.add_argument("--users", type=int, default=250_000)
    parser.add_argument("--events-url", required=True)
    parser.add_argument("--one", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one == "latency":
        print(json.dumps(latency(given.root, given.events_url, given.users)))
        return
    if given.one:
        print(json.dumps(memory(given.root, given.one, given.events_url)))
        return
    with tempfile.TemporaryDirectory(prefix="bowerbird-") as name:
        root = Path(name)
        shutil.copytree(given.root / "models/hybrid", root / "var/serving/models/1")
        shutil.copy(given.root / "params.yaml", root)
        file = root / "var/serving/profiles/1.parquet"
        events = make_histories(given.root, file, given.users)
        pointer = {"version": "1", "folder": "var/serving/models/1"}
        (root / "var/serving/champion.json").write_text(json.dumps(pointer))
        began = time.perf_counter()
        with open_store(given.events_url) as store:
            share_histories(store.database, file, "1", ())
        shared = time.perf_counter() - began

        def measured(what: str) -> Any:
            command = (sys.executable, "-m", "benchmarks.histories", "--root", str(root))
            options = ("--users", str(given.users), "--events-url", given.events_url)
            done = subprocess.run(
                [*command, *options, "--one", what], check=True, stdout=subprocess.PIPE, text=True
            )
            found = json.loads(done.stdout.splitlines()[-1])
            print(what, found, flush=True)
            return found

        found = {kind: measured(kind) for kind in KINDS}
        for kind, times in measured("latency").items():
            found[kind] |= times
    lines = [
        "# Histories of customers: in memory, and read from the event store",
        "",
        f"`python -m benchmarks.histories`: {given.users:,} customers, {events:,} events, "
        f"{platform.machine()}, load average "
        f"{psutil.getloadavg()[1]:.0f} on {psutil.cpu_count()} cores.",
        f"Writing them to PostgreSQL took {shared:.0f} seconds.",
        "",
        "| | memory | store | ratio |",
        "|---|---|---|---|",
        *(
            f"| {one} | {found['memory'][one]:.2f} | {found['store'][one]:.2f} | "
            f"{found['store'][one] / found['memory'][one]:.2f} |"
            for one in found["memory"]
        ),
        "",
        "Megabytes of a worker that ranks in a thread, the model included. Processor time: the "
        "worker's, without PostgreSQL's.",
        "",
    ]
    (RESULTS / "histories.md").write_text("\n".join(lines), encoding="utf-8")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
