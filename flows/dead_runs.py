"""Runs of flows whose process died with Prefect's server: nothing told Prefect of their end.

In: the runs that Prefect has as running or pending, and that this folder's ``bowerbird ui`` or
``flows`` served. Out: those without a process on this computer are crashed, which frees their
concurrency slot, that otherwise would block every later run; and an alert, which is raised here: a
server that has just started does not run its automations yet.
"""

from __future__ import annotations

import json
from pathlib import Path
from uuid import uuid4

from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterDeploymentId,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.states import Crashed

from components.file_lock import file_lock
from components.json_files import write_json
from flows.access import private_folder
from flows.children import RUN, marked
from flows.notifications import raise_flow_alert

MESSAGE = "its process died together with the server, which learned of it at its next start"


TAG = "bowerbird.folder:"
"""Begins the tag of runs that a folder serves."""
IDENTITY = "folder.json"
"""Name of the file below ``var/flows`` with the random id of this folder. A host name is none: each
start of a container has another one."""


def folder_tag(root: Path) -> str:
    """Return the tag of the runs that ``root`` serves; its id is made if there is none."""
    file = private_folder(root) / IDENTITY
    with file_lock(file.with_suffix(".lock")):
        if not file.exists():
            write_json(file, uuid4().hex)
        return f"{TAG}{json.loads(file.read_text(encoding='utf-8'))}"


def _served(run: FlowRun, own: str) -> bool:
    """Return whether the folder with the tag ``own`` served a run, and no work pool."""
    tags = [tag for tag in run.tags if tag.startswith(TAG)]
    earlier = not tags  # made before there were these tags
    return run.work_pool_name is None and (earlier or own in tags)


def crash_dead_runs(root: Path) -> list[str]:
    """Mark the runs that ``root`` served and that have no process on this computer as crashed.

    Runs of work pools are the workers', which tell Prefect of their ends; runs with another
    folder's tag may be on another computer.

    Returns their names. Call it when the server has started, before a runner starts runs.
    """
    own = folder_tag(root)
    alive = set(marked(RUN).values())
    unfinished = FlowRunFilter(
        state=FlowRunFilterState(
            type=FlowRunFilterStateType(
                any_=[StateType.RUNNING, StateType.PENDING, StateType.CANCELLING]
            )
        ),
        # Other runs are in the processes that called the flow, which Prefect does not name.
        deployment_id=FlowRunFilterDeploymentId(is_null_=False),
    )
    with get_client(sync_client=True) as client:
        dead = [
            run
            for run in client.read_flow_runs(flow_run_filter=unfinished)
            if str(run.id) not in alive and _served(run, own)
        ]
        for run in dead:
            client.set_flow_run_state(run.id, Crashed(message=MESSAGE), force=True)
            flow = client.read_flow(run.flow_id).name
            raise_flow_alert(flow, f"the run {run.name} of {flow} ended as Crashed: {MESSAGE}")
    return [run.name for run in dead]
