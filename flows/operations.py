"""What Prefect and the operator learn from each other when a flow ends.

In: the timeline, and the end of a flow run. Out: an event ``bowerbird.timeline.<kind>`` in Prefect
for each new entry, those of the endpoint and of commands included; and the alert of a failed flow
resolved when the flow completes.

The event's id is the entry's, which Prefect keeps once: after a kill an entry is sent again.
"""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import UUID

from prefect import Flow, State
from prefect.client.schemas.objects import FlowRun
from prefect.events import emit_event

from components.alerts import resolve_alerts
from components.json_files import write_json
from components.notifications import deliver
from components.settings import load_settings
from components.timeline import read_timeline

FORWARDED = Path("var/operations/forwarded.json")
"""The id of the newest entry that Prefect has."""
EVENT = "bowerbird.timeline"
BY = "prefect"


def resource() -> str:
    """Return the id of this shop in Prefect's events."""
    return f"bowerbird.shop.{load_settings().register_.model_name}"


def ended(flow: Flow[..., Any], run: FlowRun, state: State[Any]) -> None:
    """Forward the timeline; resolve the alert of the flow if it completed. A hook of all flows."""
    root = Path()
    if state.is_completed():
        resolve_alerts(root, "flow", f"the run {run.name} completed", BY, [flow.name])
        deliver(root, load_settings())
    forward_timeline(root)


def forward_timeline(root: Path) -> int:
    """Emit an event for each entry that Prefect does not have yet; return how many."""
    entries = read_timeline(root)
    ids = [entry.id for entry in entries]
    last = _forwarded(root)
    new = entries[ids.index(last) + 1 :] if last in ids else entries
    for entry in new:
        emit_event(
            f"{EVENT}.{entry.kind}",
            resource={"prefect.resource.id": resource(), "prefect.resource.name": entry.text},
            occurred=datetime.fromisoformat(entry.at),
            payload={"text": entry.text, "by": entry.by, "evidence": entry.evidence},
            id=UUID(entry.id),
        )
    if new:
        write_json(root / FORWARDED, {"id": new[-1].id})
    return len(new)


def _forwarded(root: Path) -> str | None:
    try:
        return str(json.loads((root / FORWARDED).read_text(encoding="utf-8"))["id"])
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None
