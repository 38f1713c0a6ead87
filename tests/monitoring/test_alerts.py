"""An alert is on disk when the call returns, and a dead webhook loses nothing."""

from __future__ import annotations

import contextlib
import http.server
import json
import logging
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest

from components.credentials import WebhookCredential
from monitoring.alerts import append_alert, read_alerts
from monitoring.detection import StatisticVerdict, Verdict


def verdict() -> Verdict:
    one = StatisticVerdict("price", "price", 2.0, 0.1, 0.5, 9.0, True)
    return Verdict(
        "drift", True, True, 9.0, 2.0, ["price: 2.0"], "2011-01-01", "2011-01-07",
        900, 900, 0, 120, False, "2010-10-01", "2010-12-01", 0.0, 0.05, statistics=[one],
    )  # fmt: skip


def test_each_alert_is_a_line(tmp_path: Path) -> None:
    file = tmp_path / "alerts.jsonl"
    append_alert(verdict(), file)
    append_alert(verdict(), file)
    alerts = read_alerts(file)
    assert [alert["statistics"] for alert in alerts] == [["price"], ["price"]]
    assert alerts[0]["kind"] == "drift"


def test_a_torn_line_is_left_out(tmp_path: Path) -> None:
    file = tmp_path / "alerts.jsonl"
    append_alert(verdict(), file)
    with file.open("a") as stream:
        stream.write('{"raised_at": "20')
    assert len(read_alerts(file)) == 1
    assert read_alerts(tmp_path / "none.jsonl") == []


class Hook(http.server.BaseHTTPRequestHandler):
    """Answers by its path: 204, a redirect, an error, or a body without end."""

    received: ClassVar[list[tuple[str, dict[str, Any]]]] = []

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.received.append((self.path, body))
        kind = self.path.split("/")[1]
        self.send_response({"redirect": 307, "error": 404, "endless": 200}.get(kind, 204))
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
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hook)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


def test_the_webhook_gets_the_alert(tmp_path: Path, hook: str) -> None:
    append_alert(verdict(), tmp_path / "alerts.jsonl", WebhookCredential(f"{hook}/alerts"))
    assert Hook.received[0][1]["reasons"] == ["price: 2.0"]


@pytest.mark.parametrize("kind", ["alerts", "redirect", "error", "endless"])
def test_nothing_that_a_webhook_answers_brings_its_url_into_the_log(
    tmp_path: Path, hook: str, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    """At any level: httpx logs each request at INFO, and its errors quote the URL."""
    caplog.set_level(logging.DEBUG)
    url = WebhookCredential(f"{hook}/{kind}/S3CRET")
    append_alert(verdict(), tmp_path / "alerts.jsonl", url)
    assert [path for path, _ in Hook.received] == [f"/{kind}/S3CRET"]  # no redirect is followed
    assert ("not delivered" in caplog.text) == (kind in ("redirect", "error"))
    assert "S3CRET" not in caplog.text


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:9/S3CRET", "no url at all: S3CRET", "http://127.0.0.1:x/S3CRET"]
)
def test_a_dead_webhook_loses_nothing(
    tmp_path: Path, url: str, caplog: pytest.LogCaptureFixture
) -> None:
    append_alert(verdict(), tmp_path / "alerts.jsonl", WebhookCredential(url))
    assert len(read_alerts(tmp_path / "alerts.jsonl")) == 1
    assert "not delivered" in caplog.text
    assert "S3CRET" not in caplog.text
