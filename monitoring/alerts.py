"""Alerts of the monitoring: raised by a verdict, and resolved by a later one that finds it passed.

In: a ``Verdict``. Out: open and resolved alerts (``components.alerts``). An alert of broken data is
about one check, one of an attack about one product. The alerts of an attack are resolved when the
operator ends the hold on promotions, see ``components.evaluation.promotion_hold``.
"""

from __future__ import annotations

from pathlib import Path

from components.alerts import open_alerts, raise_alert, resolve_alerts
from monitoring.detection import Verdict

BY = "monitoring"
TRAFFIC = "traffic"
"""Subject of an alert of drift: there is one traffic."""


def update_alerts(root: Path, verdict: Verdict) -> None:
    """Raise the alerts of a verdict, and resolve those whose condition has passed."""
    facts = {"start": verdict.start, "end": verdict.end, "events": verdict.rows}
    _broken(root, verdict)
    if verdict.kind == "attack":
        profiles = {one.item_id: one.profiles for one in verdict.products}
        reasons = {
            item: f"signs of an attack on product {item} by {n:,} profiles: promotions are held"
            for item, n in profiles.items()
        }
        raise_alert(root, "attack", reasons, BY, facts)
    elif verdict.kind == "drift":
        drifted = [one.name for one in verdict.statistics if one.drifted]
        details = {
            "score": verdict.score,
            "threshold": verdict.threshold,
            "statistics": drifted,
            **facts,
        }
        raise_alert(root, "drift", {TRAFFIC: "; ".join(verdict.reasons)}, BY, details)
    elif verdict.kind == "none" and verdict.enough:
        why = f"no drift in {verdict.rows:,} events, {verdict.start[:10]} to {verdict.end[:10]}"
        resolve_alerts(root, "drift", why, BY)


def _broken(root: Path, verdict: Verdict) -> None:
    """Raise an alert for each check that failed; resolve those of which later days are sound."""
    failed = {one.check: one for one in verdict.broken}  # of each check its newest day
    for check, finding in failed.items():
        raise_alert(root, "broken", {check: finding.sentence}, BY, {"until": finding.day})
    sound = [
        one.subject
        for one in open_alerts(root)
        if one.kind == "broken"
        and one.subject not in failed
        and str(one.details.get("until", "")) < verdict.end[:10]
    ]
    if sound:
        why = f"the data of {verdict.end[:10]} are sound; held days stay held until released"
        resolve_alerts(root, "broken", why, BY, sound)
