"""The timeline of operations: what happened to the shop's models and data, with the evidence.

In: events, recorded where they happen: promotions, steps of a canary, rollbacks, refreshes, results
of a validation, holds, alerts. Out: ``var/operations/timeline.jsonl``, one JSON object a line, only
ever appended to. At MAX_BYTES it becomes ``timeline.1.jsonl``, which replaces the one before, so
the two never grow further.

It holds no personal data: sentences, counts, versions, products.
"""

from __future__ import annotations

import json
import logging
import math
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any, Literal, get_args
from uuid import uuid4

from components.file_lock import file_lock
from components.manifest import sync

log = logging.getLogger(__name__)

FILE = Path("var/operations/timeline.jsonl")
OLDER = Path("var/operations/timeline.1.jsonl")
LOCK = Path("var/operations/.timeline.lock")
MAX_BYTES = 4_000_000
MAX_LINE = 64_000
"""Bytes of one line; longer evidence is left out."""

Kind = Literal[
    "promotion",
    "refusal",
    "rollback",
    "refresh",
    "canary-started",
    "canary-taken-over",
    "canary-rolled-back",
    "canary-ended",
    "validation",
    "days-held",
    "days-released",
    "promotions-held",
    "promotions-released",
    "alert-opened",
    "alert-resolved",
]
KINDS: tuple[str, ...] = get_args(Kind)


@dataclass(frozen=True)
class Entry:
    """One event. id: UUID. at: UTC, ISO 8601. text: one sentence. by: the part that acted."""

    id: str
    at: str
    kind: str
    text: str
    by: str
    evidence: dict[str, Any] = field(default_factory=dict)


def record(
    root: Path, kind: Kind, text: str, by: str, evidence: Mapping[str, Any] | None = None
) -> bool:
    """Append an entry, durable on return; return whether it was written.

    An error of the disk is logged and stops nothing: what is recorded has happened already.
    """
    now = datetime.now(UTC).isoformat(timespec="seconds")
    entry = Entry(str(uuid4()), now, kind, text, by, _plain(dict(evidence or {})))
    line = _line(entry)
    if len(line) > MAX_LINE:
        line = _line(Entry(entry.id, now, kind, text[:2000], by, {"left_out": "it is too large"}))
    try:
        with file_lock(root / LOCK):
            _append(root, line)
    except OSError as error:
        log.error("the timeline was not written (%s): %s", error.strerror, text)
        return False
    return True


def _line(entry: Entry) -> bytes:
    return json.dumps(asdict(entry), ensure_ascii=False, allow_nan=False).encode() + b"\n"


def _plain(value: Any) -> Any:
    """Return ``value`` as JSON has it: no NaN, no infinity, text for all that is not JSON."""
    if isinstance(value, Mapping):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if value is None or isinstance(value, str | int | bool) else str(value)


def _append(root: Path, line: bytes) -> None:
    """Write a line at the end of the file, after a line that a kill left incomplete."""
    file = root / FILE
    if file.exists() and file.stat().st_size + len(line) > MAX_BYTES:
        file.replace(root / OLDER)
    descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        size = os.fstat(descriptor).st_size
        if size and os.pread(descriptor, 1, size - 1) != b"\n":
            line = b"\n" + line
        os.write(descriptor, line)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    if not size:
        sync(file.parent)


def read_timeline(root: Path) -> list[Entry]:
    """Return all entries, oldest first; empty without any. An incomplete line is left out."""
    return [entry for line in _lines(root) if (entry := _entry(line)) is not None]


def _lines(root: Path) -> list[bytes]:
    if not (root / FILE).parent.is_dir():
        return []
    with file_lock(root / LOCK, shared=True):
        parts = [(root / file).read_bytes() for file in (OLDER, FILE) if (root / file).exists()]
    return [line for part in parts for line in part.split(b"\n")]


def _entry(line: bytes) -> Entry | None:
    try:
        entry = Entry(**json.loads(line))
    except (ValueError, TypeError):
        return None
    return entry if entry.kind in KINDS and isinstance(entry.evidence, dict) else None


def newest(root: Path, n: int, before: str | None = None) -> list[Entry]:
    """Return the newest ``n`` entries, newest first; before: the id of an entry, only older ones.

    Empty where no entry has this id: it is older than all that are kept.
    """
    found = (entry for line in _lines(root)[::-1] if (entry := _entry(line)) is not None)
    if before is not None:
        for entry in found:
            if entry.id == before:
                break
    return list(islice(found, n))
