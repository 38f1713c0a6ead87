"""Runs the scripts on the connection that ``upgrade`` passes; Alembic loads this file."""

from alembic import context

from serving.events.migrations import VERSION_TABLE

context.configure(connection=context.config.attributes["connection"], version_table=VERSION_TABLE)
context.run_migrations()
