"""The processes of ``bowerbird ui`` and ``flows`` (servers, runs, their stages) and ``serve``.

They are found by a mark in their environment, which each passes on to those that it starts. Run as
a program, it ends all of them once the command that started it has ended, also by ``kill -9``.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import psutil

MARK = "_BOWERBIRD_COMMAND"
RUN = "PREFECT__FLOW_RUN_ID"
"""Variable of the environment in which Prefect names the run to the process that it starts for
it."""
SECONDS = 15
"""After which a process that was asked to end is killed."""


def marked(name: str, value: str | None = None) -> dict[psutil.Process, str]:
    """Return the processes, other than this one, that have the variable ``name`` in their
    environment, with its value. value: only those with this one.

    Processes of other users are not among them.
    """
    found = {}
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            given = process.environ().get(name)
            if given is not None and value in (None, given) and process.pid != os.getpid():
                found[process] = given
    return found


@contextmanager
def ended_with_this_process() -> Iterator[None]:
    """Have the processes that are started from now on end with this one, however it ends."""
    mark = uuid.uuid4().hex
    # It gets its own environment, without the mark, and reads until this process has ended.
    watcher = subprocess.Popen(
        [sys.executable, "-P", __file__, mark],
        stdin=subprocess.PIPE,
        start_new_session=True,
    )
    os.environ[MARK] = mark
    try:
        yield
    finally:
        del os.environ[MARK]
        assert watcher.stdin is not None
        watcher.stdin.close()
        watcher.wait()


def end(mark: str) -> None:
    """End the processes with a mark, also those that they start in the meantime."""
    kill_at = time.monotonic() + SECONDS
    asked: set[psutil.Process] = set()
    while processes := marked(MARK, mark).keys():
        late = time.monotonic() > kill_at
        for process in processes if late else processes - asked:
            with suppress(psutil.NoSuchProcess):
                process.send_signal(signal.SIGKILL if late else signal.SIGTERM)
        asked |= processes
        time.sleep(0.1)


if __name__ == "__main__":
    sys.stdin.read()
    end(sys.argv[1])
