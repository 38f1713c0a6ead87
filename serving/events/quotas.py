"""Quotas of what one client, one shopper and all clients without a key may leave in the store.

A recommendation above a quota is answered and not logged; feedback above it is refused. Each worker
counts its own requests. Limits on requests in a second are in ``serving.api.rate_limit``.
"""

from __future__ import annotations

import time

MAX_KEYS = 100_000
"""Keys counted within one period; those beyond share one count."""

MINUTE, DAY = 60, 86_400


class Quota:
    """At most ``most`` units of each key within a period of the clock; 0: no bound.

    seconds: length of the period.

        >>> quota = Quota(2, MINUTE)
        >>> [quota.take("client") for _ in range(3)]
        [True, True, False]
    """

    def __init__(self, most: int, seconds: int) -> None:
        self.most = most
        self.seconds = seconds
        self._period = 0
        self._counts: dict[str, int] = {}

    def take(self, key: str, n: int = 1) -> bool:
        """Return whether the key has ``n`` units left, and take them if it has."""
        if not self.most:
            return True
        period = int(time.monotonic() // self.seconds)
        if period != self._period:
            self._period, self._counts = period, {}
        if key not in self._counts and len(self._counts) >= MAX_KEYS:
            key = ""
        count = self._counts.get(key, 0)
        if count + n > self.most:
            return False
        self._counts[key] = count + n
        return True


class ImpressionQuotas:
    """Whether an impression is logged.

    per_minute: of one shopper, and of one client that is not the shop. anonymous: of all clients
    without a key together, where an API key is set (has_key). 0: no bound.
    """

    def __init__(self, per_minute: int, anonymous: int, has_key: bool) -> None:
        self._clients = Quota(per_minute, MINUTE)
        self._shoppers = Quota(per_minute, MINUTE)
        self._anonymous = Quota(anonymous if has_key else 0, MINUTE)

    def allows(self, authentication: str, client: str, profile: str | None) -> bool:
        """Return whether an impression may be logged, and count it.

        authentication, client: of the request's ``Caller``. profile: of the shopper. All of the
        shop's own requests come from one client: only the shopper bounds them. A session is free to
        get, so the client bounds its requests too.
        """
        if authentication == "none":
            return self._clients.take(client) and self._anonymous.take("")
        if authentication == "session" and not self._clients.take(client):
            return False
        return profile is None or self._shoppers.take(profile)


class FeedbackQuotas:
    """Whether a client's feedback is taken; the shop's own always is.

    per_day: events of one client, repeated ones included; 0: no bound. Purchases have as many of
    their own, so that clicks never use up their place.
    """

    def __init__(self, per_day: int) -> None:
        self._purchases = Quota(per_day, DAY)
        self._others = Quota(per_day, DAY)

    def allows(self, client: str, purchases: int, others: int) -> bool:
        """Return whether so many events of a client are taken, and count them."""
        return (not purchases or self._purchases.take(client, purchases)) and (
            not others or self._others.take(client, others)
        )


class ShopperQuotas:
    """Whether a shopper is among the first of a client and day, the shop's own requests aside.

    per_day: shoppers of one client; 0: no bound. Sessions are free to get: without a bound one
    address would decide an experiment, or send feedback under any number of names.
    """

    def __init__(self, per_day: int) -> None:
        self.per_day = per_day
        self._day = 0
        self._shoppers: dict[str, set[str]] = {}

    def allows(self, client: str, profile: str) -> bool:
        """Return whether the shopper is one of the client's first of the day."""
        if not self.per_day:
            return True
        day = int(time.monotonic() // DAY)
        if day != self._day:
            self._day, self._shoppers = day, {}
        if client not in self._shoppers and len(self._shoppers) >= MAX_KEYS:
            client = ""
        shoppers = self._shoppers.setdefault(client, set())
        if profile not in shoppers and len(shoppers) < self.per_day:
            shoppers.add(profile)
        return profile in shoppers
