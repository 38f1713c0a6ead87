"""Circuit breaker: while the database is unreachable, requests do not wait for it.

In: failures of the event store and a probe. Out: whether the store may be used. The first failure
opens the breaker. From then on requests are answered without the database, and one thread probes
it. The first successful probe closes the breaker; no restart is needed.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

logger = logging.getLogger("bentoml.bowerbird")

PROBE_INTERVAL = 0.5
"""Seconds between two probes."""

DAMAGED_PROBE_INTERVAL = 30.0
"""Seconds between two probes of a damaged file: each reads the whole file."""

LOG_INTERVAL = 300.0
"""Seconds before the same reason is logged again."""


class CircuitBreaker:
    """``is_open`` while the database cannot be used.

    name: of the database, for log lines. probe: raises while the database cannot be used; called in
    a thread of its own. since: seconds since 1970 of the first failure. reason: that failure in a
    few words. Both keep their last value after the breaker closes.
    """

    def __init__(self, name: str, probe: Callable[[], None]) -> None:
        self.name = name
        self.is_open = False
        self.since = 0.0
        self.reason = ""
        self._probe = probe
        self._opened_at = 0.0
        self._logged: dict[str, float] = {}
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._closed.set()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def open(self, reason: str, damaged: bool = False) -> None:
        """Open the breaker and start the probe thread; do nothing if the breaker is open.

        damaged: the database's file is damaged. Only an operator can repair that, so the probes are
        rare.
        """
        with self._lock:
            if self.is_open or self._stop.is_set():
                return
            self._opened_at = time.monotonic()
            self.is_open, self.since, self.reason = True, time.time(), reason
            self._closed.clear()
            interval = DAMAGED_PROBE_INTERVAL if damaged else PROBE_INTERVAL
            self._thread = threading.Thread(
                target=self._probe_until_usable, args=(interval,), name="store-probe", daemon=True
            )
            self._thread.start()
        if self.should_log(reason):
            logger.error("%s cannot be used (%s): answers go on without it", self.name, reason)

    def open_for(self) -> float:
        """Return for how many seconds the breaker has been open, 0 when it is closed."""
        return time.monotonic() - self._opened_at if self.is_open else 0.0

    def wait(self, seconds: float) -> bool:
        """Wait until the breaker closes, at most until ``seconds`` after it opened.

        Return whether it is closed.
        """
        return self._closed.wait(max(0.0, seconds - self.open_for()))

    def should_log(self, reason: str) -> bool:
        """Return whether to log a reason now: the same one only once in LOG_INTERVAL."""
        now = time.monotonic()
        if now - self._logged.get(reason, -LOG_INTERVAL) < LOG_INTERVAL:
            return False
        self._logged = {old: at for old, at in self._logged.items() if now - at < LOG_INTERVAL}
        self._logged[reason] = now
        return True

    def _probe_until_usable(self, interval: float) -> None:
        wait = 0.0  # the first probe is immediate: the failure may be over already
        while not self._stop.wait(wait):
            wait = interval
            try:
                self._probe()
            except Exception as error:  # of any kind: the database still cannot be used
                self.reason = " ".join(str(error).split()) or type(error).__name__
                continue
            with self._lock:
                self.is_open = False
                self._closed.set()
            seconds = time.time() - self.since
            if seconds > PROBE_INTERVAL:
                self._logged.clear()
                logger.info("%s is back after %.1f seconds", self.name, seconds)
            return

    def close(self) -> None:
        """Stop the probe thread."""
        self._stop.set()
        thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(timeout=5)
