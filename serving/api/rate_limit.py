"""Rate limit: requests of one client in a second.

The middleware limits all requests of a network address; ``auth`` limits the sessions that one
address may begin. Limits on what a client may leave in the event store (feedback and shoppers in a
day, impressions in a minute) are in ``serving.events.quotas``. Each worker counts its own requests.
"""

from __future__ import annotations

import time
from collections import OrderedDict

MAX_CLIENTS = 10_000
"""Buckets in memory. The least recently used is evicted first: it is full again, or there are more
clients at once than can be limited one by one."""


class RateLimit:
    """A token bucket for each client: ``rate`` requests a second, bursts of ``burst``.

    burst: twice ``rate`` by default.
    """

    def __init__(self, rate: float, burst: float | None = None) -> None:
        self.rate = rate
        self.burst = 2 * rate if burst is None else burst
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def allows(self, client: str) -> bool:
        """Return whether the client's request is within its rate, and count it."""
        if self.rate <= 0:
            return True
        now = time.monotonic()
        tokens, then = self._buckets.get(client, (self.burst, now))
        tokens = min(self.burst, tokens + (now - then) * self.rate)
        self._buckets[client] = (tokens - 1 if tokens >= 1 else tokens, now)
        self._buckets.move_to_end(client)
        if len(self._buckets) > MAX_CLIENTS:
            self._buckets.popitem(last=False)
        return tokens >= 1
