"""A verdict → a durable line in the alert log, and a webhook.

In: a ``Verdict``. Out: ``var/monitoring/alerts.jsonl``, one JSON object a line, and a POST to the
webhook of ``monitor.webhook`` if there is one. Whether to retrain is returned; the
flow starts it.
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
    """Return whether retraining should start; if so, the alert is on disk when this returns.

    Only a drifted verdict is an alert. The line is appended in one write and synced. A webhook
    that fails is logged and changes nothing else.
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
