"""Speed against other libraries on one data set: benchmarks/results/speed.md.

    python -m benchmarks.speed ../shared/data/amazon-beauty-5core [--epochs 3]

implicit's ALS against our matrix factorisation; RecTools' and RecBole's SASRec against ours: same
data, dimensions, layers, heads, dropout, learning rate, longest history and epochs, cross-entropy
over the whole catalogue; batches are each library's default. Every library is fitted on the events
before the validation item and evaluated on that item (test items are not used), in a separate
process, one after the other, with the same number of threads. Each other library is installed in an
environment of its own that the benchmark creates (benchmarks/peers/environments.py).

Seconds are wall-clock and CPU seconds of the library's fit, divided by the epochs; memory is the
process's peak.
Our model also runs without text, ids alone, as the peers do. At the end: the time our model takes
to rank all items for all users, and the metrics of the lists.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.leave_one_out import (
    CHOSEN,
    IDS_ALONE,
    chosen_settings,
    read,
    with_values,
    without_encoder,
)
from benchmarks.peers.common import Train, clocks, write_train
from benchmarks.peers.environments import limited, python_of, run_peer
from components.data.dataset import Interactions
from components.data.holdout import Task
from components.evaluation.metrics import hit_rate, ndcg
from components.evaluation.protocol import leave_one_out_task
from components.recommenders.factory import build
from components.settings import load_settings

RESULTS = Path(__file__).parent / "results"
OURS = {
    "Bowerbird matrix factorisation": "matrix_factorisation",
    "Bowerbird sequential": "sequential",
    "Bowerbird sequential, ids alone": "sequential_ids",
}
LIBRARY = {"als": "implicit", "rectools": "rectools", "recbole": "recbole"}
THEIRS = {"implicit ALS": "als", "RecTools SASRec": "rectools", "RecBole SASRec": "recbole"}


def options(peer: str, epochs: int) -> dict[str, Any]:
    """Return the parameters of another library's model: ours, under common names."""
    if peer == "als":
        factors = CHOSEN["matrix_factorisation"]
        names = {"confidence": factors["confidence"], "regularisation": factors["regularisation"]}
        return {**names, "dimensions": CHOSEN["sequential"]["dimensions"], "epochs": epochs}
    names = ("dimensions", "layers", "heads", "dropout", "learning_rate", "max_length")
    return {**{name: CHOSEN["sequential"][name] for name in names}, "epochs": epochs}


def ours(name: str, folder: Path, epochs: int, out: Path) -> None:
    """Fit one of our models, write its lists, seconds and peak memory, and evaluate it."""
    x, catalogue = read(folder)
    train, task = leave_one_out_task(x, 2)
    settings = chosen_settings(load_settings())
    if name == "sequential_ids":
        name, catalogue = "sequential", without_encoder(catalogue)
        settings = with_values(settings, name, IDS_ALONE)
    length = {"sequential": "epochs", "matrix_factorisation": "iterations"}[name]
    model = build(name, with_values(settings, name, {length: epochs}))
    began = clocks()
    model.fit(train, catalogue)
    fitted = clocks()
    ids, _ = model.recommend(task.histories, 10)
    ndcg(ids, task.targets), hit_rate(ids, task.targets)
    np.savez(
        out,
        ids=ids,
        seconds=fitted - began,
        evaluation=clocks()[0] - fitted[0],
        peak=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    )


def export(train: Interactions, file: Path) -> None:
    """Write the training data for the peers' adapters."""
    places = np.arange(len(train)) - train.offsets[train.users]
    write_train(file, Train(train.users, train.items, places, train.n_users, train.n_items))


def measured(title: str, folder: Path, work: Path, epochs: int, threads: int) -> dict[str, Any]:
    """Run one contender in a process of its own and return its figures."""
    out = work / f"{(OURS | THEIRS)[title]}.npz"
    out.unlink(missing_ok=True)
    if title in OURS:
        command = [sys.executable, "-m", "benchmarks.speed", folder]
        command += ["--contender", OURS[title], "--out", out, "--epochs", str(epochs)]
        subprocess.run(command, check=True, env=limited(threads))
    else:
        peer = THEIRS[title]
        python = python_of(LIBRARY[peer])
        run_peer(python, peer, work / "train.npz", out, options(peer, epochs), threads)
    found = np.load(out)
    clock, processor = found["seconds"] / epochs
    return {
        "epochs": epochs,
        "threads": threads,
        "clock": float(clock),
        "seconds": float(processor),
        "peak": float(found["peak"]),
        "evaluation": float(found["evaluation"]) if "evaluation" in found else np.nan,
        "out": str(out),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--sweeps", type=int, default=12, help="of the matrix factorisations")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument(
        "--only",
        default="",
        help="measure these titles again, separated by semicolons; all: those not measured yet",
    )
    parser.add_argument("--contender", help="run this one here (the benchmark calls itself)")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    if arguments.contender:
        ours(arguments.contender, arguments.folder, arguments.epochs, arguments.out)
        return
    work = Path("var/benchmarks") / arguments.folder.name / "speed"
    work.mkdir(parents=True, exist_ok=True)
    x, _ = read(arguments.folder)
    train, task = leave_one_out_task(x, 2)
    export(train, work / "train.npz")
    rows = {}
    for title in (*THEIRS, *OURS):
        sweeps = title in ("implicit ALS", "Bowerbird matrix factorisation")
        epochs = arguments.sweeps if sweeps else arguments.epochs
        kept = work / f"{(OURS | THEIRS)[title]}-{epochs}-{arguments.threads}.json"
        if title in arguments.only.split(";") or not (arguments.only or kept.exists()):
            row = measured(title, arguments.folder, work, epochs, arguments.threads)
            row |= quality(np.load(row.pop("out"))["ids"][task.users], task)
            kept.write_text(json.dumps(row))
        if kept.exists():
            rows[title] = json.loads(kept.read_text())
            print(title, rows[title], flush=True)
    write(rows, arguments.folder.name, len(task.users))


def quality(ids: np.ndarray, task: Task) -> dict[str, Any]:
    return {
        "ndcg@10": float(ndcg(ids, task.targets).mean()),
        "hr@10": float(hit_rate(ids, task.targets).mean()),
    }


def write(rows: dict[str, dict[str, float]], name: str, n_users: int) -> None:
    """Write the page."""
    head = "| | epochs | seconds an epoch: processor | clock | peak MiB | NDCG@10 | HR@10 |"
    lines = [
        f"# Speed compared with other libraries: {name}",
        "",
        "Made by `python -m benchmarks.speed`, whose docstring gives the protocol. "
        f"{platform.machine()}, threads: {next(iter(rows.values()))['threads']}; validation items.",
        "",
        head,
        "|---|---|---|---|---|---|---|",
    ]
    for title, row in rows.items():
        times = f"{row['seconds']:.2f} | {row['clock']:.2f} | {row['peak']:,.0f}"
        lines.append(
            f"| {title} | {row['epochs']} | {times} | {row['ndcg@10']:.4f} | {row['hr@10']:.4f} |"
        )
    sequence = rows.get("Bowerbird sequential")
    peers = [rows[title]["seconds"] for title in ("RecTools SASRec", "RecBole SASRec")
             if title in rows]  # fmt: skip
    if sequence and peers:
        lines += [
            "",
            f"An epoch of ours takes {min(peers) / sequence['seconds']:.1f} times less than one of "
            f"the faster SASRec. All items ranked for all {n_users:,} users, and the lists judged, "
            f"in {sequence['evaluation']:.1f} s.",
        ]
    missing = [title for title in (*THEIRS, *OURS) if title not in rows]
    if missing:
        lines += ["", f"Not measured yet: {'; '.join(missing)}."]
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "speed.md").write_text("\n".join([*lines, ""]))


if __name__ == "__main__":
    main()
