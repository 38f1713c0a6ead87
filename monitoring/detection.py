"""Drift detection: a window of new interactions → ``detect`` → ``Verdict``."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from monitoring.features import cap_rows, clean_window, feature_table
from monitoring.reference import Reference, load_reference
from monitoring.scores import compare_scores, load_model, score_users
from monitoring.statistics import LABELS, statistics


@dataclass(frozen=True)
class StatisticVerdict:
    """One statistic of a window: its value, the ordinary value, and the alarm threshold."""

    name: str
    label: str
    value: float | None
    ordinary: float
    threshold: float
    score: float | None
    drifted: bool


@dataclass(frozen=True)
class Verdict:
    """Whether a window drifted, and why.

    enough: false if there were too few visits for a verdict; ``drifted`` is false then. score: the
    largest scaled statistic. threshold: of the score. reasons: one sentence each. start, end:
    first and last event of the window, ISO 8601. rows: valid events, of which ``rows_used`` entered
    the statistics (``sampled``). rows_left_out: without user, item or time, duplicate, or of an
    event type that the reference does not have. scores: see ``scores.compare_scores``;
    empty without a model. outcomes: filled in by the caller.
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
    """Return whether ``window`` differs more from the reference than ordinary weeks do.

    window: the contract's interactions by the shop's ids; a column ``country`` is used if there is
    one. Only event types of the reference are used, because clicks and purchases differ in every
    statistic. model: a folder of ``Hybrid`` below ``models``, to compare the scores too.

    Raises:
        ValueError: a column is missing.
        FileNotFoundError: there is no reference; run ``bowerbird reference`` first.
    """
    if not isinstance(reference, Reference):
        reference = load_reference(reference)
    frame = clean_window(window)
    frame = frame[frame["event"].isin(reference.events)].reset_index(drop=True)
    table = feature_table(frame, reference.vocabulary)
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
        reasons or ["every statistic is within the range of ordinary weeks"],
        **facts,
        statistics=results,
        scores=_scores(model, frame, reference, seed),
    )


def _scores(
    model: str | Path | None, frame: pd.DataFrame, reference: Reference, seed: int
) -> dict[str, Any]:
    """Return the scores before the window compared with the reference's, {} without a model."""
    if model is None or reference.scores is None:
        return {}
    loaded, items, past = load_model(Path(model))
    past = pd.concat([past, frame[["user_id", "item_id", "timestamp"]]])
    return compare_scores(reference.scores, score_users(loaded, items, past, frame, seed))
