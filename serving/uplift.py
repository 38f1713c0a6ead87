"""Uplift: what recommendations earn, against a random holdout that gets popular products.

In: the holdout's exposures and the events. Out: conversion and revenue of a visitor in each arm and
their difference with its interval, in ``var/serving/uplift.json``.

A visitor is one observation: what was bought from the first list of the period on. The difference
is adjusted by what the visitor did before that list (CUPED: Deng, Xu, Kohavi and Walker, WSDM
2013), which the arm cannot have changed, so it stays unbiased and its variance falls.

The intervals are always valid (``experiments.always_valid``). The figure is on a page that is read
every day, and an interval of a fixed horizon, looked at until it excludes 0, would exclude it far
too often; the price is an interval about one and a half times as wide.
"""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from components.file_lock import file_lock
from components.json_files import write_json
from components.settings import Uplift
from serving.arms import DAY, HOLDOUT, POPULAR, RECOMMENDED, holdout_name
from serving.events.database import Database
from serving.events.errors import StoreError
from serving.events.exposures import delete_exposures, experiment_names
from serving.events.visitors import Sums, Visitors, visitors
from serving.experiments import MIN_USERS, always_valid
from serving.json_files import read_json

UPLIFT = Path("var/serving/uplift.json")
LOCK = Path("var/serving/.uplift.lock")
MEASURE_SECONDS = 600.0
"""Least seconds between two measurements."""
MEASURE_SHARE = 0.01
"""Most of the time that measuring may take."""
MIN_BUYERS = 20
"""Buyers of each arm that an interval needs: it rests on the central limit theorem, and few
purchases of very different amounts are far from it."""
EFFECT = 0.05
"""Standard deviation of the mixture, in standard deviations of the outcome: the size of difference
for which the interval is narrowest; any value is valid."""


@dataclass(frozen=True)
class Gain:
    """Recommendations less popular products, for each visitor; means without the adjustment.

    enough: false while the interval cannot be relied on. variance_kept: the share of the variance
    that the adjustment leaves.
    """

    popular: float
    recommended: float
    difference: float
    low: float
    high: float
    enough: bool
    variance_kept: float


def gain(popular: Sums, recommended: Sums, alpha: float, enough: bool = True) -> Gain:
    """Return the difference of the means of y, adjusted by x, with its always-valid interval.

    The coefficient is that of one regression of y on x within both arms together.
    """
    arms = (popular, recommended)
    means = [(one.y / one.n, one.x / one.n) for one in arms]
    # Sums of squares and products around the means.
    within = [
        (one.yy - one.n * y * y, one.xx - one.n * x * x, one.xy - one.n * x * y)
        for one, (y, x) in zip(arms, means, strict=True)
    ]
    xx, xy = sum(one[1] for one in within), sum(one[2] for one in within)
    theta = xy / xx if xx > 0 else 0.0
    plain = adjusted = 0.0
    for one, (yy, squares, products) in zip(arms, within, strict=True):
        plain += yy / one.n**2
        adjusted += (yy - 2 * theta * products + theta**2 * squares) / one.n**2
    (y0, x0), (y1, x1) = means
    difference = (y1 - y0) - theta * (x1 - x0)
    deviation = (sum(one[0] for one in within) / sum(one.n for one in arms)) ** 0.5
    if not enough or adjusted <= 0:
        return Gain(y0, y1, difference, difference, difference, False, 1.0)
    half, _ = always_valid(difference, adjusted, alpha, EFFECT * deviation)
    kept = adjusted / plain if plain > 0 else 1.0
    return Gain(y0, y1, difference, difference - half, difference + half, True, kept)


def measured(database: Database, settings: Uplift, now: float) -> dict[str, Any]:
    """Return what recommendations earn in the running period; see ``Gain``.

    Raises:
        StoreError: the database failed.
    """
    name = holdout_name(settings, now)
    found = {one.arm: one for one in visitors(database, name)}
    shown: dict[str, Any] = {
        "period": name,
        "share": settings.share,
        "alpha": settings.alpha,
        "at": now,
        "visitors": {
            arm: found[arm].users if arm in found else 0 for arm in (POPULAR, RECOMMENDED)
        },
        "conversion": None,
        "revenue": None,
    }
    if POPULAR in found and RECOMMENDED in found:
        popular, recommended = found[POPULAR], found[RECOMMENDED]
        enough = _enough(popular) and _enough(recommended)
        for metric, of in (("conversion", "buyers"), ("revenue", "revenue")):
            sums = (getattr(popular, of), getattr(recommended, of))
            shown[metric] = asdict(gain(*sums, settings.alpha, enough))
    return shown


def _enough(arm: Visitors) -> bool:
    return arm.users >= MIN_USERS and arm.purchases >= MIN_BUYERS


class UpliftMeasurement:
    """Measures now and then; ``step`` is called every second by every worker, one measures."""

    def __init__(self, settings: Uplift, root: Path, database: Database, has_api_key: bool) -> None:
        self.enabled = has_api_key and settings.share > 0
        self._settings = settings
        self._file = root / UPLIFT
        self._lock = root / LOCK
        self._database = database

    def latest(self) -> dict[str, Any] | None:
        """Return the last measurement, with the one of the period before; None without one."""
        found = read_json(self._file) if self.enabled else None
        return found if isinstance(found, dict) and "period" in found else None

    def step(self) -> None:
        """Measure if that is due."""
        if not self.enabled:
            return
        with file_lock(self._lock, wait=False) as locked:
            if locked:
                self._measure_if_due()

    def _measure_if_due(self) -> None:
        before, now = self.latest(), time.time()
        pause = max(MEASURE_SECONDS, (before or {}).get("took", 0.0) / MEASURE_SHARE)
        if before is not None and abs(now - before["at"]) < pause:
            return
        try:
            found = measured(self._database, self._settings, now)
            found["took"] = abs(time.time() - now)
            found["previous"] = None
            if before is not None:
                same = before["period"] == found["period"]
                found["previous"] = before["previous"] if same else {**before, "previous": None}
            write_json(self._file, found)
            self._forget(found["period"], now)
        except StoreError:
            return  # unreachable: measured when it is back

    def _forget(self, period: str, now: float) -> None:
        """Delete the exposures of periods that ended a day ago; their figures stay in the file.

        Until then a worker that is slow may write to one, and a clock that is ahead by minutes must
        not delete the running one.
        """
        if holdout_name(self._settings, now - DAY) != period:
            return
        for name in experiment_names(self._database, HOLDOUT):
            if name != period:
                delete_exposures(self._database, name)
