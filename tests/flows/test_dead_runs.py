"""Runs that died with the server: this folder's are crashed, those of other computers live on."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import pytest
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.flows import flow
from prefect.states import Pending, Running
from prefect.testing.utilities import prefect_test_harness

from flows.children import RUN
from flows.dead_runs import TAG, crash_dead_runs, folder_tag
from tests.conftest import REPOSITORY
from tests.processes import end


@flow(name="some")
def some() -> None:
    """A flow."""


@pytest.fixture(scope="module")
def client() -> Iterator[SyncPrefectClient]:
    """A client of a real server."""
    with prefect_test_harness(server_startup_timeout=180), get_client(sync_client=True) as client:
        yield client


@pytest.mark.slow
def test_only_dead_runs_of_this_folder_are_crashed(
    client: SyncPrefectClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "params.yaml").write_text((REPOSITORY / "params.yaml").read_text())
    monkeypatch.chdir(tmp_path)
    own = folder_tag(tmp_path)
    assert own == folder_tag(tmp_path) != folder_tag(tmp_path / "other")
    assert (tmp_path / "var/flows/folder.json").stat().st_mode & 0o077 == 0
    flow_id = client.create_flow(some)
    client.create_work_pool(WorkPoolCreate(name="pool", type="process"))

    def run(name: str, *tags: str, pool: str | None = None, running: bool = True) -> UUID:
        deployment = client.create_deployment(flow_id, name, tags=list(tags), work_pool_name=pool)
        found = client.create_flow_run_from_deployment(deployment)
        client.set_flow_run_state(found.id, Running() if running else Pending(), force=True)
        return found.id

    dead = {
        run("dead", own),
        run("not begun", own, running=False),
        run("of an earlier version"),
    }
    alive = run("alive", own)
    others = {
        run("of a worker", pool="pool"),
        run("waits for its job", pool="pool", running=False),
        run("of another computer", f"{TAG}4711"),
    }
    process = subprocess.Popen(
        [sys.executable, "-c", "import time; time.sleep(600)"], env={RUN: str(alive)}
    )
    try:
        names = crash_dead_runs(tmp_path)
    finally:
        end(process)
    kinds = {one: client.read_flow_run(one).state_type.value for one in (*dead, alive, *others)}
    assert {one for one, kind in kinds.items() if kind == "CRASHED"} == dead
    assert len(names) == len(dead)
