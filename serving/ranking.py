"""Pages made in a process of their own, so that a ranking never holds up the event loop.

In one process the endpoint and the ranking share the interpreter's lock: every request waits while
others are ranked, and the ranking waits for it at each of its steps. The ranking process loads the
same model folder (its arrays are the same pages of memory, mapped from the files), answers together
what came while it was busy, and ends with the process that it belongs to. While it is not there
(it starts, it was killed) or does not have a model, a thread makes the pages.

What passes between the two is pickled: both ends are ours, and nobody else can reach the pipe.
"""

from __future__ import annotations

import asyncio
import gc
import itertools
import logging
import os
import queue
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np

from components.settings import Serve
from serving import metrics
from serving.batching import Batcher, TooManyWaiting
from serving.catalogue import overlaid_engine
from serving.engine import Engine
from serving.pages import Page, PageMaker, Wish

logger = logging.getLogger("bentoml.bowerbird")

MOST_WAITING = 512
RESTART_AFTER = 10.0
"""Seconds from one start of the process to the next, if it keeps ending."""

SWITCH = 0.0005
"""Seconds after which a thread gives way to another that waits: Python's 5 ms is as long as several
answers take."""


Waiting = Future[None] | asyncio.Future[Page]


class Gone(RuntimeError):
    """The ranking process ended before it answered."""


class RankingProcess:
    """The endpoint's side of the pipe. Models are known by numbers.

    process = RankingProcess(serve)
    process.load(1, folder, "7").result()
    page = await process.page(1, wish)
    """

    def __init__(self, serve: Serve) -> None:
        self._serve = serve
        self._numbers = itertools.count()
        self._waiting: dict[int, Waiting] = {}
        self._ready: set[int] = set()
        self._lock = threading.Lock()
        ours, theirs = socket.socketpair()
        self._pipe = Connection(ours.detach())
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "serving.ranking", str(theirs.fileno())],
                env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
                pass_fds=[theirs.fileno()],
            )
        threading.Thread(target=self._receive, name="pages", daemon=True).start()

    @property
    def alive(self) -> bool:
        """Whether the process runs."""
        return self._process.poll() is None

    def has(self, number: int) -> bool:
        """Return whether pages of this model may be asked for."""
        return number in self._ready

    def load(self, number: int, folder: Path, version: str) -> Future[None]:
        """Load a model folder as ``number``."""
        return self._make(number, "load", str(folder.resolve()), version, self._serve)

    def overlay(
        self, number: int, trained: int, rows: list[dict[str, Any]], vectors: np.ndarray | None
    ) -> Future[None]:
        """Make ``number`` of the model ``trained`` and the products that came since; see
        ``catalogue.overlaid``. vectors: float32 (new products, width)."""
        return self._make(number, "overlay", trained, rows, vectors)

    def keep_only(self, numbers: set[int]) -> None:
        """Free all other models."""
        self._ready &= numbers
        self._send(("keep_only", numbers))

    async def page(self, number: int, wish: Wish) -> Page:
        """Return a page of a model that ``has`` said is there.

        Raises:
            TooManyWaiting: MOST_WAITING pages wait already.
            Gone: the process ended before it answered.
        """
        if len(self._waiting) >= MOST_WAITING:
            raise TooManyWaiting("too many requests wait for an answer; try again")
        waiting: asyncio.Future[Page] = asyncio.get_running_loop().create_future()
        self._ask(waiting, "page", number, wish)
        return await waiting

    def close(self) -> None:
        """End the process."""
        self._pipe.close()
        self._process.terminate()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(5)
        self._process.kill()

    def _make(self, number: int, *what: Any) -> Future[None]:
        made: Future[None] = Future()
        made.add_done_callback(
            lambda done: self._ready.add(number) if done.exception() is None else None
        )
        self._ask(made, what[0], number, *what[1:])
        return made

    def _ask(self, waiting: Waiting, kind: str, *what: Any) -> None:
        number = next(self._numbers)
        self._waiting[number] = waiting
        if not self._send((kind, number, *what)) and self._waiting.pop(number, None):
            waiting.set_exception(Gone("the ranking process ended"))

    def _send(self, message: tuple[Any, ...]) -> bool:
        try:
            with self._lock:
                self._pipe.send(message)
        except OSError:
            return False
        return True

    def _receive(self) -> None:
        with suppress(OSError, EOFError):
            while True:
                answers = self._pipe.recv()
                _resolve([(self._waiting.pop(number), answer) for number, answer in answers])
        self._ready.clear()
        while self._waiting:
            with suppress(KeyError):
                _resolve([(self._waiting.popitem()[1], Gone("the ranking process ended"))])


def _resolve(answered: list[tuple[Waiting, Any]]) -> None:
    """Give each its answer; an event loop's all in one call, since each call wakes it."""
    by_loop: dict[asyncio.AbstractEventLoop, list[tuple[Waiting, Any]]] = {}
    for waiting, answer in answered:
        if isinstance(waiting, asyncio.Future):
            by_loop.setdefault(waiting.get_loop(), []).append((waiting, answer))
        else:
            _set([(waiting, answer)])
    for loop, of_loop in by_loop.items():
        with suppress(RuntimeError):  # the loop was closed: nobody waits any more
            loop.call_soon_threadsafe(_set, of_loop)


def _set(answered: list[tuple[Waiting, Any]]) -> None:
    for waiting, answer in answered:
        if waiting.done():  # the client went away
            continue
        if isinstance(answer, Exception):
            waiting.set_exception(answer)
        else:
            waiting.set_result(answer)


class Served:
    """The process's own side: models by number, and what was asked of them."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe
        self._makers: dict[int, PageMaker] = {}
        self._lock = threading.Lock()
        self._asked: queue.SimpleQueue[tuple[int, int, Wish]] = queue.SimpleQueue()
        self._tasks: queue.SimpleQueue[tuple[Any, ...]] = queue.SimpleQueue()

    def run(self) -> None:
        """Answer until the other side is gone."""
        for work in (self._receive, self._load):
            threading.Thread(target=work, daemon=True).start()
        while True:
            self._answer(self._asked.get())

    def _answer(self, first: tuple[int, int, Wish]) -> None:
        """Answer the first that was asked and what came with it, as many as are ranked at once."""
        batch, maker = [first], self._makers.get(first[1])
        most = maker.engine.max_batch if maker else 1
        with suppress(queue.Empty):
            while len(batch) < most:
                batch.append(self._asked.get_nowait())
        metrics.BATCH.observe(len(batch))
        answers: list[tuple[int, Any]] = []
        for number in {entry[1] for entry in batch}:
            of_model = [entry for entry in batch if entry[1] == number]
            pages = self._pages(number, [entry[2] for entry in of_model])
            answers += [(entry[0], page) for entry, page in zip(of_model, pages, strict=True)]
        self._send(answers)

    def _pages(self, number: int, wishes: list[Wish]) -> Sequence[Page | Exception]:
        """Return a page or the error of each; what fails in company is tried again alone."""
        try:
            return self._makers[number].pages(wishes)
        except KeyError:
            return [Gone("the model was freed")] * len(wishes)
        except Exception as error:  # the request that it belongs to logs and answers it
            if len(wishes) == 1:
                return [_plain(error)]
            return [page for wish in wishes for page in self._pages(number, [wish])]

    def _receive(self) -> None:
        with suppress(OSError, EOFError):
            while True:
                message = self._pipe.recv()
                if message[0] == "page":
                    self._asked.put(message[1:])
                else:
                    self._tasks.put(message)
        os._exit(0)  # whom the pages were for is gone

    def _load(self) -> None:
        while True:
            task, *given = self._tasks.get()
            if task == "keep_only":
                for number in set(self._makers) - given[0]:
                    del self._makers[number]
                continue
            asked, number, *what = given
            try:
                if task == "load":
                    folder, version, serve = what
                    maker = PageMaker(Engine.load(folder, version), serve)
                else:
                    trained, rows, vectors = what
                    base = self._makers[trained]
                    engine, _ = overlaid_engine(base.engine, rows, lambda _, found=vectors: found)
                    maker = PageMaker(engine, base.serve)
                self._makers[number] = maker
                gc.freeze()
                self._send([(asked, None)])
            except Exception as error:  # the endpoint goes on with what it has
                self._send([(asked, _plain(error))])

    def _send(self, answers: list[tuple[int, Any]]) -> None:
        with self._lock, suppress(OSError):
            self._pipe.send(answers)


def _plain(error: Exception) -> RuntimeError:
    """Return an error that can be sent: others hold what cannot."""
    return RuntimeError(f"{type(error).__name__}: {error}")


class Ranking:
    """Where pages are made: in the process where there is one with the model, else in a thread."""

    def __init__(self, serve: Serve) -> None:
        self._serve = serve
        self._process: RankingProcess | None = None
        self._started = -np.inf
        self._models: dict[int, tuple[Any, ...]] = {}
        self._thread = Batcher(_in_thread, lambda: 32, MOST_WAITING)

    def load(self, number: int, folder: Path, version: str) -> Future[None] | None:
        """Have a model folder loaded; the future says when, None: there is no process."""
        return self._have(number, "load", folder, version)

    def overlay(
        self, number: int, trained: int, rows: list[dict[str, Any]], vectors: np.ndarray | None
    ) -> Future[None] | None:
        """Have a model with further products; as ``RankingProcess.overlay``."""
        return self._have(number, "overlay", trained, rows, vectors)

    def _have(self, number: int, *how: Any) -> Future[None] | None:
        self._models[number] = how
        process = self._process
        return None if process is None else getattr(process, how[0])(number, *how[1:])

    def keep_only(self, numbers: set[int]) -> None:
        """Free all other models."""
        if self._models.keys() - numbers:
            self._models = {one: how for one, how in self._models.items() if one in numbers}
            if self._process is not None:
                self._process.keep_only(numbers)

    def watch(self) -> None:
        """Start the process if it is wanted and not there, with all models."""
        if self._serve.ranking == "thread" or (self._process and self._process.alive):
            return
        if self._process is not None:
            logger.error("the ranking process ended; a thread ranks until it is back")
        if time.monotonic() - self._started < RESTART_AFTER:
            return
        self._started = time.monotonic()
        self._process = RankingProcess(self._serve)
        for number, how in sorted(self._models.items()):
            getattr(self._process, how[0])(number, *how[1:])

    async def page(self, number: int, maker: PageMaker, wish: Wish) -> Page:
        """Return a page of a model.

        Raises:
            TooManyWaiting: too many pages are being waited for.
        """
        process = self._process
        if process is not None and process.has(number):
            with suppress(Gone):
                return await process.page(number, wish)
        return await self._thread.ask((maker, wish))

    def close(self) -> None:
        """End the process and the thread."""
        self._thread.close()
        if self._process is not None:
            self._process.close()


def _in_thread(asked: Sequence[tuple[PageMaker, Wish]]) -> list[Page]:
    pages: dict[int, Page] = {}
    for maker in {id(maker): maker for maker, _ in asked}.values():
        places = [at for at, (of, _) in enumerate(asked) if of is maker]
        made = maker.pages([asked[at][1] for at in places])
        pages.update(zip(places, made, strict=True))
    return [pages[at] for at in range(len(asked))]


def main() -> None:
    """The process: ``python -m serving.ranking FILE_DESCRIPTOR``."""
    import signal

    from threadpoolctl import threadpool_limits

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the endpoint's; it ends this one
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s %(message)s")
    sys.setswitchinterval(SWITCH)
    threadpool_limits(1)
    Served(Connection(int(sys.argv[1]))).run()


if __name__ == "__main__":
    main()
