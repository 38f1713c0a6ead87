"""Changes of the champion, which take longer than a request: one at a time, each with a state.

In: a command of the registry. Out: a file for each job in ``var/serving/jobs``, which every worker
reads. The command runs in processes of its own (``python -m serving.api.jobs FILE``), because a
worker that answers shoppers never loads MLflow. Those processes hold a lock on the folder; where a
job is not finished and the lock is free, its processes were killed and its outcome is unknown.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import threading
import time
import uuid
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from components.credentials import mask_credentials
from components.file_lock import file_lock, lock_descriptor
from serving.models.versions import VERSIONS

JOBS = Path("var/serving/jobs")
KEPT = 50
"""Finished jobs whose state is kept."""
SECONDS = 600
"""How long the registry's command may take."""
QUEUED, RUNNING, DONE, FAILED = "queued", "running", "done", "failed"


class Busy(RuntimeError):
    """Another job runs; running: its id."""

    def __init__(self, running: str) -> None:
        super().__init__(f"job {running} is running: wait for its end")
        self.running = running


def start(root: Path, *command: str) -> tuple[dict[str, Any], subprocess.Popen[bytes]]:
    """Start ``bowerbird COMMAND`` as a job; return the job, and its process, which must be waited
    for.

    Raises:
        Busy: another one runs.
    """
    folder = root / JOBS
    for attempt in range(10):  # a reader holds the lock for an instant
        lock = lock_descriptor(folder / ".lock", wait=False)
        if lock is not None:
            break
        time.sleep(0.01 * attempt)
    else:
        running = [job["id"] for job in _all(root) if job["state"] in (QUEUED, RUNNING)]
        raise Busy(running[0] if running else "of another worker")
    try:
        _prune(root)
        now = _now()
        job = {"id": uuid.uuid4().hex, "command": " ".join(command), "state": QUEUED, "error": None}
        job |= {"created": now, "finished": None}
        file = folder / f"{job['id']}.json"
        _write(file, job)
        process = subprocess.Popen(
            [sys.executable, "-m", "serving.api.jobs", str(file.resolve()), str(lock), *command],
            cwd=root,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            stdin=subprocess.DEVNULL,
            pass_fds=[lock],  # the lock is theirs from here on
            start_new_session=True,
        )
    finally:
        os.close(lock)
    return job, process


def has_registry(root: Path) -> bool:
    """Return whether versions are registered here and the registry's commands are installed."""
    return importlib.util.find_spec("bowerbird") is not None and (root / VERSIONS).exists()


def roll_back(root: Path, version: str) -> None:
    """Start the job that moves the registry's champion away from a version, and do not wait.

    Without a registry, or while another job runs, nothing is started: the caller tries again.
    """
    if not has_registry(root):
        return
    with suppress(Busy):
        _, process = start(root, "rollback", "--of", version)
        threading.Thread(target=process.wait, name="job", daemon=True).start()


def find(root: Path, job_id: str) -> dict[str, Any] | None:
    """Return a job, None where there is none of this id."""
    file = root / JOBS / f"{job_id}.json"
    job = _read(file)
    if job is None or job["state"] not in (QUEUED, RUNNING) or _is_locked(root):
        return job
    job = _read(file)  # it may have ended since
    if job is not None and job["state"] in (QUEUED, RUNNING):
        job |= {"state": FAILED, "error": "it was killed before its end: see `bowerbird models`"}
    return job


def _all(root: Path) -> list[dict[str, Any]]:
    found = (_read(file) for file in (root / JOBS).glob("*.json"))
    return sorted((job for job in found if job is not None), key=lambda job: str(job["created"]))


def _prune(root: Path) -> None:
    for job in _all(root)[: -KEPT + 1]:
        (root / JOBS / f"{job['id']}.json").unlink(missing_ok=True)


def _is_locked(root: Path) -> bool:
    if not (root / JOBS / ".lock").exists():  # a reader makes no folder
        return False
    with file_lock(root / JOBS / ".lock", wait=False, shared=True) as free:
        return not free


def _read(file: Path) -> dict[str, Any] | None:
    try:
        job = json.loads(file.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return None
    names = ("id", "command", "state", "error", "created", "finished")
    if not isinstance(job, dict) or any(name not in job for name in names):
        return None
    return job if job["state"] in (QUEUED, RUNNING, DONE, FAILED) else None


def _write(file: Path, job: dict[str, Any]) -> None:
    """Write a job's file, durable and in one step."""
    partial = file.with_suffix(".partial")
    with partial.open("w", encoding="utf-8") as stream:
        json.dump(job, stream)
        stream.flush()
        os.fsync(stream.fileno())
    partial.replace(file)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _run(file: Path, lock: int, command: list[str]) -> None:
    """Run the registry's command and write down how it ended."""
    job = _read(file)
    assert job is not None
    _write(file, job | {"state": RUNNING})
    error: str | None = None
    try:
        done = subprocess.run(
            [sys.executable, "-m", "bowerbird", *command],
            capture_output=True,
            text=True,
            errors="replace",
            stdin=subprocess.DEVNULL,
            pass_fds=[lock],
            timeout=SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        error = f"the registry did not answer within {SECONDS} seconds"
    else:
        sys.stderr.write(mask_credentials(done.stderr))
        if done.returncode:
            lines = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
            error = lines[-1].removeprefix("error: ") if lines else "it failed: see the log"
    _write(file, job | {"state": FAILED if error else DONE, "error": error, "finished": _now()})


if __name__ == "__main__":
    _run(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3:])
