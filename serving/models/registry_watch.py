"""The endpoint's side of the process that follows the registry's champion.

In: ``serve.follow_registry`` and ``var/serving/registry.json``. Out: one running process of
``components.registry.follow`` for the workers of a folder, and what it cannot do in ``Health``.
"""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

from components.file_lock import file_lock
from components.registry_state import LOCK, read_state
from components.settings import Serve
from serving import PACKAGED
from serving.health import Health
from serving.models.loaded import NotReady
from serving.models.retry import Retry
from serving.models.versions import find_champion

logger = logging.getLogger("bentoml.bowerbird")

PART = "registry"
"""In ``Health``."""
SILENT_SECONDS = 900.0
"""A look that takes longer, because a server does not answer or files are large, is reported."""
START_SECONDS = 900.0
"""The longest that a worker without a model waits for the first one."""


class RegistryWatch:
    """Keeps the process running; ``step`` is called every second by every worker."""

    def __init__(self, serve: Serve, root: Path, health: Health) -> None:
        self.enabled = serve.follow_registry > 0
        self._root = root
        self._health = health
        self._process: subprocess.Popen[bytes] | None = None
        self._retry = Retry()

    def step(self) -> None:
        """Start the process if none runs, and report what it cannot do."""
        if not self.enabled:
            return
        ended = self._process is not None and self._process.poll() is not None
        if ended and self._process is not None:
            if self._process.returncode:
                self._retry.failed(PART)
            self._process = None
        if self._process is None and self._retry.is_due(PART):
            with file_lock(self._root / LOCK, wait=False) as free:
                pass
            if free:  # else another worker's runs; of two that start, one ends at once
                self._start()
        self._health.report(PART, self._problem())

    def wait_for_champion(self) -> None:
        """Return when this folder has a champion, copied from the registry where it has none.

        Raises:
            NotReady: the registry has none, or it cannot be copied.
        """
        began = time.time()
        while self.enabled:
            self.step()
            with suppress(FileNotFoundError, ValueError):
                find_champion(self._root)
                return
            state = read_state(self._root)
            if state is not None and state.looked >= began and state.problem:
                raise NotReady(f"there is no model here, and {state.problem}")
            if PART in self._health.problems or time.time() - began > START_SECONDS:
                raise NotReady("there is no model here, and none came from the registry")
            time.sleep(0.1)

    def close(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.terminate()
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(5)
            self._process.kill()
            self._process.wait()

    def _problem(self) -> str | None:
        if not self._retry.is_due(PART):
            return "the process that follows it ended: see the log"
        state = read_state(self._root)
        if state is None:
            return None  # its first look is not over
        if time.time() - state.looked > SILENT_SECONDS:
            return "it was not looked at for a quarter of an hour: see the log"
        return state.problem or None

    def _start(self) -> None:
        places = (os.environ.get("BOWERBIRD_PARAMS"), self._root / "params.yaml")
        params = next((Path(one) for one in places if one and Path(one).exists()), None)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "components.registry.follow"],
            cwd=self._root,
            env={
                **os.environ,
                "BOWERBIRD_PARAMS": str((params or PACKAGED / "params.yaml").resolve()),
                "PYTHONPATH": os.pathsep.join(filter(None, [str(PACKAGED), *sys.path])),
            },
            stdin=subprocess.PIPE,  # which it reads until this process has ended
        )
