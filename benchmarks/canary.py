"""Canaries of equal and of worse versions, simulated: benchmarks/results/canary.md.

    python -m benchmarks.canary

Shoppers arrive evenly; a tenth of them is in the canary (the defaults of ``serve.canary``). Each
converts with the rate of the version that serves them. ``serving.canary.decision.decide`` looks
every two hours until it takes over or rolls back. The endpoint looks every ten seconds; the test is
valid for any number of looks, and further looks at nearly the same shoppers change little.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from components.progress import progress
from components.settings import Canary
from serving.canary.decision import GO_ON, ROLL_BACK, Evidence, Group, decide

RESULTS = Path(__file__).parent / "results"
SETTINGS = Canary()
VISITORS = (300, 3_000, 30_000)
RATES = (0.02, 0.05, 0.1)
CHANGES = (0.0, -0.1, -0.2, -0.3, -0.5, -0.8)
EQUAL_RUNS, RUNS = 2_000, 200
LOOKS_A_DAY = 12


def canary(visitors: int, rate: float, change: float, random: np.random.Generator) -> pd.Series:
    """Return how one canary ends: rolled_back, hours, shoppers in it.

    visitors: new shoppers a day. rate: of conversion. change: of it by the version, relative.
    """
    looks = int(LOOKS_A_DAY * SETTINGS.max_days) + 1
    arrived = random.poisson(visitors / LOOKS_A_DAY, looks)
    inside = random.binomial(arrived, SETTINGS.share)
    users = np.cumsum([arrived - inside, inside], axis=1)
    converted = np.cumsum(
        [
            random.binomial(arrived - inside, rate),
            random.binomial(inside, rate * (1 + change)),
        ],
        axis=1,
    )
    for look in range(looks):
        control, treated = (Group(int(users[a, look]), int(converted[a, look])) for a in (0, 1))
        hours = 24 * (look + 1) / LOOKS_A_DAY
        action = decide(Evidence(hours, control, treated, True), SETTINGS).action
        if action != GO_ON:
            break
    ended = {"rolled_back": action == ROLL_BACK, "hours": hours, "shoppers": treated.users}
    return pd.Series(ended)


def main() -> None:
    cells = [(v, r, c) for v in VISITORS for r in RATES for c in CHANGES]
    rows = []
    for visitors, rate, change in progress(cells, desc="canaries", unit="cell"):
        random = np.random.default_rng([visitors, int(1000 * rate), int(-100 * change)])
        runs = EQUAL_RUNS if change == 0 else RUNS
        ended = pd.DataFrame([canary(visitors, rate, change, random) for _ in range(runs)])
        gone = ended[ended["rolled_back"]]
        rows.append(
            {
                "visitors": visitors,
                "rate": rate,
                "change": change,
                "rolled_back": ended["rolled_back"].mean(),
                "hours": gone["hours"].astype(float).median(),
                "shoppers": gone["shoppers"].astype(float).median(),
                "days": ended.loc[~ended["rolled_back"], "hours"].astype(float).median() / 24,
            }
        )
    found = pd.DataFrame(rows)
    lines = [
        "# Canaries",
        "",
        "`python -m benchmarks.canary`; protocol in that module. Share of canaries that are rolled "
        f"back, by the true change of the conversion rate: {EQUAL_RUNS:,} runs of an equal "
        f"version, {RUNS} of each other one.",
        "",
        "| visitors a day | rate | equal | "
        + " | ".join(f"−{-100 * change:.0f} %" for change in CHANGES[1:])
        + " | days until an equal one takes over |",
        "|" + "---|" * (len(CHANGES) + 3),
    ]
    for (visitors, rate), cell in found.groupby(["visitors", "rate"]):
        by = cell.set_index("change")
        shares = " | ".join(f"{100 * by.loc[one, 'rolled_back']:.1f} %" for one in CHANGES)
        lines.append(
            f"| {visitors:,} | {100 * rate:.0f} % | {shares} | {by.loc[0.0, 'days']:.1f} |"
        )
    lines += [
        "",
        "Hours until the rollback, and shoppers who saw it (medians of those rolled back):",
        "",
        "| visitors a day | rate | "
        + " | ".join(f"−{-100 * change:.0f} %" for change in CHANGES[1:])
        + " |",
        "|" + "---|" * (len(CHANGES) + 1),
    ]
    for (visitors, rate), cell in found.groupby(["visitors", "rate"]):
        by = cell.set_index("change")
        texts = [
            f"{by.loc[c, 'hours']:.1f} h, {by.loc[c, 'shoppers']:,.0f}"
            if by.loc[c, "rolled_back"] > 0
            else "–"
            for c in CHANGES[1:]
        ]
        lines.append(f"| {visitors:,} | {100 * rate:.0f} % | " + " | ".join(texts) + " |")
    worst = found.loc[found["change"] == 0, "rolled_back"].max()
    lines += [
        "",
        f"At most {100 * worst:.1f} % of the equal versions are rolled back, where `alpha` is "
        f"{100 * SETTINGS.alpha:.0f} %.",
    ]
    (RESULTS / "canary.md").write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
