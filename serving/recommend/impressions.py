"""The log of impressions: the lists that were shown, for feedback and off-policy evaluation."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence

import orjson

from serving.events.store import EventStore
from serving.recommend.types import Shopper

_random = random.Random()
"""For the ids of impressions, seeded by the system once: reading the system's random numbers for
each id would cost a switch of threads each time."""


def new_id(now: int) -> str:
    """Return a new id without its signature. now: microseconds since 1970.

    Ids grow with time, as UUIDs of version 7: an index appends them at its end.
    """
    return f"{now // 1000:012x}{_random.getrandbits(80):020x}"


class ImpressionLog:
    """Writes impressions to the event store.

    sign: (id without signature, profile, client) → the impression's id.
    """

    def __init__(self, store: EventStore, sign: Callable[[str, str | None, str], str]) -> None:
        self._store = store
        self._sign = sign

    def log(
        self,
        shopper: Shopper,
        item_ids: str,
        scores: str,
        propensities: str,
        version: str,
        source: str,
        surface: str | None = None,
        rules: str | None = None,
    ) -> str:
        """Log an impression, unless ``shopper.logged`` is false or nothing is shown; return its id.

        item_ids, scores, propensities: JSON lists of one length. surface: place of the shop where
        the list is shown, None where the request did not say. rules: as ``IMPRESSIONS.rules``.
        """
        now = time.time_ns() // 1000
        impression_id = self._sign(new_id(now), shopper.profile, shopper.client)
        if shopper.logged and item_ids != "[]":
            self._store.log_impression(
                {
                    "impression_id": impression_id,
                    "user_id": shopper.user_id,
                    "session_id": shopper.session_id,
                    "item_ids": item_ids,
                    "scores": scores,
                    "propensities": propensities,
                    "model_version": version,
                    "source": source,
                    "surface": surface,
                    "timestamp": now,
                    "rules": rules,
                }
            )
        return impression_id

    def log_items(
        self,
        shopper: Shopper,
        item_ids: Sequence[str],
        scores: Sequence[float],
        version: str,
        source: str,
        surface: str | None = None,
        rules: str | None = None,
    ) -> str:
        """As ``log``, for a list that was not explored: each propensity is 1."""
        lists = (list(item_ids), list(scores), [1.0] * len(item_ids))
        ids, scored, certain = (orjson.dumps(one).decode() for one in lists)
        return self.log(shopper, ids, scored, certain, version, source, surface, rules)
