"""A registry whose folder was moved, copied, or restored from a backup elsewhere.

In: MLflow's database in the shop's folder. Out: the same database, with the places of all artifacts
in the folder where it is now. MLflow records them as absolute URIs, so it would read and write the
artifacts of the old folder.
"""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import Connection, create_engine, text

PLACES = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
)
"""Tables and columns of MLflow's database that hold the place of an artifact."""


def follow_moved(database: Path, artifacts: Path, within: Path, experiment: str) -> None:
    """Bring the places of the artifacts up to date if the folder of ``database`` was moved.

    artifacts: where they are now, absolute. within: the same, relative to the shop's folder; if the
    recorded place has another end, the setting was changed and the folder was not moved.
    experiment: the shop's.

    Raises:
        SQLAlchemyError: the database cannot be read or written.
    """
    engine = create_engine(f"sqlite:///{database}")
    try:
        with engine.begin() as connection:
            old, new = _recorded(connection, experiment), artifacts.as_uri()
            end = (Path("/") / within).as_uri().removeprefix("file://")
            if old is None or old == new or not old.startswith("file:") or not old.endswith(end):
                return
            for table, column in PLACES:
                connection.execute(
                    text(
                        f"UPDATE {table} SET {column} = :new || substr({column}, :after) "
                        f"WHERE {column} = :old OR substr({column}, 1, :after) = :old || '/'"
                    ),
                    {"old": old, "new": new, "after": len(old) + 1},
                )
    finally:
        engine.dispose()


def _recorded(connection: Connection, experiment: str) -> str | None:
    """Return the recorded place of the shop's artifacts, None before its first version."""
    query = text("SELECT artifact_location FROM experiments WHERE name = :name")
    return connection.execute(query, {"name": experiment}).scalar()
