"""What does a refresh cost: from grown files to a new version served, and at millions of rows?

    python -m benchmarks.refresh FOLDER              # a trained shop's folder, which is copied
    python -m benchmarks.refresh --millions 10

With a folder (of ``make run``): a copy is served, a week of the second year is added to the shop's
file, and ``bowerbird refresh`` runs while the endpoint answers. Reported: the wall-clock seconds of
each part, until the endpoint serves the new version, and requests that failed until then.

With ``--millions``: the synthetic shop of ``benchmarks.growth``. Each default candidate is
refreshed (``sequential`` and ``rules`` excepted, which only carry a table over), then the hybrid's
item statistics and indexes are made and the folder is saved. Matrix factorisation starts from
random factors: the cost of a sweep does not depend on them. Reported: wall-clock and processor
seconds, and the peak memory of the process.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pandas as pd
import yaml

from benchmarks.growth import peak, processor, synthetic
from components.data.dataset import Catalogue
from components.recommenders.base import refreshed
from components.recommenders.factory import build
from components.recommenders.two_stage.hybrid import Hybrid
from components.settings import load_settings

RESULTS = Path(__file__).parent / "results"
COPIED = ("data", "models", "reports", ".dvc", "dvc.lock", "dvc.yaml", "params.yaml")
STAGE = re.compile(r"Running stage '(\w+)'")
CANDIDATES = (
    *("popularity", "item_neighbours", "matrix_factorisation", "cease", "content", "tfidf"),
)


class Client(threading.Thread):
    """Requests recommendations again and again; counts answers by status."""

    def __init__(self, url: str) -> None:
        super().__init__(daemon=True)
        self.url, self.over = url, threading.Event()
        self.statuses: dict[int, int] = {}
        self.taken_over: dict[str, float] = {}

    def run(self) -> None:
        with httpx.Client(base_url=self.url, timeout=30) as client:
            while not self.over.is_set():
                answer = client.post("/recommend", json={"user_id": "13085", "k": 5})
                self.statuses[answer.status_code] = self.statuses.get(answer.status_code, 0) + 1
                if answer.status_code == 200:
                    version = answer.json()["model_version"]
                    self.taken_over.setdefault(version, time.perf_counter())
                time.sleep(0.05)


def copy_shop(source: Path, root: Path) -> None:
    """Copy a trained shop without ``var``: the database of MLflow has absolute paths."""
    for name in COPIED:
        if (source / name).is_dir():
            shutil.copytree(source / name, root / name, symlinks=True)
        elif (source / name).exists():
            shutil.copy(source / name, root / name)
    for name in ("rules.yaml", "datasets"):
        place = source / name
        (shutil.copytree if place.is_dir() else shutil.copy)(place, root / name)
    (root / ".dvc/config.local").write_text("[core]\n    no_scm = true\n")  # the copy has no git
    params = yaml.safe_load((root / "params.yaml").read_text())
    params["serve"] |= {"port": 3917, "max_rate": 0}
    (root / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))


def add_week(root: Path) -> tuple[int, int]:
    """Add the first week of the second year to the shop's file; return its lines and how many
    products of it are new."""
    folder = root / "datasets/online-retail"
    first, second = (
        pd.read_parquet(folder / f"{year}.parquet") for year in ("2009-2010", "2010-2011")
    )
    start = first["InvoiceDate"].max().normalize() + pd.Timedelta(days=1)
    week = second[
        second["InvoiceDate"].between(start, start + pd.Timedelta(weeks=1), inclusive="left")
    ]
    pd.concat([first, week], ignore_index=True).to_parquet(folder / "2009-2010.parquet")
    return len(week), len(set(week["StockCode"]) - set(first["StockCode"]))


def of_folder(source: Path) -> list[str]:
    """Return the lines of the report on a copy of ``source``."""
    root = Path(tempfile.mkdtemp(prefix="bowerbird-refresh-"))
    environment = {**os.environ, "BENTOML_HOME": str(root / "bentoml")}
    copy_shop(source, root)
    run = [sys.executable, "-m", "bowerbird"]
    subprocess.run([*run, "register"], cwd=root, env=environment, check=True)
    server = subprocess.Popen(
        [*run, "serve"],
        cwd=root,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        url = "http://127.0.0.1:3917"
        until = time.monotonic() + 180
        while time.monotonic() < until:
            try:
                if httpx.get(f"{url}/readyz", timeout=5).status_code == 200:
                    break
            except httpx.HTTPError:
                time.sleep(0.2)
        client = Client(url)
        client.start()
        lines, products = add_week(root)
        began, used = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
        marks, published = [("start", began)], began
        process = subprocess.Popen(
            [*run, "refresh"], cwd=root, env=environment, stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        for line in process.stdout:
            print(line, end="", flush=True)
            if found := STAGE.search(line):
                marks.append((found.group(1), time.perf_counter()))
            if line.startswith("publish "):
                published = time.perf_counter()
        assert process.wait() == 0
        ended, spent = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
        report = json.loads((root / "reports/refresh.json").read_text())
        version = report["version"]
        while version not in client.taken_over and time.perf_counter() < ended + 60:
            time.sleep(0.05)
        client.over.set()
        client.join(timeout=60)
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait(timeout=60)
        shutil.rmtree(root, ignore_errors=True)
    taken = client.taken_over[version]
    failed = sum(n for status, n in client.statuses.items() if status != 200)
    processor_seconds = spent.ru_utime + spent.ru_stime - used.ru_utime - used.ru_stime
    inside = sum(report["seconds"].values())
    parts = {
        (name if name != "start" else "export of the events, start of DVC"): after - at
        for (name, at), (_, after) in zip(
            marks, [*marks[1:], ("", published - inside)], strict=True
        )
    }
    last = marks[-1][0]
    parts[f"{last}, end of DVC, imports"] = parts.pop(last)
    parts |= report["seconds"]
    parts["takeover by the endpoint"] = max(taken - published, 0.0)
    return [
        "## The embedded shop",
        "",
        f"{report['interactions']:,} interactions, of which a week ({lines:,} lines, {products} "
        "new products) was added to the file. While it was refreshed, the endpoint answered "
        f"{sum(client.statuses.values()):,} requests, {failed} of them with an error.",
        "",
        "| part | seconds |",
        "|---|---|",
        *(f"| {name} | {seconds:.1f} |" for name, seconds in parts.items()),
        f"| **from the grown file to the new version served** | **{taken - began:.1f}** |",
        "",
        f"Processor seconds of the command: {processor_seconds:.1f}. The load of the machine "
        f"(average of 5 minutes) was {os.getloadavg()[1]:.1f} on {os.cpu_count()} cores.",
        "",
    ]


def of_size(millions: int) -> list[str]:
    """Return the lines of the report on a synthetic shop."""
    settings = load_settings()
    x, catalogue, _ = synthetic(millions)
    n = len(catalogue)
    table = catalogue.table.assign(price=1.0, main_category=None)
    catalogue = Catalogue(table, catalogue.vectors)
    known = np.arange(n)
    rows: list[tuple[str, float, float, float]] = []
    candidates: dict[str, Any] = {}

    def measure(name: str, work: Any) -> Any:
        began, used = time.perf_counter(), processor()
        made = work()
        rows.append((name, time.perf_counter() - began, processor() - used, peak()))
        print(*rows[-1], flush=True)
        return made

    for name in CANDIDATES:
        model = build(name, settings)
        if name == "matrix_factorisation":
            random = np.random.default_rng(0)
            factors = random.standard_normal((n, model.settings.factors), dtype=np.float32)
            model.factors = factors / np.float32(10)  # type: ignore[attr-defined]

        def work(model: Any = model) -> Any:
            return refreshed(model, x, catalogue, known)

        candidates[name] = measure(name, work)
    hybrid = Hybrid(settings.rank, candidates)
    measure("statistics and indexes", lambda: hybrid.fit(x, catalogue))
    with tempfile.TemporaryDirectory(prefix="bowerbird-refresh-") as folder:
        measure("saved", lambda: hybrid.save(folder))
    total = [sum(row[k] for row in rows) for k in (1, 2)]
    cells = (f"| {a} | {b:.1f} | {c:.1f} | {d:.2f} |" for a, b, c, d in rows)
    return [
        f"## {millions} million interactions, {n:,} products",
        "",
        "| part | seconds | processor seconds | peak memory so far, GiB |",
        "|---|---|---|---|",
        *cells,
        f"| **all** | **{total[0]:.1f}** | **{total[1]:.1f}** | {peak():.2f} |",
        "",
        f"The load of the machine (average of 5 minutes) was {os.getloadavg()[1]:.1f} on "
        f"{os.cpu_count()} cores.",
        "",
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, nargs="?", help="of a shop after `make run`")
    parser.add_argument("--millions", type=int, help="interactions: 1, 3 or 10")
    arguments = parser.parse_args()
    if arguments.folder is None and arguments.millions is None:
        parser.error("give a trained shop's folder, or --millions")
    made = of_size(arguments.millions) if arguments.millions else of_folder(arguments.folder)
    file = RESULTS / "refresh.md"
    made_by = "Made by `python -m benchmarks.refresh`, whose docstring gives the protocol."
    head = f"# Refresh\n\n{made_by}\n"
    text = file.read_text(encoding="utf-8") if file.exists() else head
    before, _, rest = text.partition(made[0] + "\n")  # replace the section of the same name
    after = rest[rest.find("\n## ") + 1 :] if "\n## " in rest else ""
    file.write_text(f"{before.rstrip()}\n\n" + "\n".join(made) + f"\n{after}", encoding="utf-8")


if __name__ == "__main__":
    main()
