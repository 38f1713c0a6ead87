"""Pages made in a process of their own, so that a ranking never holds up the event loop.

In one process the endpoint and the ranking share the interpreter's lock: every request waits while
others are ranked, and the ranking waits for it at each of its steps. The ranking process loads the
same model folder (its arrays are the same pages of memory, mapped from the files), answers together
what came while it was busy, and ends with the process that it belongs to. While it is not there
(it starts, it was killed) or does not have a model, a thread makes the pages.

What passes between the two is pickled: both ends are ours, and nobody else can reach the sockets.
"""

from __future__ import annotations

import asyncio
import gc
import itertools
import logging
import os
import pickle
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
from serving.models.catalogue import overlaid_engine
from serving.recommend.batching import Batcher, TooManyWaiting, settle
from serving.recommend.engine import Engine
from serving.recommend.pipeline import Page, PageMaker, Wish

logger = logging.getLogger("bentoml.bowerbird")

MOST_WAITING = 512
RESTART_AFTER = 10.0
"""Seconds from one start of the process to the next, if it keeps ending."""

FEW = 4
"""So many are ranked at once: a page of four costs little more than one of many."""

READ = 1 << 20
"""Bytes read at once."""

SWITCH = 0.0005
"""Seconds after which a thread gives way to another that waits: Python's 5 ms is as long as several
answers take."""


class Gone(RuntimeError):
    """The ranking process ended before it answered."""


class Frames:
    """Pickled objects on a stream of bytes, each behind its length."""

    def __init__(self) -> None:
        self._unread = bytearray()

    @staticmethod
    def of(content: object) -> bytes:
        """Return the bytes of one object."""
        pickled = pickle.dumps(content, pickle.HIGHEST_PROTOCOL)
        return len(pickled).to_bytes(4, "big") + pickled

    def read(self, more: bytes) -> list[Any]:
        """Return the objects that are whole with what came now."""
        self._unread += more
        found, at = [], 0
        while len(self._unread) >= at + 4:
            start = at + 4
            end = start + int.from_bytes(self._unread[at:start], "big")
            if len(self._unread) < end:
                break
            with memoryview(self._unread) as unread:
                # A socket pair of this process and its child: nobody else can write to it.
                found.append(pickle.loads(unread[start:end]))  # nosec B301
            at = end
        del self._unread[:at]
        return found


class PageStream(asyncio.Protocol):
    """The event loop's end of the stream of wishes and pages."""

    def __init__(self) -> None:
        self._numbers = itertools.count()
        self._waiting: dict[int, asyncio.Future[Page]] = {}
        self._asked: list[tuple[int, int, Wish]] = []
        self._frames = Frames()
        self._loop = asyncio.get_running_loop()
        self._transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def ask(self, number: int, wish: Wish) -> asyncio.Future[Page]:
        """Return a future of a page of the model ``number``.

        Raises:
            TooManyWaiting: MOST_WAITING pages are waited for already.
            Gone: the process ended.
        """
        if self._transport.is_closing():
            raise Gone("the ranking process ended")
        if len(self._waiting) >= MOST_WAITING:
            raise TooManyWaiting("too many requests wait for an answer; try again")
        if not self._asked:  # what is asked in this turn of the loop goes as one
            self._loop.call_soon(self._send)
        key = next(self._numbers)
        self._asked.append((key, number, wish))
        waiting = self._waiting[key] = self._loop.create_future()
        return waiting

    def _send(self) -> None:
        asked, self._asked = self._asked, []
        self._transport.write(Frames.of(asked))

    def data_received(self, data: bytes) -> None:
        for answers in self._frames.read(data):
            for key, page in answers:
                settle(self._waiting.pop(key), page)

    def connection_lost(self, exc: Exception | None) -> None:
        for waiting in self._waiting.values():
            settle(waiting, Gone("the ranking process ended"))
        self._waiting.clear()


class RankingProcess:
    """The endpoint's side. Models are known by numbers; pages are asked for on one event loop.

    process = RankingProcess(serve)
    process.load(1, folder, "7").result()
    page = await process.page(1, wish)

    Pages have a stream of their own, which the event loop reads itself: a thread in between would
    cost a page two hand-overs of the interpreter's lock.
    """

    def __init__(self, serve: Serve) -> None:
        self._serve = serve
        self._ready: set[int] = set()
        self._ordered: queue.SimpleQueue[tuple[int, Future[None]]] = queue.SimpleQueue()
        self._lock = threading.Lock()
        orders, their_orders = socket.socketpair()
        self._pages, their_pages = socket.socketpair()
        self._stream: asyncio.Future[tuple[Any, PageStream]] | None = None
        self._orders = Connection(orders.detach())
        with their_orders, their_pages:
            theirs = (their_orders.fileno(), their_pages.fileno())
            self._process = subprocess.Popen(
                [sys.executable, "-m", "serving.recommend.worker", *map(str, theirs)],
                env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
                pass_fds=theirs,
            )
        threading.Thread(target=self._receive, name="ranking", daemon=True).start()

    @property
    def alive(self) -> bool:
        """Whether the process runs."""
        return self._process.poll() is None

    def has(self, number: int) -> bool:
        """Return whether pages of this model may be asked for."""
        return number in self._ready

    def load(self, number: int, folder: Path, version: str) -> Future[None]:
        """Load a model folder as ``number``."""
        return self._order(number, "load", str(folder.resolve()), version, self._serve)

    def overlay(
        self, number: int, trained: int, rows: list[dict[str, Any]], vectors: np.ndarray | None
    ) -> Future[None]:
        """Make ``number`` of the model ``trained`` and the products that came since; see
        ``catalogue.overlaid``. vectors: float32 (new products, width)."""
        return self._order(number, "overlay", trained, rows, vectors)

    def keep_only(self, numbers: set[int]) -> None:
        """Free all other models."""
        self._ready &= numbers
        with self._lock, suppress(OSError):
            self._orders.send(("keep_only", numbers))

    async def page(self, number: int, wish: Wish) -> Page:
        """Return a page of a model that ``has`` said is there.

        Raises:
            TooManyWaiting: MOST_WAITING pages wait already.
            Gone: the process ended before it answered.
        """
        if self._stream is None:
            connect = asyncio.get_running_loop().create_unix_connection
            self._stream = asyncio.ensure_future(connect(PageStream, sock=self._pages))
        _, stream = await self._stream
        return await stream.ask(number, wish)

    def close(self) -> None:
        """End the process."""
        self._process.terminate()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(5)
        self._process.kill()
        if self._stream is None:  # else the loop closes it, as it finds the other end closed
            self._pages.close()

    def _order(self, number: int, what: str, *given: Any) -> Future[None]:
        done: Future[None] = Future()
        with self._lock:  # answers come in the order of the orders
            try:
                self._orders.send((what, number, *given))
            except OSError:
                done.set_exception(Gone("the ranking process ended"))
            else:
                self._ordered.put((number, done))
        return done

    def _receive(self) -> None:
        with suppress(OSError, EOFError):
            while True:
                error = self._orders.recv()
                number, done = self._ordered.get()
                if error is None:
                    self._ready.add(number)
                    done.set_result(None)
                else:
                    done.set_exception(error)
        self._ready.clear()
        with self._lock, suppress(queue.Empty):
            self._orders.close()
            while True:
                self._ordered.get_nowait()[1].set_exception(Gone("the ranking process ended"))


class Served:
    """The process's own side: models by number, and what was asked of them."""

    def __init__(self, orders: Connection, pages: socket.socket) -> None:
        self._orders = orders
        self._stream = pages
        self._makers: dict[int, PageMaker] = {}

    def run(self) -> None:
        """Answer until the other side is gone."""
        threading.Thread(target=self._obey, daemon=True).start()
        frames = Frames()
        asked: list[tuple[int, int, Wish]] = []
        with suppress(OSError):
            while more := self._stream.recv(READ):
                asked += itertools.chain(*frames.read(more))
                while asked:
                    maker = self._makers.get(asked[0][1])
                    # Half of who waits: the endpoint sends their pages on and reads what comes
                    # while the others are ranked. Else each process would wait for the other.
                    half = max(FEW, (len(asked) + 1) // 2)
                    most = min(half, maker.engine.max_batch) if maker else 1
                    self._answer(asked[:most])
                    del asked[:most]
                    with suppress(BlockingIOError):  # who came meanwhile joins who still waits
                        more = self._stream.recv(READ, socket.MSG_DONTWAIT)
                        asked += itertools.chain(*frames.read(more))
        os._exit(0)  # whom the pages were for is gone

    def _answer(self, batch: list[tuple[int, int, Wish]]) -> None:
        metrics.BATCH.observe(len(batch))
        answers: list[tuple[int, Any]] = []
        for number in {entry[1] for entry in batch}:
            of_model = [entry for entry in batch if entry[1] == number]
            pages = self._made(number, [entry[2] for entry in of_model])
            answers += [(entry[0], page) for entry, page in zip(of_model, pages, strict=True)]
        self._stream.sendall(Frames.of(answers))

    def _made(self, number: int, wishes: list[Wish]) -> Sequence[Page | Exception]:
        """Return a page or the error of each; what fails in company is tried again alone."""
        maker = self._makers.get(number)
        if maker is None:
            return [Gone("the model was freed")] * len(wishes)
        try:
            return maker.pages(wishes)
        except Exception as error:  # the request that it belongs to logs and answers it
            if len(wishes) == 1:
                return [_plain(error)]
            return [page for wish in wishes for page in self._made(number, [wish])]

    def _obey(self) -> None:
        """Load and free models as told, and answer each "load" and "overlay" with its error."""
        with suppress(OSError, EOFError):
            while True:
                what, *given = self._orders.recv()
                if what == "keep_only":
                    for number in set(self._makers) - given[0]:
                        del self._makers[number]
                    continue
                try:
                    self._make(what, *given)
                    self._orders.send(None)
                except Exception as error:  # the endpoint goes on with what it has
                    self._orders.send(_plain(error))
        os._exit(0)

    def _make(self, what: str, number: int, *given: Any) -> None:
        if what == "load":
            folder, version, serve = given
            maker = PageMaker(Engine.load(folder, version), serve)
        else:
            trained, rows, vectors = given
            base = self._makers[trained]
            engine, _ = overlaid_engine(base.engine, rows, lambda _: vectors)
            maker = PageMaker(engine, base.serve)
        self._makers[number] = maker
        gc.freeze()


def _plain(error: Exception) -> RuntimeError:
    """Return an error that can be sent: others hold what cannot."""
    return RuntimeError(f"{type(error).__name__}: {error}")


class Ranking:
    """Where pages are made: in the process where there is one with the model, else in a thread."""

    def __init__(self, serve: Serve) -> None:
        self._serve = serve
        self._process: RankingProcess | None = None
        self._changing = threading.Lock()  # a new process has all models before others see it
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
        with self._changing:
            self._models[number] = how
            process = self._process
            return None if process is None else getattr(process, how[0])(number, *how[1:])

    def keep_only(self, numbers: set[int]) -> None:
        """Free all other models."""
        with self._changing:
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
        with self._changing:
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
    """The process: ``python -m serving.recommend.worker ORDERS PAGES``, two file descriptors."""
    import signal

    from threadpoolctl import threadpool_limits

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the endpoint's; it ends this one
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s %(message)s")
    sys.setswitchinterval(SWITCH)
    threadpool_limits(1)
    orders, pages = map(int, sys.argv[1:])
    Served(Connection(orders), socket.socket(fileno=pages)).run()


if __name__ == "__main__":
    main()
