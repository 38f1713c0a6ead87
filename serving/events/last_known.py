"""What was last read from the event store, for pages that must open while it is down."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from serving.events.errors import StoreError


class LastKnown:
    """Results of queries, by name."""

    def __init__(self) -> None:
        self._found: dict[str, tuple[Any, datetime]] = {}

    def read(self, name: str, query: Callable[[], Any]) -> tuple[Any | None, str | None]:
        """Return the query's result and None.

        While the store cannot be read: the query's last result, None if it never had one, and a
        note that says so.
        """
        try:
            found = query()
        except StoreError as error:
            found, moment = self._found.get(name, (None, None))
            then = "never" if moment is None else f"{moment:%Y-%m-%d %H:%M:%S} UTC"
            return found, f"{error}; last read: {then}"
        self._found[name] = found, datetime.now(UTC)
        return found, None
