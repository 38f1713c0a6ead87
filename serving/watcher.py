"""A thread that looks for changes once a second."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

logger = logging.getLogger("bentoml.bowerbird")

SECONDS = 1.0
"""Seconds between two looks."""


class Watcher:
    """Calls ``look`` every second until it is stopped; an error is logged once while it repeats."""

    def __init__(self, look: Callable[[], None]) -> None:
        self._look = look
        self._logged = ""
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watcher", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Stop the thread; return when it ended, or after ten seconds."""
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join(timeout=10)

    def _run(self) -> None:
        while not self._stopped.is_set():
            try:
                self._look()
            except Exception as error:  # the watcher must outlive a bad model
                message = f"{type(error).__name__}: {error}"
                if message != self._logged:
                    logger.exception("looking for changes failed: %s", type(error).__name__)
                self._logged = message
            self._stopped.wait(SECONDS)
