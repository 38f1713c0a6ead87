"""Where pipelines run: in the ranking process, or in a thread of the endpoint.

In one process the endpoint and the ranking share the interpreter's lock: every request waits while
others are ranked, and the ranking waits for it at each of its steps. While the ranking process is
not there (it starts, it was killed) or has not loaded a model, a thread runs the pipeline.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from components.settings import Serve
from serving.recommend.batching import Batcher
from serving.recommend.pipeline import Pipeline
from serving.recommend.types import Request, Response
from serving.recommend.worker_process import MAX_WAITING, WorkerExited, WorkerProcess

logger = logging.getLogger("bentoml.bowerbird")

RESTART_AFTER = 10.0
"""Seconds between two starts of the process, if it keeps ending."""

LOAD_SECONDS = 600
"""The longest wait until the ranking process has loaded a model."""


class Ranking:
    """Runs pipelines in the ranking process, or in a thread while it has not loaded the model.

    niceness: of the process, 0 to 19; a nicer one gets the processor last.
    """

    def __init__(self, serve: Serve, niceness: int = 0) -> None:
        self._serve = serve
        self._niceness = niceness
        self._process: WorkerProcess | None = None
        self._changing = threading.Lock()  # a new process has all models before others see it
        self._started = -np.inf
        self._models: dict[int, tuple[Any, ...]] = {}
        self._thread = Batcher(_run_in_thread, lambda: 32, MAX_WAITING)

    def load(
        self, number: int, folder: Path, version: str, shown: Sequence[str] = ()
    ) -> Future[None] | None:
        """Load a model folder there; the future resolves when it is done. None: no process.

        shown: see ``Engine``.
        """
        return self._command(number, "load", folder, version, shown)

    def overlay(
        self, number: int, trained: int, rows: list[dict[str, Any]], vectors: NDArray[Any] | None
    ) -> Future[None] | None:
        """Load a model with the products of ``PUT /items``; as ``WorkerProcess.overlay``."""
        return self._command(number, "overlay", trained, rows, vectors)

    def _command(self, number: int, *command: Any) -> Future[None] | None:
        with self._changing:
            self._models[number] = command
            process = self._process
            if process is None:
                return None
            done: Future[None] = getattr(process, command[0])(number, *command[1:])
            return done

    def keep_only(self, numbers: set[int]) -> None:
        """Free all other models."""
        with self._changing:
            if self._models.keys() - numbers:
                self._models = {n: one for n, one in self._models.items() if n in numbers}
                if self._process is not None:
                    self._process.keep_only(numbers)

    def watch(self) -> None:
        """Start the process, with all models, where ``serve.ranking`` wants one and none runs."""
        if self._serve.ranking == "thread" or (self._process and self._process.alive):
            return
        if self._process is not None:
            logger.error(
                "the ranking process ended: requests are ranked in a thread until it is restarted"
            )
        if time.monotonic() - self._started < RESTART_AFTER:
            return
        self._started = time.monotonic()
        with self._changing:
            self._process = WorkerProcess(self._serve, self._niceness)
            for number, command in sorted(self._models.items()):
                getattr(self._process, command[0])(number, *command[1:])

    async def respond(self, number: int, pipeline: Pipeline, request: Request) -> Response:
        """Return a model's response. pipeline: runs in a thread where the process cannot.

        Raises:
            TooManyWaiting: too many requests wait already.
        """
        with suppress(WorkerExited):
            return await self.respond_in_process(number, request)
        return await self._thread.ask((pipeline, request))

    async def respond_in_process(self, number: int, request: Request) -> Response:
        """As ``respond``, but only where the process has loaded the model.

        Raises:
            TooManyWaiting: too many requests wait already.
            WorkerExited: the process ended, or has not loaded the model.
        """
        process = self._process
        if process is None or not process.has(number):
            raise WorkerExited("the ranking process has not loaded the model")
        return await process.respond(number, request)

    def close(self) -> None:
        """End the process and the thread."""
        self._thread.close()
        if self._process is not None:
            self._process.close()


def wait_until_loaded(ready: Future[None] | None) -> None:
    """Wait until the ranking process has a model too; an error there is logged.

    ready: of ``Ranking.load`` or ``overlay``.
    """
    if ready is None:
        return
    try:
        ready.result(LOAD_SECONDS)
    except Exception as error:  # requests are ranked in a thread
        logger.error("the ranking process could not load the model: %s", error)


def _run_in_thread(batch: Sequence[tuple[Pipeline, Request]]) -> list[Response]:
    """Return the responses in order; the requests of each pipeline are ranked in one batch."""
    responses: dict[int, Response] = {}
    for pipeline in {id(pipeline): pipeline for pipeline, _ in batch}.values():
        places = [at for at, (of, _) in enumerate(batch) if of is pipeline]
        found = pipeline.run([batch[at][1] for at in places])
        responses.update(zip(places, found, strict=True))
    return [responses[at] for at in range(len(batch))]
