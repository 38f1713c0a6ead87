"""Exposures of shoppers to the arms of experiments, and what followed them.

In: the arm each shopper was first shown. Out: shoppers and conversions of each arm, for
``serving/experiments.py``.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from components.rollout import INTERNAL
from serving.arms import Exposure
from serving.events.database import Database
from serving.events.postgres import STATEMENT_TIMEOUT
from serving.events.tables import EVENTS, EXPOSURES, SECOND

ROWS_PER_DELETE = 10_000


@dataclass(frozen=True)
class ArmOutcome:
    """users: shoppers exposed to the arm. converted: those with an outcome event in the window.
    versions: the model versions of their first exposures."""

    arm: str
    users: int
    converted: int
    versions: tuple[str, ...]


def record_exposures(database: Database, rows: Sequence[dict[str, Any]]) -> None:
    """Record that shoppers were shown an arm; durable on return.

    rows: the columns of EXPOSURES but row_id. A shopper's later exposures to the same experiment
    change nothing.

    Raises:
        StoreError: the database failed; nothing was written.
    """
    statement = database.insert(EXPOSURES).on_conflict_do_nothing(
        index_elements=["experiment", "profile"]
    )
    with database.writing() as connection:
        connection.execute(statement, list(rows))


class ExposureLog:
    """Records each shopper's first exposure to an arm of each experiment.

    max_exposures: those remembered as recorded; the least recent go first.
    """

    def __init__(self, database: Database, max_exposures: int) -> None:
        self._database = database
        self._max_exposures = max_exposures
        self._recorded: OrderedDict[tuple[str, str], None] = OrderedDict()

    def has(self, profile: str, exposures: Sequence[Exposure]) -> bool:
        """Return whether the shopper's exposures are known to be recorded."""
        return all((one.experiment, profile) in self._recorded for one in exposures)

    def record(self, exposed: Sequence[tuple[str, Exposure, str]]) -> None:
        """Record (profile, arm, model version) of each shopper; durable on return.

        Raises:
            StoreError: the database failed; nothing was written.
        """
        now = time.time_ns() // 1000
        rows = {
            (one.experiment, profile): {
                "experiment": one.experiment,
                "profile": profile,
                "arm": one.arm,
                "model_version": version,
                "timestamp": now,
            }
            for profile, one, version in exposed
        }
        new = [row for key, row in rows.items() if key not in self._recorded]
        if not new:
            return
        record_exposures(self._database, new)
        self._recorded.update(dict.fromkeys(rows))
        while len(self._recorded) > self._max_exposures:
            self._recorded.popitem(last=False)

    def forget(self) -> None:
        """Forget all shoppers in memory: after an erasure."""
        self._recorded.clear()


def delete_exposures(database: Database, experiment: str) -> None:
    """Delete the exposures of an experiment, some at a time, so that events can be written between.

    Raises:
        StoreError: the database failed; call it again.
    """
    some = sa.select(EXPOSURES.c.row_id).where(EXPOSURES.c.experiment == experiment)
    statement = sa.delete(EXPOSURES).where(EXPOSURES.c.row_id.in_(some.limit(ROWS_PER_DELETE)))
    deleted = 1
    while deleted:
        with database.writing() as connection:
            deleted = connection.execute(statement).rowcount


def experiment_names(database: Database, prefix: str = "") -> list[str]:
    """Return the names with at least one exposure, sorted: of the A/B tests, or with ``prefix``.

    Raises:
        StoreError: the database failed.
    """
    name = EXPOSURES.c.experiment
    statement = (
        sa.select(name)
        .where(name.startswith(prefix) if prefix else ~name.startswith(INTERNAL))
        .distinct()
        .order_by(name)
    )
    with database.connected() as connection:
        return list(connection.scalars(statement))


def arm_outcomes(
    database: Database,
    experiment: str,
    events: Sequence[str],
    window_hours: float,
    timeout: float | None = STATEMENT_TIMEOUT,
) -> list[ArmOutcome]:
    """Return the outcome of each arm of an experiment, by the arms' names.

    A shopper converted if one of ``events`` (kinds) followed the first exposure within the window.
    timeout: as ``Database.connected``.

    Raises:
        StoreError: the database failed.
    """
    end = EXPOSURES.c.timestamp + int(window_hours * 3600 * SECOND)
    followed = sa.exists().where(
        EVENTS.c.profile == EXPOSURES.c.profile,
        EVENTS.c.event.in_(list(events)),
        EVENTS.c.timestamp >= EXPOSURES.c.timestamp,
        EVENTS.c.timestamp < end,
    )
    converted = sa.case((followed, 1), else_=0)
    of_experiment = EXPOSURES.c.experiment == experiment
    counts = (
        sa.select(EXPOSURES.c.arm, sa.func.count(), sa.func.sum(converted))
        .where(of_experiment)
        .group_by(EXPOSURES.c.arm)
        .order_by(EXPOSURES.c.arm)
    )
    shown = sa.select(EXPOSURES.c.arm, EXPOSURES.c.model_version).where(of_experiment).distinct()
    with database.connected(timeout=timeout) as connection:
        versions: dict[str, list[str]] = {}
        for arm, version in connection.execute(shown):
            versions.setdefault(arm, []).append(version)
        return [
            ArmOutcome(arm, users, int(conversions or 0), tuple(sorted(versions[arm])))
            for arm, users, conversions in connection.execute(counts)
        ]
