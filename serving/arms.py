"""The arms of A/B tests, canaries and the holdout, and which one a shopper is in.

Apart from ``serving.experiments``, so that the process that ranks does not import the event store.
"""

from __future__ import annotations

import hashlib
import time
from typing import NamedTuple

from components.rollout import INTERNAL
from components.settings import Experiment, Uplift

CONTROL, TREATMENT = "control", "treatment"

HOLDOUT = f"{INTERNAL}holdout"
"""Begins the name of each period of the holdout."""
POPULAR, RECOMMENDED = "popular", "recommended"
"""Arms of the holdout: popular products, or recommendations as all other shoppers get them."""
DAY = 86_400


class Exposure(NamedTuple):
    """An arm that a shopper sees. experiment: its name in the event store."""

    experiment: str
    arm: str


def draw(name: str, share: float, profile: str) -> Exposure:
    """Return the arm of a shopper: by a hash of the experiment's name and the profile's key.

    It is the same every time and in every worker, and independent of that of another name.
    """
    digest = hashlib.sha256(f"{name}\0{profile}".encode()).digest()
    position = int.from_bytes(digest[:8], "big") / 2**64
    return Exposure(name, TREATMENT if position < share else CONTROL)


def arm_of(experiment: Experiment, profile: str) -> str:
    """Return a shopper's arm of an A/B test."""
    return draw(experiment.name, experiment.share, profile).arm


def holdout_of(uplift: Uplift, profile: str) -> Exposure:
    """Return a shopper's arm of the holdout."""
    name = holdout_name(uplift)
    held_out = draw(name, uplift.share, profile).arm == TREATMENT
    return Exposure(name, POPULAR if held_out else RECOMMENDED)


def holdout_name(uplift: Uplift, now: float | None = None) -> str:
    """Return the name of the holdout's period. now: seconds since 1970; None: the present.

    >>> holdout_name(Uplift(redraw_days=10), now=25 * DAY)
    '~holdout 20'
    """
    days = int((time.time() if now is None else now) // DAY)
    return f"{HOLDOUT} {days - days % uplift.redraw_days}"
