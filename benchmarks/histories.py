"""Memory and latency of a worker whose histories are in memory, and read by customer.

    python -m benchmarks.histories --events-url postgresql://… [--root .] [--users 250000]

Protocol: synthetic histories of ``--users`` customers (geometric lengths, 20 events on average)
over the products of the root's model are version 1 of a folder of its own, and are written to the
event store once. Then a worker's backend is made in a process of its own for each setting of
``serve.histories``, in turn, ``ROUNDS`` times, with PostgreSQL as the event store and without a
cache of pages. Memory is the process' proportional set size after loading; the difference of the
two is what the histories take. Requests are of random customers, one at a time: *first* requests
read the customer from the store, *again* the same customers in the same order.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import platform
import shutil
import statistics
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
from components.settings import load_settings
from serving.api.auth import Auth, Keys
from serving.backend import Backend
from serving.events.history_table import share_histories
from serving.events.store import open_store
from serving.recommend.query import RecommendRequest
from serving.recommend.types import Shopper

RESULTS = Path(__file__).parent / "results"
REQUESTS = 1_000
ROUNDS = 3
MB = 1024**2


def make_histories(root: Path, file: Path, users: int) -> int:
    """Write histories of synthetic customers; return the number of events."""
    items = pd.read_parquet(root / "models/hybrid/items.parquet")["item_id"].to_numpy()
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


def measure(root: Path, histories: str, url: str, users: int) -> dict[str, Any]:
    """Load a backend in this process; return its memory and the milliseconds of requests."""
    settings = load_settings(root / "params.yaml")
    changed = {"ranking": "thread", "cache_mb": 0, "histories": histories}
    serve = settings.serve.model_copy(update={**changed, "events_url": Credential(url)})
    settings = settings.model_copy(update={"serve": serve})
    backend = Backend(settings, root, Auth(Keys(), b"secret").impression_id)
    began = time.perf_counter()
    backend.load()
    loaded = time.perf_counter() - began
    memory = psutil.Process().memory_full_info().pss / MB
    chosen = np.random.default_rng(1).integers(0, users, REQUESTS)

    async def times() -> list[float]:
        found = []
        for one in chosen:
            user = f"customer-{one}"
            shopper = Shopper(user, None, f"user:{user}", "client", False, False)
            start = time.perf_counter()
            await backend.recommendations.recommend(RecommendRequest(k=10), shopper)
            found.append(1000 * (time.perf_counter() - start))
        return found

    async def both() -> tuple[list[float], list[float]]:
        return await times(), await times()

    first, again = asyncio.run(both())
    backend.close()
    return {
        "load_seconds": loaded,
        "memory_mb": memory,
        **{f"first_p{q}": float(np.percentile(first, q)) for q in (50, 99)},
        **{f"again_p{q}": float(np.percentile(again, q)) for q in (50, 99)},
        "after_mb": psutil.Process().memory_full_info().pss / MB,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root", type=Path, default=Path())
    parser.add_argument("--users", type=int, default=250_000)
    parser.add_argument("--events-url", required=True)
    parser.add_argument("--one", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        print(json.dumps(measure(given.root, given.one, given.events_url, given.users)))
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
        found: dict[str, list[dict[str, Any]]] = {"memory": [], "store": []}
        for _ in range(ROUNDS):
            for kind, results in found.items():
                done = subprocess.run(
                    [
                        *(sys.executable, "-m", "benchmarks.histories", "--root", str(root)),
                        *("--users", str(given.users), "--events-url", given.events_url),
                        *("--one", kind),
                    ],
                    check=True,
                    capture_output=True,
                    text=True,
                )
                results.append(json.loads(done.stdout.splitlines()[-1]))
                print(kind, results[-1], flush=True)
    names = list(found["memory"][0])
    median = {
        kind: {one: statistics.median(result[one] for result in results) for one in names}
        for kind, results in found.items()
    }
    lines = [
        "# Histories of customers: in memory, and read from the event store",
        "",
        f"`python -m benchmarks.histories`: {given.users:,} customers, {events:,} events, "
        f"{platform.machine()}, medians of {ROUNDS} rounds; load average "
        f"{psutil.getloadavg()[1]:.0f} on {psutil.cpu_count()} cores.",
        f"Writing them to PostgreSQL took {shared:.0f} seconds.",
        "",
        "| | memory | store | ratio |",
        "|---|---|---|---|",
        *(
            f"| {one} | {median['memory'][one]:.2f} | {median['store'][one]:.2f} | "
            f"{median['store'][one] / median['memory'][one]:.2f} |"
            for one in names
        ),
        "",
        "Milliseconds of a request at the 50th and the 99th percentile; megabytes of a worker that "
        "ranks in a thread, the model included, before and after the requests.",
        "",
    ]
    (RESULTS / "histories.md").write_text("\n".join(lines), encoding="utf-8")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
