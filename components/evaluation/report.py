"""Every candidate beside the hybrid on what was held out: the stage ``evaluate``.

In: ``models/candidates/test``, ``models/hybrid``, ``data/prepared``; under ``evaluate.protocol:
leave_one_out`` the models are fitted anew. Out: ``reports/evaluation.csv`` (a row for each model),
``reports/evaluation.json`` (DVC's metrics) and ``reports/evaluation``: ``report.html``, one file
with its plots inside, and ``significance.csv``.
"""

from __future__ import annotations

import base64
import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
import matplotlib as mpl
import numpy as np
import pandas as pd

from components.data.dataset import Catalogue, Interactions, Prepared, load_prepared
from components.data.impressions import VALID_INTERACTIONS, load_log
from components.evaluation.logged_lists import judge_served
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
    Task,
    interval,
    leave_one_out_task,
    lists,
    paired_p_value,
    pairwise,
    sliced_ndcg,
    some_users,
    window_task,
)
from components.recommenders.base import Recommender
from components.recommenders.factory import build
from components.recommenders.train import IMPRESSIONS
from components.recommenders.two_stage.blending import fit_weights
from components.recommenders.two_stage.hybrid import Hybrid, load_candidates
from components.settings import Evaluate, Settings

mpl.use("Agg")
import matplotlib.pyplot as plt

HEAD_SHARE = 0.2
"""Head items are the fewest, most popular ones with this share of the catalogue."""


@dataclass(frozen=True)
class Contest:
    """What is asked, of whom. train: what the judged models were fitted on."""

    task: Task
    train: Interactions
    models: dict[str, Recommender]
    question: str


def blends(hybrid: Hybrid) -> dict[str, Recommender]:
    """Return the forms of a hybrid without the ranker, by name; no single models."""
    return {name: form for name, form in hybrid.forms().items() if name not in hybrid.candidates}


def by_time(settings: Settings, root: Path, prepared: Prepared) -> Contest:
    """Return the fitted models and the test window: everybody's newest weeks."""
    exclude = settings.train.exclude_seen
    hybrid = Hybrid.load(root / "models/hybrid")
    models: dict[str, Recommender] = {
        **load_candidates(root / "models/candidates/test", list(settings.train.candidates)),
        **blends(hybrid),
        "hybrid": hybrid,
    }
    x = prepared.interactions
    start, end = (
        pd.Timestamp(moment, unit="s").date() for moment in (prepared.test_start, prepared.end)
    )
    return Contest(
        window_task(prepared, "test", exclude),
        x.where(x.times < prepared.test_start),
        models,
        f"who bought something new to them between {start} and {end}; each list was made from "
        "what came before",
    )


def leave_one_out(settings: Settings, root: Path, prepared: Prepared) -> Contest:
    """Return models fitted on all but each user's newest event, which is what is asked for.

    The ranker learns on the event before it, over candidates that saw neither. The policy is left
    out: its log is cut by time.
    """
    names = [name for name in settings.train.candidates if name != "policy"]
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
    return Contest(
        task,
        train,
        {**models, **blends(hybrid), "hybrid": hybrid},
        "whose newest event is asked for; each list was made from their events before it "
        "(leave-one-out), by models that know what others did later",
    )


def judge(
    model: Recommender,
    task: Task,
    train: Interactions,
    catalogue: Catalogue,
    settings: Evaluate,
    exclude_seen: bool,
    seed: int,
) -> tuple[dict[str, Any], np.ndarray]:
    """Return the metrics of ``model`` on ``task``, slices included, and NDCG@10 of each user.

    train: what the model was fitted on, which says what is popular and what is new.
    """
    longest = max([*settings.cutoffs, 10])
    ids = lists(model, task, longest, exclude_seen)
    n_items = len(catalogue)
    sold = np.bincount(train.items, minlength=n_items)
    record: dict[str, Any] = {}
    for k in sorted({*settings.cutoffs, 10}):
        for name, metric in ACCURACY.items():
            record[f"{name}@{k}"] = float(metric(ids[:, :k], task.targets).mean())
        record[f"coverage@{k}"] = coverage(ids[:, :k], n_items)
    top = ids[:, :10]
    each = ndcg(top, task.targets)
    record["low"], record["high"] = interval(each, settings.bootstrap_samples, seed)
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


def picture(figure: Any) -> str:
    """Return a figure as the text of a data address."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110, bbox_inches="tight")
    plt.close(figure)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def plots(table: pd.DataFrame) -> dict[str, str]:
    """Return the report's pictures by their captions."""
    table = table.sort_values("ndcg@10")
    figure, axes = plt.subplots(figsize=(7, 3.2))
    errors = np.array([table["ndcg@10"] - table["low"], table["high"] - table["ndcg@10"]])
    axes.barh(table["model"], table["ndcg@10"], xerr=errors, color="#3b6ea5", capsize=3)
    axes.set_xlabel("NDCG@10, with its 95 % interval")
    pictures = {"Accuracy": picture(figure)}
    figure, axes = plt.subplots(figsize=(7, 3.6))
    axes.scatter(table["coverage@10"], table["ndcg@10"], color="#3b6ea5")
    for row in table.to_dict("records"):
        axes.annotate(row["model"], (row["coverage@10"], row["ndcg@10"]), fontsize=8)
    axes.set_xlabel("share of the catalogue that somebody is shown (coverage@10)")
    axes.set_ylabel("NDCG@10")
    pictures["Accuracy against variety"] = picture(figure)
    slices = ["known_users", "new_users", "little_active_users", "very_active_users"]
    slices += ["head", "tail", "new_items"]
    columns = table.set_index("model")[[f"ndcg@10_{name}" for name in slices]]
    columns.columns = pd.Index([name.replace("_", " ") for name in slices])
    figure, axes = plt.subplots(figsize=(7, 3.6))
    columns.T.plot.bar(ax=axes, rot=0, width=0.8)
    axes.set_ylabel("NDCG@10")
    axes.tick_params(axis="x", labelsize=7)
    axes.legend(fontsize=7, ncols=2)
    pictures["Who and what it works for"] = picture(figure)
    return pictures


PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><title>Evaluation</title>
<meta name="viewport" content="width=device-width">
<style>body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}
table{border-collapse:collapse;font-size:.85rem}td,th{padding:.25rem .6rem;text-align:right;
border-bottom:1px solid #ddd}td:first-child,th:first-child{text-align:left}img{max-width:100%}
.wide{overflow-x:auto}</style>
<h1>How good are the recommendations?</h1>
<p>{{ users }} users {{ question }}, over all {{ items }} products. Best single model: {{ single }};
the hybrid has {{ ratio }} times its NDCG@10.</p>
{% for caption, picture in pictures.items() %}<h2>{{ caption }}</h2>
<img alt="{{ caption }}" src="{{ picture }}">{% endfor %}
<h2>All figures</h2><div class="wide"><table><tr>{% for name in columns %}<th>{{ name }}</th>
{% endfor %}</tr>{% for row in rows %}<tr>{% for value in row %}<td>{{ value }}</td>{% endfor %}
</tr>{% endfor %}</table></div>
<h2>Which differences are more than chance</h2><table><tr><th>better</th><th>than</th>
<th>by NDCG@10</th><th>p</th></tr>{% for one in pairs %}<tr><td>{{ one.better }}</td>
<td>{{ one.worse }}</td><td>{{ "%.4f" | format(one.difference) }}</td>
<td>{{ "%.3f" | format(one.p) }}{{ "" if one.p < 0.05 else " (may be chance)" }}</td></tr>
{% endfor %}</table><p>Fisher's randomisation test on the same users, two-sided, corrected by Holm
for the number of pairs.</p><h2>What they would have earned</h2>
{% if served %}<table><tr><th>model</th><th>estimate</th><th>rewards a list</th><th>from</th></tr>
{% for one in served %}<tr><td>{{ one.model }}</td><td>{{ one.estimator }}</td>
<td>{% if one.value is none %}not judged{% else %}{{ "%.3f [%.3f, %.3f]" | format(one.value,
one.low, one.high) }}{% endif %}</td><td>{{ one.reason }}</td></tr>{% endfor %}</table>
<p>Estimated from the lists that were served in the same weeks and what came of them.</p>
{% else %}<p>No served lists of the test window are in data/impressions, or the protocol is
leave_one_out.</p>{% endif %}
<h2>What they mean</h2>
<p>NDCG@10 counts bought products in the ten places, the first places more. Coverage is the share
of the catalogue shown to somebody. Novelty is the mean surprise in bits, diversity one minus the
likeness of a list's products. Serendipity is the share of places with a bought product that a
list of the most popular would not have had. Popularity lift says how much more popular the lists
are than what their users bought, miscalibration how far their categories are from the history's.
p_against_hybrid: how likely so large a difference is if both are equally good. New users have no
history; new items were never sold before.</p>
</html>"""


def write_report(table: pd.DataFrame, facts: dict[str, Any], file: Path) -> None:
    """Write the page: one file, its pictures inside, everything escaped."""
    shown = ["model", *(name for name in table.columns if name != "model")]
    rows = [
        [f"{value:.4f}" if isinstance(value, float) else value for value in row]
        for row in table.sort_values("ndcg@10", ascending=False)[shown].itertuples(index=False)
    ]
    page = jinja2.Environment(autoescape=True).from_string(PAGE)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(page.render(pictures=plots(table), columns=shown, rows=rows, **facts))


def _served(
    settings: Settings, root: Path, prepared: Prepared, contest: Contest
) -> list[dict[str, Any]]:
    """Return what the models would have earned on the lists served in the test window."""
    if settings.evaluate.protocol != "time":
        return []  # these models were fitted on what came of the lists
    files = root / IMPRESSIONS, root / VALID_INTERACTIONS
    log = load_log(*files, prepared, settings.train.policy.rewards)
    rows = np.flatnonzero(log.histories.now >= prepared.test_start)
    exclude, n_items = settings.train.exclude_seen, len(prepared.catalogue)
    return judge_served(contest.models, log.pick(rows), n_items, exclude, settings.seed)


def run(settings: Settings, root: Path) -> None:
    """The stage ``evaluate``: the held-out part's verdict on every model."""
    prepared = load_prepared(root / "data/prepared", root / "models/vectors")
    protocols = {"time": by_time, "leave_one_out": leave_one_out}
    contest = protocols[settings.evaluate.protocol](settings, root, prepared)
    task = some_users(contest.task, settings.evaluate.max_users, settings.seed)
    judged = {
        name: judge(
            model,
            task,
            contest.train,
            prepared.catalogue,
            settings.evaluate,
            settings.train.exclude_seen,
            settings.seed,
        )
        for name, model in contest.models.items()
    }
    table = pd.DataFrame([{"model": name, **record} for name, (record, _) in judged.items()])
    table["p_against_hybrid"] = [
        paired_p_value(each, judged["hybrid"][1]) for _, each in judged.values()
    ]
    pairs = pairwise({name: each for name, (_, each) in judged.items()})
    single = table["model"].isin(settings.train.candidates)
    best = table[single].set_index("model")["ndcg@10"]
    hybrid = float(table.set_index("model").loc["hybrid", "ndcg@10"])
    ratio = hybrid / max(float(best.max()), 1e-12)
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
    metrics["hybrid_to_best_single"] = ratio
    (reports / "evaluation.json").write_text(json.dumps(metrics, indent=2))
    served = _served(settings, root, prepared, contest)
    facts = {
        "users": f"{len(task.users):,}",
        "items": f"{len(prepared.catalogue):,}",
        "question": contest.question,
        "served": served,
        "pairs": sorted(pairs, key=lambda one: -one["difference"]),
        "single": best.idxmax(),
        "ratio": f"{ratio:.2f}",
    }
    write_report(table, facts, reports / "evaluation/report.html")
    shown = ["model", "ndcg@10", "low", "high", "recall@10", "mrr@10", "coverage@10"]
    print(table.sort_values("ndcg@10", ascending=False)[shown].to_string(index=False))
