"""Drift check of the newest traffic: window → verdict → report → alert, for the flow and the CLI.

In: ``data/feedback`` (or a file), ``models/reference``, ``models/served`` if there is one.
Out: ``reports/monitoring/<day>``, and on drift a line in ``var/monitoring/alerts.jsonl``; the flow
starts the retraining.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

from components.data.feedback import day_of, over_limits, read_newest, without_untrusted_values
from components.data.impressions import read_exported
from components.settings import Settings, Validate
from monitoring.alerts import append_alert
from monitoring.detection import Verdict, detect
from monitoring.outcomes import outcomes
from monitoring.reference import load_reference
from monitoring.report import write_report


@dataclass(frozen=True)
class MonitoringResult:
    """folder: of the report. retrain: whether to start a retraining."""

    verdict: Verdict
    folder: Path
    retrain: bool


def check_drift(
    settings: Settings,
    root: Path,
    window: Path | None = None,
    impressions: pd.DataFrame | None = None,
) -> MonitoringResult:
    """Return the verdict on a window of traffic; write its report and alert.

    window: a Parquet file of the contract's interactions, used as a whole; default: the newest
    ``monitor.window_days`` of the feedback folder. impressions: see ``outcomes``; by default the
    exported ones.

    Raises:
        FileNotFoundError: there is no such window file, or no reference yet.
        ValueError: a file of feedback or impressions that is needed cannot be read.
    """
    monitor = settings.monitor
    frame = (
        read_window(window)
        if window is not None
        else newest_feedback(
            root / settings.ingest.feedback, monitor.window_days, settings.validate_
        )
    )
    reference = load_reference(root / "models/reference")
    # The served model was fitted until just before the traffic, as the evaluated model of the
    # reference was fitted until just before the test window.
    model = root / "models/served"
    verdict = detect(
        frame, reference, model if (model / "model.json").exists() else None, settings.seed
    )
    if impressions is None:
        impressions = served_impressions(root / "data/impressions", frame)
    verdict = replace(verdict, outcomes=outcomes(frame, impressions))
    name = verdict.start[:10] or "empty"
    folder = root / "reports/monitoring" / name
    write_report(verdict, frame, reference, folder, settings.seed)
    retrain = should_retrain(verdict)
    if retrain:
        append_alert(verdict, root / "var/monitoring/alerts.jsonl", monitor.webhook)
    return MonitoringResult(verdict, folder, retrain)


def should_retrain(verdict: Verdict) -> bool:
    """Return whether to raise an alert and to start a retraining: on drift alone."""
    return verdict.drifted


def read_window(file: Path) -> pd.DataFrame:
    """Return the interactions of a Parquet file.

    Raises:
        FileNotFoundError: there is no such file.
    """
    if not Path(file).exists():
        raise FileNotFoundError(f"no such window file: {file}")
    return pd.read_parquet(file)


def newest_feedback(folder: Path, days: int, limits: Validate) -> pd.DataFrame:
    """Return the newest ``days`` of the folder's Parquet files, counted from their last event.

    Only events within the limits of ``validate`` count, as in training: an alert starts a training,
    so no client may raise or hide one by sending many events. See ``read_newest`` for the window
    and the files that are opened.
    """
    frame = read_newest(folder, days, pd.Timestamp.now(tz="UTC"))
    above = over_limits(frame, limits)
    if len(above):
        print(f"{len(above):,} of {len(frame):,} events are above the limits and are ignored")
    return without_untrusted_values(frame.drop(index=above.index), limits).reset_index(drop=True)


def served_impressions(folder: Path, frame: pd.DataFrame) -> pd.DataFrame | None:
    """Return the exported impressions in the time range of ``frame``, None without any.

    Files for other days, by their names, are not opened.

    Raises:
        ValueError: a file that is needed cannot be read.
    """
    if frame.empty:
        return None
    times = pd.to_datetime(frame["timestamp"], utc=True)
    first, last = times.min(), times.max()
    days = {file: day_of(file) for file in sorted(folder.glob("*.parquet"))}
    files = [file for file, day in days.items() if day is None or first.floor("D") <= day <= last]
    if not files:
        return None
    served = read_exported(files, ("impression_id", "model_version", "timestamp"))
    shown = pd.to_datetime(served["timestamp"], utc=True)
    return served[(shown >= first) & (shown <= last)].reset_index(drop=True)
