"""Which model serves a shopper, and which experiments the shopper is in."""

from __future__ import annotations

from dataclasses import dataclass

from serving.arms import Exposure
from serving.models.loaded import LoadedModel


@dataclass(frozen=True)
class Assignment:
    """loaded: the model that serves the shopper.

    arm_name: of the running A/B test, None outside it. popular: the shopper is in the holdout and
    gets popular products. canary: the shopper's arm of the canary that runs, None without one.
    exposures: what must be recorded before the shopper sees it.
    """

    loaded: LoadedModel
    arm_name: str | None = None
    popular: bool = False
    canary: Exposure | None = None
    exposures: tuple[Exposure, ...] = ()
