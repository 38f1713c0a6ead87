"""Batches of concurrent requests."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence

import pytest

from serving.recommend.batching import Batcher, TooManyWaiting


def test_what_arrives_while_it_is_busy_is_one_batch() -> None:
    batches: list[list[int]] = []
    busy, release = threading.Event(), threading.Event()

    def double(numbers: Sequence[int]) -> list[int]:
        batches.append(list(numbers))
        busy.set()
        release.wait(10)
        return [2 * number for number in numbers]

    batcher = Batcher(double, lambda: 3, max_waiting=4)

    async def scenario() -> list[int]:
        first = asyncio.ensure_future(batcher.ask(0))
        await asyncio.to_thread(busy.wait, 10)
        others = [asyncio.ensure_future(batcher.ask(n)) for n in (1, 2, 3, 4)]
        await asyncio.sleep(0)
        with pytest.raises(TooManyWaiting):
            await batcher.ask(5)
        release.set()
        return await asyncio.gather(first, *others)

    assert asyncio.run(scenario()) == [0, 2, 4, 6, 8]
    assert batches == [[0], [1, 2, 3], [4]]
    batcher.close()


def test_an_error_reaches_the_request_that_it_belongs_to() -> None:
    def invert(numbers: Sequence[float]) -> list[float]:
        return [1 / number for number in numbers]

    batcher = Batcher(invert, lambda: 8)

    async def scenario() -> list[float | BaseException]:
        asked = [batcher.ask(number) for number in (1, 0, 4)]
        return await asyncio.gather(*asked, return_exceptions=True)

    found = asyncio.run(scenario())
    assert (found[0], found[2]) == (1, 0.25)
    assert isinstance(found[1], ZeroDivisionError)
    batcher.close()
