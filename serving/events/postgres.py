"""Connections to PostgreSQL on which no statement waits longer than a timeout.

In: a database URL. Out: a SQLAlchemy engine. libpq bounds the time of connecting but not of an
answer: a paused server, or one behind a network that drops packets, leaves a query waiting for
ever. PostgreSQL's ``statement_timeout`` does not help, because that very server would have to
apply it.
"""

from __future__ import annotations

import time
from collections.abc import Generator
from typing import Any, TypeVar

import psycopg
import sqlalchemy as sa
from psycopg.abc import PQGen

CONNECT_SECONDS = 2
"""The shortest timeout that libpq accepts."""

STATEMENT_TIMEOUT = 5.0
"""Seconds that a statement may wait for an answer, unless the caller sets another timeout."""

IDLE_TIMEOUT = 1.0
"""Seconds that a pooled connection may take to answer the pool's liveness check."""

CHECK_INTERVAL = 0.05
"""Seconds between two checks of the clock while a statement waits for an answer."""

Result = TypeVar("Result")


class NoAnswer(psycopg.OperationalError):
    """The server did not answer within the timeout."""


class BoundedConnection(psycopg.Connection[Any]):
    """A connection that closes when a statement has no answer within ``answer_timeout`` seconds.

    answer_timeout: None waits for ever.
    """

    answer_timeout: float | None = STATEMENT_TIMEOUT

    def wait(
        self, gen: PQGen[Result], interval: float = CHECK_INTERVAL, timeout: float | None = None
    ) -> Result:
        """Return the result of an operation.

        Raises:
            NoAnswer: there was none within the timeout; the connection is closed.
        """
        if self.answer_timeout is None:
            return super().wait(gen, interval, timeout)
        try:
            return super().wait(_bounded(gen, self.answer_timeout), CHECK_INTERVAL, timeout)
        except NoAnswer:
            self.pgconn.finish()  # the connection's state is unknown now
            raise


def _bounded(gen: PQGen[Result], seconds: float) -> Generator[Any, Any, Result]:
    """Pass ``gen`` through; raise NoAnswer after ``seconds`` without an answer.

    psycopg resumes such a generator every CHECK_INTERVAL, with a false value while nothing came.
    """
    until = time.monotonic() + seconds
    try:
        wanted = next(gen)
        while True:
            ready = yield wanted
            if not ready and time.monotonic() > until:
                raise NoAnswer(f"no answer within {seconds:g} seconds")
            wanted = gen.send(ready)
    except StopIteration as done:
        return done.value


def bounded_engine(url: sa.URL) -> sa.Engine:
    """Return an engine whose connections are ``BoundedConnection``."""
    engine = sa.create_engine(
        url,
        pool_pre_ping=True,
        pool_size=8,
        pool_timeout=STATEMENT_TIMEOUT,
        hide_parameters=True,
        connect_args={"connect_timeout": CONNECT_SECONDS},
    )

    @sa.event.listens_for(engine, "do_connect")
    def connect(_: Any, __: Any, arguments: tuple[Any, ...], options: dict[str, Any]) -> Any:
        return BoundedConnection.connect(*arguments, **options)

    return engine


def set_answer_timeout(connection: sa.Connection, seconds: float | None) -> None:
    """Set how many seconds a statement on ``connection`` may wait for an answer; None: for ever."""
    bounded = connection.connection.driver_connection
    assert isinstance(bounded, BoundedConnection)
    bounded.answer_timeout = seconds
