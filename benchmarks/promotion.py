"""How often does the promotion rule promote a worse model, and refuse one that is not worse?

    python -m benchmarks.promotion             (under two minutes)
    python -m benchmarks.promotion --measure   (some minutes more; needs the models of ``make run``)

The users of the simulation are real: their NDCG@10 by models of the embedded shop on its test
window, in ``results/promotion_users.csv``, which ``--measure`` writes. *The same recipe* are the
hybrid and four more whose rankers were trained on bootstrap samples of the training users.
*Another recipe* is the hybrid against the weighted sum of its candidates.

A pair of equal models gets a user's two values in random order, so both have the same mean in
truth, and the zeros and the correlation of real pairs. For a known difference of the means, one
model of the pair loses each user's value with the probability that gives this difference. Each
comparison draws users with replacement and is decided by the rule of ``components.evaluation``.

A chain: 20 versions in sequence, each with a known difference from the champion of its time and
compared on new users. The loss is that of the last champion against the first.

The latency guardrail is measured on the embedded shop's hybrid against itself, without and with a
further busy process on each processor (``--measure``).
"""

from __future__ import annotations

import argparse
import contextlib
import json
import multiprocessing
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from components.arrays import DoubleArray
from components.data.dataset import load_prepared
from components.data.holdout import window_task
from components.evaluation.decision import lower_bound, required_gain
from components.evaluation.guardrails import (
    Behaviour,
    K,
    guardrails,
    latencies,
    megabytes,
    new_products,
)
from components.evaluation.metrics import ndcg
from components.evaluation.protocol import bootstrap_means, lists
from components.recommenders.train import CANDIDATES, load_candidates
from components.recommenders.two_stage.hybrid import Hybrid
from components.settings import Register, load_settings

RESULTS = Path(__file__).parent / "results"
USERS_FILE, MEASURED_FILE = RESULTS / "promotion_users.csv", RESULTS / "promotion_measured.json"
DIFFERENCES = (-0.2, -0.1, -0.05, -0.02, 0.0, 0.02, 0.05, 0.1)
USERS = (100, 300, 1000, 3000)
SAMPLES = 1000
STEPS, CHAINS = 20, 200
RETRAINED = 4


def equal_models(
    values: DoubleArray, users: int, draws: int, random: np.random.Generator
) -> DoubleArray:
    """Return NDCG (models, users, draws) of equally good models.

    values: (real users, models), the same users' NDCG by real models. Users are drawn with
    replacement, and each user's values in random order.
    """
    rows = random.integers(0, len(values), (users, draws))
    return np.moveaxis(random.permuted(values[rows], axis=2), 2, 0)


def at_level(values: DoubleArray, level: DoubleArray | float, chance: DoubleArray) -> DoubleArray:
    """Return the values of models whose mean is ``level`` (at most 1) times that of ``values``.

    chance: uniform in 0 to 1, as ``values``: a user's value is lost where it is not below the
    level. Models with the same chances lose the same users' values first.
    """
    return values * (chance < level)


def pairs(
    values: DoubleArray, difference: float, users: int, draws: int, random: np.random.Generator
) -> tuple[DoubleArray, DoubleArray]:
    """Return NDCG (users, draws) of champions and challengers.

    In truth a challenger's mean is 1 + ``difference`` times the champion's.
    """
    old, new = equal_models(values, users, draws, random)[:2]
    chance = random.random(old.shape)
    if difference < 0:
        return old, at_level(new, 1 + difference, chance)
    return at_level(old, 1 / (1 + difference), chance), new


def promoted(old: DoubleArray, new: DoubleArray, rule: Register) -> DoubleArray:
    """Return bool (draws,): the decision of the rule for NDCG (users, draws)."""
    bound = lower_bound(old, new, rule, SAMPLES, seed=0)
    return bound > required_gain(old, rule).mean(axis=0)


def rule_table(values: DoubleArray, rule: Register, draws: int) -> list[str]:
    """Return rows of a Markdown table: the share promoted, by users and difference."""
    rows = []
    for users in USERS:
        shares = []
        for place, difference in enumerate(DIFFERENCES):
            random = np.random.default_rng([users, place])
            old, new = pairs(values, difference, users, draws, random)
            shares.append(f"{promoted(old, new, rule).mean():.1%}")
        rows.append(f"| {users:,} | " + " | ".join(shares) + " |")
        print(rule.rule, rule.margin, rows[-1], flush=True)
    return rows


def chain(
    values: DoubleArray, steps: DoubleArray, users: int, rule: Register, with_baseline: bool
) -> tuple[DoubleArray, DoubleArray]:
    """Return each chain's number of promotions and the last champion's mean, the first's = 1.

    steps: (STEPS, chains), the difference of each challenger from its champion.
    """
    random = np.random.default_rng(0)
    chains = steps.shape[1]
    champion, baseline, promotions = np.ones(chains), np.ones(chains), np.zeros(chains)
    for difference in steps:
        challenger = champion * (1 + difference)
        levels = np.stack([champion, challenger, baseline])
        levels /= levels.max(axis=0)
        drawn = equal_models(values, users, chains, random)[:3]
        chance = random.random((users, chains))
        old, new, base = (at_level(*pair, chance) for pair in zip(drawn, levels, strict=True))
        taken = promoted(old, new, rule)
        # Where the champion is the baseline, there is one comparison.
        base = np.where(champion == baseline, old, base)
        if with_baseline:
            taken &= promoted(base, new, rule)
        low = np.quantile(bootstrap_means(new - base, SAMPLES, seed=0), 0.025, axis=0)
        champion = np.where(taken, challenger, champion)
        baseline = np.where(taken & (low > 0), challenger, baseline)
        promotions += taken
    return promotions, champion


def chain_rows(values: DoubleArray, users: int) -> Iterator[str]:
    """Yield rows of a Markdown table: promotions and loss, without and with the baseline."""
    random = np.random.default_rng(1)
    cases = {f"{difference:+.0%}": difference for difference in (0.0, -0.01, -0.02, -0.04)}
    for name, difference in cases.items():
        yield _chain_row(values, name, np.full((STEPS, CHAINS), difference), users)
    scattered = random.normal(-0.01, 0.03, (STEPS, CHAINS))
    yield _chain_row(values, "−1 % on average, standard deviation 3 %", scattered, users)


def _chain_row(values: DoubleArray, name: str, steps: DoubleArray, users: int) -> str:
    cells = []
    for with_baseline in (False, True):
        promotions, level = chain(values, steps, users, Register(), with_baseline)
        worst = np.quantile(level, 0.05)
        cells.append(f"{promotions.mean():.1f} | {level.mean() - 1:+.1%} | {worst - 1:+.1%}")
    row = f"| {name} | " + " | ".join(cells) + " |"
    print(row, flush=True)
    return row


def real_lists(root: Path) -> dict[str, np.ndarray]:
    """Return the lists (users, K) of the models by name, for the users of the test window."""
    settings = load_settings(root / "params.yaml")
    prepared = load_prepared(root / "data/prepared", root / "models/vectors")
    exclude, x = settings.train.exclude_seen, prepared.interactions
    task = window_task(prepared, "test", exclude)
    earlier = window_task(prepared, "validation", exclude)
    model = Hybrid.load(root / "models/hybrid")
    found = {
        "hybrid": lists(model, task, K, exclude),
        "weighted sum": model.forms()["weighted"].recommend(task.histories, K, exclude)[0],
    }
    candidates = load_candidates(root / CANDIDATES / "validation", settings.train.names)
    for seed in range(1, RETRAINED + 1):
        random = np.random.default_rng(seed)
        rows = np.sort(random.integers(0, len(earlier.users), len(earlier.users)))
        learner = Hybrid(settings.rank, candidates, seed=seed)
        learner.fit(x.where(x.times < prepared.validation_start), prepared.catalogue)
        learner.fit_ranker(earlier.histories.pick(rows), earlier.targets[rows], exclude)
        model.ranker = learner.ranker
        found[f"retrained {seed}"] = lists(model, task, K, exclude)
        print(f"ranker {seed} of {RETRAINED}", flush=True)
    return found


def guardrail_values(root: Path, found: dict[str, np.ndarray]) -> dict[str, dict[str, float]]:
    """Return, for each guardrail of lists, its widest values and refusals among equal models."""
    prepared = load_prepared(root / "data/prepared")
    need = Register().guardrails
    recent = new_products(prepared, need.new_products_days)
    same = [Behaviour(one, 1.0, 1.0) for name, one in found.items() if name != "weighted sum"]
    out: dict[str, dict[str, float]] = {}
    for old in same:
        for new in same:
            if old is new:
                continue
            for one in guardrails(old, new, len(prepared.catalogue), recent, need):
                if one.name in ("coverage", "new_products", "short_lists", "list_change"):
                    ends = out.setdefault(one.name, {"low": 1.0, "high": 0.0, "refusals": 0})
                    ends["low"] = min(ends["low"], one.challenger)
                    ends["high"] = max(ends["high"], one.challenger)
                    ends["refusals"] += not one.passed
    return out


def latency_refusals(root: Path, busy: int, times: int = 20) -> dict[str, float]:
    """Return how often a model is refused for its latency against itself.

    busy: processes that compute at the same time.
    """
    prepared = load_prepared(root / "data/prepared")
    folder = root / "models/hybrid"
    model = Hybrid.load(folder)
    histories = window_task(prepared, "test", True).histories
    one = np.zeros((1, K), dtype=np.int32)
    recent, need = np.zeros(1, dtype=bool), Register().guardrails
    ratios, refused, latest = [], 0, [0.0, 0.0]
    with busy_processes(busy):
        for _ in range(times):
            latest = latencies([model, model], [histories, histories], True)
            ratios.append(latest[1] / latest[0])
            old, new = (Behaviour(one, time, megabytes(folder)) for time in latest)
            refused += not all(each.passed for each in guardrails(old, new, 1, recent, need))
    return {
        "busy": busy,
        "measurements": times,
        "refusals": refused,
        "lowest": min(ratios),
        "highest": max(ratios),
        "milliseconds": latest[0],
    }


@contextlib.contextmanager
def busy_processes(processes: int) -> Iterator[None]:
    """Keep as many processes computing."""
    running = [multiprocessing.Process(target=_compute, daemon=True) for _ in range(processes)]
    for one in running:
        one.start()
    try:
        yield
    finally:
        for one in running:
            one.kill()


def _compute() -> None:
    while True:
        np.random.default_rng(0).random(1_000_000).sum()


def measure(root: Path) -> None:
    """Write the users' NDCG and what the guardrails measure on real models."""
    found = real_lists(root)
    settings, prepared = load_settings(root / "params.yaml"), load_prepared(root / "data/prepared")
    task = window_task(prepared, "test", settings.train.exclude_seen)
    table = pd.DataFrame({name: ndcg(one, task.targets) for name, one in found.items()})
    table.round(6).to_csv(USERS_FILE, index=False)
    processors = len(os.sched_getaffinity(0))
    measured = {
        "guardrails": guardrail_values(root, found),
        "latency": [latency_refusals(root, busy) for busy in (0, processors)],
    }
    MEASURED_FILE.write_text(json.dumps(measured, indent=2) + "\n")


def report(draws: int) -> str:
    """Return the tables as Markdown."""
    table, measured = pd.read_csv(USERS_FILE), json.loads(MEASURED_FILE.read_text())
    recipes = {
        "the same recipe": table.drop(columns="weighted sum").to_numpy(),
        "another recipe": table[["hybrid", "weighted sum"]].to_numpy(),
    }
    heads = " | ".join(f"{difference:+.0%}" for difference in DIFFERENCES)
    head = [f"| users | {heads} |", "|---|" + "---|" * len(DIFFERENCES)]
    lines = [
        "# False promotions and false refusals",
        "",
        "`python -m benchmarks.promotion`; protocol in that module. Share of challengers promoted, "
        f"by the challenger's true difference from the champion in NDCG@10, {draws:,} pairs each "
        f"(standard error at most {0.5 / draws**0.5:.1%}; {(0.05 * 0.95 / draws) ** 0.5:.1%} at "
        f"5 %). Users are drawn from the {len(table):,} of the embedded shop's test window.",
    ]
    for name, values in recipes.items():
        old, new = values[:, 0], values[:, 1]
        error = (new - old - (new - old).mean()).std() / old.mean()
        lines += [
            "",
            f"## Pairs of {name}",
            "",
            f"Standard error of the relative gain with 1,000 users: {error / 1000**0.5:.1%}.",
        ]
        for rule, text in (
            (Register(), "`non_inferior`, margin 5 %: false promotions are those at −5 % and less"),
            (
                Register(rule="superior"),
                "`superior`, min_gain 0: false promotions are those at 0 % and less",
            ),
        ):
            lines += ["", f"{text}.", "", *head, *rule_table(values, rule, draws)]
    same = recipes["the same recipe"]
    lines += ["", "## The margin", "", "Pairs of the same recipe that are equal, promoted:", ""]
    margins = (0.02, 0.03, 0.05, 0.1)
    lines += [
        "| users | " + " | ".join(f"margin {margin:.0%}" for margin in margins) + " |",
        "|---|" + "---|" * len(margins),
    ]
    for users in USERS:
        old, new = pairs(same, 0.0, users, draws, np.random.default_rng(users))
        shares = [promoted(old, new, Register(margin=margin)).mean() for margin in margins]
        lines.append(f"| {users:,} | " + " | ".join(f"{share:.1%}" for share in shares) + " |")
    lines += [
        "",
        f"## A chain of {STEPS} challengers",
        "",
        f"1,000 users each time, {CHAINS} chains, rule `non_inferior`, margin 5 %. Each challenger "
        "differs from the champion of its time as the first column says. *Worst*: one chain in 20 "
        "ends lower.",
        "",
        "| challenger | promoted | loss | worst | with the baseline: promoted | loss | worst |",
        "|---|---|---|---|---|---|---|",
        *chain_rows(same, 1000),
        "",
        "## Guardrails among equal models",
        "",
        f"{RETRAINED + 1} models of the same recipe, each against each other.",
        "",
        "| guardrail | lowest | highest | refusals in 20 |",
        "|---|---|---|---|",
    ]
    for name, one in measured["guardrails"].items():
        lines.append(f"| {name} | {one['low']:.3f} | {one['high']:.3f} | {one['refusals']} |")
    lines += [
        "",
        "Latency, the hybrid against itself:",
        "",
        "| further busy processes | latency, ms | ratio, lowest | highest | refusals |",
        "|---|---|---|---|---|",
    ]
    for one in measured["latency"]:
        lines.append(
            f"| {one['busy']} | {one['milliseconds']:.1f} | {one['lowest']:.2f} | "
            f"{one['highest']:.2f} | {one['refusals']} of {one['measurements']} |"
        )
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--measure", action="store_true")
    parser.add_argument("--root", type=Path, default=Path())
    parser.add_argument("--pairs", type=int, default=1000)
    arguments = parser.parse_args()
    if arguments.measure:
        measure(arguments.root)
    text = report(arguments.pairs)
    (RESULTS / "promotion.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
