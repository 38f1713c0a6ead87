"""False-alarm rate and delay of the drift alarm: benchmarks/results/drift.md.

    python -m benchmarks.drift [--root .]

Needs ``bowerbird reference`` to have run (data/prepared, models/vectors, models/reference) and the
shop's second year in datasets/. False alarms are counted on ordinary weeks of the training data;
delays on the real second year, week by week, and on drifts injected into ordinary weeks.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Callable
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from components.data.dataset import DAY, Prepared, load_prepared
from components.progress import progress
from components.settings import Settings, load_settings
from monitoring.calibration import alarms, before, ordinary_weeks, weekly_tables
from monitoring.detection import detect
from monitoring.features import (
    Vocabulary,
    by_shop_ids,
    cap_rows,
    clean_window,
    draw_visits,
    feature_table,
)
from monitoring.reference import Reference, load_reference, vocabulary_of
from monitoring.statistics import STATISTICS, statistics

SECOND_YEAR = Path("datasets/online-retail/2010-2011.parquet")
AGES = (0, 1, 2, 3, 4, 8)
SIZES = (50, 100, 200, None)  # visits; None: the whole week
WEEKS = 12  # ordinary weeks that drifts are injected into, the newest ones
RESULTS = Path(__file__).parent / "results"


def second_year(settings: Settings, file: Path) -> pd.DataFrame:
    """Return the second year's interactions by shop ids, without the overlap with the first."""
    lines = pd.read_parquet(file)
    bad = re.compile("|".join(settings.validate_.non_product_codes), re.IGNORECASE)
    codes = {code: not bad.fullmatch(code) for code in lines["StockCode"].unique()}
    lines = lines[
        lines["Customer ID"].notna()
        & (lines["Price"] > 0)
        & (lines["Quantity"] > 0)
        & lines["StockCode"].map(codes)
        & (lines["InvoiceDate"] >= "2010-12-10")
    ]
    return pd.DataFrame(
        {
            "user_id": lines["Customer ID"].astype(int).astype(str),
            "item_id": lines["StockCode"],
            "event": "purchase",
            "timestamp": lines["InvoiceDate"].dt.tz_localize("UTC"),
            "quantity": lines["Quantity"].astype("float32"),
            "price": lines["Price"].astype("float32"),
            "country": lines["Country"],
        }
    )


def replay(year: pd.DataFrame, reference: Reference, days: int) -> pd.DataFrame:
    """Return one row a week of the second year with its verdict."""
    start = pd.Timestamp("2010-12-10", tz="UTC")
    rows, seen = [], 0
    for week, window in year.groupby((year["timestamp"] - start) // pd.Timedelta(days=days)):
        verdict = detect(window, reference)
        seen += verdict.rows
        rows.append(
            {
                "week": week + 1,
                "from": str((start + week * pd.Timedelta(days=days)).date()),
                "visits": verdict.visits,
                "events so far": seen,
                "score": verdict.score,
                "threshold": verdict.threshold,
                "drifted": verdict.drifted,
                "why": ", ".join(one.name for one in verdict.statistics if one.drifted),
            }
        )
    return pd.DataFrame(rows)


# Injections: (frame, strength, rng) -> frame.


def dearer(frame: pd.DataFrame, strength: float, rng: np.random.Generator) -> pd.DataFrame:
    return frame.assign(price=frame["price"] * strength)


def more_of_each(frame: pd.DataFrame, strength: float, rng: np.random.Generator) -> pd.DataFrame:
    return frame.assign(quantity=frame["quantity"] * strength)


def narrow_mix(frame: pd.DataFrame, strength: float, rng: np.random.Generator) -> pd.DataFrame:
    items = np.sort(frame["item_id"].unique())
    few = rng.choice(items, max(1, len(items) // 10), replace=False)
    return _replace(frame, rng.choice(few, len(frame)), strength, rng)


def unknown_items(frame: pd.DataFrame, strength: float, rng: np.random.Generator) -> pd.DataFrame:
    new = np.array([f"new-{i}" for i in range(200)], dtype=object)
    return _replace(frame, rng.choice(new, len(frame)), strength, rng)


def inverted(frame: pd.DataFrame, strength: float, rng: np.random.Generator) -> pd.DataFrame:
    ranked = frame["item_id"].value_counts().sort_index().sort_values(kind="stable").index
    other = pd.Series(ranked[::-1], index=ranked)
    return _replace(frame, frame["item_id"].map(other).to_numpy(), strength, rng)


def abroad(frame: pd.DataFrame, strength: float, rng: np.random.Generator) -> pd.DataFrame:
    users = frame["user_id"].unique()
    moved = users[rng.random(len(users)) < strength]
    country = frame["country"].mask(frame["user_id"].isin(moved), "Elsewhere")
    return frame.assign(country=country)


def _replace(
    frame: pd.DataFrame, items: np.ndarray, share: float, rng: np.random.Generator
) -> pd.DataFrame:
    chosen = rng.random(len(frame)) < share
    return frame.assign(item_id=np.where(chosen, items, frame["item_id"]))


Injection = Callable[[pd.DataFrame, float, np.random.Generator], pd.DataFrame]
INJECTIONS: dict[str, tuple[Injection, tuple[float, ...]]] = {
    "nothing (false alarms)": (dearer, (1.0,)),
    "prices ×": (dearer, (1.1, 1.3, 2.0)),
    "quantities ×": (more_of_each, (1.5, 3.0, 5.0)),
    "share of events moved to a random 10 % of items": (narrow_mix, (0.1, 0.3, 1.0)),
    "share of events on unknown items": (unknown_items, (0.05, 0.2, 0.5)),
    "share of events with popularity inverted": (inverted, (0.1, 0.3, 1.0)),
    "share of users in another country": (abroad, (0.05, 0.2, 0.5)),
}


def injected(
    prepared: Prepared,
    vocabulary: Vocabulary,
    tables: dict[int, pd.DataFrame],
    reference: Reference,
    settings: Settings,
) -> pd.DataFrame:
    """Return the share of WEEKS ordinary weeks that alarm, by drift, strength and size."""
    monitor, rng = settings.monitor, np.random.default_rng(settings.seed)
    frame = clean_window(by_shop_ids(prepared))
    frame["country"] = frame["user_id"].map(vocabulary.countries)
    seconds = frame["timestamp"].astype("datetime64[s, UTC]").astype("int64").to_numpy()
    week_of = (seconds - prepared.end) // (monitor.window_days * DAY)
    counts: dict[tuple[str, float, str], list[bool]] = {}
    for week in progress(ordinary_weeks(tables, monitor)[-WEEKS:], desc="injections", unit="week"):
        past = cap_rows(before(tables, week, 0, monitor), monitor.sample_rows, settings.seed)
        ordinary = frame[week_of == week]
        for name, (inject, strengths) in INJECTIONS.items():
            for strength in strengths:
                table = feature_table(inject(ordinary, strength, rng), vocabulary)
                for size in SIZES:
                    current = table if size is None else draw_visits(table, size, rng)
                    values = statistics(past, current, monitor.window_days)
                    scale = reference.scale(current["visit"].nunique())
                    key = (name, strength, "whole week" if size is None else f"{size} visits")
                    counts.setdefault(key, []).append(scale.score(values) > scale.threshold)
    series = pd.Series({key: float(np.mean(hits)) for key, hits in counts.items()})
    wide = series.unstack()[["50 visits", "100 visits", "200 visits", "whole week"]]
    order = [(name, s) for name, (_, strengths) in INJECTIONS.items() for s in strengths]
    return wide.loc[order].rename_axis(["injected", "strength"]).reset_index()


def by_age(
    tables: dict[int, pd.DataFrame], reference: Reference, settings: Settings
) -> pd.DataFrame:
    """Return the share of ordinary weeks that alarm when the reference is some weeks old."""
    monitor, rows = settings.monitor, []
    for age in AGES:
        weeks = ordinary_weeks(tables, monitor, age)
        values = pd.DataFrame(
            [
                statistics(
                    cap_rows(before(tables, week, age, monitor), monitor.sample_rows, 0),
                    tables[week],
                    monitor.window_days,
                )
                for week in progress(weeks, desc=f"reference {age} weeks old", unit="week")
            ],
            columns=list(STATISTICS),
        )
        hits = alarms(values, reference.scales[-1])
        rows.append({"weeks since the reference": age, "weeks": len(hits), "alarms": hits.mean()})
    return pd.DataFrame(rows)


def plot(weeks: pd.DataFrame, reference: Reference, file: Path) -> None:
    """Draw the score of every ordinary week and every week of the second year."""
    figure, axes = plt.subplots(figsize=(10, 4), layout="constrained")
    start = pd.to_datetime([week["start"] for week in reference.weeks], utc=True, format="ISO8601")
    scores = [week["score"] for week in reference.weeks]
    axes.plot(start, scores, "o-", ms=3, lw=1, label="ordinary weeks of the first year")
    judged = weeks.dropna(subset=["score"])
    when = pd.to_datetime(judged["from"], utc=True)
    axes.plot(when, judged["score"], "s-", ms=3, lw=1, label="second year, model not retrained")
    axes.step(
        when, judged["threshold"], "r--", lw=1, where="mid", label="alarm at the week's visits"
    )
    axes.axhline(reference.scales[-1].threshold, color="r", lw=0.5)
    axes.set_ylabel("score")
    axes.legend(frameon=False)
    figure.savefig(file, dpi=120)
    plt.close(figure)


def markdown(table: pd.DataFrame) -> str:
    """Return a table in Markdown; floats with two digits."""

    def cell(value: object) -> str:
        if isinstance(value, bool | np.bool_):
            return "yes" if value else ""
        if isinstance(value, float):
            return "" if np.isnan(value) else f"{value:.2f}"
        return str(value)

    lines = ["| " + " | ".join(table.columns) + " |", "|" + " --- |" * len(table.columns)]
    lines += ["| " + " | ".join(cell(v) for v in row) + " |" for row in table.to_numpy(object)]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--root", type=Path, default=Path())
    root = parser.parse_args().root
    settings = load_settings(root / "params.yaml")
    monitor = settings.monitor
    prepared = load_prepared(root / "data/prepared", root / "models/vectors")
    reference = load_reference(root / "models/reference")
    vocabulary, _ = vocabulary_of(prepared, monitor.embedding_components, settings.seed)
    tables = weekly_tables(prepared, vocabulary, monitor)
    figures = json.loads((root / "reports/calibration.json").read_text())
    weeks = replay(second_year(settings, SECOND_YEAR), reference, monitor.window_days)
    ages = by_age(tables, reference, settings)
    detection = injected(prepared, vocabulary, tables, reference, settings)

    first = weeks[weeks["drifted"]].head(1).to_dict("records")
    judged = weeks["score"].notna()
    RESULTS.mkdir(exist_ok=True)
    plot(weeks, reference, RESULTS / "drift.png")
    delay = (
        f"the first alarm comes with week {first[0]['week']} (from {first[0]['from']}), after "
        f"{first[0]['events so far']:,} events"
        if first
        else "no alarm comes"
    )
    (RESULTS / "drift.md").write_text(
        f"""# Drift alarm: false alarms and delay

Made by `python -m benchmarks.drift`. How the alarm works: `docs/monitoring.md`.

## False alarms on ordinary weeks of the training data

Aimed at {monitor.false_alarm_rate:.0%} of weeks. Leave-one-out over {figures["weeks"]} weeks:
**{figures["false_alarm_rate"]:.1%}**. Each of the {figures["held_out_weeks"]} later weeks by a
threshold that only earlier weeks set, as in service:
**{figures["held_out_false_alarm_rate"]:.1%}**.

By the age of the reference (windows between its end and the week), the threshold staying; it
was set on ages 0 to {monitor.reference_age - 1} together:

{markdown(ages)}

## The real second year, the model never retrained

Reference {reference.start[:10]} to {reference.end[:10]}; {delay}.
{int(weeks["drifted"].sum())} of {int(judged.sum())} judged weeks alarm.

![score by week](drift.png)

{markdown(weeks)}

## Injected drift

Share of the {WEEKS} newest ordinary weeks of the training data that alarm in the first window,
each against the weeks before it, by the size of the window. A share of 1.00 is a delay of one
window. The thresholds were set on all ordinary weeks, these among them.

{markdown(detection)}
""",
        encoding="utf-8",
    )


if __name__ == "__main__":
    main()
