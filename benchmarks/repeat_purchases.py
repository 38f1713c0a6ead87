"""Repeat purchases: what do personal frequency and intervals bring? results/repeat_purchases.md.

    python -m benchmarks.repeat_purchases SHOP [SHOP ...]     # folders with data/prepared

Shops that recommend what a customer had before (``exclude_seen: false``). Split by time; users: all
with an event in the window, new ones included; targets: all items of their events in it; the whole
catalogue is ranked. Models are fitted on all events before the window. The windows are those of the
shop. What is chosen is chosen on the validation window: there the ranker is fitted on the days
before it, as many as it has.

- ``top frequency``: a customer's items by the number of days with an event on them, halved with
  every half-life of their age; then popular items (``benchmarks/personal_frequency.py``).
- ``TIFU-KNN``: those counts, ``share`` of the customer's own and the rest the mean of the
  ``neighbours`` customers with the most similar counts (Hu et al., 2020, with decay by days).
- ``repeat``: the model, ``models/repeat.py``; ``with neighbours``: that of TIFU-KNN is a feature.
- ``hybrid``: the learned ranker over CANDIDATES; with ``repeat`` as a candidate; with its features.

NDCG@10 and recall@10 with 95 % intervals by a bootstrap over users; p-values of the paired
difference of NDCG@10 to the row that the last column names, by Fisher's randomisation test.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp
from sparse_dot_topn import sp_matmul_topn

from benchmarks.personal_frequency import PersonalFrequency, Recency
from components.arrays import DoubleArray, FloatArray, Int32Array
from components.data.dataset import Histories, Interactions, Prepared, load_prepared
from components.data.holdout import Task, window_task
from components.evaluation.metrics import ndcg, recall
from components.evaluation.protocol import interval, lists, paired_p_value
from components.recommenders.base import Recommender
from components.recommenders.factory import build
from components.recommenders.kernels.repeats import Repeats
from components.recommenders.models.knn import row_normalised
from components.recommenders.models.repeat import HALF_LIVES, RepeatPurchases
from components.recommenders.two_stage.hybrid import Hybrid
from components.settings import Settings, load_settings

RESULTS = Path("benchmarks/results/repeat_purchases.md")
CANDIDATES = ("popularity", "item_neighbours", "matrix_factorisation", "ease")
DAYS = HALF_LIVES.index(90.0)
"""Of the counts that neighbours are found by."""


@dataclass(frozen=True)
class Row:
    """A model on a window: metrics of each user (users,)."""

    name: str
    ndcg: DoubleArray
    recall: DoubleArray


def earlier_windows(prepared: Prepared) -> Prepared:
    """Return the tables as they were before the test window: validation is the test window."""
    start, stop = prepared.validation_start, prepared.test_start
    x = prepared.interactions
    return replace(
        prepared,
        interactions=x.where(x.times < stop),
        validation_start=2 * start - stop,
        test_start=start,
        end=stop,
    )


class NeighbourCounts:
    """The mean faded counts of the most similar customers, by customer and item."""

    def __init__(self, model: RepeatPurchases, train: Interactions, neighbours: int) -> None:
        self.model, self.neighbours = model, neighbours
        users = np.unique(train.users)
        end = int(train.times.max()) + 1
        self.counts = self.of(model.repeats(train.histories(users, end)), len(users))
        self.by_item = row_normalised(self.counts).T.tocsr()

    def of(self, found: Repeats, n_rows: int) -> sp.csr_matrix:
        """Return CSR (rows, items): the faded counts of histories."""
        shape = (n_rows, len(self.model.sales))
        faded = found.faded[:, DAYS].astype(np.float32)
        return sp.csr_matrix((faded, (found.rows, found.items)), shape=shape)

    def near(self, own: sp.csr_matrix) -> sp.csr_matrix:
        """Return CSR (rows, items): the mean counts of the customers with the most similar ones."""
        similar = sp_matmul_topn(row_normalised(own), self.by_item, self.neighbours)
        similar.data[:] = 1 / self.neighbours
        return (similar @ self.counts).tocsr()


class TIFU(RepeatPurchases):
    """TIFU-KNN over a fitted model's counts."""

    def __init__(self, neighbours: NeighbourCounts, share: float) -> None:
        self.neighbours, self.share = neighbours, share
        self.sales = neighbours.model.sales

    def score(self, histories: Histories) -> FloatArray:
        own = self.neighbours.of(self.neighbours.model.repeats(histories), len(histories))
        mixed = self.share * own + (1 - self.share) * self.neighbours.near(own)
        popular = self.sales[:, 0] * np.float32(1e-6 / self.sales[:, 0].max())
        return np.asarray(mixed.todense(), dtype=np.float32) + popular


class WithNeighbours(RepeatPurchases):
    """The model with one more feature: the neighbours' counts of the item."""

    def __init__(self, settings: Any, neighbours: int) -> None:
        super().__init__(settings)
        self.n_neighbours = neighbours
        self.of_users: NeighbourCounts | None = None

    def _describe_items(self, train: Interactions, now: int, n_items: int) -> None:
        super()._describe_items(train, now, n_items)
        self.of_users = NeighbourCounts(self, train, self.n_neighbours)

    def _features(self, found: Repeats) -> DoubleArray:
        assert self.of_users is not None
        own = self.of_users.of(found, int(found.rows.max(initial=-1)) + 1)
        near = np.asarray(self.of_users.near(own)[found.rows, found.items]).ravel()
        return np.column_stack([super()._features(found), np.log(near + 1e-3)])


class Shop:
    """Models of a shop, fitted on what lies before a moment."""

    def __init__(self, prepared: Prepared, settings: Settings) -> None:
        self.prepared, self.settings = prepared, settings
        self.fitted = cache(self._fitted)

    def before(self, moment: int) -> Interactions:
        """Return the interactions before a moment."""
        return self.prepared.interactions.where(self.prepared.interactions.times < moment)

    def _fitted(self, name: str, moment: int) -> Recommender:
        print(f"fitting {name}", flush=True)
        model = build(name, self.settings)
        return model.fit(self.before(moment), self.prepared.catalogue)

    def singles(self, moment: int, choose: bool) -> Iterator[tuple[str, Recommender]]:
        """Yield single models by name. choose: with all that is compared on validation."""
        for name in CANDIDATES:
            yield name, self.fitted(name, moment)
        repeat, train = self.fitted("repeat", moment), self.before(moment)
        assert isinstance(repeat, RepeatPurchases)
        for half_life in (*HALF_LIVES, None) if choose else (90.0,):
            days = "" if half_life is None else f", half-life {half_life:.0f} days"
            frequency = PersonalFrequency(Recency(half_life))
            yield f"top frequency{days}", frequency.fit(train, self.prepared.catalogue)
        if choose:
            for n in (50, 300):
                near = NeighbourCounts(repeat, train, n)
                for share in (0.5, 0.7, 0.9):
                    yield f"TIFU-KNN, {n} neighbours, share {share}", TIFU(near, share)
                more = WithNeighbours(repeat.settings, n)
                yield (
                    f"repeat with {n} neighbours",
                    more.fit(train, self.prepared.catalogue),
                )
        yield "repeat", repeat

    def hybrids(self, windows: Prepared) -> Iterator[tuple[str, Recommender]]:
        """Yield hybrids whose ranker is fitted on the validation window of ``windows``."""
        yield "hybrid", self._hybrid(windows, CANDIDATES)
        for name, features in (
            ("hybrid with repeat", False),
            ("hybrid with repeat and its features", True),
        ):
            for moment in (windows.validation_start, windows.test_start):
                model = self.fitted("repeat", moment)
                changed = {"ranker_features": features}
                model.settings = model.settings.model_copy(update=changed)
            yield name, self._hybrid(windows, (*CANDIDATES, "repeat"))

    def _hybrid(self, windows: Prepared, names: tuple[str, ...]) -> Hybrid:
        start, stop = windows.validation_start, windows.test_start
        rank = self.settings.rank
        learner = Hybrid(rank, {name: self.fitted(name, start) for name in names})
        learner.fit(self.before(start), self.prepared.catalogue)
        task = window_task(windows, "validation", exclude_seen=False)
        learner.fit_ranker(task.histories, task.targets, exclude_seen=False)
        model = Hybrid(rank, {name: self.fitted(name, stop) for name in names}, learner.ranker)
        return model.fit(self.before(stop), self.prepared.catalogue)


def judged(name: str, model: Recommender, task: Task, exclude_seen: bool = False) -> Row:
    """Return the row of a model."""
    ids: Int32Array = lists(model, task, 10, exclude_seen)
    row = Row(name, ndcg(ids, task.targets), recall(ids, task.targets))
    print(f"{name:<40}{row.ndcg.mean():.4f} {row.recall.mean():.4f}", flush=True)
    return row


def table(rows: list[Row], against: Callable[[str], str]) -> list[str]:
    """Return the lines of a table. against: the row that a row is compared with, "" for none."""
    by_name = {row.name: row for row in rows}
    lines = ["| model | NDCG@10 | recall@10 | p of NDCG@10, against |", "|---|---|---|---|"]
    for row in rows:
        cells = []
        for values in (row.ndcg, row.recall):
            low, high = interval(values, 1000, 0)
            cells.append(f"{values.mean():.4f} ({low:.4f} to {high:.4f})")
        other = by_name.get(against(row.name))
        compared = ""
        if other is not None:
            compared = f"{paired_p_value(other.ndcg, row.ndcg):.2g}, {other.name}"
        lines.append(f"| {row.name} | {' | '.join(cells)} | {compared} |")
    return lines


def against(name: str) -> str:
    """Return the name of the row that a row is compared with."""
    if name.startswith("hybrid "):
        return {"hybrid with repeat": "hybrid"}.get(name, "hybrid with repeat")
    if name.startswith("repeat with"):
        return "repeat"
    return "top frequency, half-life 90 days" if name == "repeat" else ""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("shops", nargs="+", type=Path)
    lines = [
        "# Repeat purchases",
        "",
        "Made by `python -m benchmarks.repeat_purchases`, whose docstring gives the protocol.",
    ]
    for place in parser.parse_args().shops:
        prepared = load_prepared(place / "data/prepared")
        shop = Shop(prepared, load_settings())
        for window, windows in (("validation", earlier_windows(prepared)), ("test", prepared)):
            task = window_task(windows, "test", exclude_seen=False)
            had = task.targets.multiply(task.histories.seen(prepared.interactions.n_items))
            lines += [
                "",
                f"## {place.name}: {window} window",
                "",
                f"{len(task.users):,} users, {task.targets.nnz / len(task.users):.0f} targets "
                f"each, of which {had.nnz / task.targets.nnz:.0%} are in the history.",
                "",
            ]
            print(lines[-4], flush=True)
            rows = [
                judged(name, model, task)
                for models in (
                    shop.singles(windows.test_start, choose=window == "validation"),
                    shop.hybrids(windows),
                )
                for name, model in models
            ]
            lines += table(rows, against)
            RESULTS.write_text("\n".join([*lines, ""]))


if __name__ == "__main__":
    main()
