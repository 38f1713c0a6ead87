"""Prefect's and MLflow's servers as processes of ``bowerbird ui``.

In: ``flows`` of params.yaml and the login of ``flows/access.py``. Out: two running servers and
their logs in ``var/flows``, readable by their owner only.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil

from components.settings import Settings
from flows.access import check_host, environment, load_login, private_folder


def url(host: str, port: int) -> str:
    """Return the URL of a server, with an IPv6 host in brackets."""
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def wait_for(url: str, process: subprocess.Popen[bytes], log: Path, seconds: float = 300) -> None:
    """Wait until ``url`` answers.

    log: log file of the process, for the error message.

    Raises:
        RuntimeError: the process ended, another program answers, or ``seconds`` have passed.
    """
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if process.poll() is not None:
            raise RuntimeError(f"the server of {url} ended with {process.returncode}: see {log}")
        try:
            if httpx.get(url, timeout=2).status_code == 200:
                check_listens(process, httpx.URL(url))
                return
        except httpx.HTTPError:
            pass
        time.sleep(0.3)
    raise RuntimeError(f"{url} did not answer within {seconds:.0f} s: see {log}")


def check_listens(process: subprocess.Popen[bytes], url: httpx.URL) -> None:
    """Check that what answers at ``url`` is this process or one that it started.

    Otherwise the server of another shop, which took the port first, would get this shop's flows.

    Raises:
        RuntimeError: it is another program.
    """
    with suppress(psutil.NoSuchProcess):
        own = psutil.Process(process.pid)
        for one in (own, *own.children(recursive=True)):
            with suppress(psutil.Error):
                for socket in one.net_connections("tcp"):
                    if socket.status == psutil.CONN_LISTEN and socket.laddr.port == url.port:
                        return
    raise RuntimeError(
        f"another program answers at {url}: stop it, or set another port in params.yaml (flows)"
    )


@dataclass(frozen=True)
class Server:
    """One server: name of its log, URL, path of its health check, command and environment."""

    name: str
    url: str
    health: str
    command: list[str]
    environment: dict[str, str]

    def start(self, log: Path) -> subprocess.Popen[bytes]:
        """Start it in its own process group, with output to ``log``, readable by its owner only."""
        file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            os.fchmod(file, 0o600)
            return subprocess.Popen(
                [sys.executable, "-m", *self.command],
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env={**os.environ, **self.environment},
            )
        finally:
            os.close(file)


def described(settings: Settings, root: Path, login: str) -> tuple[Server, Server]:
    """Return Prefect's and MLflow's server."""
    from components.registry import Registry

    f = settings.flows
    # The login and the registry's URL, which may contain a password, are not on the command line,
    # which every user of the machine can read.
    store = {
        "MLFLOW_BACKEND_STORE_URI": Registry(settings, root).uri,
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # MLflow's jobs are not used
    }
    return (
        Server(
            "prefect",
            url(f.host, f.prefect_port),
            "/api/health",
            [
                *("uvicorn", "--factory", "flows.access:prefect_server", "--log-level", "warning"),
                *("--host", f.host, "--port", str(f.prefect_port)),
            ],
            environment(f.host, f.prefect_port, login),
        ),
        Server(
            "mlflow",
            url(f.host, f.mlflow_port),
            "/health",
            [
                *("mlflow", "server", "--app-name", "bowerbird", "--workers", "1"),
                *("--host", f.host, "--port", str(f.mlflow_port)),
            ],
            environment(f.host, f.mlflow_port, login) | store,
        ),
    )


@contextmanager
def servers(settings: Settings, root: Path) -> Iterator[tuple[str, str]]:
    """Run Prefect's and MLflow's servers; yield their URLs, and stop them afterwards.

    Raises:
        AccessError: ``flows.host`` is beyond loopback and $BOWERBIRD_UI_PASSWORD is not set.
        RuntimeError: a server ended or does not answer.
    """
    check_host(settings.flows.host)
    login, logs = load_login(root), private_folder(root)
    prefect, mlflow = described(settings, root, login)
    started: list[subprocess.Popen[bytes]] = []
    try:
        for server in (prefect, mlflow):
            started.append(server.start(logs / f"{server.name}.log"))
        for server, process in zip((prefect, mlflow), started, strict=True):
            wait_for(server.url + server.health, process, logs / f"{server.name}.log")
        yield prefect.url, mlflow.url
    finally:
        for process in started:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGTERM)
        for process in started:
            try:
                process.wait(timeout=15)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
