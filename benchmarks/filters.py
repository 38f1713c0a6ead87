"""What a filter expression costs on a million products: benchmarks/results/filters.md.

    python -m benchmarks.filters [--products 1000000] [--folder FOLDER]

The synthetic shop of ``benchmarks.million``. Each list of ten is computed by the engine in this
process, for a shopper with ten products, once without a filter and once with each, in turn. The
time is processor time, so that other work on the machine counts little; the figures are ratios.
"New" masks are computed for the list, as for an expression that was not sent before; "kept" ones
were computed before (``Engine.mask`` keeps 256). The first use of an expression has a new mask, and
is parsed, checked and bound, which the endpoint does in another process than the ranking. The
second figure of a ratio is the 95th percentile of the lists.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.complete_journey import RESULTS
from benchmarks.million import make
from serving.filters.conditions import TRUE, Condition
from serving.filters.expression import Schema, compiled
from serving.profiles.history import History
from serving.recommend.engine import Engine
from serving.recommend.types import Filters, Request

ROUNDS = 40


def expressions(engine: Engine, n: int) -> dict[str, str]:
    """Return expressions by what they do, others for each ``n``; the prices' quantiles are those of
    the catalogue."""
    low, high = np.quantile(engine.prices, [0.01, 0.5])
    kinds = [name for name, _ in engine.category_names()]
    of_kinds = len(kinds) // 100
    listed = ", ".join(f'"{kind}"' for kind in kinds[n * of_kinds :][:of_kinds])
    return {
        "1 % by price": f"price <= {low + n * 1e-5:.6f}",
        "1 % by categories": f"category in [{listed}]",
        "1 % by both": f"category in [{listed}] and price < 1e9 and not brand = 'x'",
        "1 % by either": f"category in [{listed}] or price < {n * 1e-5:.6f}",
        "half by price": f"price <= {high + n * 1e-5:.6f}",
    }


def seconds(run: Callable[[], Any]) -> float:
    started = time.process_time()
    run()
    return time.process_time() - started


def measured(engine: Engine) -> list[str]:
    """Return the rows of the results."""
    random = np.random.default_rng(3)
    rows = []
    texts = [expressions(engine, n) for n in range(ROUNDS + 1)]
    for name, kept in texts[0].items():
        where = compiled(kept, Schema()).bound()
        share = engine.mask(Filters(where=where)).mean()
        names = ("without", "new", "kept", "mask", "parsing")
        times: dict[str, list[float]] = {name: [] for name in names}
        for n in range(ROUNDS):
            codes = random.choice(engine.n_items, 10).astype(np.int32)
            history = History(codes, np.arange(10, dtype=np.int64), now=10)

            def page(condition: Condition, history: History = history) -> None:
                engine.recommend([Request(history, 10, Filters(where=condition))])

            text = texts[n + 1][name]
            times["parsing"].append(seconds(lambda t=text: compiled(t, Schema()).bound()))
            new = compiled(text, Schema()).bound()
            times["without"].append(seconds(lambda p=page: p(TRUE)))
            times["kept"].append(seconds(lambda p=page, w=where: p(w)))
            times["new"].append(seconds(lambda p=page, w=new: p(w)))
            times["mask"].append(seconds(lambda w=new: engine.uncached_mask(Filters(where=w))))
        each = {key: np.array(values) for key, values in times.items()}
        median = {key: float(np.median(values)) for key, values in each.items()}
        first = each["new"] + each["parsing"]
        ratios = [
            f"{np.median(values) / median['without']:.2f} "
            f"({np.quantile(values, 0.95) / median['without']:.2f})"
            for values in (first, each["new"], each["kept"])
        ]
        rows.append(
            f"| {name} | {share:.1%} | {median['without'] * 1e3:.1f} ms | "
            f"{' | '.join(ratios)} | "
            f"{median['mask'] * 1e3:.1f} ms | {median['parsing'] * 1e3:.1f} ms |"
        )
        print(rows[-1], flush=True)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--products", type=int, default=1_000_000)
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
        f"# Filters on {engine.n_items:,} products",
        "",
        "Made by `python -m benchmarks.filters`, whose docstring gives the protocol. Medians of "
        f"{ROUNDS} lists; one-minute load of the machine with {os.cpu_count()} processors "
        f"{load:.1f} at the start and {os.getloadavg()[0]:.1f} at the end.",
        "",
        "| filter | products left | list without a filter | ratio at first use | "
        "ratio with a new mask | ratio with a kept mask | mask alone | parsing |",
        "|---|---|---|---|---|---|---|---|",
        *rows,
    ]
    (RESULTS / "filters.md").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
