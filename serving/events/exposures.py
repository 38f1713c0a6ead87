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

from serving.events.database import Database
from serving.events.tables import EVENTS, EXPOSURES, SECOND


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
    """Records each shopper's first exposure to the running experiment.

    experiment: its name. max_profiles: shoppers remembered as recorded; the least recent go first.
    """

    def __init__(self, database: Database, experiment: str, max_profiles: int) -> None:
        self._database = database
        self._experiment = experiment
        self._max_profiles = max_profiles
        self._recorded: OrderedDict[str, None] = OrderedDict()

    def has(self, profile: str | None) -> bool:
        """Return whether the shopper's exposure is known to be recorded."""
        return profile in self._recorded

    def record(self, exposures: Sequence[tuple[str, str, str]]) -> None:
        """Record (profile, arm, model version) of each shopper; durable on return.

        Raises:
            StoreError: the database failed; nothing was written.
        """
        new = [one for one in exposures if one[0] not in self._recorded]
        if not new:
            return
        columns = ("profile", "arm", "model_version")
        same = {"experiment": self._experiment, "timestamp": time.time_ns() // 1000}
        rows = [{**dict(zip(columns, one, strict=True)), **same} for one in new]
        record_exposures(self._database, rows)
        for profile, _, _ in new:
            self._recorded[profile] = None
        while len(self._recorded) > self._max_profiles:
            self._recorded.popitem(last=False)

    def forget(self) -> None:
        """Forget all shoppers in memory: after an erasure."""
        self._recorded.clear()


def experiment_names(database: Database) -> list[str]:
    """Return the names of the experiments with at least one exposure, sorted.

    Raises:
        StoreError: the database failed.
    """
    statement = sa.select(EXPOSURES.c.experiment).distinct().order_by(EXPOSURES.c.experiment)
    with database.connected() as connection:
        return list(connection.scalars(statement))


def arm_outcomes(
    database: Database, experiment: str, events: Sequence[str], window_hours: float
) -> list[ArmOutcome]:
    """Return the outcome of each arm of an experiment, by the arms' names.

    A shopper converted if one of ``events`` (kinds) followed the first exposure within the window.

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
    with database.connected() as connection:
        versions: dict[str, list[str]] = {}
        for arm, version in connection.execute(shown):
            versions.setdefault(arm, []).append(version)
        return [
            ArmOutcome(arm, users, int(conversions or 0), tuple(sorted(versions[arm])))
            for arm, users, conversions in connection.execute(counts)
        ]
