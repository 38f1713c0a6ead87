"""What a database's error means for the event store, and how it is said in one line.

In: exceptions of SQLAlchemy, sqlite3 and psycopg. Out: a ``Fault``. Codes are read, not texts:
texts are translated.
"""

from __future__ import annotations

import errno
import sqlite3
from enum import Enum

import psycopg
import sqlalchemy as sa

MAX_LENGTH = 300


class Fault(Enum):
    """away: not reached, or closed the connection. busy: another holds the lock."""

    AWAY = "away"
    DAMAGED = "damaged"
    FULL = "full"
    READ_ONLY = "read only"
    BUSY = "busy"
    OTHER = "other"


_SQLITE = {
    sqlite3.SQLITE_CORRUPT: Fault.DAMAGED,
    sqlite3.SQLITE_NOTADB: Fault.DAMAGED,
    sqlite3.SQLITE_FULL: Fault.FULL,
    sqlite3.SQLITE_READONLY: Fault.READ_ONLY,
    sqlite3.SQLITE_CANTOPEN: Fault.AWAY,
    sqlite3.SQLITE_IOERR: Fault.AWAY,
    sqlite3.SQLITE_BUSY: Fault.BUSY,
    sqlite3.SQLITE_LOCKED: Fault.BUSY,
}
_POSTGRES = {
    "53100": Fault.FULL,
    "25006": Fault.READ_ONLY,
    "XX001": Fault.DAMAGED,
    "XX002": Fault.DAMAGED,
    "55P03": Fault.BUSY,
}
_AWAY_CLASSES = ("08", "57P")


def fault_of(error: BaseException) -> Fault:
    """Return what an error of the database means."""
    cause = error.orig if isinstance(error, sa.exc.DBAPIError) else error
    if isinstance(cause, sqlite3.Error):
        code = getattr(cause, "sqlite_errorcode", None)
        return Fault.OTHER if code is None else _SQLITE.get(code & 0xFF, Fault.OTHER)
    if isinstance(cause, psycopg.Error):
        state = cause.sqlstate
        if state is None:  # the driver's own: it did not get an answer
            return Fault.AWAY if isinstance(cause, psycopg.OperationalError) else Fault.OTHER
        if state in _POSTGRES:
            return _POSTGRES[state]
        return Fault.AWAY if state.startswith(_AWAY_CLASSES) else Fault.OTHER
    if isinstance(cause, OSError) and cause.errno in (errno.ENOSPC, errno.EDQUOT):
        return Fault.FULL
    return Fault.OTHER


_REFUSALS = ("password authentication failed", "no pg_hba.conf entry", "does not exist")


def was_refused(error: BaseException) -> bool:
    """Return whether PostgreSQL answered and let nobody in. While connecting, libpq gives no code:
    a server that says it in another language is taken for one that is away."""
    return any(refusal in str(error) for refusal in _REFUSALS)


def in_words(error: BaseException) -> str:
    """Return the database's own message in one line. It names no row: rows are personal data."""
    cause = error.orig if isinstance(error, sa.exc.DBAPIError) else error
    if isinstance(cause, psycopg.Error) and cause.sqlstate is not None:
        return (cause.diag.message_primary or cause.sqlstate)[:MAX_LENGTH]
    return " ".join(str(cause).split())[:MAX_LENGTH] or type(cause).__name__
