"""The flows as scheduled deployments: ``bowerbird flows``, and ``bowerbird ui`` with its servers.

In: ``flows`` of params.yaml. Out: a process that runs the scheduled flows until it is stopped. A
trigger of Prefect on the event ``bowerbird.drift`` starts the retraining.
"""

from __future__ import annotations

from pathlib import Path

from prefect import serve
from prefect.client.schemas.schedules import CronSchedule
from prefect.deployments.runner import EntrypointType, RunnerDeployment
from prefect.events import DeploymentEventTrigger

from components.settings import Settings
from flows.dead_runs import crash_dead_runs, folder_tag
from flows.monitoring import DRIFT, monitoring
from flows.notifications import notify_failures
from flows.operations import resource
from flows.refresh import refresh
from flows.retraining import retraining
from flows.training import training
from flows.tuning import tuning


def deployments(settings: Settings) -> list[RunnerDeployment]:
    """Return the deployments of the flows; an empty schedule means none. ``tuning`` has none: its
    runs name a model."""
    zone = settings.ingest.timezone

    def schedules(cron: str) -> list[CronSchedule]:
        return [CronSchedule(cron=cron, timezone=zone)] if cron else []

    f = settings.flows
    # By module: run as a script, flows/monitoring.py would shadow the package monitoring.
    by = EntrypointType.MODULE_PATH
    return [
        training.to_deployment(
            "shop",
            schedules=schedules(f.training),
            description=training.description,
            entrypoint_type=by,
        ),
        refresh.to_deployment(
            "shop",
            schedules=schedules(f.refresh),
            description=refresh.description,
            entrypoint_type=by,
        ),
        monitoring.to_deployment(
            "shop",
            schedules=schedules(f.monitoring),
            description=monitoring.description,
            entrypoint_type=by,
        ),
        retraining.to_deployment(
            "shop",
            schedules=schedules(f.retraining),
            description=retraining.description,
            entrypoint_type=by,
            # One at a time: another drift event waits for the result of this run.
            concurrency_limit=1,
            triggers=[
                DeploymentEventTrigger(
                    name="retrain on drift",
                    expect={DRIFT},
                    match={"prefect.resource.id": resource()},
                    parameters={"reason": "drift: {{ event.payload.reasons | join('; ') }}"},
                )
            ],
        ),
        tuning.to_deployment("shop", description=tuning.description, entrypoint_type=by),
    ]


def serve_flows(settings: Settings, own_server: bool = False) -> None:
    """Run the scheduled flows until interrupted. $PREFECT_API_URL names the server.

    own_server: it is that of ``bowerbird ui``, which has just started and knows the operator's
    notification block.
    """
    if own_server:
        notify_failures()
        for name in crash_dead_runs(Path()):
            print(f"the run {name} had died with the last server: it is marked as crashed")
    served = deployments(settings)
    for one in served:
        one.tags = [folder_tag(Path())]
    serve(*served, limit=1 + len(served))
