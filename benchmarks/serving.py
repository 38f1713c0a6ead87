"""How fast is recommend, beside an empty endpoint of the same service?

    python -m benchmarks.serving [--root .] [--catalogue shop|million] [--seconds 5]

Protocol: one ``bentoml serve`` worker over the model of ``--root`` (``make run`` makes it), or
over a synthetic catalogue of 1,000,000 products, and a load generator in another process
(``benchmarks/load.py``), both on this machine. Three kinds of requests, k = 10 with reasons:

- **kept**: 200 known shoppers come back and have done nothing since: the ranked page is at hand;
- **traffic**: known shoppers by Zipf's law, and after every tenth page one of them clicks, so that
  the next page is ranked anew;
- **new**: each request is of a list of items nobody asked for before: all of it is computed.

At saturation (16 connections, closed loop) empty and recommend are asked in turn, three rounds,
and the medians stand in the table. Then both are asked at half of recommend's saturation, paced,
latency counted from the due moment. CPU milliseconds are of all threads of the service, a request:
other work on the machine changes them least. Then events a second accepted durably, and the
memory (proportional set size) of all processes of the service.
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

REPOSITORY = Path(__file__).resolve().parents[1]
RESULTS = Path(__file__).parent / "results"
CONNECTIONS = 16
ROUNDS = 3
EMPTY = [["GET", "/empty", None]]


class Service:
    """The service in processes of its own, over ``root``."""

    def __init__(self, root: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.log = (root / "server.log").open("ab")
        began = time.perf_counter()
        self.process = subprocess.Popen(
            [
                *(sys.executable, "-m", "bentoml", "serve", "serving.service:Bowerbird"),
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
            with suppress(psutil.NoSuchProcess):  # it ended meanwhile
                seconds += sum(process.cpu_times()[:2])
        return seconds

    def megabytes(self) -> float:
        """Return the proportional set size of the service's processes."""
        return sum(process.memory_full_info().pss for process in self.processes()) / 2**20

    def stop(self) -> None:
        os.killpg(self.process.pid, signal.SIGTERM)
        self.process.wait(timeout=60)
        self.log.close()


def kinds(folder: Path, seed: int = 0) -> dict[str, list[list[Any]]]:
    """Return the requests of each kind for the model in ``folder``."""
    random = np.random.default_rng(seed)
    users = pd.read_parquet(folder / "profiles.parquet", columns=["user_id"])["user_id"]
    by_activity = users.value_counts().index.to_numpy()
    items = pd.read_parquet(folder / "items.parquet", columns=["item_id"])["item_id"].to_numpy()

    def page(**asker: Any) -> list[Any]:
        return ["POST", "/recommend", {"k": 10, **asker}]

    kept = [page(user_id=str(user)) for user in random.choice(by_activity, 200, replace=False)]
    traffic = []
    for n, rank in enumerate(np.minimum(random.zipf(1.2, 20_000), len(by_activity)) - 1):
        user = str(by_activity[rank])
        traffic.append(page(user_id=user))
        if n % 10 == 9:
            click = {"user_id": user, "item_id": str(random.choice(items)), "event": "click"}
            traffic.append(["POST", "/feedback", click])
    new = [
        page(recent=[str(item) for item in random.choice(items, random.integers(1, 9))])
        for _ in range(30_000)
    ]
    return {"kept": kept, "traffic": traffic, "new": new}


def saturated(
    service: Service, requests: list[list[Any]], seconds: float
) -> tuple[dict[str, float], dict[str, float]]:
    """Return the median round of empty and of recommend, asked in turn."""
    rounds: list[tuple[dict[str, float], dict[str, float]]] = []
    for turn in range(ROUNDS):
        part = requests[turn * len(requests) // ROUNDS :] if len(requests) > 1000 else requests
        rounds.append(
            (
                service.ask(EMPTY, seconds, CONNECTIONS),
                service.ask(part, seconds, CONNECTIONS),
            )
        )
    medians = []
    for side in (0, 1):
        found = [pair[side] for pair in rounds]
        medians.append(
            {
                name: statistics.median(one[name] for one in found)
                for name in ("rps", "p50", "p99", "cpu")
            }
            | {"failures": sum(one["failures"] for one in found)}
        )
    return medians[0], medians[1]


def events(service: Service, seconds: float) -> dict[str, float]:
    """Return events a second accepted durably, one a request and 100 a request."""

    def event() -> dict[str, str]:
        return {"event_id": uuid.uuid4().hex, "user_id": uuid.uuid4().hex[:4], "item_id": "x"} | {
            "event": "view"
        }

    single = [["POST", "/feedback", event()] for _ in range(20_000)]
    batch = [
        ["POST", "/feedback/batch", {"events": [event() for _ in range(100)]}] for _ in range(400)
    ]
    one = service.ask(single, seconds, 64)
    many = service.ask(batch, seconds, 8)
    assert one["failures"] == many["failures"] == 0
    return {"single": one["rps"], "batched": many["rps"] * 100}


def measure(root: Path, seconds: float) -> tuple[pd.DataFrame, dict[str, float]]:
    """Return the table of request kinds, and the other figures."""
    busy = os.getloadavg()[0]
    service = Service(root)
    rows = []
    try:
        facts = {
            "load average of the machine before": busy,
            "seconds to ready": service.seconds_to_ready,
            "MB at start": service.megabytes(),
        }
        for name, requests in kinds(root / "models/hybrid").items():
            service.ask(requests[:200], 1, 1)
            empty, asked = saturated(service, requests, seconds)
            rate = asked["rps"] / 2
            paced = {
                what: service.ask(list_, seconds, CONNECTIONS, rate)
                for what, list_ in (("empty", EMPTY), ("recommend", requests[len(requests) // 2 :]))
            }
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
                    "half: p50 more ms": paced["recommend"]["p50"] - paced["empty"]["p50"],
                    "half: p99 more ms": paced["recommend"]["p99"] - paced["empty"]["p99"],
                    "failures": asked["failures"] + paced["recommend"]["failures"],
                }
            )
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
            if not (source / "models/hybrid/profiles.parquet").exists():
                make(source, arguments.products)
        (root / "models").symlink_to((source / "models").resolve())
        shutil.copy(REPOSITORY / "params.yaml", root / "params.yaml")
        items = len(pd.read_parquet(root / "models/hybrid/items.parquet", columns=["item_id"]))
        table, facts = measure(root, arguments.seconds)
    text = report(arguments.catalogue, items, table, facts)
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"serving_{arguments.catalogue}.md").write_text(text)
    table.to_csv(RESULTS / f"serving_{arguments.catalogue}.csv", index=False)
    print(text)


if __name__ == "__main__":
    main()
