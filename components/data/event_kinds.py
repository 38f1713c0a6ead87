"""What events say: the weight of each, which are successes, which exclude their product.

In: ``event_weights``, ``low_rating``, ``targets`` and ``excluding`` of ``preprocess``. Out: one
value an event, for the prepared tables and for the events that the endpoint receives.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from components.arrays import BoolArray, FloatArray, Int8Array, RealArray
from components.data.schema import EVENTS
from components.settings import Preprocess

DISLIKE = EVENTS.index("dislike")


def check_targets(counts: Mapping[str, int], targets: Sequence[str]) -> None:
    """Return if some event is of a kind that counts as success.

    counts: events by kind. targets: ``preprocess.targets``.

    Raises:
        ValueError: none is; the message names the kinds there are.
    """
    if not counts.keys() & set(targets):
        found = ", ".join(f"{event} ({n:,})" for event, n in sorted(counts.items()))
        raise ValueError(
            f"preprocess.targets: none of the events is of the kinds {', '.join(targets)}, which "
            f"count as success; the kinds are {found}: name those that do in params.yaml"
        )


@dataclass(frozen=True)
class EventKinds:
    """The meaning of each kind of event.

    weights: float32 (kinds,), below 0 of a dislike. targets, excluding: bool (kinds,). low_rating:
    stars up to which a rating is a dislike. Kinds are in the order of ``schema.EVENTS``.

    >>> kinds = EventKinds.of(Preprocess())
    >>> events = np.array([EVENTS.index("view"), EVENTS.index("rating"), EVENTS.index("rating")])
    >>> kinds.strengths(events, np.array([np.nan, 5.0, 1.0])).tolist()
    [0.30000001192092896, 1.0, -1.0]
    """

    weights: FloatArray
    targets: BoolArray
    excluding: BoolArray
    low_rating: float

    @classmethod
    def of(cls, settings: Preprocess) -> EventKinds:
        """Return what the settings say."""
        weights = [getattr(settings.event_weights, event) for event in EVENTS]
        return cls(
            np.array(weights, dtype=np.float32),
            np.isin(EVENTS, settings.targets),
            np.isin(EVENTS, settings.excluding),
            settings.low_rating,
        )

    def meant(self, events: Int8Array, ratings: RealArray) -> Int8Array:
        """Return int8 (n,), the kinds with low ratings as dislikes.

        events: int (n,), index into ``schema.EVENTS``. ratings: float (n,), NaN where unknown. The
        stars of a rating count, and those of a purchase that came with some.
        """
        low = np.asarray(ratings) <= self.low_rating
        return np.where(low, DISLIKE, events).astype(np.int8)

    def strengths(self, events: Int8Array, ratings: RealArray) -> FloatArray:
        """Return float32 (n,), the weight of each event. See ``meant`` for the arguments."""
        return self.weights[self.meant(events, ratings)]

    def are_targets(self, events: Int8Array, ratings: RealArray) -> BoolArray:
        """Return bool (n,): which events are successes."""
        return self.targets[self.meant(events, ratings)]

    def are_excluding(self, events: Int8Array, ratings: RealArray) -> BoolArray:
        """Return bool (n,): which events exclude their item."""
        return self.excluding[self.meant(events, ratings)]
