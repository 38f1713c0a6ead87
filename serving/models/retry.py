"""A pause before something that failed is tried again."""

from __future__ import annotations

import time

RETRY_SECONDS = 60.0
"""Seconds until a model or products that could not be loaded are tried again."""


class Retry:
    """Remembers the last attempt that failed.

    >>> retry = Retry()
    >>> retry.failed("version 3")
    >>> retry.is_due("version 3"), retry.is_due("version 4")
    (False, True)
    """

    def __init__(self) -> None:
        self._failed: object = None
        self._next = 0.0

    def failed(self, what: object) -> None:
        """Note that ``what`` failed now."""
        self._failed, self._next = what, time.monotonic() + RETRY_SECONDS

    def succeeded(self) -> None:
        """Forget the failure."""
        self._failed, self._next = None, 0.0

    def is_due(self, what: object) -> bool:
        """Return whether ``what`` may be tried: it did not fail last, or the pause is over."""
        return what != self._failed or time.monotonic() >= self._next
