"""The arms of an A/B test, and which one a shopper is in.

Apart from ``serving.experiments``, so that the process that ranks does not import the event store.
"""

from __future__ import annotations

import hashlib

from components.settings import Experiment

CONTROL, TREATMENT = "control", "treatment"


def arm_of(experiment: Experiment, profile: str) -> str:
    """Return the arm of a shopper: a hash of the experiment's name and the profile's key.

    It is the same every time and in every worker.
    """
    digest = hashlib.sha256(f"{experiment.name}\0{profile}".encode()).digest()
    position = int.from_bytes(digest[:8], "big") / 2**64
    return TREATMENT if position < experiment.share else CONTROL
