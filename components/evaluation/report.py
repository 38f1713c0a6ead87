"""Evaluation of all candidates and the hybrid on held-out data: the stage ``evaluate``.

In: ``models/candidates/test``, ``models/hybrid``, ``data/prepared``; with ``evaluate.protocol:
leave_one_out`` the models are fitted again. Out: ``reports/evaluation.csv`` (a row for each model),
``reports/evaluation.json`` (DVC's metrics) and ``reports/evaluation``: ``report.html``, one file
with its figures inside, ``significance.csv`` and ``surfaces.csv``.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
import pandas as pd
import scipy.sparse as sp
from matplotlib.ticker import MaxNLocator

from components.arrays import DoubleArray
from components.data.dataset import Catalogue, Interactions, Prepared, load_prepared
from components.data.held_days import load_held_days
from components.data.holdout import Task, window_task
from components.data.impressions import VALID_INTERACTIONS, load_log
from components.evaluation.logged_lists import evaluate_served
from components.evaluation.metrics import (
    ACCURACY,
    coverage,
    diversity,
    gini,
    miscalibration,
    ndcg,
    novelty,
    popularity_lift,
    serendipity,
)
from components.evaluation.protocol import (
    interval,
    leave_one_out_task,
    lists,
    paired_p_value,
    pairwise,
    sliced_ndcg,
    some_users,
)
from components.evaluation.revenue import revenue, spent_on_targets
from components.evaluation.surfaces import evaluate_surfaces
from components.recommenders.base import NeedsLoggedFeedback, Recommender
from components.recommenders.factory import MODELS, build, needs_log
from components.recommenders.shelves.statistics import ShelfStatistics
from components.recommenders.train import CANDIDATES, IMPRESSIONS, load_candidates
from components.recommenders.two_stage.blending import fit_weights
from components.recommenders.two_stage.hybrid import Hybrid
from components.settings import Evaluate, Event, Settings

HEAD_SHARE = 0.2
"""Share of the catalogue, the most popular items, that counts as head."""

REVENUE = ("revenue@10", "revenue_low", "revenue_high")
"""Columns of the table, where prices are known."""

LINE = 15
"""Line height of text in a figure, in SVG units, for a font size of 12."""

_HERE = Path(__file__).resolve().parent


@dataclass(frozen=True)
class Setup:
    """Task, fitted models and their training data. question: the task in words."""

    task: Task
    train: Interactions
    models: dict[str, Recommender]
    question: str


def blends(hybrid: Hybrid) -> dict[str, Recommender]:
    """Return the hybrid's forms other than the ranker by name, without single models."""
    return {name: form for name, form in hybrid.forms().items() if name not in hybrid.candidates}


def by_time(settings: Settings, root: Path, prepared: Prepared) -> Setup:
    """Return the fitted models and the test window, the newest weeks of all users."""
    exclude = settings.train.exclude_seen
    hybrid = Hybrid.load(root / "models/hybrid")
    models: dict[str, Recommender] = {
        **load_candidates(root / CANDIDATES / "test", settings.train.names),
        **blends(hybrid),
        "hybrid": hybrid,
    }
    x = prepared.interactions
    start, end = (
        pd.Timestamp(moment, unit="s").date() for moment in (prepared.test_start, prepared.end)
    )
    return Setup(
        window_task(prepared, "test", exclude),
        x.where(x.times < prepared.test_start),
        models,
        f"who bought something new to them between {start} and {end}; each list was computed from "
        "earlier events",
    )


def leave_one_out(settings: Settings, root: Path, prepared: Prepared) -> Setup:
    """Return models fitted on all events but each user's newest, which is the target.

    The ranker is trained on the event before it, over candidates fitted on neither. Models that
    learn from logged feedback are excluded: their log is split by time.
    """
    names = [name for name in settings.train.names if not needs_log(name)]
    exclude, catalogue = settings.train.exclude_seen, prepared.catalogue

    def fit(back: int) -> tuple[Interactions, Task, dict[str, Recommender]]:
        train, task = leave_one_out_task(prepared.interactions, back, exclude)
        built = {name: build(name, settings, root) for name in names}
        return train, task, {name: one.fit(train, catalogue) for name, one in built.items()}

    train, task, models = fit(2)
    learner = Hybrid(settings.rank, models, seed=settings.seed).fit(train, catalogue)
    ranker = learner.fit_ranker(task.histories, task.targets, exclude).ranker
    weights = fit_weights(models, task.histories, task.targets, exclude)
    train, task, models = fit(1)
    hybrid = Hybrid(settings.rank, models, ranker, settings.seed, weights).fit(train, catalogue)
    return Setup(
        task,
        train,
        {**models, **blends(hybrid), "hybrid": hybrid},
        "whose newest event is the target; each list was computed from their events before it "
        "(leave-one-out), by models that know later events of other users",
    )


def evaluate_model(
    model: Recommender,
    task: Task,
    train: Interactions,
    catalogue: Catalogue,
    settings: Evaluate,
    exclude_seen: bool,
    seed: int,
    spent: sp.csr_matrix | None = None,
) -> tuple[dict[str, Any], DoubleArray]:
    """Return the metrics of ``model`` on ``task``, slices included, and NDCG@10 of each user.

    train: the model's training data, which determines popular and new items. spent: CSR (users,
    items), of ``spent_on_targets``; None: without revenue@10 and its interval.
    """
    longest = max([*settings.cutoffs, 10])
    ids = lists(model, task, longest, exclude_seen)
    n_items = len(catalogue)
    sold = np.bincount(train.counted().items, minlength=n_items)
    record: dict[str, Any] = {}
    for k in sorted({*settings.cutoffs, 10}):
        for name, metric in ACCURACY.items():
            record[f"{name}@{k}"] = float(metric(ids[:, :k], task.targets).mean())
        record[f"coverage@{k}"] = coverage(ids[:, :k], n_items)
    top = ids[:, :10]
    each = ndcg(top, task.targets)
    record["low"], record["high"] = interval(each, settings.bootstrap_samples, seed)
    if spent is not None:
        earned = revenue(top, spent)
        record["revenue@10"] = float(earned.mean())
        samples = settings.bootstrap_samples
        record["revenue_low"], record["revenue_high"] = interval(earned, samples, seed)
    record["gini@10"] = gini(top, n_items)
    record["novelty@10"] = novelty(top, sold)
    if catalogue.vectors is not None:
        record["diversity@10"] = diversity(top, catalogue.vectors)
    seen = task.histories.seen(n_items)
    obvious = np.argsort(-sold, kind="stable")[None, :10].repeat(len(top), axis=0)
    record["serendipity@10"] = serendipity(top, task.targets, obvious)
    record["popularity_lift@10"] = popularity_lift(top, seen, sold)
    category = pd.factorize(catalogue.table["main_category"])[0]
    record["miscalibration@10"] = miscalibration(top, seen, category)
    new = task.histories.lengths() == 0
    record["new_users"], record["known_users"] = int(new.sum()), int((~new).sum())
    record["ndcg@10_new_users"] = float(each[new].mean()) if new.any() else float("nan")
    record["ndcg@10_known_users"] = float(each[~new].mean()) if (~new).any() else float("nan")
    head = np.zeros(n_items, dtype=bool)
    head[np.argsort(-sold, kind="stable")[: int(HEAD_SHARE * n_items)]] = True
    for name, items in {"new_items": sold == 0, "head": head, "tail": ~head & (sold > 0)}.items():
        record[f"ndcg@10_{name}"] = sliced_ndcg(top, task, items)
    events = task.histories.lengths()
    edges = np.quantile(events[~new], [1 / 3, 2 / 3]) if (~new).any() else [0, 0]
    for name, users in {
        "little_active": ~new & (events <= edges[0]),
        "very_active": ~new & (events > edges[1]),
    }.items():
        record[f"ndcg@10_{name}_users"] = float(each[users].mean()) if users.any() else float("nan")
    return record, each


def versus_single(
    each: dict[str, DoubleArray],
    pairs: list[dict[str, Any]],
    singles: list[str],
    samples: int,
    seed: int,
) -> dict[str, Any]:
    """Return the hybrid's NDCG@10 against that of the best of ``singles``, on the same users.

    each: NDCG@10 of the users (users,), by model. pairs: of ``pairwise``. Out: single (the model's
    name), ratio, difference (hybrid − single), low and high (its 95 % interval, paired), and p.
    """
    means = {name: float(values.mean()) for name, values in each.items()}
    single = max(singles, key=means.__getitem__)
    difference = each["hybrid"] - each[single]
    low, high = interval(difference, samples, seed)
    return {
        "single": single,
        "ratio": means["hybrid"] / max(means[single], 1e-12),
        "difference": float(difference.mean()),
        "low": low,
        "high": high,
        "p": next(one["p"] for one in pairs if {one["better"], one["worse"]} == {single, "hybrid"}),
    }


def panels(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Return for each slice with users its title and each model's NDCG@10."""
    counts = table.iloc[0]
    titles = {
        "known_users": f"{counts['known_users']:,} known users",
        "new_users": f"{counts['new_users']:,} new users",
        "little_active_users": "least active known users",
        "very_active_users": "most active known users",
        "head": f"{100 * HEAD_SHARE:.0f} % most sold products",
        "tail": "other products sold before",
        "new_items": "products never sold before",
    }
    found = {title: table[f"ndcg@10_{name}"].tolist() for name, title in titles.items()}
    return [
        {"title": title, "rows": list(zip(table["model"], values, strict=True))}
        for title, values in found.items()
        if not np.isnan(values).all()
    ]


def heat_map(models: list[str], pairs: list[dict[str, Any]]) -> list[list[dict[str, Any] | None]]:
    """Return a row of cells for each model: its difference to each of ``models``, and p.

    pairs: of ``pairwise``. A cell's difference is the row's NDCG@10 minus the column's; cells on
    the diagonal are None.
    """
    found = {(one["better"], one["worse"]): one for one in pairs}
    found |= {
        (worse, better): {**one, "difference": -one["difference"]}
        for (better, worse), one in found.items()
    }
    return [[found.get((row, column)) for column in models] for row in models]


def scatter(table: pd.DataFrame) -> dict[str, Any]:
    """Return positions of points, labels and ticks for NDCG@10 over coverage@10, in SVG units.

    The labels form a column on the right, at least LINE apart, each joined to its point by a line:
    next to the points they would overlap.
    """
    x, y = table["coverage@10"].to_numpy(), table["ndcg@10"].to_numpy()
    height = max(200, LINE * len(table))
    left, right = 40, 200  # of the points' area

    def scaled(values: DoubleArray, near: float, far: float) -> tuple[DoubleArray, list[Any]]:
        """Return positions of ``values`` between near (0) and far, and the ticks with theirs."""
        ticks = MaxNLocator(4).tick_values(0, max(float(values.max()), 1e-9))
        unit = (far - near) / ticks[-1]
        return near + unit * values, [(f"{tick:.3g}", near + unit * tick) for tick in ticks]

    points_x, ticks_x = scaled(x, left, right)
    points_y, ticks_y = scaled(y, LINE + height, LINE)
    order = np.argsort(points_y, kind="stable")
    steps = LINE * np.arange(len(order))
    # The nearest positions that are LINE apart, downwards, and none below the points' area.
    places = np.maximum.accumulate(points_y[order] - steps) + steps
    label_y = np.empty(len(order))
    label_y[order] = np.minimum(places, LINE + height - steps[::-1])
    return {
        "points": [
            {"model": model, "x": px, "y": py, "label_y": ly}
            for model, px, py, ly in zip(table["model"], points_x, points_y, label_y, strict=True)
        ],
        "ticks_x": ticks_x,
        "ticks_y": ticks_y,
        "left": left,
        "right": right,
        "top": LINE,
        "bottom": LINE + height,
    }


def write_report(
    table: pd.DataFrame, pairs: list[dict[str, Any]], facts: dict[str, Any], file: Path
) -> None:
    """Write the page: one file that contains its figures, with all text escaped.

    table: a row for each model. pairs: of ``pairwise``. facts: users, items, question, served
    (of ``evaluate_served``), surfaces (of ``evaluate_surfaces``), versus (of ``versus_single``) and
    spent (the mean of a user).
    """
    table = table.sort_values("ndcg@10", ascending=False)
    models = table["model"].tolist()
    columns = ["model", *(name for name in table.columns if name != "model")]
    rows = [
        [f"{value:.4f}" if isinstance(value, float) else value for value in row]
        for row in table[columns].itertuples(index=False)
    ]
    known = "revenue@10" in table
    revenues = table[["model", *REVENUE]].to_numpy().tolist() if known else []
    environment = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    template = environment.from_string((_HERE / "report.html.jinja").read_text(encoding="utf-8"))
    page = template.render(
        accuracy=table[["model", "ndcg@10", "low", "high"]].to_numpy().tolist(),
        revenue=revenues,
        panels=panels(table),
        heat_map=list(zip(models, heat_map(models, pairs), strict=True)),
        scatter=scatter(table),
        columns=columns,
        rows=rows,
        **facts,
    )
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(page, encoding="utf-8")


def event_rewards(settings: Settings, root: Path) -> dict[Event, float]:
    """Return what an event on a served item is worth, as the recommenders that learn from served
    lists say, a candidate before one that is not."""
    named = settings.train.names
    learners = sorted(filter(needs_log, MODELS), key=lambda name: name not in named)
    model = build(learners[0], settings, root)
    assert isinstance(model, NeedsLoggedFeedback)
    return model.event_rewards()


def _served(
    settings: Settings, root: Path, prepared: Prepared, setup: Setup
) -> list[dict[str, Any]]:
    """Return the off-policy estimates on the lists served in the test window."""
    if settings.evaluate.protocol != "time":
        return []  # these models were fitted on the lists' outcomes
    files = root / IMPRESSIONS, root / VALID_INTERACTIONS
    log = load_log(*files, prepared, event_rewards(settings, root), load_held_days(root))
    rows = np.flatnonzero(log.histories.now >= prepared.test_start)
    exclude, n_items = settings.train.exclude_seen, len(prepared.catalogue)
    return evaluate_served(setup.models, log.pick(rows), n_items, exclude, settings.seed)


def _surfaces(settings: Settings, prepared: Prepared, setup: Setup) -> list[dict[str, Any]]:
    """Return what the surfaces of the shop bring (``evaluation.surfaces``)."""
    if settings.evaluate.protocol != "time":
        return []  # its models know the test window
    statistics = ShelfStatistics.of_prepared(prepared, prepared.test_start)
    samples = settings.evaluate.bootstrap_samples
    plain = setup.models["hybrid"]
    found = evaluate_surfaces(prepared, statistics, plain, samples, settings.seed)
    return [vars(one) for one in found]


def _spent(settings: Settings, prepared: Prepared, task: Task) -> sp.csr_matrix | None:
    """Return what users spent on their targets; None without prices, or if targets have no window
    in which they were bought."""
    if settings.evaluate.protocol != "time":
        return None
    spent = spent_on_targets(prepared, task)
    return spent if spent.sum() > 0 else None


def run(settings: Settings, root: Path) -> None:
    """The stage ``evaluate``: metrics of every model on the held-out data."""
    prepared = load_prepared(root / "data/prepared", root / "models/vectors")
    protocols = {"time": by_time, "leave_one_out": leave_one_out}
    setup = protocols[settings.evaluate.protocol](settings, root, prepared)
    task = some_users(setup.task, settings.evaluate.max_users, settings.seed)
    spent = _spent(settings, prepared, task)
    evaluated = {
        name: evaluate_model(
            model,
            task,
            setup.train,
            prepared.catalogue,
            settings.evaluate,
            settings.train.exclude_seen,
            settings.seed,
            spent,
        )
        for name, model in setup.models.items()
    }
    table = pd.DataFrame([{"model": name, **record} for name, (record, _) in evaluated.items()])
    table["p_against_hybrid"] = [
        paired_p_value(each, evaluated["hybrid"][1]) for _, each in evaluated.values()
    ]
    each = {name: values for name, (_, values) in evaluated.items()}
    pairs = pairwise(each)
    singles = settings.train.names
    samples = settings.evaluate.bootstrap_samples
    versus = versus_single(each, pairs, singles, samples, settings.seed)
    reports = root / "reports"
    (reports / "evaluation").mkdir(parents=True, exist_ok=True)
    table.to_csv(reports / "evaluation.csv", index=False)
    pd.DataFrame(pairs).to_csv(reports / "evaluation/significance.csv", index=False)
    metrics: dict[str, Any] = {
        record.pop("model"): {
            key: None if value != value else value for key, value in record.items()
        }
        for record in table.to_dict("records")
    }
    metrics["hybrid_to_best_single"] = versus["ratio"]
    (reports / "evaluation.json").write_text(json.dumps(metrics, indent=2))
    surfaces = _surfaces(settings, prepared, setup)
    pd.DataFrame(surfaces).to_csv(reports / "evaluation/surfaces.csv", index=False)
    facts = {
        "surfaces": surfaces,
        "users": f"{len(task.users):,}",
        "items": f"{len(prepared.catalogue):,}",
        "question": setup.question,
        "served": _served(settings, root, prepared, setup),
        "versus": versus,
        "spent": 0.0 if spent is None else float(spent.sum() / len(task.users)),
    }
    write_report(table, pairs, facts, reports / "evaluation/report.html")
    shown = ["model", "ndcg@10", "low", "high", "recall@10", "mrr@10", "coverage@10"]
    print(table.sort_values("ndcg@10", ascending=False)[shown].to_string(index=False))
