"""An alert: a durable line in the alert log, and a message to the webhook.

In: facts of an alert. Out: a line of JSON in ``var/monitoring/alerts.jsonl``, and a POST to the
webhook of ``monitor.webhook`` if there is one.
"""

from __future__ import annotations

import json
import logging
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx

from components.credentials import WebhookCredential, keep_urls_out_of_logs

log = logging.getLogger(__name__)

ALERTS = Path("var/monitoring/alerts.jsonl")
NO_WEBHOOK = WebhookCredential("")
WEBHOOK_SECONDS = 5.0
SAME = timedelta(hours=1)
"""The same alert is not raised again within this time: each worker of an endpoint would."""


def raise_alert(
    alert: dict[str, Any], file: str | Path = ALERTS, webhook: WebhookCredential = NO_WEBHOOK
) -> None:
    """Append an alert with the time; it is on disk when this returns, and posted to the webhook.

    The line is appended in one write and synced. A webhook that fails is logged and changes
    nothing else.
    """
    alert = {"raised_at": datetime.now(UTC).isoformat(timespec="seconds"), **alert}
    file = Path(file)
    file.parent.mkdir(parents=True, exist_ok=True)
    line = json.dumps(alert, ensure_ascii=False, allow_nan=False) + "\n"
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        os.write(descriptor, line.encode())
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    if webhook.get_secret_value():
        _post(webhook, alert)


def raise_once(
    alert: dict[str, Any], file: str | Path = ALERTS, webhook: WebhookCredential = NO_WEBHOOK
) -> None:
    """As ``raise_alert``, unless the same alert was raised within the last hour."""
    for old in read_alerts(file)[-50:]:
        facts = {name: value for name, value in old.items() if name != "raised_at"}
        if facts == alert:
            raised = datetime.fromisoformat(old["raised_at"])
            if datetime.now(UTC) - raised < SAME:
                return
    raise_alert(alert, file, webhook)


def read_alerts(file: str | Path = ALERTS) -> list[dict[str, Any]]:
    """Return the alerts, oldest first; empty where there is no log. A torn line is left out."""
    file = Path(file)
    if not file.exists():
        return []
    alerts = []
    for line in file.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            alert = json.loads(line)
        except json.JSONDecodeError:
            log.warning("%s has a line that is no JSON: %.80r", file, line)
            continue
        if isinstance(alert, dict):
            alerts.append(alert)
    return alerts


def _post(webhook: WebhookCredential, alert: dict[str, Any]) -> None:
    """Send an alert. A redirect is not followed and counts as a failure; no answer is read."""
    keep_urls_out_of_logs()
    url = webhook.get_secret_value()
    try:
        with httpx.stream("POST", url, json=alert, timeout=WEBHOOK_SECONDS) as response:
            if response.is_success:
                return
            why = f"it answered {response.status_code}"
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        why = type(error).__name__  # the text of some errors quotes the URL
    log.warning("the alert was not delivered to monitor.webhook (%s): %s", webhook, why)
