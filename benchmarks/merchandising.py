"""What merchandising rules cost: benchmarks/results/merchandising.md.

    python -m benchmarks.merchandising [--folder FOLDER] [--products 100000]

The synthetic shop of ``benchmarks.million``. A list of ten is made for a shopper with ten products
under 0, 20 and 200 rules in force, in turn; the figures are ratios to the list without rules. The
time is processor time, so that other work on the machine counts little, of the two parts:
choosing the rules that apply (with their segments) and sending them, and the pipeline of the
ranking process. A quarter of the rules each are boosts and exclusions by category, pins, and caps;
every tenth has a segment. The fourth row has 20 rules, an objective and an exposure rule that moves
its products. The first list after a change of the rules, which computes their masks,
is measured apart.
"""

from __future__ import annotations

import argparse
import os
import pickle
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.complete_journey import RESULTS
from benchmarks.million import make
from components.settings import Serve
from serving.filters.expression import Schema
from serving.merchandising.rulebook import Numbered, Rulebook
from serving.merchandising.rules import Rule
from serving.profiles.history import History
from serving.recommend.engine import Engine
from serving.recommend.pipeline import Pipeline
from serving.recommend.types import Filters, Request

SIZES, ROUNDS = (0, 20, 200), 60
SCHEMA = Schema((), (("age", "category"),))


def rulebook(engine: Engine, size: int) -> Rulebook:
    """Return a book of ``size`` rules."""
    kinds = [name for name, _ in engine.category_names()]
    rules = []
    for n in range(size):
        where = f'category = "{kinds[n % len(kinds)]}" and price < {5 + n % 7}'
        kind: dict[str, Any] = [
            {"action": "boost", "where": where, "weight": 0.5},
            {"action": "exclude", "where": where},
            {"action": "pin", "items": [engine.ids[n * 7 % engine.n_items]], "position": 1 + n % 9},
            {"action": "cap", "by": "category", "most": 5, "where": f"price > {n % 11}"},
        ][n % 4]
        if n % 10 == 0:
            kind["segment"] = 'user.age = "25-34"'
        rule = Rule.model_validate({"name": f"rule {n}", **kind})
        rules.append(Numbered(f"r{n}", n + 1, rule))
    return Rulebook(rules, SCHEMA)


def with_objective(engine: Engine, size: int) -> Rulebook:
    """Return a book of ``size`` rules, an objective and an exposure rule that moves products."""
    category = engine.category_names()[0][0]
    rules = [
        {"action": "objective", "by": "price", "weight": 0.5},
        {"action": "exposure", "where": f'category = "{category}"', "at_least": 0.2},
    ]
    made = [Rule.model_validate({"name": "x", **one}) for one in rules]
    added = [Numbered(f"o{n}", size + n, rule) for n, rule in enumerate(made, 1)]
    return Rulebook([*rulebook(engine, size).rules, *added], SCHEMA, lambda revision: (("", 1.0),))


def measured(engine: Engine) -> list[str]:
    """Return the rows of the results."""
    pipeline, random = Pipeline(engine, Serve()), np.random.default_rng(3)
    books = {str(size): rulebook(engine, size) for size in SIZES}
    books["20, an objective, an exposure"] = with_objective(engine, 20)
    times: dict[str, list[float]] = {size: [] for size in books}
    first: dict[str, float] = {}
    for _ in range(ROUNDS + 1):
        codes = random.choice(engine.n_items, 10).astype(np.int32)
        history = History(codes, np.arange(10, dtype=np.int64), now=10)
        for size, book in books.items():
            started = time.process_time()
            steps = book.steps("home", lambda: {"age": "25-34"})
            request = Request(history, 10, Filters(where=steps.excluded), steps=steps)
            sent = pickle.loads(pickle.dumps(replace(request), pickle.HIGHEST_PROTOCOL))
            pipeline.run([sent])
            seconds = time.process_time() - started
            if size in first:
                times[size].append(seconds)
            else:
                first[size] = seconds
    median = {size: float(np.median(values)) for size, values in times.items()}
    late = {size: float(np.quantile(values, 0.95)) for size, values in times.items()}
    return [
        f"| {size} | {median[size] * 1e3:.1f} ms | {median[size] / median['0']:.2f} | "
        f"{late[size] / late['0']:.2f} | {first[size] * 1e3:.0f} ms |"
        for size in books
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--products", type=int, default=100_000)
    parser.add_argument("--folder", type=Path, help="where the shop is, or is made")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as made:
        root = given.folder or Path(made)
        if not (root / "models/hybrid/model.json").exists():
            make(root, given.products)
        engine = Engine.load(root / "models/hybrid", "1")
        load = os.getloadavg()[0]
        rows = measured(engine)
    lines = [
        f"# Merchandising rules on {engine.n_items:,} products",
        "",
        "Made by `python -m benchmarks.merchandising`, whose docstring gives the protocol. Medians "
        f"of {ROUNDS} lists; one-minute load of the machine with {os.cpu_count()} processors "
        f"{load:.1f} at the start and {os.getloadavg()[0]:.1f} at the end.",
        "",
        "| rules in force | list | ratio | ratio of 95th percentiles | first list after a change |",
        "|---|---|---|---|---|",
        *rows,
    ]
    text = "\n".join(lines) + "\n"
    (RESULTS / "merchandising.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
