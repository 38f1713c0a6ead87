"""Read shoppers' profiles from the event store before a response, for many requests at once.

In the same step the shopper's first exposures to running experiments, a canary and the holdout are
recorded: no shopper sees an arm without a record.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from serving.arms import Exposure
from serving.events.errors import StoreError
from serving.events.exposures import ExposureLog
from serving.profiles.profiles import LiveProfiles
from serving.recommend.batching import Batcher, TooManyWaiting

STORE_SECONDS = 0.2
"""The longest that a request waits for the event store; then profiles in memory are used."""

Exposed = tuple[str, Exposure, str]
"""Profile, arm, model version."""


class ProfileReader:
    """Batches reads: requests that arrive during one read share the next."""

    def __init__(self, live: LiveProfiles, exposures: ExposureLog) -> None:
        self._live = live
        self._exposures = exposures
        self._batcher = Batcher(self._read, lambda: 256)

    async def read(self, profile: str, exposed: Sequence[Exposed]) -> bool:
        """Have the profile in memory, if the store answers in time.

        Returns whether the shopper's exposures are recorded, true without one.
        """
        if self._live.store.database.is_down:
            return not exposed
        try:
            async with asyncio.timeout(STORE_SECONDS):
                return await self._batcher.ask((profile, exposed))
        except (TimeoutError, TooManyWaiting):
            return not exposed

    def _read(self, batch: Sequence[tuple[str, Sequence[Exposed]]]) -> list[bool]:
        self._live.refresh()
        for profile, _ in batch:
            self._live.hold(profile)
        try:
            self._exposures.record([one for _, exposed in batch for one in exposed])
        except StoreError:
            return [not exposed for _, exposed in batch]
        return [True] * len(batch)

    def close(self) -> None:
        """Read what is queued, then stop the thread."""
        self._batcher.close()
