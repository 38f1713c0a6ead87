"""The training reference, the alarm calibrated on its ordinary weeks, and the verdict.

In: ``data/prepared``, ``models/vectors``, ``models/hybrid``. Out: ``models/reference`` (the
newest weeks of the data, the principal components of the item vectors, the calibration) and
``reports/calibration.json``. Later: a window of new interactions → ``detect`` → ``Verdict``.

How the alarm is calibrated (docs/monitoring.md tells it at length): every week of the data is
compared with ``monitor.reference_weeks`` weeks before it, as served traffic will be: with those
just before it, and with those that ended up to ``monitor.reference_age`` weeks earlier, because a
reference grows that old between two trainings and a shop's range moves on meanwhile. Each
statistic is put on one scale, 0 at its ordinary weeks' median and 1 at their 90th percentile. A
window's score is its largest statistic on that scale, and the threshold is the score that a share
of ``monitor.false_alarm_rate`` of the ordinary weeks exceeds. The largest of them all is what is
calibrated, so the rate is that of the whole alarm and not of each statistic. Smaller windows are
noisier; they are judged against ordinary weeks thinned to the same number of visits.
"""

from __future__ import annotations

import json
import math
import shutil
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from safetensors.numpy import load_file, save_file
from sklearn.decomposition import PCA

from components.data.dataset import DAY, Prepared, load_prepared
from components.progress import progress
from components.settings import Monitor, Settings
from monitoring.features import (
    LABELS,
    STATISTICS,
    Vocabulary,
    by_shop_ids,
    cap_rows,
    clean_window,
    draw_visits,
    features,
    statistics,
)
from monitoring.scores import compare_scores, score_users

SIZES = (50, 100, 200)
"""Visits that ordinary weeks are thinned to; the first is the least that is judged at all."""

MIN_WEEKS = 10
"""Fewer ordinary weeks than this cannot calibrate an alarm."""

EARLIER_SHARE = 0.4
"""Of the ordinary weeks, the part that only sets the threshold; later ones are also judged."""


@dataclass(frozen=True)
class Scale:
    """What is ordinary at one size of window.

    visits: the size. draws: ordinary windows it was learned from. median, spread: by statistic,
    spread being the 90th percentile less the median. threshold: of the largest scaled statistic.
    """

    visits: float
    draws: int
    threshold: float
    median: dict[str, float]
    spread: dict[str, float]

    def scaled(self, values: dict[str, float]) -> dict[str, float]:
        """Return (value - median) / spread of the statistics that are known on both sides."""
        return {
            name: (values[name] - self.median[name]) / self.spread[name]
            for name in self.median
            if math.isfinite(values.get(name, math.nan))
        }

    def score(self, values: dict[str, float]) -> float:
        """Return the largest scaled statistic, NaN where none is known."""
        return max(self.scaled(values).values(), default=math.nan)


@dataclass(frozen=True)
class Reference:
    """The loaded ``models/reference``.

    table: feature table of the newest weeks. scores: what ``score_users`` gave on the test
    window, or None. weeks: the ordinary weeks with their scores, for plots. scales: by size,
    smallest first.
    """

    table: pd.DataFrame
    vocabulary: Vocabulary
    scales: tuple[Scale, ...]
    weeks: list[dict[str, Any]]
    start: str
    end: str
    events: tuple[str, ...]
    window_days: int
    sample_rows: int
    false_alarm_rate: float
    scores: pd.DataFrame | None = None

    def scale(self, visits: int) -> Scale:
        """Return what is ordinary for a window of ``visits``, between sizes by their logarithm."""
        sizes = [scale.visits for scale in self.scales]
        at = np.log(np.clip(visits, sizes[0], sizes[-1]))
        logs = np.log(sizes)

        def between(values: list[float]) -> float:
            return float(np.interp(at, logs, values))

        names = set.intersection(*(set(scale.median) for scale in self.scales))
        ordered = [name for name in STATISTICS if name in names]
        return Scale(
            visits,
            min(scale.draws for scale in self.scales),
            between([scale.threshold for scale in self.scales]),
            {name: between([scale.median[name] for scale in self.scales]) for name in ordered},
            {name: between([scale.spread[name] for scale in self.scales]) for name in ordered},
        )


@dataclass(frozen=True)
class StatisticVerdict:
    """One statistic of a window: its value, what is ordinary, and from where on it alarms."""

    name: str
    label: str
    value: float | None
    ordinary: float
    threshold: float
    score: float | None
    drifted: bool


@dataclass(frozen=True)
class Verdict:
    """Whether a window drifted, and why, as a person and a machine can read it.

    enough: false where there were too few visits to judge; ``drifted`` is false then. score: the
    largest scaled statistic. threshold: of the score. reasons: one sentence each. start, end:
    first and last event of the window, ISO 8601. rows: judged events, of which ``rows_used``
    entered the statistics (``sampled``). rows_left_out: without user, item or time, repeated, or
    of an event the reference does not know. scores: see ``scores.compare_scores``; empty without
    a model. outcomes: filled in by the caller.
    """

    drifted: bool
    enough: bool
    score: float | None
    threshold: float | None
    reasons: list[str]
    start: str
    end: str
    rows: int
    rows_used: int
    rows_left_out: int
    visits: int
    sampled: bool
    reference_start: str
    reference_end: str
    false_alarm_rate: float
    statistics: list[StatisticVerdict] = field(default_factory=list)
    scores: dict[str, Any] = field(default_factory=dict)
    outcomes: dict[str, Any] = field(default_factory=dict)

    def to_json(self) -> str:
        """Return the verdict as JSON (RFC 8259: no NaN)."""
        return json.dumps(asdict(self), indent=2, allow_nan=False, ensure_ascii=False)


def detect(
    window: pd.DataFrame,
    reference: Reference | str | Path,
    model: str | Path | None = None,
    seed: int = 42,
) -> Verdict:
    """Return whether ``window`` lies further from the reference than ordinary weeks do.

    window: the contract's interactions by the shop's ids; a column ``country`` is used where
    there is one. Only events of the reference's kinds are judged, like with like: clicks beside
    purchases would differ by nature. model: a folder of ``Hybrid`` below ``models``, to
    compare the scores as well.

    Raises:
        ValueError: a column is missing.
        FileNotFoundError: there is no reference; run ``bowerbird watch`` first.
    """
    if not isinstance(reference, Reference):
        reference = load_reference(reference)
    frame = clean_window(window)
    frame = frame[frame["event"].isin(reference.events)].reset_index(drop=True)
    table = features(frame, reference.vocabulary)
    used = cap_rows(table, reference.sample_rows, seed)
    visits = used["visit"].nunique()
    facts = {
        "start": frame["timestamp"].min().isoformat() if len(frame) else "",
        "end": frame["timestamp"].max().isoformat() if len(frame) else "",
        "rows": len(table),
        "rows_used": len(used),
        "rows_left_out": len(window) - len(table),
        "visits": visits,
        "sampled": len(used) < len(table),
        "reference_start": reference.start,
        "reference_end": reference.end,
        "false_alarm_rate": reference.false_alarm_rate,
    }
    least = reference.scales[0].visits
    if visits < least:
        kinds = ", ".join(reference.events)
        reason = f"not enough data: {visits} visits with {kinds}, at least {least:.0f} are needed"
        return Verdict(False, False, None, None, [reason], **facts)

    values = statistics(reference.table, used, reference.window_days)
    scale = reference.scale(visits)
    scaled = scale.scaled(values)
    results = [
        StatisticVerdict(
            name,
            LABELS[name],
            values[name] if name in scaled else None,
            scale.median[name],
            scale.median[name] + scale.threshold * scale.spread[name],
            scaled.get(name),
            scaled.get(name, -math.inf) > scale.threshold,
        )
        for name in scale.median
    ]
    alarming = sorted((r for r in results if r.drifted), key=lambda r: -(r.score or 0.0))
    reasons = [
        f"{r.label}: {r.value:.3f}, alarming from {r.threshold:.3f} on "
        f"(ordinary windows of this size: {r.ordinary:.3f})"
        for r in alarming
    ]
    return Verdict(
        bool(alarming),
        True,
        scale.score(values),
        scale.threshold,
        reasons or ["every statistic is as on ordinary weeks"],
        **facts,
        statistics=results,
        scores=_scores(model, frame, reference, seed),
    )


def _scores(
    model: str | Path | None, frame: pd.DataFrame, reference: Reference, seed: int
) -> dict[str, Any]:
    if model is None or reference.scores is None:
        return {}
    loaded, items, past = _load_model(Path(model))
    past = pd.concat([past, frame[["user_id", "item_id", "timestamp"]]])
    return compare_scores(reference.scores, score_users(loaded, items, past, frame, seed))


def _load_model(folder: Path):
    from components.data.profiles import profiles_file
    from components.recommenders.two_stage.hybrid import Hybrid

    model = Hybrid.load(folder)
    past = pd.read_parquet(profiles_file(folder.parents[1], folder))
    past["timestamp"] = pd.to_datetime(past["timestamp"], utc=True)
    return model, pd.Index(model.catalogue.ids), past


def weekly_tables(
    prepared: Prepared, vocabulary: Vocabulary, settings: Monitor
) -> dict[int, pd.DataFrame]:
    """Return the feature table of each complete window, oldest first.

    As it will be for served traffic, an item's text counts as new where the item had not been
    seen before its window.
    """
    frame = clean_window(by_shop_ids(prepared))
    seconds = frame["timestamp"].astype("datetime64[s, UTC]").astype("int64").to_numpy()
    week = (seconds - prepared.end) // (settings.window_days * DAY)
    table = features(frame, vocabulary)
    table["week"] = week
    first = table.groupby("item")["week"].transform("min")
    table["new_text"] |= first == table["week"]
    complete = week > week.min()  # the oldest is cut off by the beginning of the data
    return dict(list(table[complete].groupby("week")))


def before(tables: dict[int, pd.DataFrame], week: int, age: int, settings: Monitor) -> pd.DataFrame:
    """Return the feature table of the ``reference_weeks`` windows that end ``age`` before."""
    last = week - age
    weeks = range(last - settings.reference_weeks, last)
    return pd.concat([tables[w] for w in weeks if w in tables], ignore_index=True)


def ordinary_weeks(tables: dict[int, pd.DataFrame], settings: Monitor, age: int = 0) -> list[int]:
    """Return the windows with enough visits and, ``age`` windows earlier, a whole reference.

    Raises:
        ValueError: fewer than MIN_WEEKS.
    """
    first = min(tables) + settings.reference_weeks + age
    weeks = [w for w, t in tables.items() if w >= first and t["visit"].nunique() >= SIZES[0]]
    if len(weeks) < MIN_WEEKS:
        raise ValueError(
            f"data/prepared has {len(weeks)} windows of {settings.window_days} days that have "
            f"{SIZES[0]} visits or more and {settings.reference_weeks} + {age} windows before "
            f"them; an alarm needs {MIN_WEEKS}: lower monitor.window_days, "
            "monitor.reference_weeks or monitor.reference_age"
        )
    return weeks


def measure(
    tables: dict[int, pd.DataFrame], settings: Monitor, seed: int
) -> tuple[pd.DataFrame, dict[int, pd.DataFrame]]:
    """Return the statistics of the ordinary weeks, whole and thinned (by size).

    One row for each week and each age of the reference from 0 to ``reference_age - 1``, in order
    of time, with the columns week, age, visits and STATISTICS.
    """
    rng = np.random.default_rng(seed)
    ages = range(settings.reference_age)
    pairs = sorted((w, age) for age in ages for w in ordinary_weeks(tables, settings, age))
    whole: list[dict[str, float]] = []
    thinned: dict[int, list[dict[str, float]]] = {size: [] for size in SIZES}
    for week, age in progress(pairs, desc="ordinary weeks", unit="pair"):
        reference = cap_rows(before(tables, week, age, settings), settings.sample_rows, seed)
        current = cap_rows(tables[week], settings.sample_rows, seed)
        visits = current["visit"].nunique()
        about = {"week": week, "age": age, "visits": visits}
        whole.append({**about, **statistics(reference, current, settings.window_days)})
        for size in SIZES:
            if visits >= size:
                drawn = draw_visits(current, size, rng)
                values = statistics(reference, drawn, settings.window_days)
                thinned[size].append({**about, **values})
    return pd.DataFrame(whole), {size: pd.DataFrame(rows) for size, rows in thinned.items()}


def fit_scale(values: pd.DataFrame, visits: float, rate: float) -> Scale:
    """Return what is ordinary among the rows of ``values`` (windows × statistics).

    The threshold is the ⌈(n + 1)(1 - rate)⌉-th smallest of the n scores, the split-conformal
    quantile (Vovk et al. 2005): a further window like these exceeds it with probability at most
    ``rate``, as near as n allows.
    """
    values = values[[name for name in STATISTICS if values[name].notna().sum() >= MIN_WEEKS]]
    median = values.median()
    # The floors keep a statistic that hardly ever moved from alarming at its first movement.
    spread = (values.quantile(0.9) - median).clip(lower=np.maximum(0.1 * median, 0.005))
    scores = np.sort(((values - median) / spread).max(axis=1).dropna().to_numpy())
    rank = min(len(scores), math.ceil((len(scores) + 1) * (1 - rate)))
    return Scale(
        float(visits), len(scores), float(scores[rank - 1]), median.to_dict(), spread.to_dict()
    )


def alarms(values: pd.DataFrame, scale: Scale) -> np.ndarray:
    """Return bool (windows,): whose score exceeds the scale's threshold."""
    return np.array([scale.score(row) > scale.threshold for row in values.to_dict("records")])


def calibrate(
    tables: dict[int, pd.DataFrame], settings: Monitor, seed: int
) -> tuple[list[Scale], pd.DataFrame, dict[str, float]]:
    """Return the scales by size, the whole weeks' statistics and score, and flat figures.

    The figures: ``false_alarm_rate`` is leave-one-week-out (each week judged by a threshold that
    the others set); ``held_out_false_alarm_rate`` is that of the later weeks, each judged by a
    threshold that only the weeks before it set, as it goes in service. Both are over all ages of
    the reference.
    """
    rate = settings.false_alarm_rate
    whole, thinned = measure(tables, settings, seed)
    usual = float(whole["visits"].median())
    scales = [
        fit_scale(values, size, rate)
        for size, values in thinned.items()
        if size < usual and values["week"].nunique() >= MIN_WEEKS
    ]
    scales.append(fit_scale(whole, usual, rate))
    whole["score"] = [scales[-1].score(row) for row in whole.to_dict("records")]

    weeks = whole["week"].unique()
    later = weeks[max(MIN_WEEKS, round(len(weeks) * EARLIER_SHARE)) :]
    left_out, held_out = [], []
    for week in weeks:
        judged = whole[whole["week"] == week]
        others = whole[whole["week"] != week]
        left_out.append(alarms(judged, fit_scale(others, usual, rate)))
        if week in later:
            past = whole[whole["week"] < week]
            held_out.append(alarms(judged, fit_scale(past, usual, rate)))
    figures = {
        "threshold": scales[-1].threshold,
        "false_alarm_rate": float(np.concatenate(left_out).mean()),
        "held_out_false_alarm_rate": float(np.concatenate(held_out or [[0]]).mean()),
        "weeks": len(weeks),
        "held_out_weeks": len(later),
        "visits_per_week": usual,
    }
    return scales, whole, figures


def vocabulary_of(prepared: Prepared, components: int, seed: int) -> tuple[Vocabulary, dict]:
    """Return the vocabulary with projected item vectors, and the projection's arrays.

    Arrays (empty without vectors): mean float32 (width,), components float32 (components,
    width), items float32 (n_items, components).
    """
    table = prepared.catalogue.table
    arrays: dict[str, np.ndarray] = {}
    vectors = prepared.catalogue.vectors
    if vectors is not None:
        vectors = np.asarray(vectors, dtype=np.float32)  # (n_items, width)
        pca = PCA(min(components, *vectors.shape), svd_solver="full", random_state=seed)
        points = pca.fit_transform(vectors)  # (n_items, components)
        arrays = {
            "mean": pca.mean_.astype(np.float32),
            "components": np.ascontiguousarray(pca.components_, dtype=np.float32),
            "items": np.ascontiguousarray(points, dtype=np.float32),
        }
    users = prepared.users
    country = users["country"] if "country" in users else pd.Series(None, users.index, object)
    vocabulary = Vocabulary(
        pd.Index(table["item_id"].astype(str)),
        table["main_category"].to_numpy(dtype=object),
        arrays.get("items"),
        pd.Series(country.to_numpy(), index=users["user_id"].astype(str)),
    )
    return vocabulary, arrays


def run(settings: Settings, root: Path) -> None:
    """The stage ``watch``: → models/reference and reports/calibration.json."""
    monitor = settings.monitor
    prepared = load_prepared(root / "data/prepared", root / "models/vectors")
    vocabulary, arrays = vocabulary_of(prepared, monitor.embedding_components, settings.seed)
    tables = weekly_tables(prepared, vocabulary, monitor)
    scales, whole, figures = calibrate(tables, monitor, settings.seed)

    frame = clean_window(by_shop_ids(prepared))
    length = pd.Timedelta(days=monitor.window_days)
    end = pd.Timestamp(prepared.end, unit="s", tz="UTC")
    start = end - monitor.reference_weeks * length
    newest = frame[frame["timestamp"] >= start]
    weeks = [
        {
            "start": (end + week * length).isoformat(),
            "end": (end + (week + 1) * length).isoformat(),
            "rows": len(tables[week]),
            **{name: _number(value) for name, value in row.items()},
        }
        for week, row in whole[whole["age"] == 0].set_index("week").to_dict("index").items()
    ]
    calibration = {
        **figures,
        "target_false_alarm_rate": monitor.false_alarm_rate,
        "window_days": monitor.window_days,
        "reference_weeks": monitor.reference_weeks,
        "reference_age": monitor.reference_age,
        "reference_start": start.isoformat(),
        "reference_end": end.isoformat(),
        "sample_rows": monitor.sample_rows,
        "events": sorted(newest["event"].unique()),
        "scales": [asdict(scale) for scale in scales],
        "ordinary_weeks": weeks,
    }

    partial = root / "models/.reference"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    newest.to_parquet(partial / "reference.parquet", index=False)
    pd.DataFrame(
        {"item_id": vocabulary.items, "category": vocabulary.categories},
    ).to_parquet(partial / "items.parquet", index=False)
    vocabulary.countries.rename_axis("user_id").rename("country").reset_index().to_parquet(
        partial / "users.parquet", index=False
    )
    save_file(arrays, partial / "pca.safetensors")
    model = root / "models/hybrid"
    if (model / "model.json").exists():
        held_out = frame[
            frame["timestamp"] >= pd.Timestamp(prepared.test_start, unit="s", tz="UTC")
        ]
        reference_scores(model, held_out, end, length, settings.seed).to_parquet(
            partial / "scores.parquet", index=False
        )
    (partial / "calibration.json").write_text(json.dumps(calibration, indent=1, allow_nan=False))
    out = root / "models/reference"
    shutil.rmtree(out, ignore_errors=True)
    partial.rename(out)

    report = root / "reports/calibration.json"
    report.parent.mkdir(parents=True, exist_ok=True)
    temporary = report.with_suffix(".partial")
    temporary.write_text(json.dumps(figures, indent=1, allow_nan=False))
    temporary.rename(report)


def reference_scores(
    model: Path, held_out: pd.DataFrame, end: pd.Timestamp, length: pd.Timedelta, seed: int
) -> pd.DataFrame:
    """Return ``score_users`` of each whole window of the test window, one after the other."""
    loaded, items, past = _load_model(model)
    parts = []
    while (held_out["timestamp"] < end).any():
        window = held_out[(held_out["timestamp"] >= end - length) & (held_out["timestamp"] < end)]
        if len(window):
            parts.append(score_users(loaded, items, past, window, seed))
        end -= length
    return pd.concat(parts, ignore_index=True)


def load_reference(folder: str | Path) -> Reference:
    """Return what the stage ``watch`` wrote to ``folder``.

    Raises:
        FileNotFoundError: the folder or a file of it is missing.
    """
    folder = Path(folder)
    file = folder / "calibration.json"
    if not file.exists():
        raise FileNotFoundError(f"{file} is missing: run bowerbird watch first")
    calibration = json.loads(file.read_text())
    items = pd.read_parquet(folder / "items.parquet")
    users = pd.read_parquet(folder / "users.parquet")
    vocabulary = Vocabulary(
        pd.Index(items["item_id"]),
        items["category"].to_numpy(dtype=object),
        load_file(folder / "pca.safetensors").get("items"),
        users.set_index("user_id")["country"],
    )
    frame = clean_window(pd.read_parquet(folder / "reference.parquet"))
    table = cap_rows(features(frame, vocabulary), calibration["sample_rows"], seed=0)
    scores = folder / "scores.parquet"
    return Reference(
        table,
        vocabulary,
        tuple(Scale(**scale) for scale in calibration["scales"]),
        calibration["ordinary_weeks"],
        calibration["reference_start"],
        calibration["reference_end"],
        tuple(calibration["events"]),
        calibration["window_days"],
        calibration["sample_rows"],
        calibration["target_false_alarm_rate"],
        pd.read_parquet(scores) if scores.exists() else None,
    )


def _number(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
