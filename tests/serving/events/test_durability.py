"""kill -9 under load: what was acknowledged is there, once; and takeover without a failure."""

from __future__ import annotations

import json
import random
import shutil
import sqlite3
import threading
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest


def crash_round(server: Any, root: Path, acknowledged: set[str], seed: int) -> None:
    """Send events from four clients, each twice, kill the server at a random moment, check."""
    server.start()
    stop = threading.Event()

    def send() -> None:
        with server.client() as client:
            client.headers["x-api-key"] = "shop"  # whose event ids are kept as they are
            while not stop.is_set():
                names = [uuid.uuid4().hex for _ in range(5)]
                events = [
                    {"event_id": name, "user_id": name[:3], "item_id": "x", "event": "view"}
                    for name in names
                ]
                try:
                    for _ in range(2):  # a sender that was not sure
                        answer = client.post("/feedback/batch", json={"events": events})
                        if answer.status_code == 200:
                            acknowledged.update(names)
                except httpx.HTTPError:
                    return

    threads = [threading.Thread(target=send) for _ in range(4)]
    for thread in threads:
        thread.start()
    time.sleep(random.Random(seed).uniform(0.3, 1.5))
    server.stop(kill=True)
    stop.set()
    for thread in threads:
        thread.join()
    with sqlite3.connect(root / "var/events/events.db") as connection:
        rows = connection.execute("SELECT event_id, COUNT(*) FROM events GROUP BY 1").fetchall()
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    assert len(acknowledged) > 50
    assert acknowledged <= {name for name, _ in rows}
    assert all(count == 1 for _, count in rows)


def test_kill_under_load_loses_nothing(serve: Callable[..., Any], shop_root: Path) -> None:
    crash_round(serve(shop_root, {"BOWERBIRD_API_KEY": "shop"}), shop_root, set(), seed=0)


@pytest.mark.slow
def test_kill_under_load_twenty_times(serve: Callable[..., Any], shop_root: Path) -> None:
    server, acknowledged = serve(shop_root, {"BOWERBIRD_API_KEY": "shop"}), set[str]()
    for seed in range(20):
        crash_round(server, shop_root, acknowledged, seed)


def point(root: Path, version: str, folder: str) -> None:
    """Write the pointer file as the registry does: whole or not at all."""
    file = root / "var/serving/champion.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_suffix(".partial")
    partial.write_text(json.dumps({"version": version, "folder": folder}))
    partial.replace(file)


@pytest.mark.slow
def test_a_new_champion_is_taken_over_under_load_without_a_failure(
    serve: Callable[..., Any], shop_root: Path
) -> None:
    for version in ("1", "2"):
        shutil.copytree(shop_root / "models/hybrid", shop_root / f"var/serving/models/{version}")
    shutil.rmtree(shop_root / "models")
    point(shop_root, "1", "var/serving/models/1")
    server = serve(shop_root).start()
    stop = threading.Event()
    answers: list[tuple[int, str]] = []

    def ask(number: int) -> None:
        with server.client() as client:
            while not stop.is_set():
                answer = client.post("/recommend", json={"user_id": str(number), "k": 5})
                body = answer.json()
                full = answer.status_code == 200 and len(body["items"]) == 5
                answers.append((answer.status_code if full else -1, body["model_version"]))

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()

    def wait_for(version: str) -> None:
        with server.client() as client:
            until = time.monotonic() + 30
            while client.get("/model").json()["version"] != version:
                assert time.monotonic() < until, f"version {version} was not taken over"
                time.sleep(0.05)

    try:
        wait_for("1")
        point(shop_root, "2", "var/serving/models/2")
        wait_for("2")
        # A damaged champion is not taken over; the one in service stays.
        point(shop_root, "3", "var/serving/models/none")
        time.sleep(2.5)
        with server.client() as client:
            found = client.get("/model").json()
        assert (found["version"], bool(found["last_load_error"])) == ("2", True)
        point(shop_root, "1", "var/serving/models/1")  # rolled back
        wait_for("1")
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert {status for status, _ in answers} == {200}
    assert {version for _, version in answers} == {"1", "2"}
