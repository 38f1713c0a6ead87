"""What becomes of a model that learns from its own lists: benchmarks/results/echo.md and .png.

    python -m benchmarks.echo

``evaluation.simulator.echo``: 300 shoppers, 500 products, one list of five and one purchase without
a list for each shopper in each of 30 rounds; the model is fitted on everything before each round.
The weight of clicks on lists in what it learns is that of ``preprocess.recommended_weight``. Means
of three shops.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import matplotlib as mpl
import pandas as pd

from components.evaluation.simulator import Shop, echo
from components.progress import progress
from components.recommenders.base import Recommender
from components.recommenders.models.ease import EASE
from components.recommenders.models.knn import ItemNeighbours
from components.settings import EASE as EASESettings
from components.settings import Neighbours

mpl.use("Agg")
import matplotlib.pyplot as plt

RESULTS = Path(__file__).parent / "results"
SHOPS, ROUNDS, WEIGHTS = 3, 30, (1.0, 0.3, 0.0)
MODELS: dict[str, Callable[[], Recommender]] = {
    "item_neighbours": lambda: ItemNeighbours(Neighbours(weighting="cosine")),
    "ease": lambda: EASE(EASESettings(regularisation=50.0)),
}


def main() -> None:
    rows = []
    cells = [(m, w, s) for m in MODELS for w in WEIGHTS for s in range(SHOPS)]
    for model, weight, seed in progress(cells, desc="echo", unit="run"):
        shop = Shop.make(n_users=300, n_items=500, seed=seed)
        for number, one in enumerate(echo(shop, MODELS[model], ROUNDS, weight, seed)):
            rows.append({"model": model, "weight": weight, "round": number + 1, **asdict(one)})
    found = pd.DataFrame(rows).groupby(["model", "weight", "round"], sort=False).mean()
    lines = [
        "# Learning from its own lists",
        "",
        "`python -m benchmarks.echo`; protocol in that module. Coverage: the share of the products "
        f"in any list; clicks: true clicks a list; in the first and the last of {ROUNDS} rounds.",
        "",
        "| model | weight of clicks on lists | coverage | Gini | clicks | clicks, all rounds |",
        "|---|---|---|---|---|---|",
    ]
    for model in MODELS:
        for weight in WEIGHTS:
            of = found.loc[model, weight]
            first, last = of.iloc[0], of.iloc[-1]
            shown = " | ".join(
                f"{first[name]:.2f} → {last[name]:.2f}" for name in ("coverage", "gini", "clicks")
            )
            lines.append(f"| `{model}` | {weight:g} | {shown} | {of['clicks'].mean():.2f} |")
    figure, axes = plt.subplots(1, len(MODELS), figsize=(8, 3.2), sharey=True)
    for axis, model in zip(axes, MODELS, strict=True):
        for weight in WEIGHTS:
            axis.plot(found.loc[model, weight]["coverage"], label=f"weight {weight:g}")
        axis.set(title=model, xlabel="round", ylim=(0, 1))
    axes[0].set_ylabel("coverage of the lists")
    axes[-1].legend()
    figure.savefig(RESULTS / "echo.png", dpi=110, bbox_inches="tight")
    lines += ["", "![coverage by round](echo.png)"]
    (RESULTS / "echo.md").write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
