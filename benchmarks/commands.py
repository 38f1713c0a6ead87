"""Seconds, processor time, memory and disk of a command and its processes."""

from __future__ import annotations

import os
import resource
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

INTERVAL = 0.2
"""Seconds between two looks at the memory; at the disk ten times that."""


@dataclass(frozen=True)
class Run:
    """What a command needed; memory and disk in bytes, the largest at any time.

    processor: seconds of both kinds, user and system; they do not depend on other work.
    """

    command: str
    seconds: float
    processor: float
    memory: int
    disk: int
    output: str


def measured(
    name: str, command: Sequence[str], root: Path, environment: dict[str, str] | None = None
) -> Run:
    """Run a command in ``root``; its output is kept in ``NAME.log`` there.

    Memory is the resident memory of the command and its children together; disk is that of
    ``root/data``.

    Raises:
        RuntimeError: the command failed.
    """
    log = root / f"{name}.log"
    start, used = time.perf_counter(), _processor_time()
    with log.open("w") as output:
        process = subprocess.Popen(
            command,
            cwd=root,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, **(environment or {})},
        )
        watched = psutil.Process(process.pid)
        memory = disk = looks = 0
        times: dict[int, float] = {}
        while process.poll() is None:
            found = _family(watched)
            memory = max(memory, sum(resident for resident, _ in found.values()))
            times.update({pid: seconds for pid, (_, seconds) in found.items()})
            if looks % 10 == 0:
                disk = max(disk, size(root / "data"))
            looks += 1
            time.sleep(INTERVAL)
    seconds = time.perf_counter() - start
    text = log.read_text()
    if process.returncode:
        raise RuntimeError(f"{name} failed:\n{text}")
    # A process that its parent does not wait for, as Spark's JVM, is in the second sum only.
    used = max(_processor_time() - used, sum(times.values()))
    return Run(name, seconds, used, memory, max(disk, size(root / "data")), text)


def _processor_time() -> float:
    """Return the processor time of all commands that have ended, in seconds."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def _family(process: psutil.Process) -> dict[int, tuple[int, float]]:
    """Return resident memory and processor seconds of a process and its children, by their number;
    nothing if it has ended."""
    try:
        family = [process, *process.children(recursive=True)]
        return {one.pid: (one.memory_info().rss, sum(one.cpu_times()[:2])) for one in family}
    except psutil.NoSuchProcess:
        return {}


def size(folder: Path) -> int:
    """Return the bytes of the files below a folder."""
    total = 0
    for file in folder.rglob("*"):
        try:
            total += file.stat().st_size
        except FileNotFoundError:
            continue  # a temporary file
    return total
