"""The middleware around everything, by itself and in the real server."""

from __future__ import annotations

import asyncio
import json
import shutil
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait
from typer.testing import CliRunner

import bowerbird
from serving.api.middleware import StartTimeout
from tests.conftest import absent

SCOPE = {"type": "http"}


def ask(app: Any, timeout: float) -> list[dict[str, Any]]:
    """Return what was sent to the client."""
    sent: list[dict[str, Any]] = []

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    asyncio.run(StartTimeout(app, timeout)(SCOPE, None, send))
    return sent


def test_an_answer_that_does_not_begin_in_time_is_a_504() -> None:
    ended = []

    async def never(scope: Any, receive: Any, send: Any) -> None:
        try:
            await asyncio.sleep(60)
        finally:
            ended.append(True)

    start, body = ask(never, 0.05)
    assert start["status"] == 504
    assert "0.05 seconds" in json.loads(body["body"])["error"]
    assert ended


def test_one_that_has_begun_may_take_its_time() -> None:
    async def slow(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await asyncio.sleep(0.2)
        await send({"type": "http.response.body", "body": b"late"})

    assert [message.get("body") for message in ask(slow, 0.05)] == [None, b"late"]


def test_nothing_of_a_request_is_kept_after_its_answer() -> None:
    async def quick(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})

    async def timers_after() -> int:
        app, loop = StartTimeout(quick, 30), asyncio.get_running_loop()
        for _ in range(10):
            await app(SCOPE, None, _ignore)
        return sum(not timer.cancelled() for timer in loop._scheduled)  # type: ignore[attr-defined]

    assert asyncio.run(timers_after()) == 0


async def _ignore(message: Any) -> None:
    pass


@pytest.mark.slow
def test_the_server_answers_a_request_that_never_ends(
    serve: Callable[..., Any], shop_root: Path
) -> None:
    """A client that promises a body and does not send it: BentoML uses our middleware."""
    options = {"BENTOML_CONFIG_OPTIONS": 'services."bowerbird-shop".traffic.timeout=1'}
    server = serve(shop_root, options).start()
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as client:
        client.sendall(
            b"POST /recommend HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
            b"content-length: 50\r\n\r\n{"
        )
        answer = b""
        while b"seconds" not in answer and (more := client.recv(65536)):
            answer += more
    assert answer.startswith(b"HTTP/1.1 504 ")
    assert b"no answer within 1 seconds" in answer


# --- where requests come from: a server without keys, bound to all addresses ---


@pytest.fixture(scope="module")
def unkeyed(
    trained: Any, tmp_path_factory: pytest.TempPathFactory, make_server: Any
) -> Iterator[Any]:
    root = tmp_path_factory.mktemp("unkeyed")
    shutil.copytree(trained[0] / "models/hybrid", root / "models/hybrid")
    shutil.copy(trained[0] / "params.yaml", root / "params.yaml")
    server = make_server(root, host="0.0.0.0").start()
    yield server
    server.stop()


def own_address() -> str:
    """Return an address of this machine that others reach it by."""
    for addresses in psutil.net_if_addrs().values():
        for one in addresses:
            if one.family == socket.AF_INET and not one.address.startswith("127."):
                return one.address
    absent("this machine has no address but loopback")


@pytest.mark.parametrize("keys", [{}, {"BOWERBIRD_API_KEY": "shop"}])
def test_serve_refuses_to_leave_loopback_without_both_keys(
    keys: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("BOWERBIRD_API_KEY", "BOWERBIRD_OPERATOR_KEY"):
        monkeypatch.delenv(name, raising=False)
    for name, value in keys.items():
        monkeypatch.setenv(name, value)
    for host in ("0.0.0.0", "::", "192.0.2.7", "shop.example"):
        ended = CliRunner().invoke(bowerbird.app, ["serve", "--host", host])
        assert ended.exit_code == 1
        assert ended.stderr.count("\n") == 1
        assert "set BOWERBIRD_API_KEY and BOWERBIRD_OPERATOR_KEY" in ended.stderr


def rolled_back(server: Any, **headers: str) -> int:
    """Return the status of a rollback: 409 is from behind the checks, there is no registry."""
    return httpx.post(
        f"{server.url}/operator/rollback", json={}, headers=headers, timeout=30
    ).status_code


def page_token(server: Any) -> dict[str, str]:
    token = httpx.get(f"{server.url}/operator/token").json()["token"]
    return {"x-csrf-token": token}


def test_without_keys_nothing_is_served_beyond_loopback(unkeyed: Any) -> None:
    far = f"http://{own_address()}:{unkeyed.port}"
    for path in ("/", "/model", "/metrics", "/users/13085/history", "/docs.json", "/schema.json"):
        refused = httpx.get(f"{far}{path}")
        assert refused.status_code == 403
        assert "BOWERBIRD_API_KEY" in refused.json()["error"]
    event = {"user_id": "u", "item_id": "x", "event": "click"}
    assert httpx.post(f"{far}/feedback", json=event).status_code == 403
    for path in ("/livez", "/readyz"):
        assert httpx.get(f"{far}{path}").status_code == 200
    assert httpx.get(f"{unkeyed.url}/model").status_code == 200


def test_only_own_host_names_are_answered(unkeyed: Any) -> None:
    for host in ("rebind.attacker.example", "127.0.0.1.attacker.example", "localhost.", "10.1.2.3"):
        expected = 200 if host == "localhost." else 421
        for path in ("/model", "/", "/schema.json", "/operator/token"):
            answer = httpx.get(f"{unkeyed.url}{path}", headers={"host": f"{host}:{unkeyed.port}"})
            assert answer.status_code == expected, (host, path)
        token = page_token(unkeyed)
        assert rolled_back(unkeyed, host=host, **token) == (409 if expected == 200 else 421)
    start = f"POST /operator/rollback HTTP/1.1\r\nx-csrf-token: {token['x-csrf-token']}\r\n"
    rest = "content-type: application/json\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}"
    for hosts in ("", "host: localhost\r\nhost: evil.example\r\n"):
        assert b" 400 " in sent(unkeyed.port, start + hosts + rest)
    assert b" 409 " in sent(unkeyed.port, f"{start}host: localhost\r\n{rest}")


def sent(port: int, request: str) -> bytes:
    """Return the first line of the answer to a request."""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as client:
        client.sendall(request.encode())
        return client.recv(65536).partition(b"\r\n")[0]


def test_what_a_proxy_sends_is_not_this_machines_operator(unkeyed: Any) -> None:
    token = page_token(unkeyed)
    assert rolled_back(unkeyed, **token) == 409
    for header in (
        *("x-real-ip", "forwarded", "x-forwarded-for", "x-forwarded-proto", "x-forwarded-anything"),
        *("via", "cf-connecting-ip", "true-client-ip"),
    ):
        for value in ("127.0.0.1", "203.0.113.7"):
            assert rolled_back(unkeyed, **{header: value}, **token) == 403
    old = (
        f"POST /operator/rollback HTTP/1.0\r\nhost: 127.0.0.1\r\ncontent-length: 2\r\n"
        f"content-type: application/json\r\nx-csrf-token: {token['x-csrf-token']}\r\n\r\n{{}}"
    )
    assert b" 403 " in sent(unkeyed.port, old)


def test_an_operation_needs_the_pages_token_and_json(unkeyed: Any) -> None:
    token = page_token(unkeyed)
    assert rolled_back(unkeyed) == 403
    assert rolled_back(unkeyed, **{"x-csrf-token": token["x-csrf-token"][:-1]}) == 403
    for path, method, body in (
        ("/operator/promote", "POST", {"version": "1"}),
        ("/items", "PUT", {"items": [{"item_id": "x", "title": "x"}]}),
        ("/users/nobody", "DELETE", None),
    ):
        refused = httpx.request(method, f"{unkeyed.url}{path}", json=body)
        assert refused.status_code == 403
        allowed = httpx.request(method, f"{unkeyed.url}{path}", json=body, headers=token)
        assert allowed.status_code in (200, 409)
    for kind in ("text/plain", "application/x-www-form-urlencoded", ""):
        answer = httpx.post(
            f"{unkeyed.url}/operator/rollback",
            content=b"{}",
            headers={**token, "content-type": kind},
        )
        assert answer.status_code == 415


def test_a_client_looks_back_no_further_than_a_day_and_names_what_it_was_shown(
    unkeyed: Any,
) -> None:
    """Without keys too: such events are open to every program and page on this machine."""
    event = {"user_id": "u", "item_id": "x", "event": "click"}

    def status(**other: Any) -> int:
        return httpx.post(f"{unkeyed.url}/feedback", json={**event, **other}).status_code

    assert status() == 200
    assert status(timestamp="2020-01-01T00:00:00Z") == 422
    assert status(impression_id="f" * 32) == 422
    shown = httpx.post(f"{unkeyed.url}/recommend", json={"user_id": "u"}).json()
    assert shown["identified"] is True
    assert status(impression_id=shown["impression_id"]) == 200
    assert status(impression_id=shown["impression_id"], user_id="another") == 422


def asks(browser: Any, url: str, **options: Any) -> str:
    """Return what a page's fetch came to: the status, "opaque", or the error's name."""
    script = """
        const [url, options, done] = arguments;
        fetch(url, options).then((a) => done(a.type === "opaque" ? "opaque" : String(a.status)))
            .catch((error) => done(error.name));
    """
    return browser.execute_async_script(script, url, options)


def test_a_page_of_another_origin_moves_nothing(unkeyed: Any, browser: Any, elsewhere: str) -> None:
    def events() -> int:
        return sum(httpx.get(f"{unkeyed.url}/status").json()["events_today"].values())

    before = events()
    browser.get(elsewhere)
    assert browser.title == "elsewhere"
    event = json.dumps({"user_id": "u", "item_id": "x", "event": "purchase"})
    plain = {"content-type": "text/plain"}
    for path in ("/model", "/operator/token", "/users/13085/history"):
        assert asks(browser, f"{unkeyed.url}{path}") == "TypeError"
    for path, body in (("/feedback", event), ("/operator/rollback", "{}"), ("/session", "{}")):
        options = {"method": "POST", "body": body}
        assert asks(browser, f"{unkeyed.url}{path}", **options) == "TypeError"
        asks(browser, f"{unkeyed.url}{path}", **options, mode="no-cors", headers=plain)
        json_kind = {"content-type": "application/json"}
        assert asks(browser, f"{unkeyed.url}{path}", **options, headers=json_kind) == "TypeError"
    assert events() == before
    # A form needs no leave to be sent, and its answer is shown.
    browser.execute_script(
        "const form = document.createElement('form'); form.method = 'post';"
        "form.action = arguments[0]; document.body.append(form); form.submit()",
        f"{unkeyed.url}/operator/rollback",
    )
    until = WebDriverWait(browser, 20)
    until.until(lambda _: "another origin" in browser.find_element(By.TAG_NAME, "body").text)


def test_a_name_that_is_pointed_at_this_machine_opens_nothing(unkeyed: Any, browser: Any) -> None:
    browser.get(f"http://evil.rebound.example:{unkeyed.port}/operator")
    assert "serve.allowed_hosts" in browser.find_element(By.TAG_NAME, "body").text
    assert asks(browser, "/operator/token") == "421"
    assert asks(browser, "/operator/rollback", method="POST", body="{}") == "421"


def test_the_operators_own_page_operates(unkeyed: Any, browser: Any) -> None:
    browser.get(f"{unkeyed.url}/operator")
    message = browser.find_element(By.ID, "message")
    until = WebDriverWait(browser, 20)
    until.until(lambda _: "as of" in message.text)
    # The button is hidden, because no version is registered.
    browser.execute_script("document.getElementById('rollback').click()")
    browser.find_element(By.CSS_SELECTOR, "#confirm button.main").click()
    until.until(lambda _: "no registry" in message.text)  # said behind the checks
