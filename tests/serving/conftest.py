"""A trained model, real servers over HTTP, and a PostgreSQL of our own."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from unittest.mock import patch

import httpx
import pytest
import uvicorn

from components.data.item_table import read_item_table, write_item_table
from components.manifest import write_manifest
from components.settings import Settings, load_settings
from serving.api.auth import Auth, Keys
from serving.api.peers import Peers
from serving.api.worker import create_worker
from serving.backend import Backend
from serving.recommend.engine import Engine
from tests.conftest import REPOSITORY
from tests.postgres import new_database
from tests.processes import end, free_port, wait_until


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty event store's URL, in both databases."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/events.db"
    return new_database(request.getfixturevalue("postgres"))


@pytest.fixture(scope="session")
def engine(trained: tuple[Path, Settings]) -> Engine:
    """The engine of the trained model."""
    return Engine.load(trained[0] / "models/hybrid", "test")


@pytest.fixture
def shop_root(trained: tuple[Path, Settings], tmp_path: Path) -> Path:
    """A root of its own with the trained model and nothing else."""
    for name in ("hybrid", "profiles"):
        shutil.copytree(trained[0] / "models" / name, tmp_path / "root/models" / name)
    shutil.copy(trained[0] / "params.yaml", tmp_path / "root/params.yaml")
    return tmp_path / "root"


@pytest.fixture
def open_backend(trained: tuple[Path, Settings]) -> Iterator[Callable[..., Backend]]:
    """Make backends of a root that rank in a thread; all are closed after the test."""
    backends: list[Backend] = []

    def make(
        root: Path,
        has_api_key: bool = False,
        roll_back: Callable[[str], None] = lambda version: None,
        **changed: Any,
    ) -> Backend:
        serve = trained[1].serve.model_copy(update={"ranking": "thread", **changed})
        settings = trained[1].model_copy(update={"serve": serve})
        sign = Auth(Keys(), b"secret").impression_id
        backends.append(Backend(settings, root, sign, has_api_key, roll_back=roll_back))
        return backends[-1]

    yield make
    for one in backends:
        one.close()


class Server:
    """A ``bentoml serve`` process of its own on a port of its own."""

    def __init__(
        self,
        root: Path,
        environment: dict[str, str] | None = None,
        target: str | None = None,
        host: str = "127.0.0.1",
        open_files: int | None = None,
    ) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = root / "server.log"
        self._command = [
            *(sys.executable, "-m", "bentoml", "serve", target or "serving.service:Bowerbird"),
            *("--host", host, "--port", str(self.port)),
        ]
        if open_files is not None:
            limited = f'ulimit -n {open_files} && exec "$@"'
            self._command = ["sh", "-c", limited, "sh", *self._command]
        self._environment = {
            **os.environ,
            "BOWERBIRD_ROOT": str(root),
            "BENTOML_HOME": str(root / "bentoml"),
            "BENTOML_DO_NOT_TRACK": "true",
            "BOWERBIRD_SERVE__MAX_RATE": "0",
            # Else one shopper in fifty gets other lists than a test expects.
            "BOWERBIRD_SERVE__UPLIFT": "{share: 0}",
            **(environment or {}),
        }
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, wait: bool = True) -> Server:
        """Start the process and, unless told not to, wait until it is ready."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self._command,
                cwd=REPOSITORY,
                env=self._environment,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        if wait:
            try:
                self.wait()
            except BaseException:
                self.stop(kill=True)  # a fixture that fails has no end of its own
                raise
        return self

    def wait(self, seconds: float = 180) -> None:
        """Return when the server is ready."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            try:
                if httpx.get(f"{self.url}/readyz", timeout=5).status_code == 200:
                    return
            except httpx.HTTPError:
                pass
            assert self.process is not None
            assert self.process.poll() is None, self.log.read_text()
            time.sleep(0.1)
        raise TimeoutError(self.log.read_text())

    def client(self) -> httpx.Client:
        """Return a client of the server."""
        return httpx.Client(base_url=self.url, timeout=30)

    @contextmanager
    def serving(self) -> Iterator[httpx.Client]:
        """Start the server and return a client of it; both end with the block."""
        self.start()
        try:
            with self.client() as client:
                yield client
        finally:
            self.stop()

    def stop(self, kill: bool = False) -> None:
        """End the process and its children, with SIGKILL if told so."""
        if self.process is None:
            return
        end(self.process, signal.SIGKILL if kill else signal.SIGTERM)
        self.process = None


class InThread:
    """The application of one worker on a port of its own, in a thread of the tests' process.

    A process of BentoML's costs some 13 seconds of processor time until it is ready. For tests of
    what the routes answer: processes, connections and BentoML's own routes need ``Server``.
    """

    def __init__(self, root: Path, environment: dict[str, str] | None = None) -> None:
        variables = {
            "BOWERBIRD_SERVE__MAX_RATE": "0",
            "BOWERBIRD_SERVE__UPLIFT": "{share: 0}",
            "BOWERBIRD_SERVE__RANKING": "thread",
            **(environment or {}),
        }
        with patch.dict(os.environ, variables):
            settings, keys = load_settings(root / "params.yaml"), Keys.from_environment()
        app = create_worker(settings, root, keys, single_process=True)
        self.backend: Backend = app.state.backend
        behind = Peers(app, settings.serve, has_keys=keys.both)
        options = {"port": 0, "lifespan": "off", "log_config": None, "access_log": False}
        self._server = uvicorn.Server(uvicorn.Config(behind, **options))  # type: ignore[arg-type]
        self._thread = threading.Thread(target=self._server.run, daemon=True)

    def start(self) -> InThread:
        """Load the model, then accept connections."""
        self.backend.load()
        self.backend.start()
        self._thread.start()
        wait_until(lambda: self._server.started)
        port = self._server.servers[0].sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        return self

    def client(self) -> httpx.Client:
        """Return a client of the server."""
        return httpx.Client(base_url=self.url, timeout=30)

    @contextmanager
    def serving(self) -> Iterator[httpx.Client]:
        """Start the server and return a client of it; both end with the block."""
        try:
            with self.start().client() as client:
                yield client
        finally:
            self.stop()

    def stop(self) -> None:
        """Answer what was requested, and write the queued events."""
        self._server.should_exit = True
        if self._thread.is_alive():
            self._thread.join(timeout=30)
        self.backend.close()


@pytest.fixture
def serve() -> Iterator[Callable[..., Server]]:
    """Make servers, all of which end with the test."""
    servers: list[Server] = []

    def make(*arguments: object, **options: object) -> Server:
        servers.append(Server(*arguments, **options))  # type: ignore[arg-type]
        return servers[-1]

    yield make
    for server in servers:
        server.stop()


def with_hostile_title(trained: Path, root: Path, title: str) -> None:
    """Write a shop's folder whose best-selling product has a hostile title."""
    shutil.copytree(trained / "models/hybrid", root / "models/hybrid")
    shutil.copy(trained / "params.yaml", root / "params.yaml")
    folder = root / "models/hybrid"
    table = read_item_table(folder)
    table.loc[table["popularity"].idxmax(), "title"] = title
    write_item_table(table, folder)
    write_manifest(folder)


@pytest.fixture(scope="session")
def make_server() -> type[Server]:
    """The class of servers, for fixtures that live longer than one test."""
    return Server


@pytest.fixture(scope="session")
def in_thread() -> type[InThread]:
    """The class of servers in a thread, for fixtures that live longer than one test."""
    return InThread


@contextmanager
def static_pages(folder: Path) -> Iterator[str]:
    """Serve a folder of static pages on a free port; return its origin."""
    handler = partial(SimpleHTTPRequestHandler, directory=folder)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://localhost:{server.server_port}"
        server.shutdown()


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The origin of an empty page of somebody else, on another port of this machine."""
    folder = tmp_path_factory.mktemp("elsewhere")
    (folder / "index.html").write_text("<!doctype html><title>elsewhere</title>")
    with static_pages(folder) as origin:
        yield origin


@pytest.fixture(scope="session")
def served(
    trained: tuple[Path, Settings], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[httpx.Client]:
    """A client of one application without keys. Tests send events of users of their own."""
    with InThread(served_root(trained[0], tmp_path_factory)).serving() as client:
        yield client


def served_root(trained: Path, factory: pytest.TempPathFactory) -> Path:
    """Return a root of its own with the trained model, its histories and settings."""
    root = factory.mktemp("served")
    for name in ("hybrid", "profiles"):
        shutil.copytree(trained / "models" / name, root / "models" / name)
    shutil.copy(trained / "params.yaml", root / "params.yaml")
    return root
