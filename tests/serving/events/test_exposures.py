"""Exposures of shoppers, in both databases."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from serving.arms import Exposure
from serving.events import exposures
from serving.events.database import Database
from serving.events.exposures import (
    ExposureLog,
    arm_outcomes,
    delete_exposures,
    experiment_names,
)
from serving.events.store import EventStore

CONTROL, TREATMENT = Exposure("spring", "control"), Exposure("spring", "treatment")


@pytest.fixture
def database(url: str) -> Iterator[Database]:
    store = EventStore(url)
    yield store.database
    store.close()


def test_only_a_shoppers_first_exposure_is_recorded(database: Database) -> None:
    log = ExposureLog(database, max_exposures=3)
    assert not log.has("user:1", [CONTROL])
    other = Exposure("~canary", "treatment")
    first = [("user:1", CONTROL, "3"), ("user:1", other, "3"), ("user:2", TREATMENT, "4")]
    log.record([*first, *first])
    assert log.has("user:1", [CONTROL, other])
    assert not log.has("user:2", [TREATMENT, other])
    log.record([("user:1", TREATMENT, "4")])
    ExposureLog(database, 2).record([("user:2", CONTROL, "3")])  # another worker
    outcomes = arm_outcomes(database, "spring", ["purchase"], 24.0)
    assert [(one.arm, one.users, one.versions) for one in outcomes] == [
        ("control", 1, ("3",)),
        ("treatment", 1, ("4",)),
    ]


def test_the_memory_is_bounded_and_forgets(database: Database) -> None:
    log = ExposureLog(database, max_exposures=2)
    log.record([(f"user:{n}", CONTROL, "3") for n in range(3)])
    assert [log.has(f"user:{n}", [CONTROL]) for n in range(3)] == [False, True, True]
    assert log.has("user:0", [])  # a shopper of no experiment has nothing to record
    log.forget()
    assert not log.has("user:2", [CONTROL])


def test_a_canarys_exposures_are_deleted_and_are_no_ab_test(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exposures, "ROWS_PER_DELETE", 2)
    canary = Exposure("~canary 2", "treatment")
    log = ExposureLog(database, max_exposures=9)
    log.record([(f"user:{n}", one, "3") for n in range(5) for one in (CONTROL, canary)])
    assert experiment_names(database) == ["spring"]
    delete_exposures(database, "~canary 2")
    assert arm_outcomes(database, "~canary 2", ["purchase"], 24.0) == []
    assert arm_outcomes(database, "spring", ["purchase"], 24.0)[0].users == 5
