"""Alerts: what is wrong now, each raised once while it lasts, and resolved when it has passed.

In: facts of a part that watches something. Out: ``var/monitoring/alerts.json`` with the open alerts
and the messages that are still to be sent (``components.notifications`` sends them), and entries in
the timeline.

An alert is known by its kind and its subject. While it is open it is not sent again: a counter and
the time of the last occurrence grow. The file is replaced atomically under a lock that all
processes share, and is on disk before a message is sent.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal
from uuid import uuid4

from components.file_lock import file_lock
from components.json_files import write_json
from components.timeline import record

log = logging.getLogger(__name__)

FILE = Path("var/monitoring/alerts.json")
LOCK = Path("var/monitoring/.alerts.lock")
MOST_OPEN, MOST_MESSAGES = 200, 100
"""The newest that are kept: no stream of alerts fills the disk."""
LONGEST_REASON, LONGEST_SUBJECT = 1000, 200
"""Characters; a reason may quote what a client sent."""

Kind = Literal["drift", "broken", "attack", "canary", "model", "refresh", "flow"]
TITLES: dict[str, str] = {
    "drift": "the traffic drifted",
    "broken": "broken data",
    "attack": "signs of an attack",
    "canary": "a canary was rolled back",
    "model": "a model cannot be loaded",
    "refresh": "a refresh was refused",
    "flow": "a flow failed",
}
Level = Literal["info", "success", "warning"]


@dataclass(frozen=True)
class Alert:
    """One open alert. subject: what it is about, of its kind. reason: one sentence, the newest.

    opened, last: first and last occurrence, UTC, ISO 8601. count: occurrences. details: what the
    part that raised it needs to resolve it.
    """

    kind: str
    subject: str
    reason: str
    opened: str
    last: str
    count: int = 1
    details: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Message:
    """A message to send. at, due: seconds since 1970. attempts: failed ones so far. left: digests
    of the addresses that have not got it; None: of all."""

    id: str
    title: str
    text: str
    level: Level
    at: float
    due: float = 0.0
    attempts: int = 0
    left: tuple[str, ...] | None = None


@dataclass(frozen=True)
class State:
    """The open alerts and the messages to send, both oldest first."""

    alerts: tuple[Alert, ...] = ()
    messages: tuple[Message, ...] = ()


def open_alerts(root: Path) -> tuple[Alert, ...]:
    """Return the open alerts below ``root``, oldest first."""
    return read_state(root).alerts


def raise_alert(
    root: Path,
    kind: Kind,
    reasons: Mapping[str, str],
    by: str,
    details: Mapping[str, Any] | None = None,
) -> list[str]:
    """Raise an alert for each subject; return the subjects that were not open before.

    reasons: subject → one sentence. The new ones are sent as one message. by: the part that raises
    it, for the timeline. details: kept with each alert, replacing earlier ones. Durable on return.
    """
    now, more = _now(), dict(details or {})
    with file_lock(root / LOCK):
        state = read_state(root)
        known = {one.subject: one for one in state.alerts if one.kind == kind}
        raised: dict[str, Alert] = {}
        for name, reason in reasons.items():
            subject, text = plain(name, LONGEST_SUBJECT), plain(reason, LONGEST_REASON)
            before = known.get(subject)
            raised[subject] = (
                Alert(kind, subject, text, now, now, details=more)
                if before is None
                else replace(before, reason=text, last=now, count=before.count + 1, details=more)
            )
        new = [one for subject, one in raised.items() if subject not in known]
        for one in new:
            record(root, "alert-opened", one.reason, by, asdict(one))
        kept = [raised.get(one.subject, one) if one.kind == kind else one for one in state.alerts]
        text = "\n".join(one.reason for one in new)
        messages = (_message(TITLES[kind], text, "warning"),) if new else ()
        write_state(root, State((*kept, *new), (*state.messages, *messages)))
    return [one.subject for one in new]


def resolve_alerts(
    root: Path, kind: Kind, why: str, by: str, subjects: Collection[str] | None = None
) -> list[Alert]:
    """Resolve the open alerts of a kind and return them; one message names them all.

    why: one sentence. subjects: only of these; None: all. Nothing is written where none is open.
    """

    def passed(one: Alert) -> bool:
        return one.kind == kind and (subjects is None or one.subject in subjects)

    if not any(map(passed, open_alerts(root))):
        return []
    why = plain(why, LONGEST_REASON)
    with file_lock(root / LOCK):
        state = read_state(root)
        resolved = [one for one in state.alerts if passed(one)]
        if not resolved:  # another process was faster
            return []
        for one in resolved:
            text = f"resolved: {TITLES[kind]} ({one.subject}): {why}"
            record(root, "alert-resolved", text, by, asdict(one))
        text = "\n".join([why, *(f"was: {one.reason}" for one in resolved)])
        message = _message(f"resolved: {TITLES[kind]}", text, "success")
        alerts = tuple(one for one in state.alerts if not passed(one))
        write_state(root, State(alerts, (*state.messages, message)))
    return resolved


def notify(root: Path, title: str, text: str) -> None:
    """Send a message about something that is no problem. It is on disk when this returns."""
    with file_lock(root / LOCK):
        state = read_state(root)
        message = _message(title, text, "info")
        write_state(root, replace(state, messages=(*state.messages, message)))


def plain(text: str, longest: int) -> str:
    """Return a text of one line without control characters, cut at ``longest`` characters.

    >>> plain("no prices\\r\\nBcc: all@shop.example\\x1b[2J", 100)
    'no prices Bcc: all@shop.example [2J'
    """
    printable = "".join(one if one.isprintable() else " " for one in text)
    line = " ".join(printable.split())
    return line if len(line) <= longest else line[: longest - 1] + "…"


def _message(title: str, text: str, level: Level) -> Message:
    lines = [plain(line, LONGEST_REASON) for line in text.splitlines()]
    return Message(uuid4().hex, plain(title, LONGEST_SUBJECT), "\n".join(lines), level, time.time())


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def read_state(root: Path) -> State:
    """Return the alerts and messages below ``root``.

    A damaged file is set aside: what is wrong still is raised again at its next occurrence.
    """
    file = root / FILE
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
        messages = (
            Message(**{**one, "left": one["left"] and tuple(one["left"])})
            for one in found["messages"]
        )
        return State(tuple(Alert(**one) for one in found["alerts"]), tuple(messages))
    except FileNotFoundError:
        return State()
    except (ValueError, KeyError, TypeError) as error:
        log.error("%s is damaged (%s) and is set aside", FILE, type(error).__name__)
        file.replace(file.with_suffix(".damaged"))
        return State()


def write_state(root: Path, state: State) -> None:
    """Replace the file, durably and atomically. The caller holds the lock."""
    kept = State(state.alerts[-MOST_OPEN:], state.messages[-MOST_MESSAGES:])
    write_json(root / FILE, asdict(kept))
