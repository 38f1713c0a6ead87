"""The start of a worker: it accepts connections once its model is loaded, or says why it cannot.

BentoML makes the service before uvicorn accepts on the socket that all workers share, so a worker
that loads its model there leaves every connection to the others until it is ready.

A worker that cannot start while another serves exits after a pause and is restarted by BentoML.
Where no worker serves, the endpoint exits with status 1: restarts would never help.
"""

from __future__ import annotations

import atexit
import logging
import os
import signal
import time
from pathlib import Path
from typing import NoReturn

from bentoml import server_context
from bentoml._internal.configuration.containers import BentoMLContainer

from components.file_lock import file_lock, lock_descriptor

logger = logging.getLogger("bentoml.bowerbird")

PAUSE = 5.0
"""Seconds until a worker that cannot start is restarted."""
LOCK = "serving.lock"


def endpoint_folder() -> Path | None:
    """Return the folder that the workers of one endpoint share, None outside a worker."""
    folder = os.environ.get("PROMETHEUS_MULTIPROC_DIR")
    return None if folder is None or server_context.worker_index is None else Path(folder)


def failure(folder: Path) -> str | None:
    """Return why this process' workers could not start, None if they did; for the supervisor.

    folder: shared by its workers.
    """
    try:
        return _failure_file(folder, os.getpid()).read_text(encoding="utf-8")
    except OSError:
        return None


def exit_with_status() -> None:
    """Have this process, if it is a supervisor whose workers cannot start, exit with status 1.

    BentoML's supervisor stops as after Ctrl-C and would exit with 0, so that systemd, Docker or
    Kubernetes would take the failure for a clean stop.
    """

    @atexit.register
    def fail_at_exit() -> None:
        if failure(Path(BentoMLContainer.prometheus_multiproc_dir.get())) is not None:
            logging.shutdown()
            os._exit(1)


def ready() -> None:
    """Tell the endpoint's other workers that this one serves, until its process ends."""
    if (folder := endpoint_folder()) is not None:
        lock_descriptor(folder / LOCK, shared=True)  # which is not closed


def fail(error: Exception) -> NoReturn:
    """Exit this worker with one line in the log, and the endpoint if no other worker serves.

    Outside a worker the error is raised.
    """
    folder = endpoint_folder()
    if folder is None:
        raise error
    why = " ".join(str(error).split()) or type(error).__name__
    with file_lock(folder / LOCK, wait=False) as alone:
        if alone:
            logger.error("the endpoint cannot start: %s", why)
            supervisor = os.getppid()
            _failure_file(folder, supervisor).write_text(why, encoding="utf-8")
            os.kill(supervisor, signal.SIGTERM)
        else:
            logger.error("a worker cannot start, the others go on serving: %s", why)
            time.sleep(PAUSE)
    logging.shutdown()
    os._exit(1)


def _failure_file(folder: Path, supervisor: int) -> Path:
    """Return the file that says why the workers of a supervisor, by its process id, failed."""
    return folder / f"cannot_start.{supervisor}"
