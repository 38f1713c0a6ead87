"""Is the served model, fitted on all data, better in the following weeks than the evaluated one?

    python -m benchmarks.freshness [--weeks 8]     (``make run`` makes both models)

Both get the same histories and are evaluated on the second year of the embedded shop: known
customers of each week, with histories up to the week and their purchases of products new to them as
targets. NDCG@10, the same users for both, paired bootstrap intervals of the ratio of the means.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pandas as pd

from components.data.dataset import DAY, Interactions, load_prepared
from components.data.holdout import Task
from components.evaluation.metrics import ndcg
from components.evaluation.protocol import lists
from components.recommenders.two_stage.hybrid import Hybrid
from components.settings import load_settings

SECOND_YEAR = Path("datasets/online-retail/2010-2011.parquet")
WEEK = 7 * DAY
RESULTS = Path("benchmarks/results/freshness.md")


def both_years(root: Path) -> tuple[Interactions, int]:
    """Return the prepared interactions with the second year's purchases after them, and its start.

    Only customers and products that the models know.
    """
    prepared = load_prepared(root / "data/prepared")
    x, end = prepared.interactions, prepared.end
    lines = pd.read_parquet(root / SECOND_YEAR)
    seconds = lines["InvoiceDate"].astype("datetime64[s]").astype("int64")
    known_users = pd.Index(prepared.users["user_id"])
    users = known_users.get_indexer(lines["Customer ID"].map("{:.0f}".format))
    items = pd.Index(prepared.catalogue.ids).get_indexer(lines["StockCode"].str.upper())
    kept = (
        (users >= 0)
        & (items >= 0)
        & (seconds >= end)  # the two files overlap by nine days
        & (lines["Quantity"] > 0)
        & (lines["Price"] > 0)
    ).to_numpy()
    return (
        Interactions.from_arrays(
            np.concatenate([x.users, users[kept]]),
            np.concatenate([x.items, items[kept]]),
            np.concatenate([x.times, seconds.to_numpy()[kept]]),
            x.n_users,
            x.n_items,
        ),
        end,
    )


def week_task(x: Interactions, start: int) -> Task:
    """Return the customers of the week from ``start``, their histories and their new purchases."""
    before = x.where(x.times < start)
    targets = x.where((x.times >= start) & (x.times < start + WEEK)).matrix()
    targets = (targets - targets.multiply(before.matrix())).tocsr()
    targets.eliminate_zeros()
    some = (np.diff(targets.indptr) > 0) & (np.diff(before.offsets) > 0)
    users = np.flatnonzero(some)
    return Task(users, x.histories(users, start), targets[users])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root", type=Path, default=Path())
    parser.add_argument("--weeks", type=int, default=8)
    arguments = parser.parse_args()
    settings = load_settings(arguments.root / "params.yaml")
    x, end = both_years(arguments.root)
    models = {name: Hybrid.load(arguments.root / "models" / name) for name in ("hybrid", "served")}
    random = np.random.default_rng(settings.seed)
    rows = []
    for week in range(arguments.weeks):
        task = week_task(x, end + week * WEEK)
        if not len(task.users):
            continue
        judged, served = (ndcg(lists(one, task, 10, True), task.targets) for one in models.values())
        drawn = random.integers(0, len(judged), (2000, len(judged)))
        ratios = served[drawn].mean(axis=1) / judged[drawn].mean(axis=1)
        low, high = np.quantile(ratios, [0.025, 0.975])
        rows.append(
            f"| {week + 1} | {len(judged)} | {judged.mean():.4f} | {served.mean():.4f} "
            f"| {served.mean() / judged.mean():.2f} | {low:.2f} – {high:.2f} |"
        )
        print(rows[-1], flush=True)
    text = [
        "# The served model against the evaluated model on the second year",
        "",
        "`python -m benchmarks.freshness`: NDCG@10 on known customers' new purchases of each week.",
        "",
        "| week | customers | evaluated model | served model | ratio | 95 % interval |",
        "|---|---|---|---|---|---|",
        *rows,
        "",
    ]
    (arguments.root / RESULTS).write_text("\n".join(text), encoding="utf-8")


if __name__ == "__main__":
    main()
