"""A person is exported and erased: the real endpoint, then the command, and every byte left."""

from __future__ import annotations

import json
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import chdir
from pathlib import Path
from typing import Any

import httpx
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

import bowerbird
from components.data.engine import tables_of_one_command
from components.settings import Settings
from serving.events.export import export_events, export_impressions
from serving.events.store import EventStore
from tests.conftest import REPOSITORY

ANNA, SESSION = "anna-4711", "session-anna-4712"
ONLY_TRAINING = (
    "data/raw",
    "data/valid",
    "data/prepared",
    "models/reference",
    ".dvc",
    "var/mlflow",
)


def holders(root: Path, text: str) -> list[str]:
    """Return the files below ``root`` that hold ``text``: its bytes, or a cell of a table."""
    found = []
    for file in sorted(path for path in root.rglob("*") if path.is_file()):
        content = file.read_bytes()
        if content[:4] == b"PAR1":
            table = pq.read_table(file)
            texts = [one for one in table.columns if pa.types.is_string(one.type)]
            content = b"\n".join(
                value.as_py().encode() for one in texts for value in one.unique() if value.is_valid
            )
        if text.encode() in content:
            found.append(str(file.relative_to(root)))
    return found


def rename(folder: Path, user: str) -> None:
    """Give a user of the real shop an id that nothing else has a part of."""
    for file in folder.rglob("*.parquet"):
        frame = pd.read_parquet(file)
        if "user_id" in frame:
            frame["user_id"] = frame["user_id"].replace(user, ANNA)
            frame.to_parquet(file)


@pytest.fixture(scope="module")
def shop(
    trained: tuple[Path, Settings],
    small_shop: tuple[Path, Settings],
    tmp_path_factory: pytest.TempPathFactory,
    make_server: Any,
) -> Iterator[tuple[Path, httpx.Client]]:
    """A root where a training was, with a running endpoint."""
    root = tmp_path_factory.mktemp("erasure")
    for name in ("hybrid", "profiles"):
        shutil.copytree(trained[0] / "models" / name, root / "models" / name)
    shutil.copy(trained[0] / "params.yaml", root / "params.yaml")
    for name in ("raw", "valid", "prepared"):
        shutil.copytree(small_shop[0] / "data" / name, root / "data" / name)
    for place in ("models/reference", "var/mlflow/artifacts/1/old", "var/serving/profiles"):
        (root / place).mkdir(parents=True)
    table = root / "models/profiles/profiles.parquet"
    user = pd.read_parquet(table)["user_id"].value_counts().index[0]
    for copy in (
        "models/reference/reference.parquet",
        "var/mlflow/artifacts/1/old/profiles.parquet",
        "var/serving/profiles/3.parquet",
    ):
        shutil.copy(table, root / copy)
    rename(root, user)
    cached = root / ".dvc/cache/files/md5/ab/cdef"
    cached.parent.mkdir(parents=True)
    shutil.copy(root / "data/raw/users.parquet", cached)
    cached.chmod(0o444)
    server = make_server(root).start()
    with server.client() as client:
        client.headers["x-csrf-token"] = client.get("/operator/token").json()["token"]
        yield root, client
        last = client.post("/recommend", json={"user_id": "ben", "k": 3}).json()["impression_id"]
    server.stop()
    with sqlite3.connect(root / "var/events/events.db") as connection:  # what was queued is there
        (n,) = connection.execute(
            "SELECT count(*) FROM impressions WHERE impression_id = ?", [last]
        ).fetchone()
    assert n == 1
    log = server.log.read_text()
    assert "bowerbird" in log
    assert ANNA not in log  # whose data was used, exported and erased


def live(client: httpx.Client, root: Path) -> None:
    """Let Anna use the shop, with and without her name, and let the shop export it."""
    for who in ({"user_id": ANNA, "session_id": "s-anna-1"}, {"session_id": SESSION}):
        assert client.post("/recommend", json={**who, "k": 3}).status_code == 200
        event = {**who, "item_id": "85123A", "event": "click"}
        assert client.post("/feedback", json=event).status_code == 200
    before = {"session_id": "s-anna-1", "item_id": "22423", "event": "view"}
    client.post("/feedback", json=before)
    client.post("/feedback", json={**before, "user_id": "ben", "session_id": SESSION})
    client.post("/feedback", json={"user_id": "ben", "item_id": "22423", "event": "view"})
    store = EventStore(f"sqlite:///{root}/var/events/events.db")
    export_events(store.database, root / "data/feedback")
    export_impressions(store.database, root / "data/impressions")
    store.close()


def states(answer: httpx.Response) -> dict[str, str]:
    assert answer.status_code == 200, answer.text
    return {place["place"]: place["state"] for place in answer.json()["places"]}


def test_export_and_erasure_reach_all_that_the_endpoint_holds(shop: Any) -> None:
    root, client = shop
    live(client, root)
    kept = client.get(f"/users/{ANNA}/export").json()
    assert [event["session_id"] for event in kept["events"]] == ["s-anna-1"]
    assert kept["impressions"]
    assert kept["history"]
    rows = pd.DataFrame(kept["tables"])
    assert rows.loc[rows["file"] == "data/valid/users.parquet", "country"].notna().all()
    for name in ("data/feedback/", "data/impressions/", "data/raw/", "data/valid/interactions"):
        assert rows["file"].str.startswith(name).any(), name
    assert set(rows["user_id"]) == {ANNA}
    assert kept["erasures"] == []
    kept = client.get(f"/sessions/{SESSION}/export").json()
    assert [event["user_id"] for event in kept["events"]] == [None, "ben"]
    assert kept["impressions"]
    assert client.get("/sessions/nobody/export").json()["events"] == []

    gone = states(client.delete(f"/sessions/{SESSION}"))
    assert gone["event store: events"] == gone["data/feedback"] == "erased"
    assert holders(root, SESSION) == []
    assert len(client.get("/users/ben/export").json()["events"]) == 2

    answer = client.delete(f"/users/{ANNA}")
    gone = states(answer)
    assert answer.json()["erased_events"] == 2  # one of the session before she said who she is
    for place in ("event store: events", "data/impressions", "served profiles"):
        assert gone[place] == "erased"
    assert gone["data/raw"] == "at the next training"
    own = "datasets/online-retail/2009-2010.parquet"
    assert gone[own] == "the shop's own files: remove it there"
    left = [name for name in holders(root, ANNA) if not name.startswith(ONLY_TRAINING)]
    assert left == []
    assert holders(root, "s-anna-1") == []
    kept = client.get(f"/users/{ANNA}/export").json()
    assert [name for name, rows in kept.items() if rows] == ["tables", "erasures"]
    assert client.post("/recommend", json={"user_id": ANNA}).json()["history_length"] == 0
    file = root / "var/erasures" / answer.json()["receipt"]
    assert file.stat().st_mode & 0o777 == 0o600
    assert json.loads(file.read_text())["places"] == answer.json()["places"]


def test_the_command_erases_everything_at_once(shop: Any) -> None:
    root, client = shop
    client.post("/feedback", json={"user_id": ANNA, "item_id": "85123A", "event": "click"})
    users = len(pd.read_parquet(root / "data/prepared/users.parquet"))
    # As a killed ``ingest`` leaves it.
    shutil.copytree(root / "data/raw", root / "data/.staging")
    assert holders(root, ANNA)
    with tables_of_one_command(root), chdir(root):  # as ``ingest`` holds it
        refused = CliRunner().invoke(bowerbird.app, ["erase", ANNA])
    assert refused.exit_code == 1
    assert "another command works on the tables" in refused.stderr
    assert (root / "data/.staging").exists()
    done = subprocess.run(
        [sys.executable, REPOSITORY / "bowerbird.py", "erase", ANNA],
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert holders(root, ANNA) == []
    for line in ("data/raw: erased", ".dvc/cache: erased", "event store: events: erased 1 rows"):
        assert line in done.stdout
    table = pd.read_parquet(root / "data/prepared/users.parquet")
    assert len(table) == users  # the rows' numbers are the codes
    assert table["user_id"].is_unique
    assert (root / "data/erasures/erasures.parquet").exists()


def test_what_is_written_is_closed_to_others(shop: Any) -> None:
    root, _ = shop
    made = [root / "data", root / "models", *(root / "var/events").iterdir()]
    made += [root / "var", *(root / "var/erasures").iterdir()]
    assert [str(path) for path in made if path.stat().st_mode & 0o077] == []
