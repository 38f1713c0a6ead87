"""An alert is on disk when the call returns, and a dead webhook loses nothing."""

from __future__ import annotations

import http.server
import json
import threading
from pathlib import Path

import pytest

from monitoring.alerts import append_alert, read_alerts
from monitoring.drift import StatisticVerdict, Verdict


def verdict(drifted: bool) -> Verdict:
    one = StatisticVerdict("price", "price", 2.0, 0.1, 0.5, 9.0, drifted)
    return Verdict(
        drifted, True, 9.0, 2.0, ["price: 2.0"], "2011-01-01", "2011-01-07",
        900, 900, 0, 120, False, "2010-10-01", "2010-12-01", 0.05, [one],
    )  # fmt: skip


def test_only_drift_is_an_alert(tmp_path: Path) -> None:
    file = tmp_path / "alerts.jsonl"
    assert not append_alert(verdict(False), file)
    assert not file.exists()
    assert append_alert(verdict(True), file)
    assert append_alert(verdict(True), file)
    alerts = read_alerts(file)
    assert [alert["statistics"] for alert in alerts] == [["price"], ["price"]]


def test_a_torn_line_is_left_out(tmp_path: Path) -> None:
    file = tmp_path / "alerts.jsonl"
    append_alert(verdict(True), file)
    with file.open("a") as stream:
        stream.write('{"raised_at": "20')
    assert len(read_alerts(file)) == 1
    assert read_alerts(tmp_path / "none.jsonl") == []


def test_the_webhook_gets_the_alert(tmp_path: Path) -> None:
    received: list[dict] = []

    class Hook(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            received.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None: ...

    server = http.server.HTTPServer(("127.0.0.1", 0), Hook)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}/alerts"
    append_alert(verdict(True), tmp_path / "alerts.jsonl", url)
    server.shutdown()
    assert received[0]["reasons"] == ["price: 2.0"]


@pytest.mark.parametrize("url", ["http://127.0.0.1:9/nobody", "no url at all"])
def test_a_dead_webhook_loses_nothing(tmp_path: Path, url: str) -> None:
    assert append_alert(verdict(True), tmp_path / "alerts.jsonl", url)
    assert len(read_alerts(tmp_path / "alerts.jsonl")) == 1
