"""The promotion rule: the gain of a challenger over another version, and whether it is enough.

In: NDCG@10 of two versions for the same users. Out: the gain with its bound, and the decision with
its reason.

Both rules of ``register.rule`` are one-sided tests at 95 % confidence, because only one direction
does harm. ``non_inferior`` (default): NDCG@10 is not lower than that of the champion by more than
``register.margin`` of it. ``superior``: it is higher by more than ``register.min_gain``.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from components.arrays import DoubleArray
from components.evaluation.guardrails import Guardrail
from components.evaluation.protocol import bootstrap_means, interval
from components.settings import Register

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Gain:
    """NDCG@10 of a challenger − that of another version on the same users, paired.

    other: mean of the other version. difference: mean gain. low, high: two-sided 95 % interval of
    the difference. bound: one-sided 95 % lower bound of the gain. required: the gain that the rule
    requires; the bound must lie above it.
    """

    other: float
    difference: float
    low: float
    high: float
    bound: float
    required: float

    @property
    def enough(self) -> bool:
        return self.bound > self.required


@dataclass(frozen=True)
class Against:
    """The challenger against another version: the gain, and the guardrails."""

    gain: Gain
    guardrails: tuple[Guardrail, ...]

    def as_dict(self) -> dict[str, Any]:
        """Return plain values; the guardrails by name."""
        return {
            **asdict(self.gain),
            "guardrails": {
                one.name: {name: value for name, value in asdict(one).items() if name != "name"}
                for one in self.guardrails
            },
        }


def required_gain(old: DoubleArray, need: Register) -> DoubleArray:
    """Return the gain that the rule requires of each user's NDCG, (users, ...) as ``old``."""
    if need.rule == "superior":
        return np.full_like(old, need.min_gain)
    return -need.margin * old


def lower_bound(
    old: DoubleArray, new: DoubleArray, need: Register, samples: int, seed: int
) -> DoubleArray:
    """Return the one-sided 95 % lower bound of the mean gain, for a comparison with the mean of
    ``required_gain``.

    old, new: NDCG (users,), or (users, pairs) for many comparisons. The bound is a percentile
    bootstrap of gain − required gain, users resampled. The margin is a share of the champion's
    mean, which is an estimate too: resampled together with the gain, its error counts (as in
    Fieller's interval of a ratio, 1954).
    """
    required = required_gain(old, need)
    means = bootstrap_means(new - old - required, samples, seed)
    bound: DoubleArray = np.quantile(means, 1 - CONFIDENCE, axis=0) + required.mean(axis=0)
    return bound


def measure_gain(
    old: DoubleArray, new: DoubleArray, need: Register, samples: int, seed: int
) -> Gain:
    """Return the gain of ``new`` over ``old``, NDCG (users,) each; without users all are 0."""
    if not len(old):
        return Gain(0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
    low, high = interval(new - old, samples, seed)
    return Gain(
        other=float(old.mean()),
        difference=float((new - old).mean()),
        low=low,
        high=high,
        bound=float(lower_bound(old, new, need, samples, seed)),
        required=float(required_gain(old, need).mean()),
    )


def should_promote(
    users: int, champion: Against, baseline: Against | None, need: Register
) -> tuple[bool, str]:
    """Return whether to promote, and why or why not.

    Promotion needs ``register.min_users`` users, and against the champion and the baseline (see
    ``registry.promotion``) a gain that meets the rule and every guardrail. No correction for two
    tests is needed, because both must be passed (intersection-union test, Berger 1982).
    """
    if users < need.min_users:
        return False, (
            f"not promoted: {users:,} users can be evaluated, register.min_users requires "
            f"{need.min_users:,}"
        )
    refusals = _refusals("champion", champion, need)
    if baseline is not None:
        refusals += _refusals("baseline", baseline, need)
    if refusals:
        return False, "not promoted: " + "; ".join(refusals)
    return True, (
        f"promoted: the interval of the gain begins at {champion.gain.bound:+.4f}, above "
        f"{_requirement('champion', champion.gain, need)}"
    )


def _refusals(name: str, against: Against, need: Register) -> list[str]:
    gain = against.gain
    over = "" if name == "champion" else f" over the {name}"
    rule = [
        f"the interval of the gain{over} begins at {gain.bound:+.4f}, not above "
        f"{_requirement(name, gain, need)}"
    ]
    failed = [one.refusal(name) for one in against.guardrails if not one.passed]
    return ([] if gain.enough else rule) + failed


def _requirement(name: str, gain: Gain, need: Register) -> str:
    if need.rule == "superior":
        return f"register.min_gain, {need.min_gain:+.4f}"
    return (
        f"{gain.required:+.4f}: register.margin allows a loss of {need.margin:.1%} of the {name}'s "
        f"NDCG@10, {gain.other:.4f}"
    )
