"""SASRec in several processes, started by torchrun: benchmarks/results/processes.md.

    python -m benchmarks.processes [--root .] [--processes 1 2] [--shops 1] [--epochs 3]

Needs data/prepared (``bowerbird run``). Each number of processes in turn trains SASRec on the
embedded shop, or on several of it (``--shops``), with the settings of params.yaml and text vectors
that are random: they do not change the times. Of each: the seconds of an epoch, the processor
seconds of all processes together, and the loss of each epoch. With GPUs a process has one of its
own, so there are no more processes than GPUs; on CPUs the processes divide the cores.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch

from components.data.dataset import Interactions, load_prepared
from components.distributed import is_main_process
from components.recommenders.models.sasrec.network import Training
from components.settings import load_settings

PAGE = Path(__file__).parent / "results/processes.md"
WIDTH = 384
"""Of a text vector."""


@dataclass(frozen=True)
class Found:
    """What a training took: seconds of an epoch, and of all processes together."""

    epoch: float
    processor: float
    losses: list[float]


def copies(data: Interactions, n: int) -> Interactions:
    """Return ``n`` shops in one: each with its own customers and products."""
    shift = np.repeat(np.arange(n), len(data))
    return Interactions.from_arrays(
        np.tile(data.users, n) + shift * data.n_users,
        np.tile(data.items, n) + shift * data.n_items,
        np.tile(data.times, n),
        data.n_users * n,
        data.n_items * n,
    )


def train(root: Path, shops: int, epochs: int, precision: str, out: Path) -> None:
    """Train in the present processes; each writes its processor seconds, the first all else."""
    data = copies(load_prepared(root / "data/prepared").interactions.split("train"), shops)
    text = np.random.default_rng(0).normal(size=(data.n_items, WIDTH)).astype(np.float32)
    text /= np.linalg.norm(text, axis=1, keepdims=True)
    section = load_settings(root / "params.yaml").train.sequential
    training = Training(section.model_copy(update={"epochs": epochs}))
    training.fast = precision == "bf16"
    wall, processor = time.perf_counter(), time.process_time()
    training.run(data, text)
    wall, processor = time.perf_counter() - wall, time.process_time() - processor
    (out / f"processor-{os.environ['RANK']}").write_text(str(processor))
    if is_main_process():
        facts = {"epoch": wall / epochs, "losses": training.losses}
        (out / "facts.json").write_text(json.dumps(facts))


def measure(root: Path, processes: int, shops: int, epochs: int, precision: str) -> Found:
    """Train in ``processes`` new ones."""
    with tempfile.TemporaryDirectory(prefix="bowerbird-") as name:
        options = [
            "--out",
            name,
            "--root",
            root,
            "--shops",
            shops,
            "--epochs",
            epochs,
            "--precision",
            precision,
        ]
        command = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", processes]
        threads = max(1, len(os.sched_getaffinity(0)) // processes)
        subprocess.run(
            [sys.executable, *map(str, [*command, "-m", "benchmarks.processes", *options])],
            env={**os.environ, "OMP_NUM_THREADS": str(threads)},
            check=True,
        )
        out = Path(name)
        facts = json.loads((out / "facts.json").read_text())
        seconds = sum(float(file.read_text()) for file in out.glob("processor-*"))
        return Found(facts["epoch"], seconds, facts["losses"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root", type=Path, default=Path())
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--shops", type=int, default=1)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--precision", choices=["fp32", "bf16"], default="fp32")
    parser.add_argument("--out", type=Path, help="of one of the processes: what it writes")
    asked = parser.parse_args()
    if asked.out:
        train(asked.root, asked.shops, asked.epochs, asked.precision, asked.out)
        return
    on = f"{len(os.sched_getaffinity(0))} cores, gloo"
    if torch.cuda.is_available():
        on = f"{torch.cuda.device_count()} {torch.cuda.get_device_name()}, NCCL"
    lines = [
        "# SASRec in several processes",
        "",
        f"Made by `python -m benchmarks.processes`, whose docstring gives the protocol; {on}, "
        f"{asked.precision}, load {os.getloadavg()[0]:.0f} when it began.",
        "",
        "| processes | seconds of an epoch | processor seconds, all epochs | loss by epoch |",
        "|---|---|---|---|",
    ]
    for processes in asked.processes:
        found = measure(asked.root, processes, asked.shops, asked.epochs, asked.precision)
        print(json.dumps({"processes": processes, **asdict(found)}), flush=True)
        losses = ", ".join(f"{loss:.4f}" for loss in found.losses)
        lines.append(f"| {processes} | {found.epoch:.1f} | {found.processor:.0f} | {losses} |")
    PAGE.write_text("\n".join([*lines, ""]))


if __name__ == "__main__":
    main()
