"""Learning from logged feedback in a simulated shop: benchmarks/results/feedback.md and .png.

    python -m benchmarks.feedback

``evaluation.simulator``: 400 shoppers, 60 products, lists of five, examination probability
1/position.
Values are true expected clicks of a list, means over three shops with their standard deviation.

1. Policies. Item neighbours fitted on past purchases rank, ε-greedy (0.3) serves and logs. From
   that log a policy is trained with the top-K correction, with the plain off-policy correction
   (K = 1), without any, and with the top-K correction and estimated instead of logged propensities.
   Settings are the defaults of ``train.policy`` except ``k``, the length of the list.
2. Bandits without personalisation: regret per list against the best single list for all.
"""

from __future__ import annotations

from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd

from components.data.impressions import Log
from components.evaluation.simulator import Shop
from components.progress import progress
from components.recommenders.exploration import BetaThompson, EpsilonGreedy, Explorer, click_counts
from components.recommenders.models.knn import ItemNeighbours
from components.recommenders.models.off_policy.model import Policy, standardised
from components.settings import Neighbours
from components.settings import Policy as PolicySettings

mpl.use("Agg")
import matplotlib.pyplot as plt

RESULTS = Path(__file__).parent / "results"
SHOPS, SIZES, PLACES = 3, (2_000, 20_000), 5
GREEDY = EpsilonGreedy(0.0)
TRAINED = {
    "uncorrected (REINFORCE on the log as it is)": {"correction": "none"},
    "off-policy correction": {"correction": "off_policy"},
    "off-policy and top-K correction": {"correction": "top_k"},
    "the same, propensities estimated": {"correction": "top_k", "behaviour": "estimated"},
}


def policies(seed: int, n: int) -> dict[str, float]:
    """Return the true value of each policy in one shop, learned from ``n`` lists."""
    shop, random = Shop.make(places=PLACES, seed=seed), np.random.default_rng(seed)
    everybody = np.arange(len(shop.rates))
    histories = shop.histories(everybody)
    base = ItemNeighbours(Neighbours(weighting="cosine")).fit(shop.past, shop.catalogue)
    scores = standardised(base.score(histories))
    logging = EpsilonGreedy(0.3)
    users = random.integers(0, len(everybody), n)
    log = shop.serve(users, scores[users], logging, random)

    def value(scores: np.ndarray, explorer: Explorer = GREEDY) -> float:
        return shop.value(everybody, scores, explorer, np.random.default_rng(1), repeats=20)

    found = {
        "what logged: item neighbours, ε = 0.3": value(scores, logging),
        "item neighbours without exploration": value(scores),
    }
    for name, changes in TRAINED.items():
        model = Policy(PolicySettings(k=PLACES, **changes), seed)
        model.base, model.log = base, log
        if changes.get("behaviour"):
            model.log = Log(log.histories, log.ids, np.full(log.ids.shape, np.nan), log.rewards)
        found[name] = value(model.fit(shop.past, shop.catalogue).score(histories))
    return {**found, "the best there is": shop.best(everybody)}


def regret(kind: str, seed: int, rounds: int = 200, batch: int = 50) -> np.ndarray:
    """Return (rounds,): the mean regret of a list in each round of ``batch`` lists."""
    shop, random = Shop.make(places=PLACES, seed=seed), np.random.default_rng(seed)
    popular = shop.rates.mean(axis=0)
    best = np.sort(popular)[::-1][:PLACES] @ shop.looks
    clicks, skips = np.zeros(len(popular)), np.zeros(len(popular))
    out = np.empty(rounds)
    for step in range(rounds):
        scores = np.tile((clicks + 1) / (clicks + skips + 2), (batch, 1))
        explorer: Explorer = {
            "Thompson sampling": BetaThompson(clicks, skips, draws=1),
            "ε-greedy, ε = 0.1": EpsilonGreedy(0.1),
            "random": EpsilonGreedy(1.0),
        }[kind]
        log = shop.serve(random.integers(0, len(shop.rates), batch), scores, explorer, random)
        out[step] = best - (popular[log.ids] * shop.looks).sum(axis=1).mean()
        new = click_counts(log.ids, log.rewards > 0, len(popular), shop.looks)
        clicks, skips = clicks + new[0], skips + new[1]
    return out


def main() -> None:
    worth = {
        n: pd.DataFrame(
            [policies(seed, n) for seed in progress(range(SHOPS), desc=f"{n} lists", unit="shop")]
        )
        for n in SIZES
    }
    lines = [
        "# What is learned from logged feedback",
        "",
        "`python -m benchmarks.feedback`; protocol in that module. True clicks of a list, mean of",
        f"{SHOPS} simulated shops ± standard deviation.",
        "",
        "| policy | " + " | ".join(f"{n:,} lists logged" for n in SIZES) + " |",
        "|---|" + "---|" * len(SIZES),
    ]
    for name in worth[SIZES[0]]:
        cells = [f"{table[name].mean():.3f} ± {table[name].std():.3f}" for table in worth.values()]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    figure, axes = plt.subplots(figsize=(7, 3.4))
    lines += ["", "| bandit | regret of the first 500 lists | of the last 1,500 of 10,000 |"]
    lines.append("|---|---|---|")
    for kind in ("random", "ε-greedy, ε = 0.1", "Thompson sampling"):
        curves = np.stack([regret(kind, seed) for seed in range(SHOPS)])
        first, last = curves[:, :10].mean(axis=1), curves[:, -30:].mean(axis=1)
        cells = [f"{part.mean():.3f} ± {part.std(ddof=1):.3f}" for part in (first, last)]
        lines.append(f"| {kind} | " + " | ".join(cells) + " |")
        smooth = pd.Series(curves.mean(axis=0)).rolling(10, min_periods=1).mean()
        axes.plot(50 * np.arange(1, len(smooth) + 1), smooth, label=kind)
    axes.set(xlabel="lists served", ylabel="regret, clicks a list", ylim=(0, None))
    axes.legend()
    lines += ["", "![regret](feedback.png)"]
    figure.savefig(RESULTS / "feedback.png", dpi=110, bbox_inches="tight")
    (RESULTS / "feedback.md").write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
