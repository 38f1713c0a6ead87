"""Retraining as a flow: the feedback becomes a new data version, the challenger is judged.

Started by drift, by its schedule, or by hand. Promotion is decided in the stage ``register``.
"""

from __future__ import annotations

from typing import Any

from prefect import flow, get_run_logger

from flows.monitoring import export_feedback
from flows.training import train


@flow(name="retraining", log_prints=True)
def retraining(reason: str = "by hand") -> dict[str, Any]:
    """Train on everything including the feedback; return the registration.

    reason: what started it, for the log.
    """
    get_run_logger().info("retraining: %s", reason)
    export_feedback()
    return train()
