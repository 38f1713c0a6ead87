"""Judgement of a window of new interactions: ``detect`` → ``Verdict``, which names its kind.

Three kinds are looked for, in this order, because each explains away the next:

1. ``broken``: days whose data cannot be right (``broken``). They are left out of what follows.
2. ``attack``: few profiles or clients lift few products (``attack``).
3. ``drift``: taste, range or season differ from the reference more than ordinary weeks do.
"""

from __future__ import annotations

import json
import math
from collections.abc import Collection
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from components.arrays import BoolArray
from components.data.schema import SHOP
from components.file_erasure import SESSION
from monitoring.attack import SIGNS, Signs, signs
from monitoring.broken import Finding, find_broken
from monitoring.click_rate import ClickRate
from monitoring.features import cap_rows, clean_window, feature_table
from monitoring.reference import Reference, load_reference
from monitoring.scores import compare_scores, load_model, score_users
from monitoring.statistics import INFORMATIVE, LABELS, MIN_VALUES, statistics

Kind = Literal["broken", "attack", "drift", "none"]

SIGN_LABELS = {
    "newcomers": "bought by customers who had no event before the window",
    "burst": "bought by many customers in the same hour",
    "repeats": "bought again and again by the same customers or clients",
}
MOST_PRODUCTS = 20
"""Products of an attack that a verdict names."""


@dataclass(frozen=True)
class StatisticVerdict:
    """One statistic of a window: its value, the ordinary value, and the alarm threshold.

    drifted: above the threshold; of an informative statistic (``statistics.INFORMATIVE``) it is
    no alarm.
    """

    name: str
    label: str
    value: float | None
    ordinary: float
    threshold: float
    score: float | None
    drifted: bool


@dataclass(frozen=True)
class LiftedProduct:
    """A product that shows a sign of an attack. score: in units of the alarm's threshold."""

    item_id: str
    sign: str
    score: float
    events: int
    profiles: int


@dataclass(frozen=True)
class Attack:
    """What an attack lifts, and with which profiles.

    score: the largest, in units of the threshold; an alarm above 1. profiles: user_id, item_id,
    sign; personal data, which neither a report nor an alert contains.
    """

    score: float
    products: tuple[LiftedProduct, ...]
    profiles: pd.DataFrame


NO_ATTACK = Attack(0.0, (), pd.DataFrame({"user_id": [], "item_id": [], "sign": []}))


@dataclass(frozen=True)
class Verdict:
    """What kind of change a window shows, and why.

    kind: decides about the act, see ``run``. drifted: the kind is drift. enough: false if there
    were too few visits to judge drift and attack, or the alarm is not calibrated. score: the
    largest scaled statistic of drift. threshold: of the score. age: windows between the reference's
    end and the window. reasons: one sentence each. broken: the findings by day. attack_score: see
    ``Attack``. start, end: first and last event of the window, ISO 8601. rows: valid events of days
    that are not broken, of which ``rows_used`` entered the statistics (``sampled``). rows_left_out:
    without user, item or time, duplicate, of a broken day, or of an event type that the reference
    does not have. scores: see ``scores.compare_scores``; empty without a model. outcomes,
    rows_held, clicks: filled in by the caller.
    """

    kind: Kind
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
    age: float
    false_alarm_rate: float
    broken: list[Finding] = field(default_factory=list)
    attack_score: float = 0.0
    products: list[LiftedProduct] = field(default_factory=list)
    statistics: list[StatisticVerdict] = field(default_factory=list)
    scores: dict[str, Any] = field(default_factory=dict)
    outcomes: dict[str, Any] = field(default_factory=dict)
    rows_held: int = 0
    clicks: ClickRate | None = None

    def to_json(self) -> str:
        """Return the verdict as JSON (RFC 8259: no NaN)."""
        return json.dumps(asdict(self), indent=2, allow_nan=False, ensure_ascii=False)


@dataclass(frozen=True)
class Traffic:
    """What ``detect`` judges.

    window: the contract's interactions by the shop's ids; a column ``country`` is used if there is
    one. earlier: users who had an event before the window and after the reference. received: see
    ``broken.wrong_clocks``. silent: the days after the window without any receipt of events. skip:
    days that an operator released, which are not called broken. above_limits: rows beyond the
    limits of ``validate``, which only the signs of an attack count. partial: days of which the
    window has a part only, so that the number and the hours of their visits say nothing.
    """

    window: pd.DataFrame
    earlier: Collection[str] = ()
    received: pd.DataFrame | None = None
    silent: pd.DatetimeIndex = field(default_factory=lambda: pd.DatetimeIndex([], tz="UTC"))
    skip: Collection[pd.Timestamp] = ()
    above_limits: pd.DataFrame | None = None
    partial: Collection[pd.Timestamp] = ()


def detect(
    window: pd.DataFrame | Traffic,
    reference: Reference | str | Path,
    model: str | Path | None = None,
    seed: int = 42,
) -> Verdict:
    """Return the verdict on a window; see ``judge``."""
    return judge(window, reference, model, seed)[0]


def judge(
    traffic: pd.DataFrame | Traffic,
    reference: Reference | str | Path,
    model: str | Path | None = None,
    seed: int = 42,
) -> tuple[Verdict, Attack]:
    """Return what kind of change a window shows, and the profiles of an attack.

    Only event types of the reference are used, because clicks and purchases differ in every
    statistic. model: a folder of ``Hybrid`` below ``models``, to compare the scores too.

    Raises:
        ValueError: a column is missing.
        FileNotFoundError: there is no reference; run ``bowerbird reference`` first.
    """
    if not isinstance(traffic, Traffic):
        traffic = Traffic(traffic)
    if not isinstance(reference, Reference):
        reference = load_reference(reference)
    users = reference.known_users(traffic.earlier)
    frame = _of_reference(clean_window(traffic.window), reference)
    calibrated = reference.not_calibrated is None
    broken = _broken(traffic, reference, users) if calibrated else []
    bad_days = pd.DatetimeIndex([one.day for one in broken], tz="UTC")
    frame = frame[~frame["timestamp"].dt.floor("D").isin(bad_days)].reset_index(drop=True)
    table = feature_table(frame, reference.vocabulary)
    used = cap_rows(table, reference.sample_rows, seed)
    visits = used["visit"].nunique()
    age = reference.age_of(frame["timestamp"].max()) if len(frame) else 0.0
    verdict = Verdict(
        kind="broken" if broken else "none",
        drifted=False,
        enough=calibrated and visits >= reference.scales[0].visits,
        score=None,
        threshold=None,
        reasons=[one.sentence for one in broken],
        start=frame["timestamp"].min().isoformat() if len(frame) else "",
        end=frame["timestamp"].max().isoformat() if len(frame) else "",
        rows=len(table),
        rows_used=len(used),
        rows_left_out=len(traffic.window) - len(table),
        visits=visits,
        sampled=len(used) < len(table),
        reference_start=reference.start,
        reference_end=reference.end,
        age=age,
        false_alarm_rate=reference.false_alarm_rate,
        broken=broken,
    )
    if not calibrated:
        reason = f"there is no alarm yet: {reference.not_calibrated}"
        return replace(verdict, reasons=[reason]), NO_ATTACK
    if not verdict.enough:
        kinds = ", ".join(reference.events)
        least = reference.scales[0].visits
        reason = f"not enough data: {visits} visits with {kinds}, at least {least:.0f} are needed"
        return replace(verdict, reasons=[*verdict.reasons, reason]), NO_ATTACK

    attack = _attack(frame, traffic.above_limits, users, reference, visits)
    verdict = _with_statistics(verdict, used, reference, len(bad_days) > 0)
    verdict = replace(
        verdict,
        attack_score=attack.score,
        products=list(attack.products),
        scores=_scores(model, frame, reference, seed),
    )
    drift = _reasons_of_drift(verdict)
    if verdict.kind == "none" and attack.products:
        verdict = replace(verdict, kind="attack", reasons=_reasons_of_attack(attack))
    elif verdict.kind == "none" and drift:
        verdict = replace(verdict, kind="drift", drifted=True, reasons=drift)
    elif verdict.kind == "none":
        calm = "every statistic is within the range of ordinary weeks"
        verdict = replace(verdict, reasons=[calm])
    return replace(verdict, reasons=[*verdict.reasons, *_not_compared(verdict)]), attack


def _of_reference(frame: pd.DataFrame, reference: Reference) -> pd.DataFrame:
    return frame[frame["event"].isin(reference.events)].reset_index(drop=True)


def _broken(traffic: Traffic, reference: Reference, users: pd.Index) -> list[Finding]:
    """Return the findings of broken data in the days of the window and the silent days after it."""
    rows = traffic.window
    rows = rows.assign(
        timestamp=pd.to_datetime(rows["timestamp"], utc=True),
        **{name: np.nan for name in ("price", "quantity") if name not in rows},
    )
    rows = rows[rows["timestamp"].notna() & rows["event"].isin(reference.events)]
    if rows.empty and not len(traffic.silent):
        return []
    days = pd.DatetimeIndex([], tz="UTC")
    if len(rows):
        times = rows["timestamp"].dt.floor("D")
        days = pd.date_range(times.min(), times.max(), freq="D")
    return find_broken(
        rows,
        reference.baseline(users),
        reference.limits,
        days.append(traffic.silent),
        traffic.received,
        traffic.skip,
        traffic.partial,
    )


def _attack(
    frame: pd.DataFrame,
    above_limits: pd.DataFrame | None,
    known: pd.Index,
    reference: Reference,
    visits: int,
) -> Attack:
    """Return the signs of an attack that exceed their thresholds."""
    if above_limits is not None and len(above_limits):
        more = _of_reference(clean_window(above_limits), reference)
        frame = pd.concat([frame, more], ignore_index=True).sort_values("timestamp", kind="stable")
    users, user_ids = pd.factorize(frame["user_id"])
    items, item_ids = pd.factorize(frame["item_id"])
    clients = None
    if "client" in frame:
        # The shop's own server sends the events of all its customers from one address.
        clients, _ = pd.factorize(frame["client"].mask(frame["authentication"] == SHOP))
    hours = frame["timestamp"].astype("datetime64[s, UTC]").astype("int64").to_numpy() // 3600
    # Each session is new by nature, so that it is no sign; what a client may send is limited.
    new = ~pd.Index(user_ids).isin(known) & ~pd.Index(user_ids).str.startswith(SESSION)
    found = signs(users, items, hours, new, len(item_ids), clients)
    scores = {s: reference.attack.scaled(s, found.values[s], visits) for s in SIGNS}
    largest = max(float(one.max(initial=0.0)) for one in scores.values())
    events = np.bincount(items, minlength=len(item_ids))
    products, profiles = [], []
    for sign, score in scores.items():
        for item in np.argsort(-score, kind="stable")[:MOST_PRODUCTS].tolist():
            if score[item] <= 1:
                break
            behind = _profiles(found, sign, item, users, items, new)
            products.append(
                LiftedProduct(
                    str(item_ids[item]), sign, float(score[item]), int(events[item]), len(behind)
                )
            )
            profiles.append(
                pd.DataFrame({"user_id": user_ids[behind], "item_id": item_ids[item], "sign": sign})
            )
    if not products:
        return replace(NO_ATTACK, score=largest)
    products.sort(key=lambda one: -one.score)
    return Attack(largest, tuple(products), pd.concat(profiles, ignore_index=True))


def _profiles(
    found: Signs, sign: str, item: int, users: np.ndarray, items: np.ndarray, new: BoolArray
) -> np.ndarray:
    """Return the codes of the users by whom a product shows a sign."""
    of_item = found.items == item
    buyers = found.users[of_item]
    if sign == "newcomers":
        return buyers[new[buyers]]
    if sign == "burst":
        return buyers[found.hours[of_item] == found.dense[item]]
    counts = np.bincount(users[items == item], minlength=len(new))
    return np.flatnonzero(counts > 1) if (counts > 1).any() else buyers


def _reasons_of_attack(attack: Attack) -> list[str]:
    return [
        f"product {one.item_id}: {SIGN_LABELS[one.sign]}: {one.profiles} profiles, {one.events} "
        f"events, {one.score:.1f} times the alarm's threshold"
        for one in attack.products
    ]


def _with_statistics(
    verdict: Verdict, used: pd.DataFrame, reference: Reference, has_holes: bool
) -> Verdict:
    """Return the verdict with the statistics of drift.

    has_holes: days of the window are left out, so that its weekdays cannot be compared.
    """
    values = statistics(reference.table, used, reference.window_days)
    if has_holes:
        values["weekday"] = math.nan
    scale = reference.scale(verdict.visits, verdict.age)
    scaled = scale.scaled(values)
    results = [
        StatisticVerdict(
            name,
            LABELS[name],
            values[name] if name in scaled else None,
            scale.value(name, 0.0),
            scale.value(name, scale.threshold),
            scaled.get(name),
            scaled.get(name, -math.inf) > scale.threshold,
        )
        for name in scale.mean
    ]
    score = scale.score(values)
    return replace(
        verdict,
        score=score if math.isfinite(score) else None,
        threshold=scale.threshold,
        statistics=results,
    )


def _reasons_of_drift(verdict: Verdict) -> list[str]:
    moved = [one for one in verdict.statistics if one.drifted and one.name not in INFORMATIVE]
    return [
        f"{one.label}: {one.value:.3f}, alarming from {one.threshold:.3f} on "
        f"(ordinary windows of this size and age: {one.ordinary:.3f})"
        for one in sorted(moved, key=lambda one: -(one.score or 0.0))
    ]


def _not_compared(verdict: Verdict) -> list[str]:
    """Return the sentence about the statistics that could alarm and cannot be compared."""
    unknown = [
        one.label for one in verdict.statistics if one.value is None and one.name not in INFORMATIVE
    ]
    few = f"fewer than {MIN_VALUES} known values"
    return [f"not compared, because of {few}: {', '.join(unknown)}"] if unknown else []


def _scores(
    model: str | Path | None, frame: pd.DataFrame, reference: Reference, seed: int
) -> dict[str, Any]:
    """Return the scores before the window compared with the reference's, {} without a model."""
    if model is None or reference.scores is None:
        return {}
    loaded, items, past = load_model(Path(model))
    past = pd.concat([past, frame[["user_id", "item_id", "timestamp"]]])
    current = score_users(loaded, items, past, frame, seed, reference.targets)
    return compare_scores(reference.scores, current)
