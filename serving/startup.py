"""The start of a worker: it takes connections once its model is loaded, or says why it cannot.

BentoML makes the service before uvicorn accepts on the socket that all workers share, so a worker
that loads its model there leaves every connection to the others until it is ready.

A worker that cannot start while another serves ends after a pause and is started again by BentoML.
Where none serves, nothing would ever answer: the endpoint ends.
"""

from __future__ import annotations

import fcntl
import logging
import os
import signal
import time
from pathlib import Path
from typing import NoReturn

from bentoml._internal.context import server_context

logger = logging.getLogger("bentoml.bowerbird")

FAILED = "cannot_start"
"""File in the endpoint's own folder that says why it ended; see ``serving.launch``."""

PAUSE = 5.0
"""Seconds until a worker that cannot start is started again."""

_held: list[int] = []


def endpoint_folder() -> Path | None:
    """Return the folder that the workers of one endpoint share, None outside a worker."""
    folder = os.environ.get("PROMETHEUS_MULTIPROC_DIR")
    return None if folder is None or server_context.worker_index is None else Path(folder)


def ready() -> None:
    """Say to the endpoint's other workers that this one serves, until its process ends."""
    if (folder := endpoint_folder()) is not None:
        _held.append(_open(folder))
        fcntl.flock(_held[-1], fcntl.LOCK_SH)


def fail(error: Exception) -> NoReturn:
    """End this worker with one line, and the endpoint where no other worker serves.

    Outside a worker the error is raised.
    """
    folder = endpoint_folder()
    if folder is None:
        raise error
    why = " ".join(str(error).split()) or type(error).__name__
    lock = _open(folder)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        logger.error("a worker cannot start, the others go on: %s", why)
        time.sleep(PAUSE)
    else:
        logger.error("the endpoint cannot start: %s", why)
        (folder / FAILED).write_text(why, encoding="utf-8")
        os.kill(os.getppid(), signal.SIGTERM)
    logging.shutdown()
    os._exit(1)


def _open(folder: Path) -> int:
    return os.open(folder / "serving.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
