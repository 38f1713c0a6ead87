"""``bowerbird serve``: it answers once its model is loaded, or ends with one line."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from components.alerts import open_alerts
from components.settings import Settings
from tests.conftest import REPOSITORY
from tests.processes import end, free_port


class Endpoint:
    """``bowerbird serve`` of a folder. statuses: of all answers since it was started."""

    def __init__(self, root: Path, *options: str, **environment: str) -> None:
        port = str(free_port())
        self.log = root / "endpoint.log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [
                    sys.executable,
                    str(REPOSITORY / "bowerbird.py"),
                    "serve",
                    "--port",
                    port,
                    *options,
                ],
                cwd=root,
                env={**os.environ, "BOWERBIRD_SERVE__MAX_RATE": "0", **environment},
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.client = httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60)
        self.statuses: list[int] = []

    def recommend(self) -> httpx.Response:
        """Return the answer to a request on a connection of its own."""
        answer = httpx.post(f"{self.client.base_url}/recommend", json={"k": 3}, timeout=60)
        self.statuses.append(answer.status_code)
        return answer

    def wait(self) -> None:
        """Return when there was an answer, whatever it was."""
        until = time.monotonic() + 180
        while not self.statuses:
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < until
            try:
                self.recommend()
            except httpx.HTTPError:
                time.sleep(0.05)

    def counted(self) -> float:
        """Return how many recommendations /metrics tells of."""
        lines = self.client.get("/metrics").text.splitlines()
        found = [line for line in lines if line.startswith("bowerbird_recommendations_total")]
        return sum(float(line.rpartition(" ")[2]) for line in found)

    def listening(self) -> set[int]:
        """Return the TCP ports that the endpoint's processes listen on."""
        top = psutil.Process(self.process.pid)
        return {
            connection.laddr.port
            for one in (top, *top.children(recursive=True))
            for connection in one.net_connections("tcp")
            if connection.status == psutil.CONN_LISTEN
        }

    def close(self) -> None:
        self.client.close()
        end(self.process)


@pytest.fixture
def launch(trained: tuple[Path, Settings], tmp_path: Path) -> Iterator[Callable[..., Endpoint]]:
    """Start endpoints in folders of their own with the trained model; all end with the test."""
    endpoints = []

    def start(root: Path, *options: str, **environment: str) -> Endpoint:
        endpoints.append(Endpoint(root, *options, **environment))
        return endpoints[-1]

    yield start
    for one in endpoints:
        one.close()


@pytest.mark.slow
def test_two_endpoints_one_of_them_with_a_damaged_champion(
    launch: Callable[..., Endpoint], shop_root: Path, tmp_path: Path
) -> None:
    """Neither answers before its model is there; each has metrics of its own."""
    for version in ("1", "2"):
        shutil.copytree(shop_root / "models/hybrid", shop_root / f"var/serving/models/{version}")
    aliases = {"1": ["previous"], "2": ["champion"]}
    listed = [{"version": version, "aliases": names} for version, names in aliases.items()]
    (shop_root / "var/serving/versions.json").write_text(json.dumps(listed))
    pointer = {"version": "2", "folder": "var/serving/models/2"}
    (shop_root / "var/serving/champion.json").write_text(json.dumps(pointer))
    ranker = shop_root / "var/serving/models/2/ranker.txt"
    os.truncate(ranker, ranker.stat().st_size // 2)
    other_root = tmp_path / "other"
    shutil.copytree(shop_root / "models", other_root / "models")
    shutil.copy(shop_root / "params.yaml", other_root)

    first = launch(shop_root)
    first.wait()
    assert first.recommend().json()["model_version"] == "1"
    assert first.counted() == 2
    second = launch(other_root)
    second.wait()
    assert [*first.statuses, *second.statuses] == [200] * 3
    for endpoint in (first, second):  # no port through which others could manage the processes
        assert endpoint.listening() == {endpoint.client.base_url.port}
    assert (first.counted(), second.counted()) == (2, 1)

    ready = first.client.get("/readyz")
    assert (ready.status_code, ready.json()["status"]) == (200, "degraded")
    assert "version 2 cannot be loaded" in ready.json()["problems"]["model"]
    assert 'bowerbird_degraded{part="model"} 1.0' in first.client.get("/metrics").text
    assert "model" in first.client.get("/status").json()["problems"]
    assert [one.kind for one in open_alerts(shop_root)] == ["model"]
    assert second.client.get("/readyz").json() == {"status": "ready", "problems": {}}

    workers = psutil.Process(first.process.pid).children(recursive=True)
    first.process.kill()
    first.process.wait()
    _, left = psutil.wait_procs(workers, timeout=30)
    assert left == [], "workers keep the port of an endpoint that was killed"
    assert second.recommend().status_code == 200


@pytest.mark.parametrize("what", ["a corrupt store", "a taken port"])
def test_an_endpoint_that_cannot_start_ends_with_one_line(
    launch: Callable[..., Endpoint], shop_root: Path, what: str
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        options: list[str] = []
        if what == "a corrupt store":
            (shop_root / "var/events").mkdir(parents=True)
            (shop_root / "var/events/events.db").write_bytes(os.urandom(50_000))
        else:
            options = ["--port", str(taken.getsockname()[1])]
        endpoint = launch(shop_root, *options)
        assert endpoint.process.wait(120) == 1
    log = endpoint.log.read_text()
    assert "Traceback" not in log
    errors = [line for line in log.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert ("event store" if what == "a corrupt store" else "cannot listen") in errors[0]


@pytest.mark.slow
def test_bentoml_serve_without_a_model_that_loads_exits_with_an_error(
    serve: Callable[..., Any], shop_root: Path
) -> None:
    ranker = shop_root / "models/hybrid/ranker.txt"
    os.truncate(ranker, ranker.stat().st_size // 2)
    server = serve(shop_root).start(wait=False)
    assert server.process.wait(120) == 1
    assert "the endpoint cannot start" in server.log.read_text()


@pytest.mark.slow
def test_a_restarting_worker_takes_no_connection_before_its_model_is_there(
    launch: Callable[..., Endpoint], shop_root: Path
) -> None:
    endpoint = launch(shop_root, "--workers", "2")
    endpoint.wait()

    def workers() -> list[psutil.Process]:
        found = psutil.Process(endpoint.process.pid).children()
        return [one for one in found if "_bentoml_impl.worker.service" in " ".join(one.cmdline())]

    def all_serve() -> bool:  # each has the lock that says so
        return sum("serving.lock" in str(one.open_files()) for one in workers()) == 2

    def ask_until_all_serve() -> None:
        until = time.monotonic() + 120
        while not all_serve():
            assert time.monotonic() < until, endpoint.log.read_text()
            endpoint.recommend()

    for _ in range(2):
        ask_until_all_serve()
        killed = workers()[0]
        killed.kill()
        killed.wait(30)
    ask_until_all_serve()
    assert set(endpoint.statuses) == {200}
