"""How many impressions of a minute are logged: of one shopper, one client, and all without a key.

In: who a recommendation was made for. Out: whether it is logged. What is above a quota gets its
answer all the same: it costs no disk, and it steers nothing. Each worker counts for itself.
"""

from __future__ import annotations

import time

MAX_KEYS = 100_000
"""Shoppers and clients counted in one minute; those beyond share one quota."""


class ImpressionQuotas:
    """Counts by the minute of the clock.

    per_minute: of one shopper, or of one client without a key. anonymous: of all clients without a
    key together, where an API key is set (has_key). 0: no bound.
    """

    def __init__(self, per_minute: int, anonymous: int, has_key: bool) -> None:
        self.per_minute = per_minute
        self.anonymous = anonymous if has_key else 0
        self._minute = 0
        self._counts: dict[str, int] = {}
        self._anonymous = 0

    def allows(self, authentication: str, client: str, profile: str | None) -> bool:
        """Return whether an impression may be logged, and count it.

        authentication, client: of the request's ``Caller``. profile: of the shopper. The shop's own
        requests are bounded by the shopper, because they all come from one client.
        """
        minute = int(time.monotonic() // 60)
        if minute != self._minute:
            self._minute, self._counts, self._anonymous = minute, {}, 0
        if authentication == "none":
            if self.anonymous and self._anonymous >= self.anonymous:
                return False
            key = client
        elif profile is None:
            return True
        else:
            key = profile
        if self.per_minute:
            count = self._counts.get(key, 0)
            if not count and len(self._counts) >= MAX_KEYS:
                key = ""
                count = self._counts.get(key, 0)
            if count >= self.per_minute:
                return False
            self._counts[key] = count + 1
        if authentication == "none":
            self._anonymous += 1
        return True
