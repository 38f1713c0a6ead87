"""Messages between the endpoint and its ranking process: pickled objects on a stream of bytes.

Both ends are this project's processes, and no other process can reach their socket pair.
"""

from __future__ import annotations

import pickle
from typing import Any


class Frames:
    """Splits a stream of bytes into pickled objects; each follows its length in 4 bytes."""

    def __init__(self) -> None:
        self._unread = bytearray()

    @staticmethod
    def of(content: object) -> bytes:
        """Return the bytes of one object."""
        pickled = pickle.dumps(content, pickle.HIGHEST_PROTOCOL)
        return len(pickled).to_bytes(4, "big") + pickled

    def read(self, more: bytes) -> list[Any]:
        """Return the objects that are complete with the bytes ``more``."""
        self._unread += more
        found, at = [], 0
        while len(self._unread) >= at + 4:
            start = at + 4
            end = start + int.from_bytes(self._unread[at:start], "big")
            if len(self._unread) < end:
                break
            with memoryview(self._unread) as unread:
                # A socket pair of this process and its child: nobody else can write to it.
                found.append(pickle.loads(unread[start:end]))  # nosec B301
            at = end
        del self._unread[:at]
        return found
