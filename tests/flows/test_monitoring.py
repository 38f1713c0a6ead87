"""The flow ``monitoring``: which event each kind of verdict emits, and what starts a retraining."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from components.settings import Settings
from flows.deployments import deployments
from flows.monitoring import DRIFT, EVENTS, state_of
from monitoring.detection import Verdict
from monitoring.run import MonitoringResult, should_retrain


def found(kind: str, enough: bool = True, held: tuple[date, ...] = ()) -> MonitoringResult:
    verdict = Verdict(
        kind, kind == "drift", enough, 1.0, 2.0, ["why"], "", "", 9, 9, 0, 9, False, "", "", 0.0,
        0.05,
    )  # type: ignore[arg-type]  # fmt: skip
    return MonitoringResult(verdict, Path(), should_retrain(verdict), list(held))


@pytest.mark.parametrize(
    ("kind", "retrain", "said"),
    [
        ("drift", True, "retraining"),
        ("broken", False, "not learned from: 2026-03-01"),
        ("attack", False, "promotions are held"),
        ("none", False, "no drift"),
    ],
)
def test_only_drift_starts_a_retraining(kind: str, retrain: bool, said: str) -> None:
    result = found(kind, held=(date(2026, 3, 1),) if kind == "broken" else ())
    assert result.retrain is retrain
    assert said in state_of(result)
    assert (EVENTS.get(kind) == DRIFT) is retrain


def test_too_little_traffic_is_said() -> None:
    assert state_of(found("none", enough=False)) == "not enough data"


def test_no_event_but_drift_triggers_the_retraining(settings: Settings) -> None:
    triggers = [one for deployed in deployments(settings) for one in deployed.triggers]
    assert [set(one.expect) for one in triggers] == [{DRIFT}]
