"""Memory of an endpoint by part, a product, and extrapolated to ten million products.

    python -m benchmarks.memory [--root .] [--products 200000 350000 500000]

Protocol: shops of ``benchmarks.million`` of several sizes. Of each, a process loads what an
endpoint's worker and its ranking process hold, one part after the other, and its anonymous memory
is read after each (``smaps_rollup``). Then one ``bentoml serve`` worker answers requests with lists
of random products for ten seconds and a message of a chat, and the proportional set size of all its
processes is read. Files that a model folder maps count whole: their pages are read when they are
needed, are shared by processes, and can be evicted.

Bytes a product are the slope between the smallest and the largest shop; the shops between show
whether it is linear. Figures of ten million products are this line's, not measured.
"""

from __future__ import annotations

import argparse
import gc
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

MB = 2**20
TEN_MILLION = 10_000_000
RESULTS = Path(__file__).parent / "results"
MAPPED = (".arrow", ".npy", ".safetensors", ".usearch")
BOTH = ("model folder", "engine", "filters and facets", "pipeline")
"""Parts that the worker and its ranking process have."""


def memory(pid: str = "self") -> tuple[float, float]:
    """Return the megabytes of anonymous memory and of mapped files of a process."""
    found = {}
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]:
        name, kilobytes = line.split()[:2]
        found[name] = int(kilobytes) / 1024
    return found["Pss_Anon:"], found["Pss_File:"]


def parts(root: Path) -> dict[str, float]:
    """Return the anonymous megabytes of each part of a worker with the model of ``root``."""
    from components.recommenders.two_stage.hybrid import Hybrid
    from components.settings import load_settings
    from serving.conversation.shop_knowledge import ShopKnowledge
    from serving.memory import release_unused_memory
    from serving.models.loader import open_search
    from serving.profiles.history import History
    from serving.profiles.profiles import BaseProfiles, Profiles
    from serving.recommend.engine import Engine
    from serving.recommend.pipeline import Pipeline
    from serving.recommend.types import Request

    folder, settings, found = root / "models/hybrid", load_settings(), {}
    last = 0.0

    def measure(name: str) -> None:
        nonlocal last
        gc.collect()
        release_unused_memory()
        now = memory()[0]
        found[name], last = now - last, now

    measure("libraries")
    model = Hybrid.load(folder)
    measure("model folder")
    engine = Engine(model, "measured")
    measure("engine")
    pipeline = Pipeline(engine, settings.serve)
    measure("pipeline")
    engine.attributes.read_columns()
    measure("filters and facets")
    draw = np.random.default_rng(0)
    for _ in range(200):
        codes = draw.integers(0, engine.n_items, 5).astype(np.int32)
        pipeline.run([Request(History(codes, np.zeros(5, np.int64)), 10, reasons=True)])
    measure("requests")
    search, _ = open_search(engine, folder, (), {})
    search.find("product of kind 17", np.ones(engine.n_items, dtype=bool))
    measure("text search")
    file = root / "models/profiles/profiles.parquet"
    base = BaseProfiles.load(file, engine.items, None, model.attributes.users)
    measure("customers' histories")
    profiles = Profiles(base, Any, engine.items, 500)  # type: ignore[arg-type]
    measure("codes of ids")
    shop = ShopKnowledge(engine)
    shop.items.knows("product")
    shop.without_titles("a product of kind 17", "it")
    measure("conversation")
    assert profiles.code(engine.ids[0]) == 0
    return found


def mapped(root: Path) -> float:
    """Return the megabytes of the files that the model folder of ``root`` maps."""
    files = (root / "models/hybrid").rglob("*")
    return sum(file.stat().st_size for file in files if file.suffix in MAPPED) / MB


def service(root: Path) -> dict[str, float]:
    """Return the megabytes of a service's processes: anonymous, and all."""
    from benchmarks.serving import REPOSITORY, Service, kinds

    with tempfile.TemporaryDirectory(prefix="bowerbird-memory-") as name:
        here = Path(name)
        (here / "models").symlink_to((root / "models").resolve())
        shutil.copy(REPOSITORY / "params.yaml", here / "params.yaml")
        running = Service(here)
        try:
            requests = kinds(here / "models/hybrid", 60_000)["new"].take(50_000)
            running.ask(requests, 10, 16)
            running.ask([["POST", "/conversation", {"message": "a product of kind 17"}]], 1, 1)
            sizes = [memory(str(process.pid)) for process in running.processes()]
        finally:
            running.stop()
    anonymous = sum(one for one, _ in sizes)
    return {"anonymous": anonymous, "all": anonymous + sum(file for _, file in sizes)}


def measured(root: Path) -> dict[str, float]:
    """Return the figures of one shop, the parts from a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.memory", "--parts", str(root)],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    of_service = service(root)
    return {
        **found,
        "ranking process": found["libraries"] + sum(found[name] for name in BOTH),
        "files mapped": mapped(root),
        "service, anonymous": of_service["anonymous"],
        "service, all": of_service["all"],
    }


def table_of(found: dict[int, dict[str, float]]) -> pd.DataFrame:
    """Return the parts with their megabytes, bytes a product, and the line at ten million."""
    sizes = sorted(found)
    first, last = sizes[0], sizes[-1]
    rows = []
    for part in found[last]:
        slope = (found[last][part] - found[first][part]) / (last - first)
        line = {n: found[first][part] + slope * (n - first) for n in (*sizes, TEN_MILLION)}
        rows.append(
            {
                "part": part,
                **{f"MB at {n:,}": found[n][part] for n in sizes},
                **{f"line at {n:,}": line[n] for n in sizes[1:-1]},
                "bytes a product": slope * MB,
                "GB at ten million (extrapolated)": line[TEN_MILLION] / 1024,
            }
        )
    return pd.DataFrame(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root", type=Path, default=Path())
    parser.add_argument("--products", type=int, nargs="+", default=[200_000, 350_000, 500_000])
    parser.add_argument("--parts", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.parts is not None:
        print(json.dumps(parts(arguments.parts)))
        return
    found = {}
    for products in arguments.products:
        root = arguments.root / f"var/benchmarks/{products}"
        if not (root / "models/profiles/profiles.parquet").exists():
            from benchmarks.million import make

            make(root, products)
        found[products] = measured(root)
    table = table_of(found)
    table.to_csv(RESULTS / "memory.csv", index=False)
    print(table.to_markdown(index=False, floatfmt=",.1f"))


if __name__ == "__main__":
    main()
