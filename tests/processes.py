"""What tests of real processes share: a free port, waiting, and ending a whole process tree."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import psutil


def free_port() -> int:
    """Return a TCP port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_until(condition: Callable[[], Any], seconds: float = 30, what: str = "") -> Any:
    """Return what ``condition`` returns once it is true; an HTTP error counts as not yet.

    Raises:
        TimeoutError: it is not true after so many seconds.
    """
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        with suppress(httpx.HTTPError):
            if found := condition():
                return found
        time.sleep(0.02)
    raise TimeoutError(f"not true after {seconds:.0f} seconds: {what or condition}")


def run(
    folder: Path, environment: Mapping[str, str], *command: str, check: bool = True
) -> subprocess.CompletedProcess[str]:
    """Run a command in a folder to its end; its exit code must be 0, if ``check``."""
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert not check or done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done


def programs() -> str:
    """Return a search path for programs that begins with those of this Python's environment."""
    return os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])


def command_line(process: psutil.Process) -> str:
    """Give the process's command line; "" of one that has ended, also if nobody waited for it."""
    with suppress(psutil.NoSuchProcess):  # psutil.ZombieProcess is one
        return " ".join(process.cmdline())
    return ""


def end(process: subprocess.Popen[bytes], how: int = signal.SIGTERM, seconds: float = 30) -> None:
    """Send ``how`` to the process (SIGKILL: to its whole tree at once) and see the tree ended.

    A process group is not enough: BentoML's workers and the servers of ``bowerbird ui`` have
    sessions of their own. What still lives after ``seconds`` is killed.
    """
    if process.poll() is not None:
        return
    tree = [psutil.Process(process.pid)]
    tree += tree[0].children(recursive=True)
    for one in tree if how == signal.SIGKILL else tree[:1]:
        with suppress(psutil.NoSuchProcess):
            one.send_signal(how)
    with suppress(subprocess.TimeoutExpired):
        process.wait(timeout=seconds)
    _, alive = psutil.wait_procs(tree[1:], timeout=5)
    for one in [*alive, *tree[:1]]:
        with suppress(psutil.NoSuchProcess):
            one.kill()
    process.wait(timeout=seconds)
    psutil.wait_procs(alive, timeout=seconds)
