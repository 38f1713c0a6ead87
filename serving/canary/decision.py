"""The decision on a canary: go on, take over, or roll back.

In: what the shoppers of the canary and the others did since it began. Out: a ``Decision`` with its
reason in words.

Harm is judged at every look, so each test is one-sided and always valid (``experiments.compare``,
whose two-sided interval at twice the level is used). Together they roll back a version that is as
good with probability at most about ``serve.canary.alpha``, most of it for the outcome.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from components.settings import Canary
from serving.experiments import MIN_CONVERSIONS, MIN_USERS, compare
from serving.metrics import LIST_SECONDS

OUTCOME_SHARE, FAILURE_SHARE, LATENCY_SHARE = 0.8, 0.1, 0.1
"""Of ``alpha``, for each test. Failures and latency differ grossly or not at all."""
SLOWER_SECONDS = 0.005
"""By how much more a list must take than the others' before it is called slow."""
QUANTILE = 0.95

SECONDS = np.array(LIST_SECONDS)
"""Upper edges of the counts of ``Lists.seconds``; a last one is unbounded."""

GO_ON, TAKE_OVER, ROLL_BACK = "go on", "take over", "roll back"


@dataclass(frozen=True)
class Lists:
    """Lists that a model computed. failed: without an item of the model. seconds: how many took at
    most each of SECONDS, and longer, one count an interval."""

    made: int = 0
    failed: int = 0
    seconds: tuple[int, ...] = (0,) * (len(SECONDS) + 1)

    def quantile(self) -> float | None:
        """Return the upper edge of the interval with the 95th percentile, None without lists."""
        within = np.cumsum(self.seconds)
        if not within[-1]:
            return None
        at = int(np.argmax(within >= QUANTILE * within[-1]))
        return float(SECONDS[min(at, len(SECONDS) - 1)])

    def slower_than(self, seconds: float) -> int:
        """Return how many lists surely took longer."""
        lower = np.concatenate([[0.0], SECONDS])
        return int(np.sum(np.array(self.seconds)[lower >= seconds]))


def seconds_of(within: Mapping[float, float]) -> tuple[int, ...]:
    """Return the counts of ``Lists.seconds`` from those of a histogram, upper edge → at most."""
    counts = [0.0, *(within[edge] for edge in sorted(within))]
    return tuple(int(after - before) for before, after in pairwise(counts)) or Lists().seconds


@dataclass(frozen=True)
class Group:
    """Shoppers of the canary, or the others. converted: with an outcome in the window."""

    users: int = 0
    converted: int = 0
    lists: Lists = Lists()

    def facts(self) -> dict[str, Any]:
        """Return what the operator's page shows."""
        return {
            "users": self.users,
            "converted": self.converted,
            "rate": self.converted / self.users if self.users else None,
            "lists": self.lists.made,
            "failed": self.lists.failed,
            "p95_seconds": self.lists.quantile(),
        }


@dataclass(frozen=True)
class Evidence:
    """hours: since the canary began. loaded: the version is in memory, so it can take over."""

    hours: float
    control: Group
    canary: Group
    loaded: bool

    def facts(self, settings: Canary) -> dict[str, Any]:
        """Return what the operator's page shows."""
        return {
            "hours": round(self.hours, 2),
            "control": self.control.facts(),
            "canary": self.canary.facts(),
            "outcome": asdict(_outcome(self, settings)),
        }


@dataclass(frozen=True)
class Decision:
    """action: GO_ON, TAKE_OVER or ROLL_BACK."""

    action: str
    reason: str


def decide(evidence: Evidence, settings: Canary) -> Decision:
    """Return what to do with a canary.

    It is rolled back at once where it does harm: shoppers convert less, the model fails to make
    lists, or it takes longer for them. It takes over after ``min_hours`` with ``min_shoppers``, and
    after ``max_days`` with any number: a shop with little traffic must not wait for ever.
    """
    if harm := _harm(evidence, settings):
        return Decision(ROLL_BACK, harm)
    shown = f"{_rates(evidence)}, difference {_interval(evidence, settings)}"
    users = min(evidence.control.users, evidence.canary.users)
    late = evidence.hours >= 24 * settings.max_days
    if not evidence.loaded:
        return Decision(GO_ON, "the version is not loaded")
    if evidence.hours >= settings.min_hours and users >= settings.min_shoppers:
        return Decision(TAKE_OVER, f"no harm in {evidence.hours:.1f} hours: {shown}")
    if late and users >= MIN_USERS:
        return Decision(
            TAKE_OVER,
            f"nothing speaks against it after {settings.max_days:g} days, with fewer shoppers than "
            f"serve.canary.min_shoppers: {shown}",
        )
    if late:
        return Decision(
            TAKE_OVER,
            f"nothing speaks against it after {settings.max_days:g} days, but "
            f"{evidence.canary.users:,} shoppers are too few to see harm",
        )
    return Decision(GO_ON, shown)


def _harm(evidence: Evidence, settings: Canary) -> str | None:
    """Return which harm the canary does, None for none."""
    control, canary = evidence.control.lists, evidence.canary.lists
    outcome = _outcome(evidence, settings)
    if outcome.called and outcome.difference < 0:
        return f"shoppers convert less: {_rates(evidence)}"
    failures = compare(
        (control.failed, canary.failed),
        (control.made, canary.made),
        2 * FAILURE_SHARE * settings.alpha,
    )
    if failures.called and failures.difference > settings.max_failure_growth:
        return (
            f"the model fails to make lists: {canary.failed:,} of {canary.made:,}, the other "
            f"{control.failed:,} of {control.made:,}"
        )
    usual = control.quantile()
    if usual is None:
        return None
    most = max(settings.max_latency_ratio * usual, usual + SLOWER_SECONDS)
    timed = (sum(control.seconds), sum(canary.seconds))
    slow = (round((1 - QUANTILE) * timed[0]), canary.slower_than(most))
    slower = compare(slow, timed, 2 * LATENCY_SHARE * settings.alpha)
    if slower.called and slower.difference > 0:
        return (
            f"it is slow: {slow[1]:,} of {timed[1]:,} lists took more than {1000 * most:.0f} ms, "
            f"{settings.max_latency_ratio:g} times the other's 95th percentile"
        )
    return None


def _outcome(evidence: Evidence, settings: Canary) -> Any:
    control, canary = evidence.control, evidence.canary
    return compare(
        (control.converted, canary.converted),
        (control.users, canary.users),
        2 * OUTCOME_SHARE * settings.alpha,
        min_converted=MIN_CONVERSIONS,
    )


def _rates(evidence: Evidence) -> str:
    control, canary = evidence.control, evidence.canary
    return (
        f"{canary.converted:,} of {canary.users:,} shoppers converted "
        f"({canary.converted / max(canary.users, 1):.2%}), of the others {control.converted:,} of "
        f"{control.users:,} ({control.converted / max(control.users, 1):.2%})"
    )


def _interval(evidence: Evidence, settings: Canary) -> str:
    found = _outcome(evidence, settings)
    return f"{found.difference:+.2%} ({found.low:+.2%} to {found.high:+.2%})"
