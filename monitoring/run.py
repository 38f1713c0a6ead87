"""Check of the newest traffic: window → verdict → report → act, for the flow and the CLI.

In: ``data/feedback`` (or a file), ``models/reference``, ``models/served`` if there is one.
Out: ``reports/monitoring/<day>``, alerts raised and resolved (``monitoring.alerts``), and the act
that the verdict's kind calls for:

- ``broken``: the days are held (``components.data.held_days``), no retraining starts.
- ``attack``: promotions are held (``components.evaluation.promotion_hold``), no retraining starts.
- ``drift``: the flow starts the retraining.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field, replace
from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd

from components.data.feedback import (
    day_of,
    over_limits,
    read_columns,
    read_newest,
    without_untrusted_values,
)
from components.data.held_days import hold_days, load_held_days
from components.data.impressions import read_exported
from components.data.schema import BATCH
from components.evaluation.promotion_hold import hold_promotions, write_suspects
from components.notifications import deliver
from components.settings import Settings, Validate
from monitoring.alerts import update_alerts
from monitoring.click_rate import ClickRate, read_click_rate
from monitoring.detection import Attack, Traffic, Verdict, judge
from monitoring.outcomes import outcomes
from monitoring.reference import load_reference
from monitoring.report import write_report

"""The profiles of the newest attack. They are personal data: an erasure removes them here."""

SILENT = pd.Timedelta(days=30)
"""Days without events before the present that are looked at."""


@dataclass(frozen=True)
class MonitoringResult:
    """folder: of the report. retrain: whether to start a retraining. held: days newly held."""

    verdict: Verdict
    folder: Path
    retrain: bool
    held: list[date] = field(default_factory=list)


def check_drift(
    settings: Settings,
    root: Path,
    window: Path | None = None,
    impressions: pd.DataFrame | None = None,
    now: pd.Timestamp | None = None,
    models: Path | None = None,
) -> MonitoringResult:
    """Return the verdict on a window of traffic; write its report and act on it.

    window: a Parquet file of the contract's interactions, used as a whole; default: the newest
    ``monitor.window_days`` of the feedback folder. impressions: see ``outcomes``; by default the
    exported ones. now: default: the present. models: the folder of the reference and the served
    model; default: that of ``root``.

    Raises:
        FileNotFoundError: there is no such window file, or no reference yet.
        ValueError: a file of feedback or impressions that is needed, or the record of held days,
            cannot be read.
    """
    now = pd.Timestamp.now(tz="UTC") if now is None else now
    models = root / "models" if models is None else models
    reference = load_reference(models / "reference")
    held = load_held_days(root)
    traffic = (
        Traffic(read_window(window))
        if window is not None
        else newest_traffic(
            root / settings.ingest.feedback, settings.monitor.window_days, settings.validate_, now
        )
    )
    frame = traffic.window
    on_held_day = _on_days(frame, list(held.reasons()))
    start = pd.to_datetime(frame["timestamp"], utc=True).min() if len(frame) else now
    traffic = replace(
        traffic,
        window=frame[~on_held_day].reset_index(drop=True),
        earlier=users_between(root / settings.ingest.feedback, pd.Timestamp(reference.end), start),
        skip=[pd.Timestamp(day, tz="UTC") for day in (*held.released(), *held.reasons())],
    )
    # The served model was fitted until just before the traffic, as the evaluated model of the
    # reference was fitted until just before the test window.
    model = models / "served"
    verdict, attack = judge(
        traffic, reference, model if (model / "model.json").exists() else None, settings.seed
    )
    if impressions is None:
        impressions = served_impressions(root / "data/impressions", frame)
    verdict = replace(
        verdict, outcomes=outcomes(frame, impressions), rows_held=int(on_held_day.sum())
    )
    if window is None:
        clicks = read_click_rate(
            root / "data/impressions",
            root / settings.ingest.feedback,
            settings.monitor.window_days,
            settings.monitor.false_alarm_rate,
            now,
            pd.Timestamp(reference.end),
            held.reasons(),
        )
        verdict = with_clicks(verdict, clicks)
    newly_held = _act(verdict, attack, root)
    update_alerts(root, verdict)
    folder = root / "reports/monitoring" / (verdict.start[:10] or "empty")
    write_report(verdict, traffic.window, reference, folder, settings.seed)
    deliver(root, settings)
    return MonitoringResult(verdict, folder, should_retrain(verdict), newly_held)


def with_clicks(verdict: Verdict, clicks: ClickRate | None) -> Verdict:
    """Return the verdict with the clicks on what was shown; a fall is drift.

    Broken data and an attack explain a fall, so that their verdict stays.
    """
    verdict = replace(verdict, clicks=clicks)
    if clicks is None or not clicks.fell:
        return verdict
    if verdict.kind == "none":
        return replace(verdict, kind="drift", drifted=True, reasons=[clicks.sentence])
    return replace(verdict, reasons=[*verdict.reasons, clicks.sentence])


def should_retrain(verdict: Verdict) -> bool:
    """Return whether to start a retraining: on drift alone."""
    return verdict.kind == "drift"


def _act(verdict: Verdict, attack: Attack, root: Path) -> list[date]:
    """Do what the kind of a verdict calls for; return the days newly held."""
    if verdict.kind == "broken":
        return _hold(verdict, root)
    if verdict.kind == "attack":
        products = tuple(dict.fromkeys(one.item_id for one in verdict.products))
        write_suspects(root, attack.profiles)
        n = attack.profiles["user_id"].nunique()
        named = ", ".join(products[:5]) + (", …" if len(products) > 5 else "")
        reason = f"signs of an attack on {named} by {n:,} profiles"
        hold_promotions(root, reason, products, by="monitoring")
    return []


def _hold(verdict: Verdict, root: Path) -> list[date]:
    """Hold the broken days of a verdict; return those that were not held before."""
    reasons: dict[str, list[str]] = {}
    for one in verdict.broken:
        reasons.setdefault(one.day, []).append(one.sentence.partition(": ")[2])
    newly_held = []
    for name, why in reasons.items():
        day = date.fromisoformat(name)
        newly_held += hold_days(root, day, day, "; ".join(why), "monitoring")
    return newly_held


def read_window(file: Path) -> pd.DataFrame:
    """Return the interactions of a Parquet file.

    Raises:
        FileNotFoundError: there is no such file.
    """
    if not Path(file).exists():
        raise FileNotFoundError(f"no such window file: {file}")
    return pd.read_parquet(file)


def newest_traffic(folder: Path, days: int, limits: Validate, now: pd.Timestamp) -> Traffic:
    """Return the newest ``days`` of the folder's Parquet files, counted from their last event, with
    what is known of their arrival.

    Only events within the limits of ``validate`` count, as in training, so that no client may raise
    or hide an alarm by sending many events; those above them are only signs of an attack. See
    ``read_newest`` for the window and the files that are opened.
    """
    frame = read_newest(folder, days, now)
    above = over_limits(frame, limits)
    if len(above):
        print(f"{len(above):,} of {len(frame):,} events are above the limits and are ignored")
    within = without_untrusted_values(frame.drop(index=above.index), limits)
    received = [(day, file) for file in sorted(folder.rglob("*.parquet")) if (day := day_of(file))]
    window = pd.Timedelta(days=days)
    newest = [(day, file) for day, file in received if now - day <= window]
    return Traffic(
        within.reset_index(drop=True),
        received=_times(newest),
        silent=_silent_days([day for day, _ in received], frame, now),
        above_limits=frame.loc[above.index].reset_index(drop=True),
        partial=[
            now.floor("D"),
            *([] if frame.empty else [(frame["timestamp"].max() - window).floor("D")]),
        ],
    )


def _times(files: list[tuple[pd.Timestamp, Path]]) -> pd.DataFrame:
    """Return timestamp and received of the rows of exported files, given with their day."""
    parts = [read_columns(file, ["timestamp"]).assign(received=day) for day, file in files]
    if not parts:
        return pd.DataFrame({"timestamp": [], "received": []}, dtype="datetime64[us, UTC]")
    times = pd.concat(parts, ignore_index=True)
    return times.assign(timestamp=pd.to_datetime(times["timestamp"], utc=True))


def _silent_days(
    received: list[pd.Timestamp], frame: pd.DataFrame, now: pd.Timestamp
) -> pd.DatetimeIndex:
    """Return the whole days until ``now`` after the last event and the last receipt of events.

    Empty without exported files: it is not known then when events arrive.
    """
    if not received or frame.empty:
        return pd.DatetimeIndex([], tz="UTC")
    last = max(max(received), frame["timestamp"].max().floor("D"))
    first = max(last + pd.Timedelta(days=1), now.floor("D") - SILENT)
    return pd.date_range(first, now.floor("D") - pd.Timedelta(days=1), freq="D")


def users_between(folder: Path, first: pd.Timestamp, last: pd.Timestamp) -> pd.Index:
    """Return the users of the exported files that were received from ``first`` until before
    ``last``; only these files are opened.

    Raises:
        ValueError: such a file cannot be read.
    """
    files = [
        file
        for file in sorted(folder.rglob("*.parquet"))
        if (day := day_of(file)) is not None and first.floor("D") <= day < last.floor("D")
    ]
    users = [read_columns(file, ["user_id"])["user_id"].dropna().unique() for file in files]
    return pd.Index(np.concatenate([[], *users]), dtype=object).unique()


def _on_days(frame: pd.DataFrame, days: Collection[date]) -> pd.Series:
    """Return whether the day of each event, or of its receipt, is one of ``days``."""
    on_day = pd.to_datetime(frame["timestamp"], utc=True).dt.date.isin(days)
    if "source" in frame:
        names = frame["source"].astype("string").str.extract(r"-(\d{4}-\d{2}-\d{2})\.parquet$")[0]
        on_day |= names.isin([str(day) for day in days])
    return on_day.fillna(False).astype(bool)


def served_impressions(folder: Path, frame: pd.DataFrame) -> pd.DataFrame | None:
    """Return the exported impressions in the time range of ``frame``, None without any.

    Without the lists of `bowerbird recommend-all`: whether they were seen is not known.

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
    served = read_exported(files, ("impression_id", "model_version", "source", "timestamp"))
    served = served[served["source"] != BATCH]
    shown = pd.to_datetime(served["timestamp"], utc=True)
    return served[(shown >= first) & (shown <= last)].reset_index(drop=True)
