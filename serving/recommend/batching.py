"""Batching of concurrent requests without a waiting time.

One thread answers; the requests that arrived while it was busy are its next batch. An idle service
answers a single request at once, a busy one shares the matrix products among all waiting requests.
"""

from __future__ import annotations

import asyncio
import logging
import queue
import threading
from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

from serving import metrics

logger = logging.getLogger("bentoml.bowerbird")

Input = TypeVar("Input")
Output = TypeVar("Output")


class TooManyWaiting(RuntimeError):
    """The queue of waiting requests is full; try again in a second."""


class Batcher(Generic[Input, Output]):
    """``await batcher.ask(x)`` returns what ``answer([…, x, …])`` returned for x.

    answer: called in the batcher's thread with up to ``max_batch()`` inputs. max_waiting: further
    inputs are refused.
    """

    _EMPTY = object()

    def __init__(
        self,
        answer: Callable[[Sequence[Input]], Sequence[Output]],
        max_batch: Callable[[], int],
        max_waiting: int = 512,
    ) -> None:
        self._answer = answer
        self._max_batch = max_batch
        self._queue: queue.Queue[Any] = queue.Queue(max_waiting)
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)
        self._thread.start()

    async def ask(self, given: Input) -> Output:
        """Return the answer.

        Raises:
            TooManyWaiting: ``max_waiting`` inputs wait already.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Output] = loop.create_future()
        try:
            self._queue.put_nowait((given, loop, future))
        except queue.Full as error:
            raise TooManyWaiting("too many requests wait for an answer; try again") from error
        return await future

    def _run(self) -> None:
        entry = self._queue.get()
        while entry is not None:
            entries = [entry]
            entry = None
            while len(entries) < self._max_batch():
                try:
                    entry = self._queue.get_nowait()
                except queue.Empty:
                    entry = self._EMPTY
                if entry is None or entry is self._EMPTY:
                    break
                entries.append(entry)
            metrics.BATCH.observe(len(entries))
            # One call for the batch: each wakes the loop and hands over the interpreter's lock.
            loop = entries[0][1]
            loop.call_soon_threadsafe(_resolve, entries, self._answers(entries))
            del (
                entries
            )  # else what they hold, a model perhaps, stays in memory until the next batch
            if entry is not None:
                entry = self._queue.get()

    def _answers(self, entries: list[Any]) -> Sequence[Any]:
        """Return an answer or the error of each; a batch that fails is tried one by one."""
        try:
            return self._answer([entry[0] for entry in entries])
        except Exception as error:  # logged and answered by the request that it belongs to
            if len(entries) == 1:
                return [error]
            return [answer for entry in entries for answer in self._answers([entry])]

    def close(self) -> None:
        """Answer the queued inputs, then stop the thread."""
        self._queue.put(None)
        self._thread.join(timeout=5)


def _resolve(entries: list[Any], answers: Sequence[Any]) -> None:
    for (_, _, future), answer in zip(entries, answers, strict=True):
        settle(future, answer)


def settle(future: asyncio.Future[Any], answer: Any) -> None:
    """Set a future's result, or its error if ``answer`` is one; a cancelled future stays."""
    if future.done():  # the client went away
        return
    if isinstance(answer, BaseException):
        future.set_exception(answer)
    else:
        future.set_result(answer)
