"""Time and memory of each model by size of the shop: benchmarks/results/growth.md.

    python -m benchmarks.growth                      # 1, 3 and 10 million interactions
    python -m benchmarks.growth --sizes 1 --models ease,item_neighbours

Synthetic interactions, 20 a user on average, over 50,000, 100,000 and 200,000 items: popularity
follows Zipf's law, and each user takes four items of five from one of the item groups (200 items
per group), so that there is a pattern to learn. Each model is fitted with the settings of
params.yaml (``sequential``: one epoch) in a separate process, then recommends ten items for
1,000 users. Reported: wall-clock and CPU seconds of the fit and of the lists, the process's peak
memory (getrusage; libraries and data before the fit are included and also reported separately), and
the share of the lists that is from the user's own group (by chance nearly zero). A fit that takes
longer than ``--limit`` seconds is stopped, and the table says so.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd

from components.data.dataset import DAY, Catalogue, Interactions
from components.recommenders.factory import build
from components.settings import load_settings

mpl.use("Agg")
import matplotlib.pyplot as plt

RESULTS = Path(__file__).parent / "results"
ITEMS = {1: 50_000, 3: 100_000, 10: 200_000}
"""Items by millions of interactions."""
PER_GROUP, PER_USER, OWN = 200, 20, 0.8
ASKED = 1000
TIMED = ("fit", "recommend")
COLUMNS = [
    *("model", "millions", "items", "threads", "fit_seconds", "fit_cpu", "recommend_seconds"),
    *("recommend_cpu", "data_gib", "fit_peak_gib", "peak_gib", "own_group", "ended"),
]
MODELS = (
    "popularity",
    "item_neighbours",
    "user_neighbours",
    "matrix_factorisation",
    "rating_factorisation",
    "ease",
    "cease",
    "content",
    "tfidf",
    "sequential",
)


def zipf(random: np.random.Generator, n: int, ranks: int, exponent: float = 0.9) -> np.ndarray:
    """Return int64 (n,): ranks from 0, drawn as (1 + rank) ** -exponent."""
    weights = np.cumsum((1.0 + np.arange(ranks)) ** -exponent)
    return np.searchsorted(weights, random.random(n) * weights[-1], side="right")


def synthetic(millions: int, seed: int = 0) -> tuple[Interactions, Catalogue, np.ndarray]:
    """Return interactions with ratings, a catalogue with texts' vectors, each user's group."""
    random = np.random.default_rng(seed)
    n, n_items = millions * 1_000_000, ITEMS[millions]
    n_users, groups = n // PER_USER, n_items // PER_GROUP
    taste = random.integers(0, groups, n_users)
    activity = random.lognormal(0, 1, n_users)
    users = random.choice(n_users, n, p=activity / activity.sum())
    # Item code = rank in its group × groups + group: low codes are popular in every group.
    own = zipf(random, n, PER_GROUP) * groups + taste[users]
    items = np.where(random.random(n) < OWN, own, zipf(random, n, n_items))
    times = 1_700_000_000 + random.integers(0, 365 * DAY, n)
    x = Interactions.from_arrays(users, items, times, n_users, n_items)
    liked = x.items % groups == taste[x.users]
    ratings = np.clip(np.round(3 + liked + 0.7 * random.standard_normal(n)), 1, 5)
    x = replace(x, ratings=ratings.astype(np.float32))
    group = np.arange(n_items) % groups
    centres = random.standard_normal((groups, 64)).astype(np.float32)
    vectors = centres[group] + random.standard_normal((n_items, 64)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    titles = [f"kind{one} style{code // groups}" for code, one in enumerate(group)]
    table = pd.DataFrame({"item_id": np.arange(n_items).astype(str), "title": titles})
    table = table.assign(description=None, brand=None, categories=[[]] * n_items)
    return x, Catalogue(table.assign(categories_inferred=False), vectors), taste


def peak() -> float:
    """Return the most memory this process has held so far, in GiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def processor() -> float:
    """Return the processor's seconds this process has used."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def measure(name: str, millions: int) -> dict[str, float]:
    """Return what one model costs; to be called in a process of its own."""
    settings = load_settings()
    quick = settings.train.sequential.model_copy(update={"epochs": 1})
    train = settings.train.model_copy(update={"sequential": quick})
    settings = settings.model_copy(update={"train": train})
    x, catalogue, taste = synthetic(millions)
    before, used = peak(), processor()
    began = time.perf_counter()
    model = build(name, settings).fit(x, catalogue)
    fitted = time.perf_counter()
    fit_peak, fit_used = peak(), processor()
    users = np.random.default_rng(1).choice(x.n_users, ASKED, replace=False)
    ids, _ = model.recommend(x.histories(users, x.times.max() + 1), 10)
    groups = len(catalogue) // PER_GROUP
    return {
        "fit_seconds": round(fitted - began, 2),
        "fit_cpu": round(fit_used - used, 2),
        "recommend_seconds": round(time.perf_counter() - fitted, 2),
        "recommend_cpu": round(processor() - fit_used, 2),
        "data_gib": round(before, 2),
        "fit_peak_gib": round(fit_peak, 2),
        "peak_gib": round(peak(), 2),
        "own_group": round(float((ids % groups == taste[users][:, None]).mean()), 3),
    }


def figure(table: pd.DataFrame, file: Path) -> None:
    """Draw seconds of fit and lists, and peak memory, over the interactions, log-log."""
    panels = {
        "fit_cpu": "processor seconds to fit",
        "recommend_cpu": f"processor seconds for the lists of {ASKED:,} users",
        "peak_gib": "peak memory of the process, GiB",
    }
    _, axes = plt.subplots(1, 3, figsize=(13, 4.2))
    for axis, (column, label) in zip(axes, panels.items(), strict=True):
        for name, part in table.dropna(subset=[column]).groupby("model", sort=False):
            values = part[column].clip(lower=0.01)
            axis.loglog(part["millions"] * 1e6, values, marker="o", label=name)
        axis.set_xlabel("interactions")
        axis.set_title(label, fontsize=10)
        axis.grid(alpha=0.3, which="both")
    axes[-1].legend(fontsize=7, loc="upper left", bbox_to_anchor=(1.02, 1))
    plt.tight_layout()
    plt.savefig(file, dpi=110)


def write(table: pd.DataFrame) -> None:
    """Write the results as CSV, page and figure."""
    RESULTS.mkdir(exist_ok=True)
    table.to_csv(RESULTS / "growth.csv", index=False)
    figure(table, RESULTS / "growth.png")
    lines = [
        "# Growth",
        "",
        "Made by `python -m benchmarks.growth`, whose docstring gives the protocol.",
        "Seconds are by the clock and, in brackets, of the processor. Memory before the fit is",
        "libraries and data.",
        "",
        "| model | interactions | items | threads | fit, s | lists for 1,000, s | before fit, GiB "
        "| peak of fit, GiB | peak, GiB | own group |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row in table.to_dict("records"):
        measured = row["fit_seconds"] == row["fit_seconds"]
        cells = [
            *(f"{row[f'{part}_seconds']:.4g} ({row[f'{part}_cpu']:.4g})" for part in TIMED),
            *(f"{row[name]:.2f}" for name in ("data_gib", "fit_peak_gib", "peak_gib")),
        ]
        if not measured:
            cells = [row["ended"], *["–"] * 4]
        own = f"{row['own_group']:.3f}" if measured else "–"
        size = f"{row['millions']} million | {row['items']:,} | {row['threads']}"
        lines.append(f"| {row['model']} | {size} | {' | '.join(cells)} | {own} |")
    lines += ["", "![curves](growth.png)", ""]
    (RESULTS / "growth.md").write_text("\n".join(lines))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", default="1,3,10", help="millions of interactions")
    parser.add_argument("--models", default=",".join(MODELS))
    parser.add_argument("--limit", type=float, default=900, help="seconds a model may take")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    sizes = [int(size) for size in arguments.sizes.split(",")]
    if arguments.one:
        print(json.dumps(measure(arguments.one, sizes[0])))
        return
    import torch

    file = RESULTS / "growth.csv"
    rows = pd.read_csv(file).to_dict("records") if file.exists() else []
    for size in sizes:
        for name in arguments.models.split(","):
            command = [sys.executable, "-m", "benchmarks.growth", "--sizes", str(size)]
            row = {"model": name, "millions": size, "items": ITEMS[size]}
            row["threads"] = torch.get_num_threads()
            try:
                done = subprocess.run(
                    [*command, "--one", name],
                    stdout=subprocess.PIPE,
                    text=True,
                    timeout=arguments.limit,
                    check=True,
                )
                row |= json.loads(done.stdout.splitlines()[-1])
            except subprocess.TimeoutExpired:
                row["ended"] = f"not within {arguments.limit:g} s"
            except subprocess.CalledProcessError as error:
                row["ended"] = f"ended by {error.returncode} (memory)"
            print(row, flush=True)
            rows = [r for r in rows if (r["model"], r["millions"]) != (name, size)] + [row]
            table = pd.DataFrame(rows).reindex(columns=COLUMNS).sort_values(["model", "millions"])
            write(table)


if __name__ == "__main__":
    main()
