"""Databases of earlier versions are upgraded without losing a row, under concurrent starts too."""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from components.file_erasure import plain_hash, profile_hash
from serving.events.catalogue_table import put_items, read_items
from serving.events.database import Database
from serving.events.errors import StoreError
from serving.events.event_erasure import read_erasures
from serving.events.export import export_events
from serving.events.exposures import arm_outcomes, experiment_names
from serving.events.migrations import VERSION_TABLE, upgrade
from serving.events.store import EventStore, check_store
from serving.events.tables import ERASURES, EVENTS, EXPOSURES, IMPRESSIONS, metadata
from serving.events.traffic import removed_impressions
from tests.conftest import REPOSITORY

RECORDED = Path(__file__).parent / "recorded"
VERSIONS = ("first", "with_experiments", "before_migrations")
NOON = 1_795_521_600_000_000


def put_recorded(name: str, url: str) -> None:
    """Make the recorded database ``name`` at ``url``."""
    if url.startswith("sqlite"):
        shutil.copy(RECORDED / f"{name}.db", url.removeprefix("sqlite:///"))
        return
    engine = sa.create_engine(sa.make_url(url).set(drivername="postgresql+psycopg"))
    with engine.begin() as connection:
        connection.exec_driver_sql((RECORDED / f"{name}.sql").read_text())
    engine.dispose()


def rows_of(url: str, table: sa.Table) -> list[dict[str, Any]]:
    """Return the rows of a table as any program would read them, in the order of their ids."""
    engine = sa.create_engine(sa.make_url(url).set(drivername=driver_of(url)))
    try:
        with engine.connect() as connection:
            rows = connection.execute(sa.text(f"SELECT * FROM {table.name} ORDER BY row_id"))
            return [dict(row) for row in rows.mappings()]
    finally:
        engine.dispose()


def driver_of(url: str) -> str:
    return "sqlite" if url.startswith("sqlite") else "postgresql+psycopg"


def schema_differences(database: Database) -> list[Any]:
    """Return what Alembic would change to make the database like tables.py."""
    with database.engine.connect() as connection:
        options = {"version_table": VERSION_TABLE, "compare_type": True}
        context = MigrationContext.configure(connection, opts=options)
        return compare_metadata(context, metadata)


@pytest.mark.parametrize("name", VERSIONS)
def test_an_earlier_database_is_upgraded_with_every_row(
    name: str, url: str, tmp_path: Path
) -> None:
    put_recorded(name, url)
    before = {table: rows_of(url, table) for table in (EVENTS, IMPRESSIONS)}
    assert len(before[EVENTS]) in (9, 10)
    assert len(before[IMPRESSIONS]) == 3
    with contextlib.closing(EventStore(url)) as store:
        database = store.database
        assert schema_differences(database) == []
        nothing = {"client": None, "authentication": None, "order_id": None}
        assert rows_of(url, EVENTS) == [{**nothing, **row} for row in before[EVENTS]]
        nothing = {"rules": None, "surface": None}
        assert rows_of(url, IMPRESSIONS) == [{**nothing, **row} for row in before[IMPRESSIONS]]

        erased = {database.profile_hash("user:anna")}
        if name == "before_migrations":
            erased.add(database.profile_hash("session:s1"))
            assert [one["impressions"] for one in removed_impressions(database)] == [4]
        assert set(read_erasures(database).times) == erased
        if name != "first":
            assert experiment_names(database) == ["banner"]
            outcomes = arm_outcomes(database, "banner", ["purchase"], 1)
            assert [(one.arm, one.users, one.converted) for one in outcomes] == [
                ("control", 2, 0),
                ("treatment", 1, 1),
            ]
            lamp = next(item for item in read_items(database) if item["item_id"] == "new")
            assert (lamp["title"], lamp["categories"]) == ("a new lamp", ["Food/Drink", "Tea"])
        assert put_items(database, [{"item_id": "newer", "title": "x"}]) == 1 + (name != "first")

        again = {"event_id": "e0", "user_id": "u0", "item_id": "i0", "event": "click"}
        new = {**again, "event_id": "new", "client": "c", "authentication": "shop"}
        rows = [{**row, "timestamp": NOON} for row in (again, new)]
        assert store.submit(rows).result(10) == [False, True]
        newest = rows_of(url, EVENTS)[-1]
        assert newest["row_id"] > max(row["row_id"] for row in before[EVENTS])
        assert (newest["event_id"], newest["client"]) == ("new", "c")
        files = export_events(database, tmp_path / "feedback")
        assert sum(pq.read_metadata(file).num_rows for file in files) == len(before[EVENTS]) + 1
    with contextlib.closing(EventStore(url)) as store:  # nothing is left to upgrade
        assert len(rows_of(url, EVENTS)) == len(before[EVENTS]) + 1
        assert set(read_erasures(store.database).times) == erased


def test_a_new_database_has_the_schema_of_the_tables(url: str) -> None:
    with contextlib.closing(EventStore(url)) as store:
        assert schema_differences(store.database) == []
        with store.database.engine.connect() as connection:
            revisions = connection.execute(sa.text(f"SELECT * FROM {VERSION_TABLE}")).all()
    assert [tuple(row) for row in revisions] == [("0007",)]


OPEN = """
import sys
from serving.events.store import EventStore
from serving.events.event_erasure import read_erasures
print("ready", flush=True)
sys.stdin.readline()
store = EventStore(sys.argv[1])
event = {"event_id": sys.argv[2], "user_id": "u", "item_id": "i", "event": "click", "timestamp": 1}
assert store.submit([event]).result(30) == [True]
print(store.database.erasure_key, sorted(read_erasures(store.database).times))
store.close()
"""


@pytest.mark.slow
@pytest.mark.parametrize("name", ["empty", "first"])
def test_workers_that_open_an_old_or_a_new_database_at_once_upgrade_it_once(
    name: str, url: str
) -> None:
    if name != "empty":
        put_recorded(name, url)
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", OPEN, url, f"from worker {number}"],
            env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in range(4)
    ]
    for worker in workers:
        assert worker.stdout is not None
        assert worker.stdout.readline() == "ready\n"
    for worker in workers:
        assert worker.stdin is not None
        worker.stdin.write("\n")
        worker.stdin.flush()
    outputs = [worker.communicate(timeout=90) for worker in workers]
    assert [worker.returncode for worker in workers] == [0] * 4, outputs
    assert [errors for _, errors in outputs] == [""] * 4  # Alembic logs nothing
    assert len({output for output, _ in outputs}) == 1  # one key, and the same erased profiles
    assert len(rows_of(url, EVENTS)) == 4 + (9 if name == "first" else 0)
    with contextlib.closing(EventStore(url)) as store:
        assert schema_differences(store.database) == []


def test_an_upgrade_that_fails_leaves_the_database_as_it_was(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_recorded("first", url)

    def fails(plain: str, key: str) -> str:
        raise sa.exc.OperationalError("hash", {}, Exception("stopped"))

    with monkeypatch.context() as patch:
        patch.setattr("components.file_erasure.keyed_hash", fails)
        with pytest.raises(StoreError, match="stopped"):
            EventStore(url)
    assert "client" not in rows_of(url, EVENTS)[0]
    assert rows_of(url, ERASURES)[0]["profile_hash"] == plain_hash("user:anna")
    with pytest.raises(sa.exc.DBAPIError):
        rows_of(url, EXPOSURES)
    with contextlib.closing(EventStore(url)) as store:
        digest = profile_hash("user:anna", store.database.erasure_key)
        assert list(read_erasures(store.database).times) == [digest]
        assert schema_differences(store.database) == []


def test_a_database_of_a_newer_version_is_refused_in_one_line(url: str) -> None:
    EventStore(url).close()
    engine = sa.create_engine(sa.make_url(url).set(drivername=driver_of(url)))
    with engine.begin() as connection:
        connection.execute(sa.text(f"UPDATE {VERSION_TABLE} SET version_num = '9999'"))
    engine.dispose()
    with pytest.raises(StoreError, match=r"revision 9999.*install that version") as raised:
        check_store(url)
    assert "\n" not in str(raised.value)


def test_a_foreign_database_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    file = tmp_path / "events.db"
    with contextlib.closing(sqlite3.connect(file)) as connection:
        connection.execute("CREATE TABLE catalogue (item_id INTEGER PRIMARY KEY, page TEXT)")
        connection.execute("CREATE TABLE alembic_version (version_num TEXT NOT NULL)")
        connection.execute("INSERT INTO alembic_version VALUES ('of another program')")
        connection.commit()
        before = list(connection.iterdump())
    with pytest.raises(StoreError, match="table catalogue has no column revision"):
        check_store(f"sqlite:///{file}")
    with contextlib.closing(sqlite3.connect(file)) as connection:
        assert list(connection.iterdump()) == before


def test_another_programs_revision_in_the_same_database_stays(url: str) -> None:
    engine = sa.create_engine(sa.make_url(url).set(drivername=driver_of(url)))
    with engine.begin() as connection:
        connection.execute(sa.text("CREATE TABLE alembic_version (version_num VARCHAR(32))"))
        connection.execute(sa.text("INSERT INTO alembic_version VALUES ('mlflow')"))
    EventStore(url).close()
    with engine.connect() as connection:
        assert connection.scalar(sa.text("SELECT version_num FROM alembic_version")) == "mlflow"
    engine.dispose()


def test_upgrading_twice_in_one_transaction_changes_nothing(url: str) -> None:
    with contextlib.closing(EventStore(url)) as store, store.database.engine.begin() as connection:
        upgrade(connection)
        assert connection.scalar(sa.text(f"SELECT COUNT(*) FROM {VERSION_TABLE}")) == 1


def test_the_scripts_are_in_the_package() -> None:
    """setuptools finds the folders that hold an __init__.py."""
    from setuptools import find_packages

    found = find_packages(str(REPOSITORY), include=["serving*"])
    assert "serving.events.migrations" in found
    assert "serving.events.migrations.versions" in found
