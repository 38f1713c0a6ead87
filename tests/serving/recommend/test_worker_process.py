"""The ranking process: the same responses as in a thread, and errors when it ends."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from components.settings import Settings
from serving.events.tables import CATALOGUE
from serving.recommend import worker_process
from serving.recommend.batching import TooManyWaiting
from serving.recommend.engine import Engine
from serving.recommend.pipeline import Pipeline
from serving.recommend.types import Filters
from serving.recommend.worker_process import WorkerExited, WorkerProcess
from tests.serving.recommend.requests import ask_for

NOTHING = dict.fromkeys(column.name for column in CATALOGUE.c)


@pytest.fixture
def process(trained: tuple[Path, Settings]) -> Iterator[WorkerProcess]:
    process = WorkerProcess(trained[1].serve)
    yield process
    process.close()


def test_it_makes_the_responses_that_a_thread_makes(
    process: WorkerProcess, engine: Engine, folder: Path, trained: tuple[Path, Settings]
) -> None:
    asked = [
        ask_for(3, 5, 9),
        ask_for(),
        ask_for(8, k=12, reasons=False, exclude=(1, 2), unknown=("zz",)),
        ask_for(4, 4, filters=Filters(max_price=2.0)),
    ]
    expected = Pipeline(Engine.load(folder, "7"), trained[1].serve).run(asked)
    assert not process.has(1)
    process.load(1, folder, "7").result(120)
    assert process.has(1)

    async def all_at_once() -> list[Any]:
        return await asyncio.gather(*(process.respond(1, one) for one in asked))

    for found, other in zip(asyncio.run(all_at_once()), expected, strict=True):
        assert found.exploration_pool is None
        assert found.items == other.items
        assert found.ids == other.ids
        assert found.codes == other.codes
        assert found.json_tail == other.json_tail
        assert found.cold == other.cold


@pytest.mark.slow
def test_of_many_half_are_answered_while_the_others_are_ranked(
    process: WorkerProcess, folder: Path
) -> None:
    process.load(1, folder, "7").result(120)

    async def first_answered() -> set[int]:
        """How many of 16 are answered when the first are, in ten rounds."""
        found = set()
        for _ in range(10):
            asking = [asyncio.ensure_future(process.respond(1, ask_for(n))) for n in range(16)]
            done, _ = await asyncio.wait(asking, return_when=asyncio.FIRST_COMPLETED)
            await asyncio.gather(*asking)
            found.add(len(done))
        return found

    found = asyncio.run(first_answered())
    # On a busy machine both halves can be there before the event loop looks, but not each time.
    assert 8 in found


def test_further_products_are_ranked_there_too(
    process: WorkerProcess, engine: Engine, folder: Path
) -> None:
    vectors = engine.vectors
    assert vectors is not None
    process.load(1, folder, "7").result(120)
    rows = [{**NOTHING, "item_id": "NEW", "title": "new lantern", "price": 3.0}]
    process.overlay(2, 1, rows, np.asarray(vectors[:1])).result(60)
    only_new = ask_for(0, filters=Filters(min_price=3.0, max_price=3.0))

    async def before_and_after_the_other_is_freed() -> list[Any]:
        response = await process.respond(2, only_new)
        process.keep_only({2})
        return [response, await process.respond(2, only_new)]

    response, again = asyncio.run(before_and_after_the_other_is_freed())
    assert response.exploration_pool is None
    assert engine.n_items in response.codes
    assert b'"new lantern"' in response.items
    assert not process.has(1)
    assert again.ids == response.ids
    with pytest.raises(RuntimeError, match="FileNotFoundError"):
        process.load(3, folder / "no", "8").result(60)
    assert not process.has(3)


def test_where_places_are_drawn_the_candidates_come_back(
    folder: Path, trained: tuple[Path, Settings]
) -> None:
    serve = trained[1].serve.model_copy(
        update={
            "exploration": trained[1].serve.exploration.model_copy(
                update={"policy": "epsilon_greedy", "slots": 2, "candidates": 6}
            )
        }
    )
    process = WorkerProcess(serve)
    try:
        process.load(1, folder, "7").result(120)
        response = asyncio.run(process.respond(1, ask_for(3)))
    finally:
        process.close()
    assert response.exploration_pool is not None
    n_pool = len(response.exploration_pool.items)
    assert (response.n_explored, len(response.codes), n_pool) == (2, 5, 9)


def test_who_waits_when_it_ends_is_told_and_too_many_are_refused(
    process: WorkerProcess, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    process.load(1, folder, "7").result(120)
    os.kill(process._process.pid, signal.SIGSTOP)

    async def ask() -> list[Any]:
        waiting = [asyncio.ensure_future(process.respond(1, ask_for(n))) for n in range(3)]
        await asyncio.sleep(0.1)
        monkeypatch.setattr(worker_process, "MAX_WAITING", 3)
        with pytest.raises(TooManyWaiting):
            await process.respond(1, ask_for(9))
        os.kill(process._process.pid, signal.SIGKILL)
        told = await asyncio.gather(*waiting, return_exceptions=True)
        with pytest.raises(WorkerExited):
            await process.respond(1, ask_for(1))
        return told

    assert [type(answer) for answer in asyncio.run(ask())] == [WorkerExited] * 3
    until = time.monotonic() + 10
    while process.has(1) and time.monotonic() < until:
        time.sleep(0.01)
    assert not process.has(1)
    with pytest.raises(WorkerExited):
        process.load(2, folder, "8").result(10)
