"""Runs of flows whose process died with Prefect's server: nothing told Prefect of their end.

In: the runs that Prefect has as running or pending. Out: those without a process are crashed, which
frees their concurrency slot, that otherwise would block every later run; and an alert, which is
raised here: a server that has just started does not run its automations yet.
"""

from __future__ import annotations

from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterDeploymentId,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import StateType
from prefect.states import Crashed

from flows.children import RUN, marked
from flows.notifications import raise_flow_alert

MESSAGE = "its process died together with the server, which learned of it at its next start"


def crash_dead_runs() -> list[str]:
    """Mark the runs of deployments without a process on this machine as crashed.

    Returns their names. Call it when the server has started, before a runner starts runs.
    """
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
            if str(run.id) not in alive
        ]
        for run in dead:
            client.set_flow_run_state(run.id, Crashed(message=MESSAGE), force=True)
            flow = client.read_flow(run.flow_id).name
            raise_flow_alert(flow, f"the run {run.name} of {flow} ended as Crashed: {MESSAGE}")
    return [run.name for run in dead]
