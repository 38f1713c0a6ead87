"""Connections to PostgreSQL that wait for an answer for a bounded time.

libpq bounds the connecting but not the answering: the server of a paused machine, or one behind a
network that swallows packets, holds a query for ever. ``statement_timeout`` does not help, because
that server would have to keep it.
"""

from __future__ import annotations

import time
from collections.abc import Generator
from typing import Any, TypeVar

import psycopg
import sqlalchemy as sa
from psycopg.abc import PQGen

CONNECT_SECONDS = 2
"""The least that libpq takes."""

PATIENCE = 5.0
"""Seconds that a statement may be without an answer, unless its user says otherwise."""

IDLE_PATIENCE = 1.0
"""Seconds that a connection of the pool may take to show that it is still alive."""

LOOK_EVERY = 0.05
"""Seconds between two looks at the clock while a statement is without an answer."""

Result = TypeVar("Result")


class NoAnswer(psycopg.OperationalError):
    """The server did not answer in time."""


class BoundedConnection(psycopg.Connection[Any]):
    """A connection that is closed when a statement has no answer within ``patience`` seconds.

    patience: None waits for ever.
    """

    patience: float | None = PATIENCE

    def wait(
        self, gen: PQGen[Result], interval: float = LOOK_EVERY, timeout: float | None = None
    ) -> Result:
        """Return the result of an operation.

        Raises:
            NoAnswer: there was none in time; the connection is closed.
        """
        if self.patience is None:
            return super().wait(gen, interval, timeout)
        try:
            return super().wait(_bounded(gen, self.patience), LOOK_EVERY, timeout)
        except NoAnswer:
            self.pgconn.finish()  # its state is not known any more
            raise


def _bounded(gen: PQGen[Result], seconds: float) -> Generator[Any, Any, Result]:
    """Return ``gen`` as it is, but for a NoAnswer once it waited for so long.

    psycopg resumes such a generator every LOOK_EVERY, with a false value while there is nothing.
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
    """Return an engine of such connections."""
    engine = sa.create_engine(
        url,
        pool_pre_ping=True,
        pool_size=8,
        pool_timeout=PATIENCE,
        hide_parameters=True,
        connect_args={"connect_timeout": CONNECT_SECONDS},
    )

    @sa.event.listens_for(engine, "do_connect")
    def connect(_: Any, __: Any, arguments: tuple[Any, ...], options: dict[str, Any]) -> Any:
        return BoundedConnection.connect(*arguments, **options)

    return engine


def set_patience(connection: sa.Connection, seconds: float | None) -> None:
    """Set how long statements on a connection may be without an answer."""
    bounded = connection.connection.driver_connection
    assert isinstance(bounded, BoundedConnection)
    bounded.patience = seconds
