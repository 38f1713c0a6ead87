"""A pause after a failure."""

from __future__ import annotations

import pytest

from serving.models import retry
from serving.models.retry import RETRY_SECONDS, Retry


def test_what_failed_waits_and_anything_else_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr(retry.time, "monotonic", lambda: now)
    attempts = Retry()
    assert attempts.is_due("3")
    attempts.failed("3")
    assert not attempts.is_due("3")
    assert attempts.is_due("4")
    now += RETRY_SECONDS - 1
    assert not attempts.is_due("3")
    now += 1
    assert attempts.is_due("3")
    attempts.failed("3")
    attempts.succeeded()
    assert attempts.is_due("3")
