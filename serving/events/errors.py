"""Errors of the event store. Each message is one sentence: what failed, where, what to do."""

from __future__ import annotations

import sqlalchemy as sa


class StoreBusy(RuntimeError):
    """The queue of unwritten rows is full; the client may retry after ``retry_after`` seconds."""

    retry_after = 1


class StoreError(RuntimeError):
    """The database refused a statement or could not be reached.

    Rows that were being written are not acknowledged. The client may retry after ``retry_after``
    seconds.
    """

    retry_after = 1


class StoreDown(StoreError):
    """The database cannot be reached. Requests fail at once until the store has reconnected."""


class ForeignDatabase(sa.exc.SQLAlchemyError):
    """The database holds another program's tables under the names of the event store's tables."""


class NewerSchema(sa.exc.SQLAlchemyError):
    """The database was upgraded by a newer version of Bowerbird than this one."""
