"""Drift report: HTML pages and a JSON file.

In: a ``Verdict``, its window, the reference. Out: a folder with ``index.html`` (the verdict in
words, the score over the weeks, clicks on what was shown, the statistics with the products that
moved them, broken days, products under attack, the items whose share changed most),
``report.html`` (Evidently's report with the distribution of every column) and ``verdict.json``. The
pages need no network.
"""

from __future__ import annotations

import base64
import io
import json
import shutil
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")

import matplotlib.dates as dates
import matplotlib.pyplot as plt
import pandas as pd
from evidently import DataDefinition, Dataset, Report
from evidently.core.report import Snapshot
from evidently.metrics import ValueDrift
from jinja2 import Environment
from matplotlib.figure import Figure

from components.file_lock import folder_lock
from monitoring.counts import CATEGORICAL, NUMERIC
from monitoring.detection import Verdict
from monitoring.features import attributes_of, cap_rows, clean_window, components_of, feature_table
from monitoring.movers import movers
from monitoring.reference import Reference, load_reference
from monitoring.statistics import ATTRIBUTES, MIN_VALUES

MOVERS = 10
TITLES = {
    "broken": "Broken data: these days are held and not learned from",
    "attack": "Signs of an attack: promotions are held",
    "drift": "Drift: this window differs from the training data; the retraining starts",
    "none": "No drift: this window is similar to the training data",
    "few": "Not enough data for a verdict",
}
SHOWN = tuple(name for name in (*NUMERIC, *CATEGORICAL) if name != "item")
"""Columns of Evidently's report. A plot of thousands of items is unreadable; it shows MOVED."""
MOVED = "products that moved most"


def write_report(
    verdict: Verdict,
    window: pd.DataFrame,
    reference: Reference | str | Path,
    folder: str | Path,
    seed: int = 42,
) -> Path:
    """Write index.html, report.html and verdict.json to ``folder`` atomically; return it.

    window: the interactions that ``detect`` checked. The plot shows the verdicts of sibling folders
    as the windows before this one. A second report at the same time waits for the first.
    """
    if not isinstance(reference, Reference):
        reference = load_reference(reference)
    folder = Path(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with folder_lock(folder.parent):
        _write(verdict, window, reference, folder, seed)
    return folder


def _write(
    verdict: Verdict, window: pd.DataFrame, reference: Reference, folder: Path, seed: int
) -> None:
    frame = clean_window(window)
    frame = frame[frame["event"].isin(reference.events)].reset_index(drop=True)
    current = cap_rows(feature_table(frame, reference.vocabulary), reference.sample_rows, seed)
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    if verdict.enough:
        evidently_report(verdict, reference.table, current).save_html(str(partial / "report.html"))
    moved = {
        one.label: movers(one.name, reference.table, current).head(MOVERS)
        for one in sorted(verdict.statistics, key=lambda one: -(one.score or 0.0))
        if one.drifted
    }
    moved = {label: products for label, products in moved.items() if len(products)}
    earlier = [
        json.loads(file.read_text())
        for file in sorted(folder.parent.glob("*/verdict.json"))
        if file.parent != folder
    ]
    page = (
        Environment(autoescape=True)
        .from_string(_PAGE)
        .render(
            verdict=verdict,
            plot=_plot(verdict, reference, earlier),
            title=TITLES["few" if verdict.kind == "none" and not verdict.enough else verdict.kind],
            colour="#2e7d32" if verdict.kind == "none" else "#c0392b",
            moved_plot=_moved_plot(moved),
            clicks_plot=_clicks_plot(verdict),
            movers=_movers(reference, current),
            sample_rows=reference.sample_rows,
        )
    )
    (partial / "index.html").write_text(page, encoding="utf-8")
    (partial / "verdict.json").write_text(verdict.to_json(), encoding="utf-8")
    shutil.rmtree(folder, ignore_errors=True)
    partial.rename(folder)


def _statistic_of(column: str) -> str:
    """Return the statistic that a feature table's column is a part of."""
    if column.startswith("text_"):
        return "text"
    parts = (name for name, prefix in ATTRIBUTES.items() if column.startswith(prefix))
    return next(parts, column)


def evidently_report(verdict: Verdict, reference: pd.DataFrame, current: pd.DataFrame) -> Snapshot:
    """Return Evidently's report of two feature tables, with the verdict's thresholds.

    Columns with fewer than MIN_VALUES known values on either side are omitted. The column MOVED has
    the products that contribute most to the change of the mix.
    """
    numeric = [*NUMERIC, *components_of(reference)]
    chosen = movers("item", reference, current).index[:MOVERS]
    reference, current = (
        table.assign(**{MOVED: table["item"].where(table["item"].isin(chosen), "all others")})
        for table in (reference, current)
    )
    names = [
        name
        for name in (*SHOWN, MOVED, *components_of(reference), *attributes_of(reference.columns))
        if min(reference[name].notna().sum(), current[name].notna().sum()) >= MIN_VALUES
    ]
    thresholds = {one.name: one.threshold for one in verdict.statistics}
    definition = DataDefinition(
        numerical_columns=[name for name in names if name in numeric],
        categorical_columns=[name for name in names if name not in numeric],
    )
    metrics = [
        ValueDrift(
            column=name,
            method="wasserstein" if name in numeric else "jensenshannon",
            threshold=thresholds.get(_statistic_of(name)),
        )
        for name in names
    ]
    texts = [name for name in names if name not in numeric]
    reference, current = (
        # Evidently writes the values into a script of its page: an id must not end it.
        table.assign(**{name: table[name].map(_harmless, na_action="ignore") for name in texts})
        for table in (reference, current)
    )
    tables = [
        Dataset.from_pandas(table[names].reset_index(drop=True), definition)
        for table in (current, reference)
    ]
    return Report(metrics).run(*tables)


def _harmless(text: object) -> str:
    return str(text).translate({ord("<"): "‹", ord(">"): "›", ord("&"): "+"})


def _plot(verdict: Verdict, reference: Reference, earlier: list[dict[str, Any]]) -> str:
    """Return a PNG (base64): scores of ordinary weeks and of served windows, and the threshold."""
    figure, axes = plt.subplots(figsize=(9, 3.2), layout="constrained")
    ordinary = [(week["start"], week["score"]) for week in reference.weeks]
    judged = [one for one in earlier if one["enough"] and one["start"] < verdict.start]
    served = [(one["start"], one["score"]) for one in judged]
    if verdict.enough:
        served.append((verdict.start, verdict.score))
    for points, label, style in ((ordinary, "ordinary weeks", "o-"), (served, "served", "s-")):
        if points:
            when = pd.to_datetime([start for start, _ in points], utc=True, format="ISO8601")
            axes.plot(when, [score for _, score in points], style, ms=4, lw=1, label=label)
    if reference.not_calibrated is None:
        threshold = verdict.threshold or reference.scales[-1].threshold
        axes.axhline(threshold, color="crimson", lw=1, ls="--", label="alarm")
        axes.legend(frameon=False, loc="upper left")
    axes.set_ylabel("score")
    axes.xaxis.set_major_formatter(dates.ConciseDateFormatter(axes.xaxis.get_major_locator()))
    return _png(figure)


def _moved_plot(moved: dict[str, pd.Series]) -> str:
    """Return a PNG (base64) of the products behind each statistic that moved, "" without any."""
    if not moved:
        return ""
    figure, axes = plt.subplots(
        1, len(moved), figsize=(4.5 * len(moved), 3.4), layout="constrained", squeeze=False
    )
    for place, (label, products) in zip(axes[0], moved.items(), strict=True):
        names = [str(name)[:24] for name in products.index]
        place.barh(range(len(products)), products.to_numpy(), color="#c0392b")
        # An id with dollar signs is no formula.
        place.set_yticks(range(len(products)), names, fontsize=8, parse_math=False)
        place.invert_yaxis()
        place.set_title(label, fontsize=9)
    return _png(figure)


def _clicks_plot(verdict: Verdict) -> str:
    """Return a PNG (base64) of the observed clicks by the expected ones, "" without them."""
    if verdict.clicks is None:
        return ""
    figure, axes = plt.subplots(figsize=(9, 2.6), layout="constrained")
    ratios = [*verdict.clicks.weeks, verdict.clicks.ratio]
    when = list(range(1 - len(ratios), 1))
    axes.plot(when[:-1], ratios[:-1], "o-", ms=4, lw=1, label="ordinary")
    axes.plot(when[-1:], ratios[-1:], "s", ms=6, label="this window")
    axes.axhline(verdict.clicks.lowest, color="crimson", lw=1, ls="--", label="alarm")
    axes.set_xlabel("windows before this one")
    axes.set_ylabel("observed : expected")
    axes.set_xticks(when, [str(-one) for one in when])
    axes.legend(frameon=False, loc="lower left")
    return _png(figure)


def _png(figure: Figure) -> str:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    plt.close(figure)
    return base64.b64encode(buffer.getvalue()).decode()


def _movers(reference: Reference, current: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the items whose share of the events increased most, then those with the largest
    decrease."""
    shares = pd.DataFrame(
        {
            "before": reference.table["item"].value_counts(normalize=True),
            "now": current["item"].value_counts(normalize=True),
        }
    ).fillna(0.0)
    change = (shares["now"] - shares["before"]).sort_values(kind="stable")
    chosen = [*change.index[-MOVERS:][::-1], *change.index[:MOVERS]]
    return [{"item": item, **shares.loc[item].to_dict()} for item in dict.fromkeys(chosen)]


_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{ title.partition(":")[0] }}: {{ verdict.start[:10] }}</title>
<style>
body{font:16px/1.5 system-ui,sans-serif;max-width:62rem;margin:2rem auto;padding:0 1rem;color:#222}
h1{padding:.4rem .8rem;border-left:.5rem solid {{ colour }}}
table{border-collapse:collapse;margin:1rem 0}td,th{padding:.2rem .8rem;text-align:right}
td:first-child,th:first-child{text-align:left}tr.drifted{background:#fdecea;font-weight:600}
th{border-bottom:1px solid #999}img{max-width:100%}.note{color:#555}
</style></head><body>
{%- set judged = verdict.enough %}
<h1>{{ title }}</h1>
<p>Window {{ verdict.start }} to {{ verdict.end }}, {{ verdict.rows }} events in
{{ verdict.visits }} visits ({{ verdict.rows_left_out }} rows left out, {{ verdict.rows_held }} of
held days), compared with {{ verdict.reference_start[:10] }} to {{ verdict.reference_end[:10] }},
{{ "%.1f"|format(verdict.age) }} windows before.</p>
{% if verdict.sampled %}<p><strong>Sampled:</strong> {{ verdict.rows_used }} of
{{ verdict.rows }} events (whole visits drawn at random, at most {{ sample_rows }} events).</p>
{% endif %}
<ul>{% for reason in verdict.reasons %}<li>{{ reason }}</li>{% endfor %}</ul>
{% if judged %}
<p>Score {{ "%.2f"|format(verdict.score) }}; the alarm is at
{{ "%.2f"|format(verdict.threshold) }}. 0 is the mean of ordinary weeks and 1 their
standard deviation, for the statistic that differs most. The alarm is calibrated to less than
{{ "%.0f"|format(100 * verdict.false_alarm_rate) }} % false alarms on ordinary weeks.</p>{% endif %}
<img alt="score of each week and the alarm" src="data:image/png;base64,{{ plot }}">
{% if verdict.products %}<h2>Products with signs of an attack</h2>
<table><tr><th>product</th><th>sign</th><th>profiles</th><th>events</th><th>score</th></tr>
{% for one in verdict.products %}<tr><td>{{ one.item_id }}</td><td>{{ one.sign }}</td>
<td>{{ one.profiles }}</td><td>{{ one.events }}</td><td>{{ "%.2f"|format(one.score) }}</td></tr>
{% endfor %}</table><p>The alarm is at 1. <code>bowerbird held</code> lists the profiles;
<code>bowerbird hold</code> leaves days out of the training, <code>bowerbird release
--promotion</code> allows promotions again.</p>{% endif %}
{% if verdict.broken %}<h2>Broken days</h2>
<table><tr><th>day</th><th>check</th><th>value</th><th>limit</th></tr>
{% for one in verdict.broken %}<tr><td>{{ one.day }}</td><td>{{ one.check }}</td>
<td>{{ "%.3g"|format(one.value) }}</td><td>{{ "%.3g"|format(one.limit) }}</td></tr>
{% endfor %}</table><p>If a day is fine: <code>bowerbird release DAY</code>.</p>{% endif %}
{% if moved_plot %}<h2>Products that moved the statistics</h2>
<img alt="contributions of products" src="data:image/png;base64,{{ moved_plot }}">{% endif %}
{% if clicks_plot %}<h2>Clicks on what was shown</h2>
<p>{{ verdict.clicks.lists }} lists; {{ verdict.clicks.sentence }}.</p>
<img alt="observed clicks by expected ones"
src="data:image/png;base64,{{ clicks_plot }}">{% endif %}
{% if judged %}
<h2>Statistics</h2>
<table><tr><th>statistic</th><th>value</th><th>ordinary</th><th>alarm threshold</th>
<th>score</th></tr>
{% for one in verdict.statistics %}<tr{% if one.drifted %} class="drifted"{% endif %}>
<td>{{ one.label }}</td>
{% if one.value is none %}<td colspan="4">too little data</td>{% else %}
<td>{{ "%.3f"|format(one.value) }}</td><td>{{ "%.3f"|format(one.ordinary) }}</td>
<td>{{ "%.3f"|format(one.threshold) }}</td><td>{{ "%.2f"|format(one.score) }}</td>{% endif %}
</tr>{% endfor %}</table>
<p><a href="report.html">Evidently's report</a>: the distribution of every column.</p>
<h2>Items whose share changed most</h2>
<table><tr><th>item</th><th>reference</th><th>this window</th></tr>
{% for one in movers %}<tr><td>{{ one.item }}</td><td>{{ "%.2f"|format(100 * one.before) }} %</td>
<td>{{ "%.2f"|format(100 * one.now) }} %</td></tr>{% endfor %}</table>{% endif %}
{% for title, facts in (("Scores of the served model (not part of the alarm)",
verdict.scores), ("Outcomes of the served recommendations", verdict.outcomes)) %}{% if facts %}
<h2>{{ title }}</h2><table>{% for name, value in facts.items() if value is not mapping %}
<tr><td>{{ name.replace("_", " ") }}</td>
<td>{{ "%.3f"|format(value) if value is float else value }}</td></tr>{% endfor %}</table>
{% endif %}{% endfor %}
<p class="note">The same verdict as JSON: <a href="verdict.json">verdict.json</a>.</p>
</body></html>
"""
