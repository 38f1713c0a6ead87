"""The flows as scheduled deployments: ``bowerbird flows``, and ``bowerbird ui`` with its servers.

In: ``flows`` of params.yaml. Out: a process that runs what is due, until it is stopped. Drift
starts retraining through Prefect's own trigger on the event ``bowerbird.drift``.
"""

from __future__ import annotations

from prefect import serve
from prefect.client.schemas.schedules import CronSchedule
from prefect.deployments.runner import EntrypointType, RunnerDeployment
from prefect.events import DeploymentEventTrigger

from components.settings import Settings
from flows.monitoring import DRIFT, monitoring, resource
from flows.retraining import retraining
from flows.training import training


def deployments(settings: Settings) -> list[RunnerDeployment]:
    """Return the deployments of the three flows; a schedule that is empty is none."""
    zone = settings.ingest.timezone

    def schedules(cron: str) -> list[CronSchedule]:
        return [CronSchedule(cron=cron, timezone=zone)] if cron else []

    f = settings.flows
    # By module: run as a script, flows/monitoring.py would stand for the package monitoring.
    by = EntrypointType.MODULE_PATH
    return [
        training.to_deployment(
            "shop",
            schedules=schedules(f.training),
            description=training.description,
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
            # One at a time: drift that is seen again meanwhile waits for what comes of this one.
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
    ]


def serve_flows(settings: Settings) -> None:
    """Run what is due until interrupted. $PREFECT_API_URL names the server."""
    serve(*deployments(settings), limit=1 + len(deployments(settings)))
