"""The thread that calls a function every second."""

from __future__ import annotations

import logging
import threading

import pytest

from serving import periodic
from serving.periodic import Periodic


def test_it_outlives_errors_and_logs_each_once(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.getLogger("bentoml"), "propagate", True)
    monkeypatch.setattr(periodic, "SECONDS", 0.001)
    looks, enough = 0, threading.Event()

    def look() -> None:
        nonlocal looks
        looks += 1
        if looks > 5:
            enough.set()
            return
        raise ValueError("bad model" if looks < 4 else "another bad model")

    thread = Periodic("looking for changes", look)
    thread.start()
    assert enough.wait(10)
    thread.stop()
    logged = [record.getMessage() for record in caplog.records]
    assert logged == ["looking for changes failed: ValueError"] * 2
    stopped_at = looks
    enough.clear()
    assert not enough.wait(0.05)
    assert looks == stopped_at
