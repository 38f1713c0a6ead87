"""The endpoint's side of the ranking process: starts it, sends it models and requests."""

from __future__ import annotations

import asyncio
import itertools
import os
import queue
import socket
import subprocess
import sys
import threading
from collections.abc import Sequence
from concurrent.futures import Future
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from components.settings import Serve
from serving.recommend.batching import TooManyWaiting, settle
from serving.recommend.frames import Frames
from serving.recommend.types import Request, Response

MAX_WAITING = 512
"""Requests that may wait for the ranking process; further ones are refused."""

EXITED = "the ranking process ended"


class WorkerExited(RuntimeError):
    """The ranking process ended before it answered."""


class ResponseStream(asyncio.Protocol):
    """The event loop's end of the stream of requests and responses."""

    def __init__(self) -> None:
        self._numbers = itertools.count()
        self._waiting: dict[int, asyncio.Future[Response]] = {}
        self._unsent: list[tuple[int, int, Request]] = []
        self._frames = Frames()
        self._loop = asyncio.get_running_loop()
        self._transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def send(self, number: int, request: Request) -> asyncio.Future[Response]:
        """Return a future of the response of the model ``number``.

        Raises:
            TooManyWaiting: MAX_WAITING requests wait already.
            WorkerExited: the process ended.
        """
        if self._transport.is_closing():
            raise WorkerExited(EXITED)
        if len(self._waiting) >= MAX_WAITING:
            raise TooManyWaiting("too many requests wait for an answer; try again")
        if not self._unsent:  # the requests of one turn of the loop are sent as one message
            self._loop.call_soon(self._flush)
        key = next(self._numbers)
        self._unsent.append((key, number, request))
        waiting = self._waiting[key] = self._loop.create_future()
        return waiting

    def _flush(self) -> None:
        unsent, self._unsent = self._unsent, []
        self._transport.write(Frames.of(unsent))

    def data_received(self, data: bytes) -> None:
        for responses in self._frames.read(data):
            for key, response in responses:
                settle(self._waiting.pop(key), response)

    def connection_lost(self, exc: Exception | None) -> None:
        for waiting in self._waiting.values():
            settle(waiting, WorkerExited(EXITED))
        self._waiting.clear()


class WorkerProcess:
    """The endpoint's side of the ranking process. Models are known by numbers.

        process = WorkerProcess(serve)
        process.load(1, folder, "7").result()
        response = await process.respond(1, request)

    Commands (load, overlay, keep_only) go over one socket, requests over another that the event
    loop reads itself: a thread in between would cost two switches of the interpreter's lock.
    """

    def __init__(self, serve: Serve, niceness: int = 0) -> None:
        self._serve = serve
        self._ready: set[int] = set()
        self._sent: queue.SimpleQueue[tuple[int, Future[None]]] = queue.SimpleQueue()
        self._lock = threading.Lock()
        commands, worker_commands = socket.socketpair()
        self._requests, worker_requests = socket.socketpair()
        self._stream: asyncio.Future[tuple[Any, ResponseStream]] | None = None
        self._commands = Connection(commands.detach())
        with worker_commands, worker_requests:
            theirs = (worker_commands.fileno(), worker_requests.fileno())
            arguments = map(str, (*theirs, niceness))
            self._process = subprocess.Popen(
                [sys.executable, "-m", "serving.recommend.worker", *arguments],
                env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
                pass_fds=theirs,
            )
        threading.Thread(target=self._receive, name="ranking", daemon=True).start()

    @property
    def alive(self) -> bool:
        """Whether the process is running."""
        return self._process.poll() is None

    def has(self, number: int) -> bool:
        """Return whether the model is loaded there."""
        return number in self._ready

    def load(
        self, number: int, folder: Path, version: str, shown: Sequence[str] = ()
    ) -> Future[None]:
        """Load a model folder as ``number``. shown: see ``Engine``."""
        return self._command(number, "load", str(folder.resolve()), version, shown, self._serve)

    def overlay(
        self, number: int, trained: int, rows: list[dict[str, Any]], vectors: NDArray[Any] | None
    ) -> Future[None]:
        """Make the model ``number``: ``trained`` with the products ``rows`` of ``PUT /items``.

        See ``catalogue.overlaid``. vectors: float32 (new products, width).
        """
        return self._command(number, "overlay", trained, rows, vectors)

    def keep_only(self, numbers: set[int]) -> None:
        """Free all other models."""
        self._ready &= numbers
        with self._lock, suppress(OSError):
            self._commands.send(("keep_only", numbers))

    async def respond(self, number: int, request: Request) -> Response:
        """Return the response of a model that is loaded there (``has``).

        Raises:
            TooManyWaiting: MAX_WAITING requests wait already.
            WorkerExited: the process ended before it answered.
        """
        if self._stream is None:
            connect = asyncio.get_running_loop().create_unix_connection
            self._stream = asyncio.ensure_future(connect(ResponseStream, sock=self._requests))
        _, stream = await self._stream
        return await stream.send(number, request)

    def close(self) -> None:
        """End the process."""
        self._process.terminate()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(5)
        self._process.kill()
        if self._stream is None:  # else the loop closes it when the other end closes
            self._requests.close()

    def _command(self, number: int, name: str, *arguments: Any) -> Future[None]:
        done: Future[None] = Future()
        with self._lock:  # the worker answers commands in order
            try:
                self._commands.send((name, number, *arguments))
            except OSError:
                done.set_exception(WorkerExited(EXITED))
            else:
                self._sent.put((number, done))
        return done

    def _receive(self) -> None:
        with suppress(OSError, EOFError):
            while True:
                error = self._commands.recv()
                number, done = self._sent.get()
                if error is None:
                    self._ready.add(number)
                    done.set_result(None)
                else:
                    done.set_exception(error)
        self._ready.clear()
        with self._lock, suppress(queue.Empty):
            self._commands.close()
            while True:
                self._sent.get_nowait()[1].set_exception(WorkerExited(EXITED))
