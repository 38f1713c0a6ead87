"""What do a fit on all data and a weekly refresh bring in the weeks after the training?

    python -m benchmarks.freshness [--root FOLDER] [--weeks 8]     (``make run`` makes the models)

Three models on the second year of the embedded shop, week by week: the evaluated model
(``models/hybrid``, which does not know the newest four weeks of the first year), the served one
(``models/served``, fitted on all of the first year) and the refreshed one: the served model,
refreshed at the beginning of each week with all events before it, each time from the model of the
week before. Nothing is trained.

All get the same histories, up to the week. Users: all with an earlier event who bought a product
new to them. Targets: those products; one that a model does not know is a miss. Titles and prices of
the refreshed model's products are those at the end of all weeks. NDCG@10; 95 % intervals of the
ratio of the means by a paired bootstrap over users (over all weeks: over users with all theirs).
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd

from components.arrays import BoolArray, DoubleArray, FloatArray
from components.data import ingest, split, validation
from components.data.dataset import DAY, Catalogue, Interactions, Prepared, load_prepared
from components.data.holdout import Task
from components.evaluation.compare import lists_of, translated
from components.evaluation.metrics import ndcg
from components.language.encoder import TextEncoder
from components.recommenders.refresh import carried_vectors, refresh
from components.recommenders.two_stage.hybrid import Hybrid
from components.settings import Settings, load_settings

YEARS = ("2009-2010", "2010-2011")
WEEK = 7 * DAY
RESULTS = Path("benchmarks/results/freshness.md")
NAMES = ("evaluated", "served", "refreshed")


def both_years(root: Path, settings: Settings, weeks: int) -> tuple[Prepared, int]:
    """Return the first year and ``weeks`` of the second, prepared by the real stages, and where the
    second begins (seconds since 1970)."""
    first, second = (
        pd.read_parquet(root / f"datasets/online-retail/{year}.parquet") for year in YEARS
    )
    start = first["InvoiceDate"].max().normalize() + pd.Timedelta(days=1)
    later = second["InvoiceDate"].between(
        start, start + pd.Timedelta(weeks=weeks), inclusive="left"
    )  # the two files overlap by nine days
    source = settings.ingest.interactions[0].model_copy(update={"path": Path("lines.parquet")})
    section = settings.ingest.model_copy(update={"interactions": [source], "reviews": []})
    settings = settings.model_copy(update={"ingest": section})
    with tempfile.TemporaryDirectory(prefix="bowerbird-") as name:
        shop = Path(name)
        pd.concat([first, second[later]], ignore_index=True).to_parquet(shop / "lines.parquet")
        (shop / "reports").mkdir()
        for stage in (ingest, validation, split):
            stage.run(settings, shop)
        return load_prepared(shop / "data/prepared"), int(start.timestamp())


def week_task(x: Interactions, start: int) -> Task:
    """Return the known users of the week from ``start``, their histories, their new products."""
    before = x.where(x.times < start)
    targets = x.where((x.times >= start) & (x.times < start + WEEK)).matrix()
    targets = (targets - targets.multiply(before.matrix())).tocsr()
    targets.eliminate_zeros()
    users = np.flatnonzero((np.diff(targets.indptr) > 0) & (np.diff(before.offsets) > 0))
    return Task(users, x.histories(users, start), targets[users])


def known_before(prepared: Prepared, start: int) -> tuple[Interactions, pd.DataFrame]:
    """Return the interactions before ``start`` and the products sold by then, in new codes."""
    x = prepared.interactions
    before = x.where(x.times < start)
    sold: BoolArray = np.bincount(before.items, minlength=x.n_items) > 0
    code = np.cumsum(sold) - 1
    table = prepared.catalogue.table[sold].reset_index(drop=True)
    return (
        Interactions.from_arrays(
            before.users, code[before.items], before.times, x.n_users, len(table)
        ),
        table,
    )


class Refreshed:
    """The served model, refreshed week by week."""

    def __init__(self, served: Hybrid, encoder: TextEncoder) -> None:
        self.model = served
        self.seconds: list[float] = []
        self._encoder = encoder

    def until(self, prepared: Prepared, start: int) -> Hybrid:
        """Return the model with all events before ``start``."""
        train, table = known_before(prepared, start)
        began = time.perf_counter()
        vectors: FloatArray | None = carried_vectors(
            self.model.catalogue, table, self._encoder.encode
        )
        self.model = refresh(self.model, train, Catalogue(table, vectors))
        self.seconds.append(time.perf_counter() - began)
        return self.model


def ratio(new: DoubleArray, old: DoubleArray, users: np.ndarray, seed: int) -> str:
    """Return the ratio of the means with its interval, users resampled with all their rows."""
    _, codes = np.unique(users, return_inverse=True)
    n = codes.max() + 1
    sums = np.stack([np.bincount(codes, one, n) for one in (new, old)])
    drawn = np.random.default_rng(seed).integers(0, n, (2000, n))
    means = sums[:, drawn].sum(axis=2)
    low, high = np.quantile(means[0] / means[1], [0.025, 0.975])
    return f"{new.mean() / old.mean():.2f} ({low:.2f} – {high:.2f})"


def row(name: str, scores: dict[str, DoubleArray], users: np.ndarray, seed: int) -> str:
    """Return a line of the table."""
    means = " | ".join(f"{scores[one].mean():.4f}" for one in NAMES)
    pairs = [("refreshed", "served"), ("refreshed", "evaluated"), ("served", "evaluated")]
    ratios = " | ".join(ratio(scores[one], scores[other], users, seed) for one, other in pairs)
    return f"| {name} | {len(users)} | {means} | {ratios} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root", type=Path, default=Path(), help="the trained shop's folder")
    parser.add_argument("--weeks", type=int, default=8)
    arguments = parser.parse_args()
    root, settings = arguments.root, load_settings(arguments.root / "params.yaml")
    prepared, end = both_years(root, settings, arguments.weeks)
    models = {
        "evaluated": Hybrid.load(root / "models/hybrid"),
        "served": Hybrid.load(root / "models/served"),
    }
    s = settings.encode
    encoder = TextEncoder(
        root / "models/language/finetuned", s.max_length, s.batch_tokens, s.precision
    )
    weekly = Refreshed(models["served"], encoder)
    rows: list[str] = []
    found: dict[str, list[DoubleArray]] = {name: [] for name in NAMES}
    users: list[np.ndarray] = []
    for week in range(arguments.weeks):
        start = end + week * WEEK
        task = week_task(prepared.interactions, start)
        if len(task.users) < 20:  # the shop is closed
            continue
        models["refreshed"] = weekly.until(prepared, start)
        scores = {}
        for name in NAMES:
            histories = translated(models[name], prepared, task.histories)
            scores[name] = ndcg(lists_of(models[name], prepared, histories, True), task.targets)
            found[name].append(scores[name])
        users.append(task.users)
        rows.append(row(str(week + 1), scores, task.users, settings.seed))
        print(rows[-1], flush=True)
    together = {name: np.concatenate(parts) for name, parts in found.items()}
    rows.append(row("all", together, np.concatenate(users), settings.seed))
    print(rows[-1])
    text = [
        "# Evaluated, served and refreshed model on the second year",
        "",
        "Made by `python -m benchmarks.freshness`, whose docstring gives the protocol. NDCG@10, "
        "and ratios with 95 % intervals.",
        "",
        "| week | users | evaluated | served | refreshed | refreshed : served "
        "| refreshed : evaluated | served : evaluated |",
        "|---|---|---|---|---|---|---|---|",
        *rows,
        "",
        f"A refresh took {np.median(weekly.seconds):.1f} seconds (median of "
        f"{len(weekly.seconds)}; the first also compiles): candidates, item statistics and texts, "
        "without reading the data and publishing.",
        "",
    ]
    (Path(__file__).parent / "results" / RESULTS.name).write_text("\n".join(text), encoding="utf-8")


if __name__ == "__main__":
    main()
