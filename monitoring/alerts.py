"""Alerts: a durable line in the alert log, and a webhook.

In: a ``Verdict``. Out: ``var/monitoring/alerts.jsonl``, one JSON object per line, and a POST to
``monitor.webhook`` if it is set. The return value says whether to retrain; the flow starts the
retraining.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from components.alerts import ALERTS, NO_WEBHOOK, raise_alert, read_alerts
from components.credentials import WebhookCredential
from monitoring.detection import Verdict

__all__ = ["append_alert", "read_alerts"]


def append_alert(
    verdict: Verdict, file: str | Path = ALERTS, webhook: WebhookCredential = NO_WEBHOOK
) -> bool:
    """Return whether to start a retraining; if so, the alert has been written to disk.

    Only drift raises an alert. The line is appended in one write and synced. A failing webhook is
    logged and has no other effect.
    """
    if not verdict.drifted:
        return False
    raise_alert(_alert(verdict), file, webhook)
    return True


def _alert(verdict: Verdict) -> dict[str, Any]:
    facts = asdict(verdict)
    names = ("score", "threshold", "reasons", "start", "end", "rows", "visits", "scores")
    return {
        "statistics": [one["name"] for one in facts["statistics"] if one["drifted"]],
        **{name: facts[name] for name in names},
    }
