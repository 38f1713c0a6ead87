"""A verdict → a durable line in the alert log, and a message to whoever should know.

In: a ``Verdict``. Out: ``var/monitoring/alerts.jsonl``, one JSON object a line, and a POST to the
webhook of ``monitor.webhook`` if there is one. Whether to retrain is returned; starting it is the
flow's business.
"""

from __future__ import annotations

import json
import logging
import os
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx

from monitoring.drift import Verdict

log = logging.getLogger(__name__)

WEBHOOK_SECONDS = 5.0


def append_alert(
    verdict: Verdict, file: str | Path = "var/monitoring/alerts.jsonl", webhook: str = ""
) -> bool:
    """Return whether retraining should start; if so, the alert is on disk when this returns.

    Only a drifted verdict is an alert. The line is appended in one write and synced. A webhook
    that fails is logged and changes nothing else.
    """
    if not verdict.drifted:
        return False
    alert = _alert(verdict)
    file = Path(file)
    file.parent.mkdir(parents=True, exist_ok=True)
    line = json.dumps(alert, ensure_ascii=False, allow_nan=False) + "\n"
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    try:
        os.write(descriptor, line.encode())
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    if webhook:
        _post(webhook, alert)
    return True


def read_alerts(file: str | Path = "var/monitoring/alerts.jsonl") -> list[dict[str, Any]]:
    """Return the alerts, oldest first; empty where there is no log. A torn line is left out."""
    file = Path(file)
    if not file.exists():
        return []
    alerts = []
    for line in file.read_text(encoding="utf-8").splitlines():
        try:
            alerts.append(json.loads(line))
        except json.JSONDecodeError:
            log.warning("%s has a line that is no JSON: %.80r", file, line)
    return alerts


def _alert(verdict: Verdict) -> dict[str, Any]:
    facts = asdict(verdict)
    names = ("score", "threshold", "reasons", "start", "end", "rows", "visits", "scores")
    return {
        "raised_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "statistics": [one["name"] for one in facts["statistics"] if one["drifted"]],
        **{name: facts[name] for name in names},
    }


def _post(url: str, alert: dict[str, Any]) -> None:
    try:
        httpx.post(url, json=alert, timeout=WEBHOOK_SECONDS).raise_for_status()
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        log.warning("the alert was not delivered to %s: %s", url, error)
