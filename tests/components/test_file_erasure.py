"""Rows of a person leave files while other threads and processes write them."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from components.file_erasure import change_table, erase_files, replace_table
from tests.conftest import REPOSITORY

PEOPLE = 8


def table(rows: int = 40_000) -> pa.Table:
    return pa.table({"user_id": [f"u{n % PEOPLE}" for n in range(rows)], "n": range(rows)})


@pytest.mark.parametrize("trial", range(3))
def test_erasures_at_the_same_time_leave_nobody_behind(tmp_path: Path, trial: int) -> None:
    file = tmp_path / "events.parquet"
    replace_table(file, table())
    start = threading.Barrier(PEOPLE - 2)
    places = []

    def erase(person: str) -> None:
        start.wait()
        places.append(erase_files("events", [file], [person]))

    threads = [threading.Thread(target=erase, args=(f"u{n}",)) for n in range(PEOPLE - 2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    left = pq.read_table(file)
    assert set(left["user_id"].to_pylist()) == {f"u{PEOPLE - 2}", f"u{PEOPLE - 1}"}
    assert left.num_rows == 2 * 40_000 // PEOPLE
    assert {(place.state, place.rows) for place in places} == {("erased", 40_000 // PEOPLE)}
    assert [one.name for one in tmp_path.iterdir()] == ["events.parquet"]


def test_another_process_that_writes_the_file_again_brings_no_row_back(tmp_path: Path) -> None:
    """As the endpoint does when it loads a model's profiles."""
    file = tmp_path / "profiles.parquet"
    replace_table(file, table())
    code = (
        "import sys, time, pyarrow.compute as pc\n"
        "from pathlib import Path\n"
        "from components.file_erasure import change_table\n"
        "def change(table):\n"
        "    print('reading', flush=True); time.sleep(0.5)\n"
        "    return table.filter(pc.not_equal(table['user_id'], 'u1'))\n"
        "change_table(Path(sys.argv[1]), change)\n"
    )
    command = [sys.executable, "-c", code, str(file)]
    with subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"reading\n"
        place = erase_files("profiles", [file], ["u0"])
    assert other.returncode == 0
    assert (place.state, place.rows) == ("erased", 40_000 // PEOPLE)
    assert set(pq.read_table(file)["user_id"].to_pylist()) == {f"u{n}" for n in range(2, PEOPLE)}


def test_a_change_that_fails_leaves_the_file_and_its_lock_free(tmp_path: Path) -> None:
    file = tmp_path / "events.parquet"
    replace_table(file, table(80))

    def fail(_: pa.Table) -> pa.Table:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        change_table(file, fail)
    assert erase_files("events", [file], ["u1"]).rows == 10
