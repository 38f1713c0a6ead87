"""A thread ranks while there is no process, and no request fails when the process is killed."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil
import pytest

from components.settings import Settings
from serving.recommend import ranking
from serving.recommend.engine import Engine
from serving.recommend.pipeline import Pipeline
from serving.recommend.ranking import Ranking
from tests.serving.recommend.requests import ask_for


def test_a_thread_stands_in_until_the_process_is_back(
    engine: Engine,
    folder: Path,
    trained: tuple[Path, Settings],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ranking, "RESTART_AFTER", 0.0)
    ranks = Ranking(trained[1].serve)
    pipeline = Pipeline(engine, trained[1].serve)

    def shown() -> str:
        return asyncio.run(ranks.respond(1, pipeline, ask_for(3, 5))).ids

    try:
        assert ranks.load(1, folder, "test") is None  # before there is a process
        expected = shown()
        ranks.watch()
        first = ranks._process
        assert first is not None
        until = time.monotonic() + 60
        while not first.has(1) and time.monotonic() < until:
            time.sleep(0.05)
        assert first.has(1)
        assert shown() == expected
        os.kill(first._process.pid, signal.SIGKILL)
        first._process.wait(10)
        assert shown() == expected
        ranks.watch()
        second = ranks._process
        assert second is not None
        assert second is not first
        while not second.has(1) and time.monotonic() < until:
            time.sleep(0.05)
        assert second.has(1)  # it loaded what the first had
        assert shown() == expected
    finally:
        ranks.close()


@pytest.mark.slow  # a whole endpoint; the process alone is killed in the test before
def test_killed_under_load_no_request_fails(serve: Callable[..., Any], shop_root: Path) -> None:
    server = serve(shop_root).start()

    def ranker() -> psutil.Process | None:
        for child in psutil.Process(server.process.pid).children(recursive=True):
            if "serving.recommend.worker" in child.cmdline():
                return child
        return None

    first = ranker()
    assert first is not None
    stop = time.monotonic() + 8

    def ask(number: int) -> list[int]:
        codes, step = [], 0
        with server.client() as client:
            while time.monotonic() < stop:
                step += 1
                body = {"user_id": f"u{number}-{step}", "k": 5}
                codes.append(client.post("/recommend", json=body).status_code)
        return codes

    with ThreadPoolExecutor(4) as pool:
        asked = [pool.submit(ask, number) for number in range(4)]
        time.sleep(2)
        first.kill()
        answers = [code for one in asked for code in one.result()]
    assert len(answers) > 100
    assert set(answers) == {200}
    until = time.monotonic() + 60
    while (ranker() is None or ranker() == first) and time.monotonic() < until:
        time.sleep(0.2)
    again = ranker()
    assert again is not None
    server.stop(kill=True)  # as a crash: nobody tells the ranking process
    assert again.wait(10) is not None or not again.is_running()
