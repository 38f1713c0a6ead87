"""Prefect's and MLflow's real servers as ``bowerbird ui`` runs them, attacked from Chromium."""

from __future__ import annotations

import http.server
import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
import websockets.sync.client
import yaml
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait

from components.settings import load_settings
from flows.access import AccessError, check_host, how_to_log_in, known_login, load_login
from flows.servers import servers
from tests.conftest import REPOSITORY
from tests.processes import command_line, end, free_port, wait_until

# What a page open in the operator's browser does: read the deployments, post one of them again with
# a shell command as a pull step, start it; and write to MLflow.
ATTACK = """<title>waiting</title><script>
const json = {'content-type': 'application/json'};
const post = async (url, body, more) => {
  try {
    const sent = {method: 'POST', headers: json, body: JSON.stringify(body), ...more};
    const answer = await fetch(url, sent);
    return [answer.status, await answer.json()];
  } catch (error) { return [String(error), null]; }
};
(async () => {
  const prefect = 'PREFECT/api', did = [];
  const [status, found] = await post(prefect + '/deployments/filter', {});
  did.push(status);
  const victim = (Array.isArray(found) ? found : []).find(x => x.entrypoint.includes('training'));
  const {id, flow_id, name, entrypoint} = victim || {name: 'shop', entrypoint: 'flows.training'};
  const step = {'prefect.deployments.steps.run_shell_script': {script: 'touch MARKER'}};
  const again = {name, flow_id, entrypoint, pull_steps: [step]};
  did.push((await post(prefect + '/deployments/', again))[0]);
  const run = prefect + `/deployments/${id}/create_flow_run`;
  did.push((await post(run, {state: {type: 'SCHEDULED'}}))[0]);
  const create = 'MLFLOW/api/2.0/mlflow/experiments/create';
  did.push((await post(create, {name: 'anonymous'}))[0]);
  // With the login that the browser keeps for MLflow.
  did.push((await post(create, {name: 'as operator'}, {credentials: 'include'}))[0]);
  // Simple requests need no preflight: the server has to refuse them itself.
  const simple = {headers: {}, mode: 'no-cors', credentials: 'include'};
  await post(create, {name: 'simple'}, simple);
  await post(prefect + '/deployments/', again, simple);
  document.title = 'did ' + JSON.stringify(did);
})();
</script>"""


def make_folder(root: Path, prefect: int, mlflow: int, **flows: Any) -> dict[str, str]:
    """Make a project folder with only params.yaml; return the environment of its commands."""
    params = yaml.safe_load((REPOSITORY / "params.yaml").read_text())
    params["flows"] |= {"prefect_port": prefect, "mlflow_port": mlflow, "training": ""}
    params["flows"] |= {"monitoring": "", "retraining": "", **flows}
    (root / "params.yaml").write_text(yaml.safe_dump(params))
    left_out = ("PREFECT_", "MLFLOW_", "BOWERBIRD_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(left_out)}
    quiet = {"PREFECT_SERVER_ANALYTICS_ENABLED": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
    paths = {"PYTHONPATH": str(REPOSITORY), "PREFECT_HOME": str(root / "var/prefect")}
    return kept | quiet | paths


@dataclass
class Pages:
    """The running servers: their folder, addresses, and the environment of commands."""

    root: Path
    prefect: str
    mlflow: str
    environment: dict[str, str]
    started: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def start(self, command: str, **environment: str) -> str:
        """Start a command of ``bowerbird`` that serves the flows; return what it has printed."""
        file = self.root / f"{command}.log"
        with file.open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "bowerbird", command],
                cwd=self.root,
                env=self.environment | environment,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        self.started.append(process)
        served = "Your deployments are being served"
        wait_until(lambda: process.poll() is not None or served in file.read_text(), 240, command)
        assert process.poll() is None, file.read_text()
        return file.read_text()

    def end(self) -> None:
        """End what was started last."""
        end(self.started.pop(), signal.SIGINT)

    @property
    def login(self) -> tuple[str, str]:
        user, _, password = (self.root / "var/flows/login").read_text().strip().partition(":")
        return user, password

    def deployments(self) -> list[dict[str, Any]]:
        address = f"{self.prefect}/api/deployments/filter"
        answer = httpx.post(address, json={}, auth=self.login, timeout=30)
        return answer.json() if answer.status_code == 200 else []


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pages]:
    """Prefect's and MLflow's servers with one deployment, which nothing runs."""
    root = tmp_path_factory.mktemp("pages")
    environment = make_folder(root, free_port(), free_port())
    (root / "var/flows").mkdir(parents=True, mode=0o755)
    (root / "var/flows/mlflow.log").touch(mode=0o644)
    with pytest.MonkeyPatch.context() as patch:
        for name in set(os.environ) - set(environment):
            patch.delenv(name)
        for name, value in environment.items():
            patch.setenv(name, value)
        with servers(load_settings(root / "params.yaml"), root) as (prefect, mlflow):
            with httpx.Client(base_url=f"{prefect}/api", timeout=30) as client:
                client.auth = tuple(known_login(root).split(":"))
                flow = client.post("/flows/", json={"name": "training"}).json()["id"]
                deployment = {"name": "shop", "flow_id": flow, "entrypoint": "flows.training.train"}
                post = partial(client.post, "/deployments/", json=deployment)
                wait_until(lambda: post().is_success, 30)  # a new server's database may be busy
            yield Pages(root, prefect, mlflow, environment)


@pytest.fixture(scope="module")
def foreign(pages: Pages, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The port of a local server of another origin that serves the attacker's page."""
    folder = tmp_path_factory.mktemp("foreign")
    page = ATTACK.replace("PREFECT", pages.prefect).replace("MLFLOW", pages.mlflow)
    (folder / "index.html").write_text(page.replace("MARKER", str(pages.root / "owned")))

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *parts: Any) -> None:
            pass

    handler = partial(Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield int(server.server_address[1])
        server.shutdown()


def experiments(pages: Pages) -> set[str]:
    address = f"{pages.mlflow}/api/2.0/mlflow/experiments/search"
    answer = httpx.get(address, params={"max_results": 100}, auth=pages.login, timeout=30)
    return {one["name"] for one in answer.json()["experiments"]}


def until(browser: webdriver.Chrome, condition: Callable[[], Any]) -> Any:
    return WebDriverWait(browser, 60).until(lambda _: condition())


def test_the_operator_logs_in(browser: webdriver.Chrome, pages: Pages) -> None:
    browser.get(pages.prefect)
    field = until(browser, lambda: browser.find_elements(By.CSS_SELECTOR, "input[type=password]"))
    field[0].send_keys(":".join(pages.login), Keys.ENTER)
    until(browser, lambda: "login" not in browser.current_url)
    browser.get(f"{pages.prefect}/v2/deployments")
    until(browser, lambda: "training" in browser.find_element(By.TAG_NAME, "body").text)
    # ... and under the machine's other name, where API and page are one origin too.
    browser.get(pages.prefect.replace("127.0.0.1", "localhost"))
    until(browser, lambda: browser.find_elements(By.CSS_SELECTOR, "input[type=password]"))

    user, password = pages.login
    browser.get(pages.mlflow.replace("://", f"://{user}:{password}@"))
    browser.get(f"{pages.mlflow}/#/experiments")
    until(browser, lambda: "Default" in browser.find_element(By.TAG_NAME, "body").text)


def test_a_page_of_another_origin_runs_nothing(
    browser: webdriver.Chrome, pages: Pages, foreign: int
) -> None:
    """In the browser in which the operator is logged in to both."""
    user, password = pages.login
    browser.get(pages.mlflow.replace("://", f"://{user}:{password}@"))
    before = pages.deployments()
    for host in ("127.0.0.1", "localhost"):  # the same site as the servers, and another one
        browser.get(f"http://{host}:{foreign}/")
        until(browser, lambda: browser.title.startswith("did "))
        did = json.loads(browser.title.removeprefix("did "))
        assert did == ["TypeError: Failed to fetch"] * 5
    assert pages.deployments() == before
    runs = httpx.post(f"{pages.prefect}/api/flow_runs/filter", json={}, auth=pages.login)
    assert runs.json() == []
    assert not (pages.root / "owned").exists()
    assert experiments(pages) == {"Default"}


def test_nothing_answers_without_the_login(pages: Pages) -> None:
    prefect, mlflow = f"{pages.prefect}/api", f"{pages.mlflow}/api/2.0/mlflow"
    for auth in (None, ("bowerbird", ""), ("bowerbird", "wrong"), ("admin", "password1234")):
        for url in (f"{prefect}/deployments/filter", f"{prefect}/deployments/"):
            assert httpx.post(url, json={}, auth=auth).status_code == 401
        for path in ("experiments/create", "registered-models/create"):
            assert httpx.post(f"{mlflow}/{path}", json={"name": "x"}, auth=auth).status_code == 401
        for path in ("/", "/version", "/graphql", "/ajax-api/3.0/mlflow/server-info", "/health/x"):
            assert httpx.get(pages.mlflow + path, auth=auth).status_code == 401
    for header in ("Basic", "Basic !", "Basic \xff", f"Bearer {pages.login[1]}"):
        sent = {"authorization": header.encode("latin1")}
        assert httpx.get(pages.mlflow, headers=sent).status_code == 401
    assert "www-authenticate" in httpx.get(pages.mlflow).headers
    assert httpx.get(f"{prefect}/health").status_code == 200
    assert httpx.get(f"{pages.mlflow}/health").status_code == 200


@pytest.mark.parametrize("path", ["events/in", "events/out", "logs/out"])
def test_a_websocket_wants_the_login(pages: Pages, path: str) -> None:
    address = f"{pages.prefect}/api/{path}".replace("http", "ws", 1)
    connect = partial(websockets.sync.client.connect, address, subprotocols=["prefect"])
    with connect() as socket:
        socket.send(json.dumps({"type": "auth", "token": "bowerbird:wrong"}))
        with pytest.raises(websockets.exceptions.ConnectionClosed):
            socket.recv(timeout=20)
    with pytest.raises(websockets.exceptions.InvalidStatus, match="403"):
        connect(origin="http://localhost:9")
    with connect(origin=pages.prefect) as socket:
        socket.send(json.dumps({"type": "auth", "token": ":".join(pages.login)}))
        assert json.loads(socket.recv(timeout=20)) == {"type": "auth_success"}


@pytest.mark.parametrize("name", ["evil.example", "10.evil.example", "127.0.0.1.evil.example", ""])
def test_a_foreign_host_name_is_refused(pages: Pages, name: str) -> None:
    """A page whose name is made to resolve to this machine is same-origin with the server."""
    for url in (pages.prefect, f"{pages.prefect}/api/health", pages.mlflow):
        host = f"{name}:{httpx.URL(url).port}" if name else ""
        answer = httpx.get(url, headers={"host": host}, auth=pages.login)
        assert (answer.status_code, answer.text) == (400, "Invalid host header")


def test_pages_are_framed_by_their_own_origin_and_talk_to_it_only(pages: Pages) -> None:
    for url in (pages.prefect, pages.mlflow):
        answer = httpx.get(url, auth=pages.login, follow_redirects=True)
        assert answer.status_code == 200
        policy = answer.headers["content-security-policy"]
        assert "frame-ancestors 'self'; connect-src 'self'" in policy


def test_the_password_lies_in_one_file_for_its_owner_only(pages: Pages) -> None:
    folder = pages.root / "var/flows"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    for file in folder.iterdir():
        assert stat.S_IMODE(file.stat().st_mode) & 0o077 == 0, file
    password = pages.login[1].encode()
    holding = [file for file in pages.root.rglob("*") if file.is_file()]
    assert [file for file in holding if password in file.read_bytes()] == [folder / "login"]
    lines = [command_line(process) for process in psutil.Process().children(recursive=True)]
    assert sum("flows.access:prefect_server" in line for line in lines) == 1
    assert not any(pages.login[1] in line for line in lines)
    assert not any("mlflow.db" in line for line in lines)  # a database's address has its password
    told = how_to_log_in(pages.root)
    assert str(folder / "login") in told
    assert pages.login[1] not in told


@pytest.mark.slow
def test_a_second_one_names_the_busy_port(pages: Pages) -> None:
    run = partial(subprocess.run, capture_output=True, text=True, check=False)
    again = run([sys.executable, "-m", "bowerbird", "ui"], cwd=pages.root, env=pages.environment)
    port = httpx.URL(pages.prefect).port
    assert again.returncode == 1
    assert again.stderr.strip() == (
        f"error: cannot listen on 127.0.0.1 port {port} (Address already in use): "
        "set flows.prefect_port to another"
    )
    command = [sys.executable, "-m", "bowerbird", "serve", "--port", str(port)]
    serve = run(command, cwd=pages.root, env=pages.environment)
    assert serve.returncode == 1
    assert serve.stderr.strip().endswith("(Address already in use): set serve.port to another")
    assert len(serve.stderr.strip().splitlines()) == 1


def test_the_login_is_kept_and_renewed_when_others_could_read_it(tmp_path: Path) -> None:
    assert known_login(tmp_path) is None
    first = load_login(tmp_path)
    file = tmp_path / "var/flows/login"
    assert len(first) > 40
    assert load_login(tmp_path) == known_login(tmp_path) == first == file.read_text().strip()
    assert sorted(file.parent.iterdir()) == [file]
    file.chmod(0o644)
    second = load_login(tmp_path)
    assert second != first
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    file.write_text("bowerbi")  # cut off
    assert load_login(tmp_path) not in (first, second)
    shutil.rmtree(tmp_path / "var")
    (tmp_path / "var/flows").mkdir(parents=True, mode=0o755)
    load_login(tmp_path)
    assert stat.S_IMODE((tmp_path / "var/flows").stat().st_mode) == 0o700


def test_a_password_of_ones_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BOWERBIRD_UI_PASSWORD", "sixteen letters:")
    assert load_login(tmp_path) == "bowerbird:sixteen letters:"
    assert list(tmp_path.iterdir()) == []  # it is not written
    for bad in ("short", "sixteen letterß", "sixteen letters\n"):
        monkeypatch.setenv("BOWERBIRD_UI_PASSWORD", bad)
        with pytest.raises(AccessError, match="at least 16 printable ASCII characters"):
            load_login(tmp_path)


@pytest.mark.slow
def test_beyond_loopback_a_password_of_ones_own_is_needed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("BOWERBIRD_UI_PASSWORD", raising=False)
    for host in ("127.0.0.1", "127.8.8.8", "::1", "localhost"):
        check_host(host)
    for host in ("192.0.2.1", "shop.example", "localhost.example", "127.0.0.1.example"):
        with pytest.raises(AccessError, match="BOWERBIRD_UI_PASSWORD"):
            check_host(host)
    environment = make_folder(tmp_path, free_port(), free_port(), host="192.0.2.1")
    command = [sys.executable, "-m", "bowerbird", "ui"]
    refused = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert refused.returncode == 1
    assert refused.stderr.startswith("error: flows.host is 192.0.2.1, which other machines reach")
    assert len(refused.stderr.strip().splitlines()) == 1
    assert not (tmp_path / "var").exists()
    monkeypatch.setenv("BOWERBIRD_UI_PASSWORD", "sixteen letters!")
    check_host("shop.example")
    for host in ("0.0.0.0", "::", ""):
        with pytest.raises(AccessError, match="means every address"):
            check_host(host)


@pytest.mark.slow
def test_flows_and_events_use_the_login(tmp_path: Path) -> None:
    """Of ``bowerbird ui`` and ``flows``; an event starts a run, and its log lines arrive."""
    prefect, mlflow = free_port(), free_port()
    environment = make_folder(tmp_path, prefect, mlflow)
    address = f"http://127.0.0.1:{prefect}/api"
    pages = Pages(tmp_path, address.removesuffix("/api"), "", environment)
    try:
        printed = pages.start("ui", PREFECT_API_URL=address)
        assert "log in to Prefect with the line in var/flows/login" in printed
        assert pages.login[1] not in printed
        assert {one["name"] for one in pages.deployments()} == {"shop"}
        assert "being served" in pages.start("flows", PREFECT_API_URL=address)
        pages.end()  # it pauses the deployments
        for one in pages.deployments():
            url = f"{address}/deployments/{one['id']}/resume_deployment"
            httpx.post(url, auth=pages.login).raise_for_status()

        code = (
            "from prefect.events import emit_event\n"
            "from flows.monitoring import DRIFT, resource\n"
            "emit_event(DRIFT, {'prefect.resource.id': resource()}, payload={'reasons': ['x']})\n"
        )
        login = {"PREFECT_API_URL": address, "PREFECT_API_AUTH_STRING": ":".join(pages.login)}
        command = [sys.executable, "-c", code]
        subprocess.run(command, cwd=tmp_path, env=environment | login, check=True)

        def retraining() -> Any:
            body = {"flows": {"name": {"any_": ["retraining"]}}}
            found = httpx.post(f"{address}/flow_runs/filter", json=body, auth=pages.login).json()
            return found and found[0]["state"]["type"] in ("FAILED", "COMPLETED") and found[0]

        run = wait_until(retraining, 240, "the run that the event starts")
        assert run["created_by"]["type"] == "AUTOMATION"
        body = {"logs": {"flow_run_id": {"any_": [run["id"]]}}}
        logs = httpx.post(f"{address}/logs/filter", json=body, auth=pages.login).json()
        assert any("retraining: drift: x" in line["message"] for line in logs)
    finally:
        while pages.started:
            pages.end()


@pytest.mark.slow
def test_a_run_that_died_with_its_server_blocks_no_other(tmp_path: Path) -> None:
    """A machine that lost power in the middle of a retraining, and the next start."""
    prefect, mlflow = free_port(), free_port()
    environment = make_folder(tmp_path, prefect, mlflow)
    address = f"http://127.0.0.1:{prefect}/api"
    pages = Pages(tmp_path, address.removesuffix("/api"), "", environment)

    def post(path: str, body: dict[str, Any]) -> dict[str, Any]:
        answer = httpx.post(address + path, json=body, auth=pages.login, timeout=30)
        return answer.raise_for_status().json()

    def scheduled() -> str:
        """Return a new run of the retraining."""
        (deployment,) = (
            one for one in pages.deployments() if one["entrypoint"].endswith("retraining")
        )
        body = {"state": {"type": "SCHEDULED"}}
        return post(f"/deployments/{deployment['id']}/create_flow_run", body)["id"]

    def state(run: str, kind: str) -> str:
        return post(f"/flow_runs/{run}/set_state", {"state": {"type": kind}})["status"]

    def flow_run(run: str) -> dict[str, Any]:
        answer = httpx.get(f"{address}/flow_runs/{run}", auth=pages.login, timeout=30)
        return answer.raise_for_status().json()

    try:
        pages.start("ui")
        process = pages.started[-1]
        children = psutil.Process(process.pid).children(recursive=True)
        dead = scheduled()
        assert state(dead, "PENDING") == "ACCEPT"  # as a runner does, whose process then dies
        assert state(dead, "RUNNING") == "ACCEPT"
        waiting = scheduled()
        assert state(waiting, "PENDING") == "REJECT", "one retraining at a time"
        process.kill()
        process.wait()
        _, left = psutil.wait_procs(children, timeout=30)
        assert left == [], "children outlive the command"

        printed = pages.start("ui")
        run = flow_run(dead)
        assert run["state"]["type"] == "CRASHED"
        assert "its process died together with the server" in run["state"]["message"]
        assert f"the run {run['name']} had died with the last server" in printed

        def alerts() -> str:
            command = [sys.executable, "-m", "bowerbird", "alerts"]
            return subprocess.run(
                command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
            ).stdout

        wait_until(lambda: "flow: retraining" in alerts(), 120, "the alert")
        ended = ("FAILED", "COMPLETED")  # it fails in this folder, which has no data
        wait_until(lambda: flow_run(waiting)["state"]["type"] in ended, 240, "the run that waited")
    finally:
        while pages.started:
            pages.end()
