"""Every model and the hybrid on trained shops, and what attributes and `repeat` bring.

    python -m benchmarks.two_shops SHOP [SHOP ...]     # folders after `bowerbird run`

Result: benchmarks/results/two_shops.md. Split by time; users: all with a target in the window, at
most USERS drawn at random; the whole catalogue is ranked. Candidates are those that the run fitted
before each window. With seen items: targets are all items that a user bought in the window; without
them: those that are new to the user.

**Test window**: the ranker learned on the validation window, as in the stage ``rank``. **Validation
window**: the ranker learns from the targets of one half of the users, drawn at random, and is
judged on the other half, and the reverse: what is on by default is chosen here. Each row of an
ablation is the hybrid without a part: the ranker's features of users' or of products' declared
attributes, the candidate for repeat purchases, or a candidate that ``--without`` names. Ablations
are of the shop's own ``train.exclude_seen``.

NDCG@10 and recall@10 with 95 % intervals by a bootstrap over users; p-values of the paired
difference of NDCG@10 to the hybrid, by Fisher's randomisation test.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from functools import cache
from itertools import islice
from pathlib import Path

import numpy as np

from benchmarks.repeat_purchases import Row, judged
from components.arrays import BoolArray
from components.data.attributes import kind_of
from components.data.dataset import load_prepared
from components.data.holdout import Task, Window, window_task
from components.evaluation.protocol import interval, paired_p_value, some_users
from components.recommenders.base import KnowsRepeats, Recommender
from components.recommenders.train import CANDIDATES, load_candidates
from components.recommenders.two_stage.hybrid import Hybrid
from components.settings import Rank, Settings, load_settings

RESULTS = Path("benchmarks/results/two_shops.md")
USERS, SAMPLES, SEED = 1000, 1000, 0
HYBRID = "hybrid"


class Shop:
    """A trained shop's tables and candidates."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.settings: Settings = load_settings(root / "params.yaml")
        self.prepared = load_prepared(root / "data/prepared", root / "models/vectors")
        self.candidates = cache(self._candidates)

    def _candidates(self, window: Window) -> dict[str, Recommender]:
        return load_candidates(self.root / CANDIDATES / window, self.settings.train.names)

    def task(self, window: Window, exclude_seen: bool) -> Task:
        """Return the task of at most USERS users of a window."""
        return some_users(window_task(self.prepared, window, exclude_seen), USERS, SEED)

    def hybrid(
        self, rank: Rank, window: Window, names: list[str], learned: Hybrid | None = None
    ) -> Hybrid:
        """Return a hybrid of the candidates of a window. learned: whose ranker it uses."""
        prepared = self.prepared
        start = {"validation": prepared.validation_start, "test": prepared.test_start}[window]
        x, found = prepared.interactions, self.candidates(window)
        model = Hybrid(
            rank,
            {name: found[name] for name in names},
            ranker=None if learned is None else learned.ranker,
            seed=self.settings.seed,
            ranked_attributes=None if learned is None else learned.attributes,
        )
        return model.fit(x.where(x.times < start), prepared.catalogue)

    def crossed(
        self, name: str, rank: Rank, names: list[str], exclude_seen: bool
    ) -> tuple[Row, Hybrid]:
        """Return the hybrid's row on the validation window, and the hybrid whose ranker learned
        from all its users."""
        task = self.task("validation", exclude_seen)
        model = self.hybrid(rank, "validation", names)
        first: BoolArray = np.random.default_rng(SEED).random(len(task.users)) < 0.5
        row = Row(name, np.empty(len(first)), np.empty(len(first)))
        for half in (first, ~first):
            rows = np.flatnonzero(~half)
            model.fit_ranker(task.histories.pick(rows), task.targets[rows], exclude_seen)
            rows = np.flatnonzero(half)
            part = Task(task.users[rows], task.histories.pick(rows), task.targets[rows])
            judged_part = judged(name, model, part, exclude_seen)
            row.ndcg[rows], row.recall[rows] = judged_part.ndcg, judged_part.recall
        model.fit_ranker(task.histories, task.targets, exclude_seen)
        return row, model

    def variants(self, dropped: list[str]) -> Iterator[tuple[str, Rank, list[str]]]:
        """Yield the hybrids by name: as configured, then each without a part.

        dropped: further candidates to leave out, one at a time.
        """
        names, rank, prepared = list(self.settings.train.names), self.settings.rank, self.prepared
        yield HYBRID, rank, names
        if prepared.interactions.attributes is not None:
            yield (
                "without users' attributes",
                rank.model_copy(update={"attributes": ["items"]}),
                names,
            )
        if any(kind_of(column) for column in prepared.catalogue.table):
            yield (
                "without products' attributes",
                rank.model_copy(update={"attributes": ["users"]}),
                names,
            )
        models = self.candidates("validation")
        repeats = [name for name in names if isinstance(models[name], KnowsRepeats)]
        for name in (*repeats, *dropped):
            if name in names:
                yield f"without {name}", rank, [one for one in names if one != name]


def table(rows: list[Row], base: Row) -> list[str]:
    """Return the lines of a table. base: the row that the others are compared with."""
    lines = [
        "| model | NDCG@10 | recall@10 | NDCG@10 minus the hybrid's | p |",
        "|---|---|---|---|---|",
    ]
    for row in rows:
        cells = [
            "{:.4f} ({:.4f} to {:.4f})".format(one.mean(), *interval(one, SAMPLES, SEED))
            for one in (row.ndcg, row.recall)
        ]
        if row is base:
            cells += ["", ""]
        else:
            difference = row.ndcg - base.ndcg
            low, high = interval(difference, SAMPLES, SEED)
            cells.append(f"{difference.mean():+.4f} ({low:+.4f} to {high:+.4f})")
            cells.append(f"{paired_p_value(base.ndcg, row.ndcg):.2g}")
        lines.append(f"| {row.name} | {' | '.join(cells)} |")
    return lines


def measured(shop: Shop, exclude_seen: bool, dropped: list[str]) -> list[str]:
    """Return the tables of a shop."""
    kind = "new products only" if exclude_seen else "with seen products"
    validation: list[Row] = []
    test: list[Row] = []
    variants: Iterator[tuple[str, Rank, list[str]]] = shop.variants(dropped)
    if exclude_seen != shop.settings.train.exclude_seen:
        variants = islice(variants, 1)
    for name, rank, names in variants:
        row, learned = shop.crossed(name, rank, names, exclude_seen)
        validation.append(row)
        task = shop.task("test", exclude_seen)
        model = shop.hybrid(rank, "test", names, learned)
        test.append(judged(name, model, task, exclude_seen))
        print(f"{name:<30}{row.ndcg.mean():.4f} {test[-1].ndcg.mean():.4f}", flush=True)
    windows: tuple[tuple[Window, list[Row]], ...] = (("validation", validation), ("test", test))
    lines = []
    for window, rows in windows:
        task = shop.task(window, exclude_seen)
        base, singles = rows[0], []
        for name, single in shop.candidates(window).items():
            singles.append(judged(name, single, task, exclude_seen))
            print(f"{window:<12}{name:<24}{singles[-1].ndcg.mean():.4f}", flush=True)
        lines += [
            "",
            f"## {shop.root.resolve().name}: {kind}, {window} window, {len(task.users):,} users",
            "",
            *table([*singles, *rows], base),
        ]
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("shops", nargs="+", type=Path)
    parser.add_argument("--without", nargs="*", default=[], metavar="CANDIDATE")
    given = parser.parse_args()
    lines = [
        "# Two shops",
        "",
        "Made by `python -m benchmarks.two_shops`, whose docstring gives the protocol.",
    ]
    for root in given.shops:
        for exclude_seen in (False, True):
            lines += measured(Shop(root), exclude_seen, given.without)
            RESULTS.write_text("\n".join([*lines, ""]))


if __name__ == "__main__":
    main()
