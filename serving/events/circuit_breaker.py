"""A circuit breaker: while the database is away, nothing waits for it.

In: failures of the event store and a probe. Out: whether the store is to be asked at all. The
first failure opens the breaker; from then on requests are answered without the database, and one
thread looks for its return. A return closes the breaker; no restart is needed.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

logger = logging.getLogger("bentoml.bowerbird")

PROBE_EVERY = 0.5
"""Seconds between two looks for the database."""

PROBE_DAMAGED_EVERY = 30.0
"""Seconds between two looks at a damaged file: each reads all of it."""

SAY_EVERY = 300.0
"""Seconds after which the same reason is logged again."""


class Breaker:
    """``is_open`` while the database is away; ``probe`` raises as long as it is.

    since: seconds since 1970 of the first failure. reason: what failed, in a few words. Both keep
    their last value after the return. probe: called in a thread of its own.
    """

    def __init__(self, what: str, probe: Callable[[], None]) -> None:
        self.what = what
        self.is_open = False
        self.since = 0.0
        self.reason = ""
        self._probe = probe
        self._opened_at = 0.0
        self._said: dict[str, float] = {}
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._closed.set()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def open(self, reason: str, damaged: bool = False) -> None:
        """Take the database for away, and begin to look for its return.

        damaged: its file is; it comes back by a person's hand only.
        """
        with self._lock:
            if self.is_open or self._stop.is_set():
                return
            self._opened_at = time.monotonic()
            self.is_open, self.since, self.reason = True, time.time(), reason
            self._closed.clear()
            every = PROBE_DAMAGED_EVERY if damaged else PROBE_EVERY
            self._thread = threading.Thread(
                target=self._look, args=(every,), name="store-probe", daemon=True
            )
            self._thread.start()
        if self.say(reason):
            logger.error("%s cannot be used (%s): answers go on without it", self.what, reason)

    def open_for(self) -> float:
        """Return for how many seconds it has been open, 0 when it is closed."""
        return time.monotonic() - self._opened_at if self.is_open else 0.0

    def wait(self, seconds: float) -> bool:
        """Wait until it is closed, for no longer than so many seconds after it opened; return
        whether it is closed."""
        return self._closed.wait(max(0.0, seconds - self.open_for()))

    def say(self, reason: str) -> bool:
        """Return whether a reason is to be logged: not again within SAY_EVERY."""
        now = time.monotonic()
        if now - self._said.get(reason, -SAY_EVERY) < SAY_EVERY:
            return False
        self._said = {known: at for known, at in self._said.items() if now - at < SAY_EVERY}
        self._said[reason] = now
        return True

    def _look(self, every: float) -> None:
        wait = 0.0  # the first look is at once: it may have been a moment's
        while not self._stop.wait(wait):
            wait = every
            try:
                self._probe()
            except Exception as error:  # whatever it is: the database is still away
                self.reason = " ".join(str(error).split()) or type(error).__name__
                continue
            with self._lock:
                self.is_open = False
                self._closed.set()
            away = time.time() - self.since
            if away > PROBE_EVERY:
                self._said.clear()
                logger.info("%s is back after %.1f seconds", self.what, away)
            return

    def close(self) -> None:
        """Stop looking."""
        self._stop.set()
        thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(timeout=5)
