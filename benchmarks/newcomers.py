"""Customers without a history: the ranker's lists against what the hybrid serves.

    python -m benchmarks.newcomers FOLDER --cuts 3 --without sequential    # results/newcomers.md

FOLDER: as of ``benchmarks.rolling_origin``, whose cuts and windows these are. At each cut the
ranker learns on the validation window before it, as in the stage ``rank``. ``ranker`` are its lists
for all customers, ``hybrid`` those that are served: newcomers get popularity's order
(``forms.NewcomersApart``).

All customers of the window with a target that is new to them: ``new`` (no history), ``returning``,
those of up to five products (``few``), and the returning ones as if their newest event were all
that is known (``one event``). NDCG@10, the whole catalogue ranked, 95 % intervals by a bootstrap
over customers, paired for differences; p by Fisher's randomisation test. ``--without`` names
candidates to leave out: a sequence model takes longest, and knows nothing of newcomers.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np

from benchmarks.rolling_origin.cuts import Shop, open_shop
from benchmarks.rolling_origin.page import date, table
from components.arrays import DoubleArray
from components.data.dataset import Prepared
from components.data.holdout import Task, window_task
from components.evaluation.metrics import ndcg
from components.evaluation.protocol import interval, paired_p_value
from components.recommenders.base import Recommender
from components.recommenders.train import CANDIDATES, load_candidates
from components.recommenders.two_stage.forms import LearnedRanking
from components.recommenders.two_stage.hybrid import Hybrid

RESULTS = Path("benchmarks/results/newcomers.md")
K, SAMPLES, FEW = 10, 1000, 5


def without(shop: Shop, names: list[str]) -> Shop:
    """Return the shop without the candidates ``names``."""
    train = shop.settings.train
    left = [name for name in train.candidates if name not in names]
    train = train.model_copy(update={"candidates": left})
    return replace(shop, settings=shop.settings.model_copy(update={"train": train}))


def hybrid_of(shop: Shop, stop: int) -> Hybrid:
    """Return the hybrid of a cut, as the stage ``rank`` makes it."""
    settings, prepared = shop.settings, shop.prepared(stop)
    shop.fit(stop, settings)
    x, catalogue, exclude = prepared.interactions, prepared.catalogue, settings.train.exclude_seen
    early, late = (
        load_candidates(shop.root(stop) / CANDIDATES / window, settings.train.names)
        for window in ("validation", "test")
    )
    learner = Hybrid(settings.rank, early, seed=settings.seed)
    learner.fit(x.where(x.times < prepared.validation_start), catalogue)
    task = window_task(prepared, "validation", exclude)
    learner.fit_ranker(task.histories, task.targets, exclude)
    model = Hybrid(settings.rank, late, ranker=learner.ranker, seed=settings.seed)
    return model.fit(x.where(x.times < prepared.test_start), catalogue)


def groups(prepared: Prepared, exclude_seen: bool) -> dict[str, Task]:
    """Return the tasks of the groups of customers, by name."""
    task = window_task(prepared, "test", exclude_seen)
    new = task.histories.lengths() == 0
    products = np.diff(task.histories.seen(prepared.interactions.n_items).indptr)

    def of(kept: np.ndarray) -> Task:
        rows = np.flatnonzero(kept)
        return Task(task.users[rows], task.histories.pick(rows), task.targets[rows])

    returning = of(~new)
    newest = np.zeros(len(returning.histories.items), dtype=bool)
    newest[returning.histories.offsets[1:] - 1] = True
    one = replace(returning, histories=returning.histories.where(newest))
    return {
        "new": of(new),
        "returning": returning,
        "few": of(~new & (products <= FEW)),
        "one event": one,
    }


def mean(values: DoubleArray) -> str:
    low, high = interval(values, SAMPLES, 0)
    return f"{values.mean():.4f} ({low:.4f} to {high:.4f})"


def difference(first: DoubleArray, second: DoubleArray) -> str:
    low, high = interval(first - second, SAMPLES, 0)
    gain = (first - second).mean()
    return f"{gain:+.4f} ({low:+.4f} to {high:+.4f}), p {paired_p_value(second, first):.1g}"


def cut(shop: Shop, stop: int) -> list[str]:
    """Return the section of a cut."""
    prepared, exclude = shop.prepared(stop), shop.settings.train.exclude_seen
    hybrid = hybrid_of(shop, stop)
    assert hybrid.ranker is not None
    models: dict[str, Recommender | LearnedRanking] = {
        "ranker": LearnedRanking(hybrid.generator, hybrid.features, hybrid.ranker),
        "hybrid": hybrid,
        "popularity": hybrid.candidates["popularity"],
    }
    rows = []
    for name, task in groups(prepared, exclude).items():
        if not len(task.users):
            continue
        each = {
            title: ndcg(model.recommend(task.histories, K, exclude)[0], task.targets)
            for title, model in models.items()
        }
        rows.append(
            [
                name,
                f"{len(task.users):,}",
                *(mean(values) for values in each.values()),
                difference(each["ranker"], each["popularity"]),
                difference(each["hybrid"], each["popularity"]),
            ]
        )
    head = ["customers", "number", *models, "ranker − popularity", "hybrid − popularity"]
    return [
        f"## Cut of {date(prepared.test_start)}",
        "",
        *table(head, rows),
        "",
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path, metavar="FOLDER")
    parser.add_argument("--cuts", type=int, default=3)
    parser.add_argument("--without", nargs="*", default=[], metavar="CANDIDATE")
    parser.add_argument("--work", type=Path, default=Path("var/benchmarks/rolling_origin"))
    parser.add_argument("--out", type=Path, default=RESULTS)
    given = parser.parse_args()
    shop = without(open_shop(given.folder, given.work), given.without)
    lines = [
        f"# Customers without a history: {shop.name}",
        "",
        "Made by `python -m benchmarks.newcomers`, whose docstring gives the protocol. Candidates: "
        f"{', '.join(shop.settings.train.names)}.",
        "",
    ]
    for stop in shop.stops(given.cuts):
        lines += cut(shop, stop)
    given.out.write_text("\n".join(lines), encoding="utf-8")


if __name__ == "__main__":
    main()
