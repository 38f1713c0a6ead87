"""The flow ``monitoring``: checks the newest traffic and emits a Prefect event for what it found.

The event ``bowerbird.drift`` starts the deployment of ``flows/retraining.py``. The events
``bowerbird.broken-data`` and ``bowerbird.attack`` start nothing: the days are held back, or
promotions are, until an operator decides.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import yaml
from prefect import flow, get_run_logger, task
from prefect.artifacts import create_link_artifact, create_markdown_artifact
from prefect.events import emit_event

from components.settings import load_settings
from flows.clone import in_use
from flows.operations import ended, resource
from flows.remote import pull, pull_locked
from flows.stages import only_one, run_command

if TYPE_CHECKING:
    from monitoring.run import MonitoringResult

DRIFT = "bowerbird.drift"
NEEDED = ("reference", "refit")
"""Stages whose outputs the check reads: the reference and the served model."""
SCRATCH = Path("var/monitoring/pulled")
EVENTS = {"drift": DRIFT, "broken": "bowerbird.broken-data", "attack": "bowerbird.attack"}
"""Event of each kind of verdict; only DRIFT has a trigger."""


@task(retries=2, retry_delay_seconds=5)
def export_feedback() -> None:
    """Export impressions and feedback to Parquet."""
    run_command([sys.executable, "-m", "bowerbird", "export-feedback"], "export-feedback")


@task(retries=5, retry_delay_seconds=60)  # a training registers its version, then pushes
def pull_newest_models(folder: Path) -> Path:
    """Copy the reference and the served model of the newest training from DVC's remote.

    Of whichever machine trained: MLflow has its ``dvc.lock``, which workers do not commit.

    Returns:
        The folder of both; that of this clone, as git's ``dvc.lock`` has it, before any training.
    """
    # They take seconds to import: not for the other flows.
    from components.registry import Registry, reachable
    from flows.rebuild import registered_lock

    with reachable():
        registry = Registry(load_settings(), Path())
        trained = [one for one in registry.versions() if one.refreshed_from is None]
        lock = registered_lock(registry, trained[0]) if trained else None
    if lock is None:
        with only_one():
            pull(Path(), force=True)
        return Path("models")
    stages = yaml.safe_load(lock)["stages"]
    shutil.rmtree(folder, ignore_errors=True)  # of an attempt that failed
    folder.mkdir(parents=True)
    pull_locked(Path(), {name: stages[name] for name in NEEDED}, folder)
    get_run_logger().info("the reference is that of version %s", trained[0].version)
    return folder / "models"


@task(retries=2, retry_delay_seconds=5)
def share_histories() -> None:
    """Write the champion's histories to the event store, where endpoints read them there."""
    run_command([sys.executable, "-m", "bowerbird", "share-histories"], "share-histories")


@task(retries=1, retry_delay_seconds=5)
def check_newest_window(models: Path) -> MonitoringResult:
    """Check the newest window for drift: verdict, report, alert.

    models: the folder of the reference and the served model.
    """
    from monitoring.run import check_drift  # takes 4 s to import: not for the other flows

    return check_drift(load_settings(), Path(), models=models)


def check_against_newest_models() -> MonitoringResult:
    """Check the newest window against the newest training of this folder or, with
    ``flows.remote``, of all machines."""
    if not load_settings().flows.remote:
        return check_newest_window(Path("models"))
    SCRATCH.mkdir(parents=True, exist_ok=True)
    # Only for this run: the reference has customers' ids, which an erasure looks for elsewhere.
    with tempfile.TemporaryDirectory(dir=SCRATCH) as name:
        return check_newest_window(pull_newest_models(Path(name) / "newest"))


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
    with in_use():
        export_feedback()
        found = check_against_newest_models()
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
