"""Classification of database errors.

In: exceptions of SQLAlchemy, sqlite3 and psycopg. Out: a ``Fault``, or the message in one line.
Faults are read from error codes, because messages are translated.
"""

from __future__ import annotations

import errno
import sqlite3
from enum import Enum

import psycopg
import sqlalchemy as sa

MAX_LENGTH = 300
"""Characters of a message."""


class Fault(Enum):
    """Kinds of failure.

    UNREACHABLE: no connection, or the server closed it. BUSY: another process holds the lock.
    """

    UNREACHABLE = "unreachable"
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
    sqlite3.SQLITE_CANTOPEN: Fault.UNREACHABLE,
    sqlite3.SQLITE_IOERR: Fault.UNREACHABLE,
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
_UNREACHABLE_CLASSES = ("08", "57P")
"""First characters of PostgreSQL's codes for lost connections and shutdowns."""


def fault_of(error: BaseException) -> Fault:
    """Return the kind of failure that a database error stands for."""
    cause = error.orig if isinstance(error, sa.exc.DBAPIError) else error
    if isinstance(cause, sqlite3.Error):
        code = getattr(cause, "sqlite_errorcode", None)
        return Fault.OTHER if code is None else _SQLITE.get(code & 0xFF, Fault.OTHER)
    if isinstance(cause, psycopg.Error):
        state = cause.sqlstate
        if state is None:  # raised by the driver: there was no answer from the server
            unreachable = isinstance(cause, psycopg.OperationalError)
            return Fault.UNREACHABLE if unreachable else Fault.OTHER
        if state in _POSTGRES:
            return _POSTGRES[state]
        return Fault.UNREACHABLE if state.startswith(_UNREACHABLE_CLASSES) else Fault.OTHER
    if isinstance(cause, OSError) and cause.errno in (errno.ENOSPC, errno.EDQUOT):
        return Fault.FULL
    return Fault.OTHER


_REFUSALS = ("password authentication failed", "no pg_hba.conf entry", "does not exist")


def is_login_refused(error: BaseException) -> bool:
    """Return whether PostgreSQL answered and refused the user, the password or the database.

    While connecting, libpq gives no error code. A server whose messages are translated is
    therefore taken for one that is unreachable.
    """
    return any(refusal in str(error) for refusal in _REFUSALS)


def one_line(error: BaseException) -> str:
    """Return the database's own message in one line, without the row: rows are personal data."""
    cause = error.orig if isinstance(error, sa.exc.DBAPIError) else error
    if isinstance(cause, psycopg.Error) and cause.sqlstate is not None:
        return (cause.diag.message_primary or cause.sqlstate)[:MAX_LENGTH]
    return " ".join(str(cause).split())[:MAX_LENGTH] or type(cause).__name__
