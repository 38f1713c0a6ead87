"""The database of a stage: its place on the disk, its limits, and one command at a time."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import duckdb
import pytest

from components.data.engine import database, staging, tables_of_one_command


def test_the_tables_are_on_disk_while_the_database_is_open(tmp_path: Path) -> None:
    root = tmp_path / "it's a shop"
    with database(root, 1) as con:
        con.raw_sql("CREATE TABLE numbers AS SELECT range AS n FROM range(10)")
        assert (staging(root) / "tables.duckdb").exists()
    assert not staging(root).exists()


def test_too_little_memory_names_the_setting(tmp_path: Path) -> None:
    with (
        pytest.raises(ValueError, match=r"0\.01 GB of `ingest\.memory_gb`.*data/\.staging"),
        database(tmp_path, 0.01) as con,
    ):
        con.raw_sql("SELECT list(range) FROM range(10_000_000)")
    assert not staging(tmp_path).exists()


def test_a_full_disk_names_the_folder(tmp_path: Path) -> None:
    with (
        pytest.raises(ValueError, match=r"the disk is full .*data/\.staging"),
        database(tmp_path, 1) as con,
    ):
        con.raw_sql("COPY (SELECT range FROM range(100_000)) TO '/dev/full' (FORMAT csv)")


def test_other_errors_of_files_stay_as_they_are(tmp_path: Path) -> None:
    with pytest.raises(duckdb.IOException, match="absent"), database(tmp_path, 1) as con:
        con.raw_sql("SELECT * FROM read_parquet('absent.parquet')")


HOLD = """
import sys
from pathlib import Path
from components.data.engine import database
with database(Path(sys.argv[1]), 1) as con:
    con.raw_sql("CREATE TABLE numbers AS SELECT range AS n FROM range(10)")
    print("open", flush=True)
    sys.stdin.readline()
    print(con.table("numbers").n.sum().execute())
"""


def test_a_second_command_does_not_touch_the_database_of_the_first(tmp_path: Path) -> None:
    first = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with first:
        assert first.stdout is not None
        assert first.stdout.readline() == "open\n"
        with (
            pytest.raises(ValueError, match="another command works on the tables"),
            database(tmp_path, 1),
        ):
            pass
        assert first.communicate("go on\n")[0] == "45\n"
    assert first.returncode == 0
    with database(tmp_path, 1):  # the lock ends with its command
        pass


def test_the_lock_of_a_failed_command_is_free(tmp_path: Path) -> None:
    with pytest.raises(BlockingIOError), tables_of_one_command(tmp_path):
        raise BlockingIOError  # of the command itself, not of the lock
    with tables_of_one_command(tmp_path), pytest.raises(ValueError, match="another command works"):
        database(tmp_path, 1).__enter__()
