"""Computes the chunks of a task in this process, in processes of this machine, on Spark or on Ray.

In: a task, a function of a chunk that can be pickled, and its chunks. Out: the results, in the
order of the chunks, of which only a few are in memory at a time. A task loads its model at its
first chunk in a process. ``bowerbird recommend-all`` and ``bowerbird encode`` are run this way.
"""

from __future__ import annotations

import multiprocessing
import os
import pickle
import socket
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from itertools import islice
from typing import Any, Protocol, TypeVar
from urllib.parse import urlsplit

import pandas as pd

from components.spark_session import spark_session

Chunk = TypeVar("Chunk")
Result = TypeVar("Result")
Chunk_contra = TypeVar("Chunk_contra", contravariant=True)
Result_co = TypeVar("Result_co", covariant=True)

CHUNKS_OF_WORKER = 2
"""Chunks that are sent for each worker at once: the next one is there when it has ended one, and
the memory of this process stays flat."""

SECONDS = 5.0
"""Time in which an address must answer."""

_task: Callable[[Any], Any]
"""The task of this process, where it is one of the pool's."""


class Computes(Protocol[Chunk_contra, Result_co]):
    """Computes chunks and yields their results, in order."""

    def __call__(self, chunks: Iterable[Chunk_contra]) -> Iterator[Result_co]: ...


class OpensEngine(Protocol):
    """Opens an engine for a ``with`` block. workers: chunks that it computes at once. setting: the
    key of params.yaml that names the engine, for messages.

    Raises:
        ValueError: the engine is not installed, or cannot be opened.
    """

    def __call__(
        self, task: Callable[[Chunk], Result], workers: int, setting: str
    ) -> AbstractContextManager[Computes[Chunk, Result]]: ...


@contextmanager
def local(
    task: Callable[[Chunk], Result], workers: int, setting: str
) -> Iterator[Computes[Chunk, Result]]:
    """Yield an engine of this machine: this process, or ``workers`` of their own.

    >>> with local(len, 1, "encode.engine") as compute:
    ...     list(compute(["mug", "teapot"]))
    [3, 6]
    """
    if workers == 1:
        yield lambda chunks: map(task, chunks)
        return
    # Not forked: threads of this process may hold locks.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, context, _keep, (task,)) as pool:
        try:
            yield lambda chunks: _in_order(lambda one: pool.submit(_run, one), chunks, workers)
        finally:
            pool.shutdown(cancel_futures=True)


def _keep(task: Callable[[Any], Any]) -> None:
    """Keep the task in a process of the pool, so that it is not sent with each chunk."""
    global _task
    _task = task


def _run(chunk: Any) -> Any:
    return _task(chunk)


def _in_order(
    submit: Callable[[Chunk], Future[Result]], chunks: Iterable[Chunk], workers: int
) -> Iterator[Result]:
    """Yield the results of chunks, as many of them submitted as the workers need."""
    submitted: deque[Future[Result]] = deque()
    for chunk in chunks:
        submitted.append(submit(chunk))
        if len(submitted) > CHUNKS_OF_WORKER * workers:
            yield submitted.popleft().result()
    while submitted:
        yield submitted.popleft().result()


@contextmanager
def spark(
    task: Callable[[Chunk], Result], workers: int, setting: str
) -> Iterator[Computes[Chunk, Result]]:
    """Yield an engine of Apache Spark, which runs ``workers`` tasks by ``mapInPandas`` at once.

    ``spark-submit`` or Spark Connect decides where, see ``spark_session``.
    """
    session = spark_session(setting, "local")

    def computed(frames: Iterable[pd.DataFrame]) -> Iterator[pd.DataFrame]:
        for frame in frames:
            results = [
                pickle.dumps(task(pickle.loads(one)))  # nosec B301: of the driver
                for one in frame["chunk"]
            ]
            yield pd.DataFrame({"number": frame["number"], "result": results})

    def compute(chunks: Iterable[Chunk]) -> Iterator[Result]:
        remaining = iter(chunks)
        while some := list(islice(remaining, CHUNKS_OF_WORKER * workers)):
            rows = [(number, pickle.dumps(chunk)) for number, chunk in enumerate(some)]
            frame = session.createDataFrame(rows, "number long, chunk binary")
            done = frame.repartition(len(rows)).mapInPandas(computed, "number long, result binary")
            for row in sorted(done.collect()):
                yield pickle.loads(row["result"])  # nosec B301: of our own executors

    yield compute


@contextmanager
def ray(
    task: Callable[[Chunk], Result], workers: int, setting: str
) -> Iterator[Computes[Chunk, Result]]:
    """Yield an engine of Ray, which runs ``workers`` tasks of one processor each at once.

    RAY_ADDRESS names the cluster. Without it Ray is started on this machine, on the loopback
    address and with as many processors as workers, and ended afterwards.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # read at the import
    try:
        import ray as cluster
    except ImportError as error:
        raise ValueError(
            f"{setting} is ray, but ray cannot be imported ({error}): install it with "
            f"`pip install 'bowerbird[ray]'`, or set {setting} to local"
        ) from error
    ours = not cluster.is_initialized()
    if ours:
        _start(cluster, workers, setting)
    try:
        kept = cluster.put(task)
        compute_one = cluster.remote(num_cpus=1)(_call)
        yield lambda chunks: _in_order(
            lambda one: compute_one.remote(kept, one).future(), chunks, workers
        )
    finally:
        if ours:
            cluster.shutdown()


def _start(cluster: Any, workers: int, setting: str) -> None:
    """Connect to the cluster of RAY_ADDRESS, or start one on this machine."""
    address = os.environ.get("RAY_ADDRESS")
    where: dict[str, Any] = {"address": address}
    if not address:
        where = {"address": "local", "num_cpus": workers, "_node_ip_address": "127.0.0.1"}
    try:
        if address:
            _look_for(address)
        cluster.init(**where, include_dashboard=False, logging_level="warning")
    except (OSError, RuntimeError, ValueError) as error:
        reason = str(error).partition("\n")[0]
        raise ValueError(
            f"{setting} is ray, but {address or 'Ray on this machine'} cannot be reached "
            f"({reason}): start the cluster of RAY_ADDRESS, or set {setting} to local"
        ) from error


def _look_for(address: str) -> None:
    """Raise ``OSError`` where nothing listens at an address; Ray itself waits for minutes."""
    found = urlsplit(address if "://" in address else f"ray://{address}")
    if found.port is not None:  # else "auto", which Ray looks up
        socket.create_connection((found.hostname or "", found.port), SECONDS).close()


def _call(task: Callable[[Chunk], Result], chunk: Chunk) -> Result:
    return task(chunk)


ENGINES: dict[str, OpensEngine] = {"local": local, "spark": spark, "ray": ray}
"""The engines by their names in params.yaml."""
