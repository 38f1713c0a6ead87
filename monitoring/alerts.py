"""Alerts: a durable line in the alert log, and a webhook.

In: a ``Verdict``. Out: ``var/monitoring/alerts.jsonl``, one JSON object per line, and a POST to
``monitor.webhook`` if it is set. Whether to raise one is decided in ``monitoring.run``.
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
) -> None:
    """Append the alert of a verdict to the log, durable on return, and send it to the webhook.

    The line is appended in one write and synced. A failing webhook is logged and has no other
    effect.
    """
    raise_alert(_alert(verdict), file, webhook)


def _alert(verdict: Verdict) -> dict[str, Any]:
    facts = asdict(verdict)
    names = ("kind", "score", "threshold", "reasons", "start", "end", "rows", "visits", "scores")
    return {
        "statistics": [one["name"] for one in facts["statistics"] if one["drifted"]],
        **{name: facts[name] for name in names},
    }
