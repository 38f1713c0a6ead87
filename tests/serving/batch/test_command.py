"""``bowerbird recommend-all`` as a user types it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import chdir
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

import bowerbird
from serving.batch.customers import read_ids
from serving.events.export import export_events
from serving.events.store import open_store
from tests.conftest import REPOSITORY
from tests.processes import end, wait_until

COMMAND = [sys.executable, str(REPOSITORY / "bowerbird.py"), "recommend-all", "-k", "7"]
STORE = "sqlite:///var/events/events.db"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "say where the lists go: --to FOLDER, or --table NAME"),
        (["--to", "a", "--table", "b"], "say where the lists go"),
        (["--table", "mails"], "recommend_all.database is no URL of a database"),
        (["--to", "params.yaml"], "params.yaml is there already"),
        (["--to", "a", "--where", "age"], "--where age: write NAME=VALUE"),
        (["--to", "a", "--customers", "none.txt"], "none.txt cannot be read"),
        (["--to", "a", "--language", "tlh"], "no catalogue of 'tlh'"),
        (["--to", "a"], "no model in"),
    ],
)
def test_what_is_wrong_is_one_sentence(tmp_path: Path, options: list[str], message: str) -> None:
    (tmp_path / "params.yaml").write_text((REPOSITORY / "params.yaml").read_text())
    with chdir(tmp_path):
        done = CliRunner().invoke(bowerbird.app, ["recommend-all", *options])
    assert done.exit_code == 1
    assert message in done.output
    assert "Traceback" not in done.output
    assert not (tmp_path / "a").exists()


def test_ids_are_read_from_text_and_parquet(tmp_path: Path) -> None:
    text = tmp_path / "ids.txt"
    text.write_text("user_id\n007\n\n12\n007\n=1\n", encoding="utf-8-sig")
    assert read_ids(text).to_pylist() == ["007", "12", "=1"]
    pd.DataFrame({"user_id": ["007", None, "12"]}).to_parquet(tmp_path / "ids.parquet")
    assert read_ids(tmp_path / "ids.parquet").to_pylist() == ["007", "12"]
    for bad, row in (("7\nsession:1\n", 2), ("x" * 201, 1), ("7\n\n8\0", 3)):
        text.write_text(bad)
        with pytest.raises(ValueError, match=rf"ids.txt row {row}: no customer id"):
            read_ids(text)
    text.write_bytes("Käthe".encode("latin-1"))
    with pytest.raises(ValueError, match=r"ids.txt cannot be read"):
        read_ids(text)


@pytest.mark.slow
def test_a_command_killed_goes_on_and_its_lists_are_the_endpoints(
    shop_root: Path, serve: Callable[..., Any]
) -> None:
    environment = {
        **os.environ,
        "PYTHONPATH": str(REPOSITORY),
        "BOWERBIRD_RECOMMEND_ALL__PART": "50",
        "BOWERBIRD_SERVE__UPLIFT": "{share: 0}",
    }
    # Where its output ends, so that it is killed while it works.
    log = shop_root / "lists.log"
    command = [*COMMAND, "--to", "mails", "--csv"]
    with log.open("wb") as stream:
        process = subprocess.Popen(
            *(command,), cwd=shop_root, env=environment, stderr=stream, start_new_session=True
        )
    work = shop_root / "var/recommend_all"
    try:
        wait_until(lambda: len([*work.glob("*/part-*.parquet")]) >= 3, 300, "three parts")
    finally:
        end(process, signal.SIGKILL)
    kept = sorted(work.glob("*/part-*.parquet"))
    n_users = pq.read_table(next(work.glob("*/customers.parquet"))).num_rows
    assert 3 <= len(kept) < n_users // 50
    assert not (shop_root / "mails").exists()
    parts = pd.concat(map(pd.read_parquet, kept))
    done = subprocess.run(
        command, cwd=shop_root, env=environment, capture_output=True, text=True, check=True
    )
    assert f"{n_users:,} lists of {7 * n_users:,} products: {shop_root / 'mails'}" in done.stdout
    found = pd.read_csv(shop_root / "mails/lists.csv", dtype={"user_id": str, "item_id": str})
    assert (found.groupby("user_id").size() == 7).all()
    of_kept = found[found["user_id"].isin(parts["user_id"])]
    assert set(of_kept["impression_id"]) == set(parts["impression_id"])  # ranked once
    again = subprocess.run(command, cwd=shop_root, env=environment, capture_output=True, text=True)
    assert again.returncode == 1
    assert "mails is there already" in again.stderr

    server = serve(shop_root).start()
    with server.client() as client:
        for user in found["user_id"].unique()[:: n_users // 10]:
            mine = found[found["user_id"] == user]
            shown = client.post("/recommend", json={"user_id": user, "k": 7}).json()["items"]
            assert [one["item_id"] for one in shown] == mine["item_id"].tolist()
            assert [one["reason"] for one in shown] == mine["reason"].tolist()
        third = mine.iloc[2]
        event = {"user_id": user, "item_id": third["item_id"], "event": "click"}
        answer = client.post("/feedback", json={**event, "impression_id": third["impression_id"]})
        assert answer.status_code == 200
        stranger = {**event, "user_id": "another", "impression_id": third["impression_id"]}
        assert client.post("/feedback", json=stranger).status_code == 422
    server.stop()
    with open_store(STORE, shop_root) as store:
        (file,) = export_events(store.database, shop_root / "data/feedback")
    (exported,) = pd.read_parquet(file).to_dict("records")
    assert (exported["list_source"], exported["position"]) == ("batch", 3)
