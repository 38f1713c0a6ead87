"""Exposures of shoppers, in both databases."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from serving.events.database import Database
from serving.events.exposures import ExposureLog, arm_outcomes
from serving.events.store import EventStore


@pytest.fixture
def database(url: str) -> Iterator[Database]:
    store = EventStore(url)
    yield store.database
    store.close()


def test_only_a_shoppers_first_exposure_is_recorded(database: Database) -> None:
    log = ExposureLog(database, "spring", max_profiles=2)
    assert not log.has("user:1")
    log.record([("user:1", "control", "3"), ("user:2", "treatment", "4")])
    assert log.has("user:1")
    log.record([("user:1", "treatment", "4")])
    ExposureLog(database, "spring", 2).record([("user:2", "control", "3")])  # another worker
    outcomes = arm_outcomes(database, "spring", ["purchase"], 24.0)
    assert [(one.arm, one.users, one.versions) for one in outcomes] == [
        ("control", 1, ("3",)),
        ("treatment", 1, ("4",)),
    ]


def test_the_memory_is_bounded_and_forgets(database: Database) -> None:
    log = ExposureLog(database, "spring", max_profiles=2)
    log.record([(f"user:{n}", "control", "3") for n in range(3)])
    assert [log.has(f"user:{n}") for n in range(3)] == [False, True, True]
    log.forget()
    assert not log.has("user:2")
    assert not log.has(None)
