"""Ending what a test started, with everything that it started in turn.

A process group is not enough: BentoML's workers and the servers of ``bowerbird ui`` have sessions
of their own and would live on.
"""

from __future__ import annotations

import signal
import subprocess
from contextlib import suppress

import psutil


def end(process: subprocess.Popen[bytes], how: int = signal.SIGTERM, seconds: float = 30) -> None:
    """Send ``how`` to the process (SIGKILL: to its whole tree at once) and see the tree ended.

    What still lives after ``seconds`` is killed.
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
