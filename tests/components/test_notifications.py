"""Messages reach real receivers by HTTP and SMTP; a failure is tried again and shows no address."""

from __future__ import annotations

import contextlib
import http.server
import json
import logging
import socketserver
import threading
import time
from collections.abc import Iterator
from email import message_from_bytes, policy
from pathlib import Path
from typing import Any, ClassVar

import pytest

from components import notifications
from components.alerts import Message, raise_alert, read_state, resolve_alerts
from components.credentials import AlertUrls
from components.notifications import deliver, send, send_test
from components.settings import Settings

HOSTILE = "<b>bag</b> @everyone <!channel> &amp; \\n [x](http://evil.example) :smile:"


class Hook(http.server.BaseHTTPRequestHandler):
    """Answers by its path: 200, a redirect, an error, or a body without end."""

    received: ClassVar[list[tuple[str, dict[str, Any]]]] = []
    broken: ClassVar[bool] = False

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.received.append((self.path, body))
        kind = self.path.split("/")[1]
        status = {"redirect": 307, "error": 500}.get(kind, 500 if Hook.broken else 200)
        self.send_response(status)
        if kind == "redirect":
            self.send_header("location", "/elsewhere")
        self.end_headers()
        with contextlib.suppress(OSError):
            while kind == "endless":
                self.wfile.write(b"x" * 65536)

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def hook() -> Iterator[str]:
    """The address of a service that gets webhooks."""
    Hook.received.clear()
    Hook.broken = False
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hook)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"json://127.0.0.1:{server.server_port}"
    server.shutdown()


class Mail(socketserver.StreamRequestHandler):
    """As much of SMTP as is needed to take an e-mail."""

    received: ClassVar[list[tuple[str, bytes]]] = []

    def handle(self) -> None:
        self.wfile.write(b"220 mail\r\n")
        to = ""
        while line := self.rfile.readline():
            verb = line[:4].upper()
            if verb == b"RCPT":
                to += line.decode().strip()
            if verb == b"DATA":
                self.wfile.write(b"354 go on\r\n")
                lines = iter(self.rfile.readline, b".\r\n")
                self.received.append((to, b"".join(lines)))
            self.wfile.write(b"221 bye\r\n" if verb == b"QUIT" else b"250 ok\r\n")


@pytest.fixture
def mail() -> Iterator[str]:
    Mail.received.clear()
    server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Mail)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    people = "from=shop@shop.example&to=boss@shop.example&mode=insecure"
    yield f"mailto://127.0.0.1:{server.server_address[1]}/?{people}"
    server.shutdown()
    server.server_close()


def settings_with(settings: Settings, *addresses: str) -> Settings:
    urls = AlertUrls(" ".join(addresses))
    monitor = settings.monitor.model_copy(update={"alert_urls": urls})
    return settings.model_copy(update={"monitor": monitor})


def test_alerts_and_their_resolution_reach_every_address_once(
    tmp_path: Path, hook: str, mail: str, settings: Settings
) -> None:
    given = settings_with(settings, f"{hook}/T/S3CRET", mail)
    raise_alert(tmp_path, "attack", {"P1": f"signs of an attack on {HOSTILE}"}, "monitoring")
    resolve_alerts(tmp_path, "attack", "the operator ended the hold", "operator")
    assert deliver(tmp_path, given) == []
    assert deliver(tmp_path, given) == []
    assert read_state(tmp_path).messages == ()
    first, second = sorted(Hook.received, key=lambda one: one[1]["type"], reverse=True)
    assert first[0] == "/T/S3CRET"
    assert first[1]["title"] == "bowerbird: signs of an attack"
    assert first[1]["type"] == "warning"
    assert first[1]["attachments"] == []
    # Plain text as it is, but no mention that rings all phones.
    assert first[1]["message"].endswith(HOSTILE.replace("@", "@\u200b"))
    assert second[1]["title"] == "bowerbird: resolved: signs of an attack"
    assert second[1]["type"] == "success"

    assert [to for to, _ in Mail.received] == ["rcpt TO:<boss@shop.example>"] * 2
    parsed = [message_from_bytes(one, policy=policy.default) for _, one in Mail.received]
    assert {one["subject"] for one in parsed} == {
        "bowerbird: signs of an attack",
        "bowerbird: resolved: signs of an attack",
    }
    assert {one.get_content_type() for one in parsed} == {"text/plain"}
    assert any("<b>bag</b>" in one.get_content() for one in parsed)


def test_a_title_cannot_add_a_header(mail: str) -> None:
    title = "attack on P1\r\nBcc: all@shop.example\r\n\r\nbody"
    message = {"address": mail, "title": title, "text": "x", "level": "warning"}
    send([message])
    for to, raw in Mail.received:
        assert "all@" not in to
        assert message_from_bytes(raw, policy=policy.default)["bcc"] is None


@pytest.mark.parametrize("kind", ["redirect", "error"])
def test_a_failure_is_logged_without_the_address_and_not_repeated_at_once(
    tmp_path: Path, hook: str, kind: str, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    given = settings_with(settings, f"{hook}/{kind}/S3CRET", f"{hook}/ok/S3CRET")
    raise_alert(tmp_path, "drift", {"traffic": "price 2.0"}, "monitoring")
    assert deliver(tmp_path, given) == ["address 1 (json)"]
    assert deliver(tmp_path, given) == []  # not due yet
    assert {path for path, _ in Hook.received} == {f"/{kind}/S3CRET", "/ok/S3CRET"}
    assert len(Hook.received) == 2
    assert "not delivered to address 1 (json) (monitor.alert_urls)" in caplog.text
    assert "S3CRET" not in caplog.text
    assert "S3CRET" not in (tmp_path / "var/monitoring/alerts.json").read_text()


def test_it_is_sent_later_to_the_address_that_failed_alone(
    tmp_path: Path, hook: str, settings: Settings
) -> None:
    given = settings_with(settings, f"{hook}/a", "json://127.0.0.1:9/dead")
    raise_alert(tmp_path, "drift", {"traffic": "price 2.0"}, "monitoring")
    assert deliver(tmp_path, given) == ["address 2 (json)"]
    assert len(Hook.received) == 1
    Hook.broken = True
    given = settings_with(settings, "json://127.0.0.1:9/dead", f"{hook}/a")
    later = time.time() + notifications.RETRY_SECONDS + 5
    assert deliver(tmp_path, given, later) == ["address 1 (json)"]
    assert len(Hook.received) == 1
    (message,) = read_state(tmp_path).messages
    assert message.attempts == 2
    assert message.due >= later + 2 * notifications.RETRY_SECONDS


def test_without_addresses_nothing_waits(tmp_path: Path, settings: Settings) -> None:
    raise_alert(tmp_path, "drift", {"traffic": "price 2.0"}, "monitoring")
    assert deliver(tmp_path, settings) == []
    assert read_state(tmp_path).messages == ()


def test_the_time_until_the_next_attempt_grows_and_ends() -> None:
    message = Message("1", "title", "text", "warning", at=0.0)
    waits, now = [], 0.0
    while (after := notifications._after(message, {"a": False}, ["a"], now)) is not None:
        waits.append(after.due - now)
        message, now = after, after.due
    assert waits[:3] == [30.0, 60.0, 120.0]
    assert max(waits) == notifications.LONGEST_RETRY
    assert now <= notifications.KEEP_SECONDS
    assert notifications._after(message, {}, ["b"], now) is None  # its address is gone


def test_an_address_that_is_none_fails_alone(
    hook: str, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    given = settings_with(settings, "nope://S3CRET", "slack://S3CRET", f"{hook}/x")
    assert send_test(given) == {
        "address 1 (nope)": False,
        "address 2 (slack)": False,
        "address 3 (json)": True,
    }
    assert "S3CRET" not in caplog.text


@pytest.mark.slow
def test_an_answer_without_end_costs_seconds_and_no_memory(
    tmp_path: Path, hook: str, settings: Settings
) -> None:
    raise_alert(tmp_path, "drift", {"traffic": "price 2.0"}, "monitoring")
    began = time.monotonic()
    given = settings_with(settings, f"{hook}/endless", f"{hook}/ok")
    assert deliver(tmp_path, given) == ["address 1 (json)"]
    assert time.monotonic() - began < notifications.SECONDS + notifications.START_SECONDS


def test_of_several_workers_one_sends(tmp_path: Path, hook: str, settings: Settings) -> None:
    raise_alert(tmp_path, "drift", {"traffic": "price 2.0"}, "monitoring")
    given = settings_with(settings, f"{hook}/a")
    workers = [threading.Thread(target=deliver, args=(tmp_path, given)) for _ in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert len(Hook.received) == 1
    assert read_state(tmp_path).messages == ()
