"""An alert is raised once while it lasts, by whatever process, and resolved when it has passed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from components import alerts
from components.alerts import (
    FILE,
    notify,
    open_alerts,
    raise_alert,
    read_state,
    resolve_alerts,
)
from components.timeline import read_timeline


def titles(root: Path) -> list[str]:
    return [one.title for one in read_state(root).messages]


def test_an_open_alert_is_counted_and_not_sent_again(tmp_path: Path) -> None:
    assert raise_alert(tmp_path, "drift", {"traffic": "price 2.0"}, "monitoring") == ["traffic"]
    assert raise_alert(tmp_path, "drift", {"traffic": "price 3.0"}, "monitoring") == []
    (alert,) = open_alerts(tmp_path)
    assert (alert.count, alert.reason, alert.last >= alert.opened) == (2, "price 3.0", True)
    assert titles(tmp_path) == ["the traffic drifted"]
    assert [one.kind for one in read_timeline(tmp_path)] == ["alert-opened"]


def test_another_subject_is_another_alert_and_new_ones_share_a_message(tmp_path: Path) -> None:
    raise_alert(tmp_path, "attack", {"P1": "on P1", "P2": "on P2"}, "monitoring")
    raise_alert(tmp_path, "attack", {"P1": "on P1", "P3": "on P3"}, "monitoring")
    assert [(one.subject, one.count) for one in open_alerts(tmp_path)] == [
        ("P1", 2),
        ("P2", 1),
        ("P3", 1),
    ]
    assert [one.text for one in read_state(tmp_path).messages] == ["on P1\non P2", "on P3"]


def test_a_resolved_alert_says_so_once_and_can_be_raised_again(tmp_path: Path) -> None:
    assert resolve_alerts(tmp_path, "drift", "calm", "monitoring") == []
    assert not (tmp_path / FILE).exists()
    raise_alert(tmp_path, "drift", {"traffic": "price 2.0"}, "monitoring")
    raise_alert(tmp_path, "model", {"champion": "damaged"}, "endpoint")
    (resolved,) = resolve_alerts(tmp_path, "drift", "calm", "monitoring")
    assert resolved.subject == "traffic"
    assert [one.kind for one in open_alerts(tmp_path)] == ["model"]
    assert resolve_alerts(tmp_path, "drift", "calm", "monitoring") == []
    raise_alert(tmp_path, "drift", {"traffic": "price 4.0"}, "monitoring")
    assert titles(tmp_path) == [
        "the traffic drifted",
        "a model cannot be loaded",
        "resolved: the traffic drifted",
        "the traffic drifted",
    ]
    message = read_state(tmp_path).messages[2]
    assert (message.text, message.level) == ("calm\nwas: price 2.0", "success")
    assert [one.kind for one in read_timeline(tmp_path)] == [
        "alert-opened",
        "alert-opened",
        "alert-resolved",
        "alert-opened",
    ]


def test_only_the_named_subjects_are_resolved(tmp_path: Path) -> None:
    raise_alert(tmp_path, "broken", {"missing_price": "a", "feed_gap": "b"}, "monitoring")
    resolve_alerts(tmp_path, "broken", "the feed is back", "monitoring", ["feed_gap"])
    assert [one.subject for one in open_alerts(tmp_path)] == ["missing_price"]


def test_hostile_text_stays_one_line_of_plain_text(tmp_path: Path) -> None:
    hostile = "P1\r\nBcc: all@shop.example\x1b[2J\u202e" + "x" * 5000
    raise_alert(tmp_path, "attack", {hostile: hostile}, "monitoring")
    (alert,) = open_alerts(tmp_path)
    assert len(alert.subject) == 200
    assert len(alert.reason) == 1000
    assert (alert.subject + alert.reason + titles(tmp_path)[0]).isprintable()
    notify(tmp_path, hostile, f"one\n{hostile}")
    message = read_state(tmp_path).messages[-1]
    assert message.title.isprintable()
    assert [line.isprintable() for line in message.text.split("\n")] == [True] * 3


def test_their_number_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(alerts, "MOST_OPEN", 5)
    monkeypatch.setattr(alerts, "MOST_MESSAGES", 5)
    many = {f"P{number}": "x" for number in range(alerts.MOST_OPEN + 5)}
    raise_alert(tmp_path, "attack", many, "monitoring")
    assert len(open_alerts(tmp_path)) == alerts.MOST_OPEN
    for number in range(alerts.MOST_MESSAGES + 5):
        notify(tmp_path, str(number), "x")
    assert len(titles(tmp_path)) == alerts.MOST_MESSAGES


def test_a_damaged_file_is_set_aside(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    raise_alert(tmp_path, "drift", {"traffic": "x"}, "monitoring")
    (tmp_path / FILE).write_text('{"alerts": [{"kind":')
    assert raise_alert(tmp_path, "drift", {"traffic": "x"}, "monitoring") == ["traffic"]
    assert "is damaged" in caplog.text
    assert (tmp_path / FILE).with_suffix(".damaged").exists()


RAISER = """
from pathlib import Path
import sys
from components.alerts import raise_alert
for number in range(10):
    raise_alert(Path(sys.argv[1]), "model", {"champion": "damaged"}, "endpoint")
"""


def test_workers_raise_it_once_together(tmp_path: Path) -> None:
    workers = [subprocess.Popen([sys.executable, "-c", RAISER, str(tmp_path)]) for _ in range(3)]
    assert [process.wait(60) for process in workers] == [0, 0, 0]
    (alert,) = open_alerts(tmp_path)
    assert alert.count == 30
    assert titles(tmp_path) == ["a model cannot be loaded"]
    assert len(read_timeline(tmp_path)) == 1
