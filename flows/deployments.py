"""The flows as scheduled deployments, and the pages to watch them: ``bowerbird ui``.

In: ``flows`` of params.yaml. Out: a process that runs what is due, until it is stopped. Drift
starts retraining through Prefect's own trigger on the event ``bowerbird.drift``.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
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


def wait_for(url: str, process: subprocess.Popen[bytes], seconds: float = 120) -> None:
    """Return when ``url`` answers.

    Raises:
        RuntimeError: the process ended, or the time is over.
    """
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if process.poll() is not None:
            raise RuntimeError(f"{' '.join(map(str, process.args))} ended: see its log")  # type: ignore[arg-type]
        try:
            if httpx.get(url, timeout=2).status_code == 200:
                return
        except httpx.HTTPError:
            pass
        time.sleep(0.3)
    raise RuntimeError(f"{url} did not answer within {seconds:.0f} s")


@contextmanager
def pages(settings: Settings, root: Path) -> Iterator[tuple[str, str]]:
    """Run a Prefect server and MLflow's pages; yield their URLs, and end them afterwards."""
    f, logs = settings.flows, root / "var/flows"
    logs.mkdir(parents=True, exist_ok=True)
    from components.registry import Registry

    store = Registry(settings, root).uri
    commands = {
        f"http://{f.host}:{f.prefect_port}": (
            ["prefect", "server", "start", "--host", f.host, "--port", str(f.prefect_port)],
            "/api/health",
            "prefect",
        ),
        f"http://{f.host}:{f.mlflow_port}": (
            [
                *("mlflow", "server", "--backend-store-uri", store, "--workers", "1"),
                *("--host", f.host, "--port", str(f.mlflow_port)),
            ],
            "/health",
            "mlflow",
        ),
    }
    started: list[subprocess.Popen[bytes]] = []
    try:
        for url, (command, health, name) in commands.items():
            with (logs / f"{name}.log").open("ab") as log:
                process = subprocess.Popen(
                    [sys.executable, "-m", *command],
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
            started.append(process)
            wait_for(url + health, process)
        prefect_url, mlflow_url = commands
        yield prefect_url, mlflow_url
    finally:
        for process in started:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGTERM)
        for process in started:
            try:
                process.wait(timeout=15)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
