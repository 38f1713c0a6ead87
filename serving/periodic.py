"""A thread that calls a function every second."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

logger = logging.getLogger("bentoml.bowerbird")

SECONDS = 1.0
"""Seconds between the end of a call and the next."""


class Periodic:
    """Calls a function every second until it is stopped.

    purpose: what the function does, for the log. An error ends no later call, and is logged once
    while it repeats.
    """

    def __init__(self, purpose: str, function: Callable[[], object]) -> None:
        self._purpose = purpose
        self._function = function
        self._logged = ""
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="periodic", daemon=True)

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
                self._function()
            except Exception as error:  # the thread must outlive a bad model
                message = f"{type(error).__name__}: {error}"
                if message != self._logged:
                    logger.exception("%s failed: %s", self._purpose, type(error).__name__)
                self._logged = message
            self._stopped.wait(SECONDS)
