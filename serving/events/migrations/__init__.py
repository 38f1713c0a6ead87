"""Schema migrations of the event store, by Alembic, for SQLite and PostgreSQL.

In: an open transaction in which no other process writes. Out: the newest schema. ``versions`` holds
one script per revision. The store upgrades its database whenever it is opened, so nobody has to run
Alembic by hand. CONTRIBUTING.md tells how to add a revision.
"""

from __future__ import annotations

import logging
import threading
from functools import cache
from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError

from serving.events.errors import NewerSchema

FOLDER = Path(__file__).parent

VERSION_TABLE = "alembic_version_events"
"""Not Alembic's default name: MLflow and Prefect use that one, and may share the database."""

_one_at_a_time = threading.Lock()
"""Alembic keeps the migration in progress in global variables."""


@cache
def _scripts() -> ScriptDirectory:
    return ScriptDirectory(str(FOLDER))


def is_current(connection: sa.Connection) -> bool:
    """Return whether the database has the newest schema.

    Raises:
        NewerSchema: its revision is unknown to this version of Bowerbird.
    """
    options = {"version_table": VERSION_TABLE}
    revision = MigrationContext.configure(connection, opts=options).get_current_revision()
    if revision is None:
        return False
    try:
        _scripts().get_revision(revision)
    except CommandError as error:
        raise NewerSchema(f"schema revision {revision} is of a newer version") from error
    return revision == _scripts().get_current_head()


def upgrade(connection: sa.Connection) -> None:
    """Bring the database to the newest schema, within the transaction of ``connection``.

    The caller keeps other processes from writing until the transaction ends. A database made before
    there were migrations has no revision; the first script recognises and completes its tables.

    Raises:
        ForeignDatabase: its tables are another program's.
        NewerSchema: its revision is unknown to this version of Bowerbird.
    """
    if is_current(connection):
        return
    # Alembic logs each step at level INFO.
    logging.getLogger("alembic").setLevel(logging.WARNING)
    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", str(FOLDER).replace("%", "%%"))
    with _one_at_a_time:
        command.upgrade(config, "head")
