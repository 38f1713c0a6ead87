"""Surfaces by their own outcomes, against the plain list: results/surfaces.md.

    python -m benchmarks.surfaces SHOP [SHOP ...]   # folders with data/prepared, models/hybrid

The protocol is that of ``components/evaluation/surfaces.py``; the model is the evaluated hybrid of
the folder, or where there is none item neighbours fitted on the data before the test window.
``learned`` is the order of ``repeat``, which ``buy_again`` uses where it is among the candidates.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from components.data.dataset import Prepared, load_prepared
from components.evaluation.surfaces import Outcome, evaluate_surfaces
from components.recommenders.base import Recommender
from components.recommenders.models.knn import ItemNeighbours
from components.recommenders.models.repeat import RepeatPurchases
from components.recommenders.shelves.statistics import ShelfStatistics
from components.recommenders.two_stage.hybrid import Hybrid
from components.settings import load_settings

RESULTS = Path("benchmarks/results/surfaces.md")
COLUMNS = [
    "| surface | filled by | measure | cases | mean | 95 % | p, to the first |",
    "|---|---|---|---|---|---|---|",
]


def plain_list(folder: Path, prepared: Prepared) -> tuple[str, Recommender]:
    """Return the model without surfaces, and its name."""
    hybrid = folder / "models/hybrid"
    if (hybrid / "model.json").exists():
        return "hybrid", Hybrid.load(hybrid)
    section = load_settings(Path("params.yaml")).train.item_neighbours
    x = prepared.interactions
    train = x.where(x.times < prepared.test_start)
    return "item neighbours", ItemNeighbours(section).fit(train, prepared.catalogue)


def row(one: Outcome) -> str:
    p = "" if one.p_value is None else f"{one.p_value:.3f}"
    return (
        f"| {one.surface} | {one.way} | {one.measure} | {one.cases} | {one.mean:.3f} "
        f"| {one.low:.3f}–{one.high:.3f} | {p} |"
    )


def tables(folder: Path) -> list[str]:
    """Return the tables of one shop as Markdown."""
    vectors = folder / "models/vectors"
    prepared = load_prepared(folder / "data/prepared", vectors if vectors.exists() else None)
    statistics = ShelfStatistics.of_prepared(prepared, prepared.test_start)
    name, model = plain_list(folder, prepared)
    x = prepared.interactions
    learned = RepeatPurchases(load_settings(Path("params.yaml")).train.repeat).fit(
        x.where(x.times < prepared.test_start), prepared.catalogue
    )
    found = evaluate_surfaces(
        prepared, statistics, model, samples=1000, seed=42, buy_again={"learned": learned}
    )
    return [
        *(f"## {folder.resolve().name}", "", f"Ranked list: {name}.", "", *COLUMNS),
        *map(row, found),
        "",
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("shops", nargs="+", type=Path)
    lines = [
        "# Surfaces",
        "",
        "Made by `python -m benchmarks.surfaces`; `components/evaluation/surfaces.py` has the "
        "protocol.",
        "",
    ]
    for shop in parser.parse_args().shops:
        lines += tables(shop)
        RESULTS.write_text("\n".join(lines), encoding="utf-8")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
