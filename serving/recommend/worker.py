"""The ranking process: runs the pipelines, so that ranking never blocks the endpoint's event loop.

It loads the same model folders as the endpoint (their arrays are the same pages of memory, mapped
from the files), answers in batches what arrived while it was busy, and exits with the process that
started it. See ``ranking`` for why, ``worker_process`` for the other side.
"""

from __future__ import annotations

import gc
import itertools
import logging
import os
import socket
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Any

from serving import metrics
from serving.languages import languages
from serving.memory import release_unused_memory
from serving.models.catalogue import overlaid_engine
from serving.recommend.engine import Engine
from serving.recommend.frames import Frames
from serving.recommend.pipeline import Pipeline
from serving.recommend.types import Request, Response
from serving.recommend.worker_process import WorkerExited

FEW = 4
"""The smallest batch that is not split: ranking four requests costs little more than one."""

READ = 1 << 20
"""Bytes read at once."""

SWITCH = 0.0005
"""Seconds after which a thread hands over to a waiting one: Python's 5 ms is as long as several
responses take."""

Numbered = tuple[int, int, Request]
"""Number of the request, number of the model, the request."""


class Worker:
    """Answers requests with its loaded models, by their numbers."""

    def __init__(self, commands: Connection, requests: socket.socket) -> None:
        self._commands = commands
        self._requests = requests
        self._pipelines: dict[int, Pipeline] = {}

    def run(self) -> None:
        """Answer requests until the endpoint closes its end; then the process exits."""
        threading.Thread(target=self._follow_commands, daemon=True).start()
        frames = Frames()
        waiting: list[Numbered] = []
        with suppress(OSError):
            while more := self._requests.recv(READ):
                waiting += itertools.chain(*frames.read(more))
                while waiting:
                    pipeline = self._pipelines.get(waiting[0][1])
                    # Process half of the queue per batch, so that both processes stay busy: the
                    # endpoint sends these responses on while the other half is ranked.
                    half = max(FEW, (len(waiting) + 1) // 2)
                    most = min(half, pipeline.engine.max_batch) if pipeline else 1
                    self._answer(waiting[:most])
                    del waiting[:most]
                    with suppress(BlockingIOError):  # new requests join those that still wait
                        more = self._requests.recv(READ, socket.MSG_DONTWAIT)
                        waiting += itertools.chain(*frames.read(more))
        os._exit(0)  # the parent process exited

    def _answer(self, batch: list[Numbered]) -> None:
        metrics.BATCH.observe(len(batch))
        answers: list[tuple[int, Response | Exception]] = []
        for number in {entry[1] for entry in batch}:
            of_model = [entry for entry in batch if entry[1] == number]
            responses = self._responses(number, [entry[2] for entry in of_model])
            answers += [(entry[0], one) for entry, one in zip(of_model, responses, strict=True)]
        self._requests.sendall(Frames.of(answers))

    def _responses(self, number: int, requests: list[Request]) -> Sequence[Response | Exception]:
        """Return a response or the error of each; a batch that fails is tried one by one."""
        pipeline = self._pipelines.get(number)
        if pipeline is None:
            return [WorkerExited("the model was freed")] * len(requests)
        try:
            return pipeline.run(requests)
        except Exception as error:  # logged and answered by the request that it belongs to
            if len(requests) == 1:
                return [_plain(error)]
            return [one for request in requests for one in self._responses(number, [request])]

    def _follow_commands(self) -> None:
        """Load and free models; reply to each "load" and "overlay" with its error or None."""
        with suppress(OSError, EOFError):
            while True:
                name, *arguments = self._commands.recv()
                if name == "keep_only":
                    for number in set(self._pipelines) - arguments[0]:
                        del self._pipelines[number]
                    continue
                try:
                    self._load(name, *arguments)
                    self._commands.send(None)
                except Exception as error:  # the endpoint goes on with the models that it has
                    self._commands.send(_plain(error))
        os._exit(0)

    def _load(self, name: str, number: int, *arguments: Any) -> None:
        if name == "load":
            folder, version, shown, serve = arguments
            pipeline = Pipeline(Engine.load(folder, version, shown), serve)
        else:
            trained, rows, vectors = arguments
            base = self._pipelines[trained]
            engine, _ = overlaid_engine(base.engine, rows, lambda _: vectors)
            pipeline = Pipeline(engine, base.serve)
        pipeline.engine.attributes.read_columns()
        self._pipelines[number] = pipeline
        release_unused_memory()
        gc.freeze()


def _plain(error: Exception) -> RuntimeError:
    """Return an error that can be pickled, whatever the original holds."""
    return RuntimeError(f"{type(error).__name__}: {error}")


def main() -> None:
    """Run ``python -m serving.recommend.worker COMMANDS REQUESTS NICENESS``.

    COMMANDS, REQUESTS: file descriptors. NICENESS: 0 to 19.
    """
    import signal

    from threadpoolctl import threadpool_limits

    signal.signal(
        signal.SIGINT, signal.SIG_IGN
    )  # Ctrl-C goes to the endpoint, which ends this process
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s %(message)s")
    sys.setswitchinterval(SWITCH)
    threadpool_limits(1)
    languages()  # read now, so that no request waits for it
    commands, requests, niceness = map(int, sys.argv[1:])
    os.nice(niceness)
    Worker(Connection(commands), socket.socket(fileno=requests)).run()


if __name__ == "__main__":
    main()
