"""The flow ``monitoring``: checks the newest traffic and emits a Prefect event for what it found.

The event ``bowerbird.drift`` starts the deployment of ``flows/retraining.py``. The events
``bowerbird.broken-data`` and ``bowerbird.attack`` start nothing: the days are held back, or
promotions are, until an operator decides.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from prefect import flow, get_run_logger, task
from prefect.artifacts import create_link_artifact, create_markdown_artifact
from prefect.events import emit_event

from components.file_erasure import REFERENCE
from components.settings import load_settings
from flows.operations import ended, resource
from flows.remote import pull
from flows.stages import only_one, run_command

if TYPE_CHECKING:
    from monitoring.run import MonitoringResult

DRIFT = "bowerbird.drift"
EVENTS = {"drift": DRIFT, "broken": "bowerbird.broken-data", "attack": "bowerbird.attack"}
"""Event of each kind of verdict; only DRIFT has a trigger."""


@task(retries=2, retry_delay_seconds=5)
def export_feedback() -> None:
    """Export impressions and feedback to Parquet."""
    run_command([sys.executable, "-m", "bowerbird", "export-feedback"], "export-feedback")


@task(retries=2, retry_delay_seconds=5)
def share_histories() -> None:
    """Write the champion's histories to the event store, if endpoints read them there."""
    if load_settings().serve.histories == "store":
        run_command([sys.executable, "-m", "bowerbird", "share-histories"], "share-histories")


@task(retries=1, retry_delay_seconds=5)
def check_newest_window() -> MonitoringResult:
    """Check the newest window for drift: verdict, report, alert."""
    from monitoring.run import check_drift  # takes 4 s to import: not for the other flows

    return check_drift(load_settings(), Path())


def state_of(found: MonitoringResult) -> str:
    """Return the kind of the verdict in words, with what was done."""
    verdict = found.verdict
    if verdict.kind == "broken":
        days = ", ".join(map(str, found.held)) or "the days are held already"
        return f"broken data; not learned from: {days}"
    if verdict.kind == "attack":
        return "signs of an attack; promotions are held"
    if verdict.kind == "drift":
        return "drift; the retraining starts"
    return "no drift" if verdict.enough else "not enough data"


@flow(
    name="monitoring",
    log_prints=True,
    on_completion=[ended],
    on_failure=[ended],
)
def monitoring() -> bool:
    """Return whether the newest traffic starts the retraining; emit the event of its kind."""
    export_feedback()
    if load_settings().flows.remote and not Path(REFERENCE).exists():  # a new clone
        with only_one():
            pull(Path(), force=True)
    found = check_newest_window()
    verdict = found.verdict
    state = state_of(found)
    window = f"{verdict.rows:,} events, {verdict.start[:10]} to {verdict.end[:10]}."
    if verdict.score is not None and verdict.threshold is not None:
        window += f" Score {verdict.score:.2f}, alarm above {verdict.threshold:.2f}."
    lines = [
        f"# {state}",
        "",
        window,
        "",
        *(f"- {reason}" for reason in verdict.reasons),
    ]
    create_markdown_artifact("\n".join(lines), key="drift")
    page = (found.folder / "index.html").resolve()
    create_link_artifact(page.as_uri(), "the drift report", key="drift-page")
    get_run_logger().info("%s: %s", state, page)
    if verdict.kind in EVENTS:
        emit_event(
            EVENTS[verdict.kind],
            resource={"prefect.resource.id": resource()},
            payload={
                "score": verdict.score,
                "threshold": verdict.threshold,
                "reasons": list(verdict.reasons),
                "held": [str(day) for day in found.held],
                "products": [one.item_id for one in verdict.products],
                "start": verdict.start,
                "end": verdict.end,
                "report": str(page),
            },
        )
    return bool(found.retrain)
