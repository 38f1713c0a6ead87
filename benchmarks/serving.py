"""Throughput and latency of recommend, against an empty route of the same service.

    python -m benchmarks.serving [--root .] [--catalogue shop|million] [--seconds 5]

Protocol: one ``bentoml serve`` worker over the model of ``--root`` (``make run`` makes it), or
over a synthetic catalogue of 1,000,000 products, and a load generator in another process
(``benchmarks/load.py``), both on this machine. Three kinds of requests, k = 10 with reasons:

- **kept** (cache hits): 200 known shoppers without new events: the recommendation is cached;
- **traffic**: known shoppers by Zipf's law; after every tenth request one of them clicks, so that
  the next one is ranked again;
- **new**: each request has a new list of items, so nothing is cached.

Only requests of kept are repeated. At saturation (16 connections, closed loop) empty and recommend
alternate, three rounds; then both run at half of recommend's saturation, again alternating three
times, paced, with latency measured from the scheduled time. The table has the medians.
CPU milliseconds are of all threads of the service, a request: other work on the machine changes
them least. Then events a second accepted durably, and the memory (proportional set size) of all
processes of the service. Before, for orientation, the empty answers of a service as BentoML makes
it out of the box.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import psutil

from components.data.item_table import read_item_table
from components.data.profiles import profiles_file

REPOSITORY = Path(__file__).resolve().parents[1]
RESULTS = Path(__file__).parent / "results"
CONNECTIONS = 16
ROUNDS = 3
EMPTY = [["GET", "/empty", None]]
FASTEST = 5_000
"""Requests a second that there are enough of."""


class Service:
    """A service in processes of its own, over ``root``."""

    def __init__(self, root: Path, target: str = "serving.service:Bowerbird") -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.log = (root / "server.log").open("ab")
        began = time.perf_counter()
        self.process = subprocess.Popen(
            [
                *(sys.executable, "-m", "bentoml", "serve", target),
                *("--host", "127.0.0.1", "--port", str(self.port)),
            ],
            cwd=REPOSITORY,
            env={
                **os.environ,
                "BOWERBIRD_ROOT": str(root),
                "BENTOML_HOME": str(root / "bentoml"),
                "BENTOML_DO_NOT_TRACK": "true",
                "BOWERBIRD_SERVE__MAX_RATE": "0",
            },
            stdout=self.log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        ready = [["GET", "/readyz", None]]
        while True:
            try:
                if self.ask(ready, 0.02, 1)["failures"] == 0:
                    break
            except subprocess.CalledProcessError:
                pass
            if self.process.poll() is not None or time.perf_counter() - began > 600:
                raise SystemExit(f"the service did not start: see {root / 'server.log'}")
            time.sleep(0.1)
        self.seconds_to_ready = time.perf_counter() - began

    def ask(
        self, requests: list[list[Any]], seconds: float, connections: int, rate: float = 0
    ) -> dict[str, float]:
        """Return what the load generator measured, and the service's CPU milliseconds a request."""
        before = self.cpu_seconds()
        with tempfile.NamedTemporaryFile("w", suffix=".jsonl") as file:
            file.write("\n".join(map(json.dumps, requests)))
            file.flush()
            done = subprocess.run(
                [
                    *(sys.executable, "-m", "benchmarks.load", str(self.port), str(seconds)),
                    *(str(connections), str(rate), file.name),
                ],
                cwd=REPOSITORY,
                check=True,
                capture_output=True,
                text=True,
            )
        found = json.loads(done.stdout)
        found["cpu"] = (self.cpu_seconds() - before) / max(1, found["requests"]) * 1000
        return found

    def processes(self) -> list[psutil.Process]:
        """Return the service's processes: BentoML's own and its workers."""
        first = psutil.Process(self.process.pid)
        return [first, *first.children(recursive=True)]

    def cpu_seconds(self) -> float:
        """Return what the service has used of the processors, user and system."""
        seconds = 0.0
        for process in self.processes():
            with suppress(psutil.NoSuchProcess):  # it has ended
                seconds += sum(process.cpu_times()[:2])
        return seconds

    def megabytes(self) -> float:
        """Return the proportional set size of the service's processes."""
        return sum(process.memory_full_info().pss for process in self.processes()) / 2**20

    def stop(self) -> None:
        os.killpg(self.process.pid, signal.SIGTERM)
        self.process.wait(timeout=60)
        self.log.close()


class Stream:
    """Requests in their order, a part at a time."""

    def __init__(self, requests: list[list[Any]], again: bool) -> None:
        self.requests = requests
        self.again = again  # whether they may be sent again
        self.at = 0

    def take(self, n: int) -> list[list[Any]]:
        """Return the next n, or all of those that may be sent again."""
        if self.again:
            return self.requests
        self.at += n
        if self.at > len(self.requests):
            raise SystemExit("not enough requests were made: fewer --seconds")
        return self.requests[self.at - n : self.at]


def kinds(folder: Path, n: int, seed: int = 0) -> dict[str, Stream]:
    """Return the requests of each kind, n or more, for the model in ``folder``."""
    random = np.random.default_rng(seed)
    file = profiles_file(folder.parents[1], folder)
    users = pd.read_parquet(file, columns=["user_id"])["user_id"]
    by_activity = users.value_counts().index.to_numpy()
    items = read_item_table(folder)["item_id"].to_numpy()

    def page(**asker: Any) -> list[Any]:
        return ["POST", "/recommend", {"k": 10, **asker}]

    kept = [page(user_id=str(user)) for user in random.choice(by_activity, 200, replace=False)]
    share = np.arange(1, len(by_activity) + 1) ** -1.2
    traffic = []
    for at, user in enumerate(map(str, random.choice(by_activity, n, p=share / share.sum()))):
        traffic.append(page(user_id=user))
        if at % 10 == 9:
            click = {"user_id": user, "item_id": str(random.choice(items)), "event": "click"}
            traffic.append(["POST", "/feedback", click])
    lengths = random.integers(1, 9, int(1.2 * n))
    recent = np.split(random.choice(items, lengths.sum()), np.cumsum(lengths)[:-1])
    new = [page(recent=list(one)) for one in dict.fromkeys(tuple(map(str, one)) for one in recent)]
    return {"kept": Stream(kept, True), "traffic": Stream(traffic, False)} | {
        "new": Stream(new, False)
    }


Found = dict[str, float]


def in_turn(
    service: Service, stream: Stream, seconds: float, rate: float = 0
) -> tuple[Found, Found]:
    """Return the medians of empty and of recommend, asked in turn. rate: a second, 0: saturated."""
    each = int((rate or FASTEST) * seconds) + 100
    rounds = [
        (
            service.ask(EMPTY, seconds, CONNECTIONS, rate),
            service.ask(stream.take(each), seconds, CONNECTIONS, rate),
        )
        for _ in range(ROUNDS)
    ]
    empty, asked = (
        {name: statistics.median(one[name] for one in found) for name in found[0]}
        for found in zip(*rounds, strict=True)
    )
    asked["failures"] = sum(pair[1]["failures"] for pair in rounds)
    return empty, asked


def stock() -> Found:
    """Return the requests a second that BentoML answers with nothing, out of the box."""
    with tempfile.TemporaryDirectory(prefix="bowerbird-stock-") as name:
        service = Service(Path(name), "benchmarks.stock_service:Stock")
        try:
            return {
                "a mounted route": service.ask([["GET", "/mounted", None]], 4, CONNECTIONS)["rps"],
                "@bentoml.api": service.ask([["POST", "/api", {}]], 4, CONNECTIONS)["rps"],
            }
        finally:
            service.stop()


def events(service: Service, seconds: float) -> dict[str, float]:
    """Return events a second accepted durably, one a request and 100 a request."""

    def event() -> dict[str, str]:
        return {"event_id": uuid.uuid4().hex, "user_id": uuid.uuid4().hex[:4], "item_id": "x"} | {
            "event": "view"
        }

    def batch() -> dict[str, Any]:
        return {"events": [event() for _ in range(100)]}

    single = [["POST", "/feedback", event()] for _ in range(int(6_000 * seconds))]
    batches = [["POST", "/feedback/batch", batch()] for _ in range(int(600 * seconds))]
    one, many = service.ask(single, seconds, 64), service.ask(batches, seconds, 8)
    assert one["failures"] == many["failures"] == 0
    # An event that is there already costs less.
    assert one["requests"] <= len(single)
    assert many["requests"] <= len(batches)
    return {"single": one["rps"], "batched": many["rps"] * 100}


def measure(root: Path, seconds: float) -> tuple[pd.DataFrame, dict[str, float]]:
    """Return the table of request kinds, and the other figures."""
    busy = os.getloadavg()[0]
    of_stock = {f"empty, BentoML out of the box, {name}/s": rps for name, rps in stock().items()}
    service = Service(root)
    rows = []
    try:
        facts = {
            "load average of the machine before": busy,
            **of_stock,
            "seconds to ready": service.seconds_to_ready,
            "MB at start": service.megabytes(),
        }
        # Half of the rounds are saturated, half of them at half of that.
        enough = int(1.6 * ROUNDS * FASTEST * seconds) + 2 * FASTEST
        for name, stream in kinds(root / "models/hybrid", enough).items():
            service.ask(stream.take(FASTEST), 1, CONNECTIONS)
            empty, asked = in_turn(service, stream, seconds)
            half_empty, half = in_turn(service, stream, seconds, asked["rps"] / 2)
            rows.append(
                {
                    "requests": name,
                    "empty rps": empty["rps"],
                    "recommend rps": asked["rps"],
                    "share": asked["rps"] / empty["rps"],
                    "empty CPU ms": empty["cpu"],
                    "recommend CPU ms": asked["cpu"],
                    "saturated p50 ms": asked["p50"],
                    "saturated p99 ms": asked["p99"],
                    "half: empty p50 ms": half_empty["p50"],
                    "half: empty p99 ms": half_empty["p99"],
                    "half: p50 more ms": half["p50"] - half_empty["p50"],
                    "half: p99 more ms": half["p99"] - half_empty["p99"],
                    "failures": asked["failures"] + half["failures"],
                }
            )
            if name == "traffic":
                facts |= {
                    "feedback at half, p50 ms": half["others_p50"],
                    "feedback at half, p99 ms": half["others_p99"],
                }
        found = events(service, seconds)
        facts |= {
            "events/s, one a request": found["single"],
            "events/s, 100 a request": found["batched"],
            "MB at the end": service.megabytes(),
        }
    finally:
        service.stop()
    return pd.DataFrame(rows), facts


def report(catalogue: str, items: int, table: pd.DataFrame, facts: dict[str, float]) -> str:
    """Return the section of one catalogue."""
    model = platform.processor() or platform.machine()
    lines = [
        f"## {items:,} products ({catalogue})",
        "",
        f"{os.cpu_count()} cores, {model}; one worker; k = 10 with reasons.",
        "",
        table.to_markdown(index=False, floatfmt=".2f"),
        "",
        *(f"- {name}: {value:,.1f}" for name, value in facts.items()),
        "",
    ]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root", type=Path, default=Path())
    parser.add_argument("--catalogue", choices=["shop", "million"], default="shop")
    parser.add_argument("--products", type=int, default=1_000_000)
    parser.add_argument("--seconds", type=float, default=5)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bowerbird-serving-") as name:
        root = Path(name)
        if arguments.catalogue == "shop":
            if not (arguments.root / "models/hybrid/model.json").exists():
                raise SystemExit("no model: run `make run` first")
            source = arguments.root
        else:
            from benchmarks.million import make

            source = arguments.root / f"var/benchmarks/{arguments.products}"
            if not (source / "models/profiles/profiles.parquet").exists():
                make(source, arguments.products)
        (root / "models").symlink_to((source / "models").resolve())
        shutil.copy(REPOSITORY / "params.yaml", root / "params.yaml")
        items = len(read_item_table(root / "models/hybrid"))
        table, facts = measure(root, arguments.seconds)
    text = report(arguments.catalogue, items, table, facts)
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"serving_{arguments.catalogue}.md").write_text(text)
    table.to_csv(RESULTS / f"serving_{arguments.catalogue}.csv", index=False)
    print(text)


if __name__ == "__main__":
    main()
