"""The flow ``retraining``: trains on new feedback and evaluates the challenger.

It is started by drift, by its schedule, or by hand. The stage ``register`` decides about promotion.
"""

from __future__ import annotations

from typing import Any

from prefect import flow, get_run_logger

from flows.clone import in_use
from flows.monitoring import export_feedback
from flows.operations import ended
from flows.training import train


@flow(
    name="retraining",
    log_prints=True,
    on_completion=[ended],
    on_failure=[ended],
)
def retraining(reason: str = "by hand") -> dict[str, Any]:
    """Train on all data including the feedback; return the registration.

    reason: of the run, for the log.
    """
    get_run_logger().info("retraining: %s", reason)
    with in_use():
        export_feedback()
        return train()
