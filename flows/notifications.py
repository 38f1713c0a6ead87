"""The operator's notification block in Prefect, and the automation that uses it.

In: a flow run that failed or crashed, also by a kill. Out: an open alert of the kind ``flow``
(``components.alerts``), sent by apprise to the addresses of ``monitor.alert_urls``, once until the
flow completes again (``flows.operations``).

The block holds no address: Prefect's server, which ``bowerbird ui`` starts in the shop's folder,
reads them from its environment, so that no token is in Prefect's database.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

from prefect.automations import Automation
from prefect.blocks.abstract import NotificationBlock
from prefect.events import EventTrigger
from prefect.events.actions import SendNotification

from components.alerts import raise_alert
from components.notifications import deliver
from components.settings import load_settings

BLOCK, AUTOMATION = "operator", "a flow failed"
FAILED = ("Failed", "Crashed", "TimedOut")
"""Names of the states of a flow run that are alerts."""
BY = "prefect"


class OperatorAlert(NotificationBlock):
    """Raises an alert: the subject is the flow's name, the body says what happened."""

    _block_type_name = "Bowerbird alert"
    _block_type_slug = "bowerbird-alert"
    _description = "Sends an alert to the addresses of monitor.alert_urls, once while it is open."

    async def notify(self, body: str, subject: str | None = None) -> None:
        """Raise the alert and send it."""
        await asyncio.to_thread(raise_flow_alert, subject or "unknown", body)


def raise_flow_alert(flow: str, body: str) -> None:
    """Raise the alert of a flow and send it; the first line of ``body`` says what happened."""
    first, _, _ = body.strip().partition("\n")  # the rest is the stage's output
    raise_alert(Path(), "flow", {flow: first}, BY)
    deliver(Path(), load_settings())


def notify_failures() -> None:
    """Save the block and the automation, or bring them up to date."""
    block = OperatorAlert().save(BLOCK, overwrite=True)
    wanted = Automation(
        name=AUTOMATION,
        description="An alert for each flow that failed, crashed or took too long.",
        trigger=EventTrigger(
            expect={f"prefect.flow-run.{state}" for state in FAILED},
            match={"prefect.resource.id": "prefect.flow-run.*"},
            posture="Reactive",
            threshold=1,
        ),
        actions=[
            SendNotification(
                block_document_id=block,
                subject="{{ flow.name }}",
                body="the run {{ flow_run.name }} of {{ flow.name }} ended as "
                "{{ flow_run.state.name }}: {{ flow_run.state.message }}",
            )
        ],
    )
    try:
        wanted.id = Automation.read(name=AUTOMATION).id
    except ValueError:
        wanted.create()
    else:
        wanted.update()
