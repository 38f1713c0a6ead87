"""Bounded thread pools for work that would block the event loop.

There is a pool for each kind of work, so that catalogue updates and conversations take no thread
from /metrics and /status. A full pool refuses work (503 with Retry-After).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

from serving.recommend.batching import TooManyWaiting

Given = ParamSpec("Given")
Result = TypeVar("Result")


class Pool:
    """Threads for one kind of work, on one event loop: ``await pool.run(function, argument)``.

    most: work items that may run and wait in total.
    """

    def __init__(self, name: str, threads: int, most: int) -> None:
        self.name = name
        self.most = most
        self._inside = 0
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix=name)

    async def run(
        self, work: Callable[Given, Result], *given: Given.args, **named: Given.kwargs
    ) -> Result:
        """Return what ``work`` returns, called in one of the pool's threads.

        Raises:
            TooManyWaiting: ``most`` run and wait already.
        """
        if self._inside >= self.most:
            raise TooManyWaiting(f"too many requests wait ({self.name}); try again")
        return await self.go_on(work, *given, **named)

    async def go_on(
        self, work: Callable[Given, Result], *given: Given.args, **named: Given.kwargs
    ) -> Result:
        """As ``run`` for the rest of an answer that has begun: it waits, and is never refused."""
        self._inside += 1
        waiting = self._threads.submit(work, *given, **named)
        waiting.add_done_callback(self._left(asyncio.get_running_loop()))
        return await asyncio.wrap_future(waiting)

    def _left(self, loop: asyncio.AbstractEventLoop) -> Callable[[object], None]:
        """Return what counts down when the work is done, not when its client went away."""

        def count() -> None:
            self._inside -= 1

        def done(_: object) -> None:
            if not loop.is_closed():
                loop.call_soon_threadsafe(count)

        return done


READING = Pool("reading", 4, 256)
"""Search, similar products, given lists, a user's history."""
WRITING = Pool("writing", 2, 32)
"""Products, erasures."""
CONVERSATION = Pool("conversation", 2, 32)
OPERATION = Pool("operation", 2, 64)
"""/metrics, /status, experiments, exports, jobs."""
