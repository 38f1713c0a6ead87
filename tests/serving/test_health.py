"""Degraded parts of a worker."""

from __future__ import annotations

import logging

import pytest

from serving import metrics
from serving.health import Health


def degraded(part: str) -> float:
    return metrics.DEGRADED.labels(part)._value.get()


def test_a_problem_is_logged_once_and_shown_until_it_is_over(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.getLogger("bentoml"), "propagate", True)
    health = Health()
    for _ in range(3):
        health.report("encoder", "it is damaged")
    assert health.problems == {"encoder": "it is damaged"}
    assert degraded("encoder") == 1
    assert [record.getMessage() for record in caplog.records] == ["encoder: it is damaged"]
    health.report("encoder", "it cannot be read")
    assert len(caplog.records) == 2
    health.report("encoder", None)
    assert (health.problems, degraded("encoder")) == ({}, 0)
