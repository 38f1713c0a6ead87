"""Every model and the hybrid on the window after a cut.

In: the folder of a cut (see ``cuts``) with candidates and hybrid. Out: a record of figures. All
that is chosen or fitted here (the recency of the personal frequency, the calibrators) is so on the
validation window, which ends at the cut.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression

from benchmarks.personal_frequency import RECENCIES, Baskets, PersonalFrequency, Recency
from benchmarks.replay.work import Record
from components.arrays import BoolArray, DoubleArray, IntArray
from components.data.dataset import DAY, Interactions, Prepared
from components.data.holdout import Task, Window, window_task
from components.evaluation.baskets import f1_at_size, recall_at_size
from components.evaluation.metrics import hit_rate, hits, ndcg, recall
from components.evaluation.protocol import (
    bootstrap_means,
    interval,
    lists,
    paired_p_value,
    some_users,
)
from components.evaluation.reliability import Reliability, brier_score
from components.evaluation.report import by_time
from components.evaluation.revenue import revenue, spent_on_targets
from components.recommenders.base import MISSING, Recommender
from components.recommenders.train import CANDIDATES, load_candidates
from components.recommenders.two_stage.hybrid import Hybrid
from components.settings import Settings

HYBRID, FREQUENCY, RECENT = "hybrid", "top frequency", "top frequency with recency"
BASELINES = (FREQUENCY, RECENT)
K = 10
SAMPLES = 1000
WEEK = 7 * DAY

Calibrator = Literal["isotonic", "platt"]
Models = dict[str, Recommender]


@dataclass(frozen=True)
class Limits:
    """Most customers, drawn at random, of a window (its next baskets, too), of each week after the
    cut, and of the calibration; 0: all."""

    users: int = 0
    week_users: int = 0
    calibration_users: int = 0


def summary(values: DoubleArray) -> Record:
    """Return mean, the 95 % interval of the bootstrap over users, and their number."""
    low, high = interval(values, SAMPLES, 0)
    mean = float(values.mean()) if len(values) else float("nan")
    return {"mean": mean, "low": low, "high": high, "users": len(values)}


def ratio(first: DoubleArray, second: DoubleArray) -> Record:
    """Return the ratio of the means of a metric of the same users, with its interval and p-value of
    the paired difference."""
    means = bootstrap_means(np.column_stack([first, second]), SAMPLES, 0)
    low, high = np.nanquantile(means[:, 0] / np.maximum(means[:, 1], 1e-12), [0.025, 0.975])
    return {
        "ratio": float(first.mean() / max(second.mean(), 1e-12)),
        "low": float(low),
        "high": float(high),
        "p": paired_p_value(second, first),
    }


class Cut:
    """The models of a cut, in one mode, and the figures of the window after it."""

    def __init__(
        self,
        settings: Settings,
        root: Path,
        prepared: Prepared,
        limits: Limits,
        calibrator: Calibrator,
    ) -> None:
        self.settings, self.root, self.prepared, self.limits = settings, root, prepared, limits
        self.exclude_seen = settings.train.exclude_seen
        self.calibrator: Calibrator = calibrator
        setup = by_time(settings, root, prepared)
        self.recency = self._chosen_recency()
        names = (*settings.train.names, HYBRID)
        self.models: Models = {
            **{name: setup.models[name] for name in names},
            **self._baselines(prepared.test_start),
        }
        self.task = some_users(setup.task, limits.users, settings.seed)
        self.spent = spent_on_targets(prepared, self.task)

    def record(self, told: Callable[[str], None] = print) -> Record:
        """Return the figures of all models, and the comparisons of the hybrid."""
        found: dict[str, Record] = {name: {} for name in self.models}
        each: dict[str, dict[str, DoubleArray]] = {}
        for name, model in self.models.items():
            each[name] = self._window(model)
            found[name] = self._summaries(each[name]) | {"weeks": self._weeks(model)}
            told(f"{name:<28}{found[name]['ndcg']['mean']:.4f}")
        baskets = self._baskets()
        for name, values in baskets.items():
            found[name]["basket"] = {metric: summary(one) for metric, one in values.items()}
        for name, values in self._calibrated().items():
            found[name]["calibration"] = values
        for name, values in baskets.items():
            each[name] |= {f"basket_{metric}": one for metric, one in values.items()}
        singles = {name: float(each[name]["ndcg"].mean()) for name in self.settings.train.names}
        best = max(singles, key=singles.__getitem__)
        return {
            "cut": self.prepared.test_start,
            "end": self.prepared.end,
            "recency": str(self.recency),
            "best_single": best,
            "spent": float(self.spent.sum() / max(len(self.task.users), 1)),
            "models": found,
            "hybrid_to": {
                title: {
                    metric: ratio(values, each[name][metric])
                    for metric, values in each[HYBRID].items()
                }
                for title, name in (("best single", best), *zip(BASELINES, BASELINES, strict=True))
            },
        }

    def _before(self, moment: int) -> Interactions:
        x = self.prepared.interactions
        return x.where(x.times < moment)

    def _baselines(self, moment: int) -> Models:
        train, catalogue = self._before(moment), self.prepared.catalogue
        forms = {FREQUENCY: Recency(), RECENT: self.recency}
        return {name: PersonalFrequency(form).fit(train, catalogue) for name, form in forms.items()}

    def _chosen_recency(self) -> Recency:
        """Return the recency with the highest NDCG on the validation window."""
        task = window_task(self.prepared, "validation", self.exclude_seen)
        task = some_users(task, self.limits.users, self.settings.seed)
        train = self._before(self.prepared.validation_start)
        scores = [
            float(ndcg(lists(model, task, K, self.exclude_seen), task.targets).mean())
            for form in RECENCIES
            for model in [PersonalFrequency(form).fit(train, self.prepared.catalogue)]
        ]
        return RECENCIES[int(np.argmax(scores))]

    def _window(self, model: Recommender) -> dict[str, DoubleArray]:
        """Return the metrics of each user of the whole window (users,)."""
        ids, targets = lists(model, self.task, K, self.exclude_seen), self.task.targets
        return {
            "ndcg": ndcg(ids, targets),
            "recall": recall(ids, targets),
            "hit_rate": hit_rate(ids, targets),
            "revenue": revenue(ids, self.spent),
        }

    def _summaries(self, each: dict[str, DoubleArray]) -> Record:
        new = self.task.histories.lengths() == 0
        return {
            **{metric: summary(values) for metric, values in each.items()},
            "new": summary(each["ndcg"][new]),
            "returning": summary(each["ndcg"][~new]),
        }

    def _weeks(self, model: Recommender) -> list[Record]:
        """Return NDCG of each week after the cut, with histories up to the week, as when serving:
        what gets worse is the model."""
        found = []
        start, end = self.prepared.test_start, self.prepared.end
        for begin in range(start, end, WEEK):
            week = replace(self.prepared, test_start=begin, end=min(begin + WEEK, end))
            task = window_task(week, "test", self.exclude_seen)
            task = some_users(task, self.limits.week_users, self.settings.seed)
            ids = lists(model, task, K, self.exclude_seen)
            found.append(summary(ndcg(ids, task.targets)))
        return found

    def _baskets(self) -> dict[str, dict[str, DoubleArray]]:
        """Return recall at the basket's size and F1 at the customer's usual size, by model; nothing
        without order ids, or where lists leave out what the customer had before."""
        task = None if self.exclude_seen else first_orders(self.prepared, self.root)
        if task is None:
            return {}
        task = some_users(task, self.limits.users, self.settings.seed)
        sizes = np.diff(task.targets.indptr)
        usual = Baskets.of(task.histories, len(self.prepared.catalogue)).usual_sizes()
        longest = int(max(sizes.max(), usual.max()))
        found = {}
        for name, model in self.models.items():
            ids = lists(model, task, longest, False)
            found[name] = {
                "recall": recall_at_size(ids, task.targets, sizes),
                "f1": f1_at_size(ids, task.targets, usual),
            }
        return found

    def _calibrated(self) -> dict[str, Record]:
        """Return the calibration of the probability that a customer with a history buys a listed
        product within the window, by model."""
        after = self._customers("test")
        found = {}
        for name, (scores, bought) in self._on_validation().items():
            listed = _listed(self.models[name], after, self.exclude_seen)
            predict = fitted_calibrator(scores, bought, self.calibrator)
            found[name] = _calibration(listed, predict, float(bought.mean()))
        return found

    def _customers(self, window: Window) -> Task:
        """Return all customers with a history before a window, with or without a purchase in it."""
        start, stop = {
            "validation": (self.prepared.validation_start, self.prepared.test_start),
            "test": (self.prepared.test_start, self.prepared.end),
        }[window]
        x = self.prepared.interactions
        users = np.unique(self._before(start).users)
        bought = x.where((x.times >= start) & (x.times < stop)).successes().matrix().sign()
        task = Task(users, x.histories(users, start), bought[users])
        return some_users(task, self.limits.calibration_users, self.settings.seed)

    def _on_validation(self) -> dict[str, tuple[DoubleArray, BoolArray]]:
        """Return scores of listed products on the validation window and whether they were bought,
        by models that were fitted before it.

        The hybrid's ranker learns there from one half of the customers and ranks for the other.
        """
        task, start = self._customers("validation"), self.prepared.validation_start
        names = self.settings.train.names
        candidates = load_candidates(self.root / CANDIDATES / "validation", names)
        found = {
            name: _pairs(*_listed(model, task, self.exclude_seen))
            for name, model in {**candidates, **self._baselines(start)}.items()
        }
        learner = Hybrid(self.settings.rank, candidates, seed=self.settings.seed)
        learner.fit(self._before(start), self.prepared.catalogue)
        learned = window_task(self.prepared, "validation", self.exclude_seen)
        half = np.random.default_rng(self.settings.seed).random(len(self.prepared.users)) < 0.5
        parts = []
        for own in (half, ~half):
            rows = np.flatnonzero(~own[learned.users])
            learner.fit_ranker(
                learned.histories.pick(rows), learned.targets[rows], self.exclude_seen
            )
            rows = np.flatnonzero(own[task.users])
            part = Task(task.users[rows], task.histories.pick(rows), task.targets[rows])
            parts.append(_pairs(*_listed(learner, part, self.exclude_seen)))
        scores, bought = zip(*parts, strict=True)
        found[HYBRID] = (np.concatenate(scores), np.concatenate(bought))
        return found


Listed = tuple[IntArray, DoubleArray, BoolArray]


def _listed(model: Recommender, task: Task, exclude_seen: bool) -> Listed:
    """Return ids, scores and whether the customer bought the product, each (users, K)."""
    ids, scores = model.recommend(task.histories, K, exclude_seen=exclude_seen)
    return ids, scores.astype(np.float64), hits(ids, task.targets)


def _pairs(ids: IntArray, scores: DoubleArray, bought: BoolArray) -> tuple[DoubleArray, BoolArray]:
    """Return the scores and outcomes of the listed products, (n,) each."""
    return scores[ids != MISSING], bought[ids != MISSING]


def fitted_calibrator(
    scores: DoubleArray, bought: BoolArray, kind: Calibrator
) -> Callable[[DoubleArray], DoubleArray]:
    """Return the function of scores (n,) to probabilities (n,), fitted on outcomes."""
    if kind == "isotonic":
        isotonic = IsotonicRegression(y_min=0, y_max=1, out_of_bounds="clip").fit(scores, bought)
        return lambda found: np.asarray(isotonic.predict(found), dtype=np.float64)
    mean, spread = scores.mean(), scores.std() + 1e-9
    platt = LogisticRegression().fit(((scores - mean) / spread)[:, None], bought)
    return lambda found: np.asarray(platt.predict_proba(((found - mean) / spread)[:, None])[:, 1])


def _calibration(
    listed: Listed, predict: Callable[[DoubleArray], DoubleArray], base_rate: float
) -> Record:
    """Return calibration error, Brier score and its gain over the base rate of validation."""
    ids, scores, bought = listed
    there = ids != MISSING
    predicted = np.zeros(ids.shape)
    predicted[there] = predict(scores[there])
    own, base = (
        np.where(there, np.square(one - bought), 0.0).sum(axis=1) for one in (predicted, base_rate)
    )
    skill = ratio(own, base)
    found = Reliability.of(predicted[there], bought[there])
    return {
        "error": found.error(),
        "brier": brier_score(predicted[there], bought[there]),
        "base_brier": brier_score(np.full(there.sum(), base_rate), bought[there]),
        "skill": {"mean": 1 - skill["ratio"], "low": 1 - skill["high"], "high": 1 - skill["low"]},
        "predicted": float(predicted[there].mean()),
        "happened": float(bought[there].mean()),
        "curve": [found.predicted.tolist(), found.happened.tolist(), found.counts.tolist()],
    }


def first_orders(prepared: Prepared, root: Path) -> Task | None:
    """Return the first order of each customer after the cut, of customers with a history; None
    without order ids.

    An order's time is that of its first line. Its products are those of the prepared tables.
    """
    columns = ["user_id", "item_id", "event", "timestamp", "order_id"]
    lines = pq.read_table(root / "data/valid/interactions.parquet", columns=columns).to_pandas()
    lines = lines[lines["order_id"].notna() & (lines["event"] == "purchase")]
    times = lines.groupby("order_id")["timestamp"].transform("min")
    users = pd.Index(prepared.users["user_id"]).get_indexer(lines["user_id"])
    items = pd.Index(prepared.catalogue.ids).get_indexer(lines["item_id"])
    seconds = times.dt.as_unit("s").astype("int64").to_numpy()
    x, cut = prepared.interactions, prepared.test_start
    inside = (users >= 0) & (items >= 0) & (seconds >= cut) & (seconds < prepared.end)
    if not inside.any():
        return None
    found = pd.DataFrame(
        {"user": users, "item": items, "time": seconds, "order": lines["order_id"].to_numpy()}
    )[inside].sort_values(["time", "order"])
    first = found.groupby("user")["order"].transform("first")
    found = found[found["order"] == first]
    users, items, seconds = (found[name].to_numpy() for name in ("user", "item", "time"))
    targets = Interactions.from_arrays(users, items, seconds, x.n_users, x.n_items).matrix()
    known = np.bincount(x.users[x.times < cut], minlength=x.n_users) > 0
    rows = np.flatnonzero(known & (np.diff(targets.indptr) > 0))
    return Task(rows, x.histories(rows, cut), targets[rows])
