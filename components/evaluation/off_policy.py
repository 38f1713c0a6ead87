"""Off-policy evaluation: the value of a target policy, estimated from the log of another policy.

In: for each logged decision the reward and the probabilities of its action under the logging and
the target policy. Out: an ``Estimate`` with its interval and its effective sample size; with too
few effective samples it is marked as not reliable.

A decision is one action, arrays (n,), or a list of k positions, arrays (n, k). The value of a list
is the sum of its positions' rewards; the action is item × position with its marginal probability
(the item-position estimator of Li, Abbasi-Yadkori, Kveton et al., KDD 2018). This is unbiased if a
click depends on the item and its position, not on its neighbours. An empty position has reward 0
and probabilities 1, and so has one that was decided whatever the policy; ``free`` (n, k) is false
there, and true at positions that count for support and the effective sample size.

IPS: Horvitz and Thompson 1952. SNIPS: Swaminathan and Joachims, NeurIPS 2015. Doubly robust:
Dudík, Langford and Li, ICML 2011.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from components.arrays import BoolArray, DoubleArray, IntArray

MIN_EFFECTIVE = 100.0
"""Effective samples below which an estimate is not reliable."""

MIN_SUPPORT = 0.95
"""Mean weight below which the log does not show what the target policy would do; under full support
it is 1 in expectation."""

Z = 1.959963984540054


@dataclass(frozen=True)
class Estimate:
    """value: mean reward of the target policy's decisions; low, high: 95 % interval (normal).

    effective: (Σw)² / Σw² of the free positions, Kish's effective sample size; for lists the
    minimum over the positions.
    reliable: false if it is below the required minimum; ``reason`` says so, and value and interval
    must not be used.
    """

    value: float
    low: float
    high: float
    n: int
    effective: float
    reliable: bool
    reason: str


def weights(logged: DoubleArray, target: DoubleArray, cap: float | None = None) -> DoubleArray:
    """Return target / logged probabilities (n,) or (n, k), at most ``cap``.

    Raises:
        ValueError: shapes differ, or a logged probability is not within 0 (exclusive) and 1: a
            logged action must have had a positive probability.
    """
    logged, target = np.asarray(logged, dtype=np.float64), np.asarray(target, dtype=np.float64)
    if logged.shape != target.shape or logged.ndim not in (1, 2):
        raise ValueError(
            f"one probability for each decision, or each of its positions: {logged.shape} and "
            f"{target.shape}"
        )
    if not ((logged > 0) & (logged <= 1)).all():
        raise ValueError("logged propensities must lie within 0 (exclusive) and 1")
    if not ((target >= 0) & (target <= 1)).all():
        raise ValueError("the target policy's probabilities must lie within 0 and 1")
    found = target / logged
    return found if cap is None else np.minimum(found, cap)


def _places(*arrays: DoubleArray) -> list[DoubleArray]:
    """Return each array as float64 (n, k), with k = 1 for one action per decision."""
    return [np.asarray(one, dtype=np.float64).reshape(len(one), -1) for one in arrays]


def support(
    logged: DoubleArray, target: DoubleArray, free: BoolArray | None = None
) -> tuple[float, bool]:
    """Return the least mean weight of a position, and whether the log has support.

    logged, target: (n,) or (n, k). Where the target policy chooses what the logging policy never
    did, its reward is not in the log, and the weights, whose mean is 1 otherwise, are too small.
    Without support no estimator is unbiased. It is refused if the mean of any position is below
    MIN_SUPPORT by more than two standard errors.

    >>> logged, target = np.full((400, 2), 0.5), np.full((400, 2), 0.5)
    >>> target[:, 1] = 0.0
    >>> support(logged, target)
    (0.0, False)
    """
    (w,) = _places(weights(logged, target))
    free = _free(free, w)
    judged = free.any(axis=0)
    if not judged.any():
        return 0.0, False
    n = free.sum(axis=0)[judged]
    mean = (w * free).sum(axis=0)[judged] / n
    error = np.sqrt((free[:, judged] * (w[:, judged] - mean) ** 2).sum(axis=0)) / n
    return float(mean.min()), bool((mean + 2 * error >= MIN_SUPPORT).all())


def _free(free: BoolArray | None, w: DoubleArray) -> BoolArray:
    return np.ones(w.shape, dtype=bool) if free is None else free.reshape(w.shape)


def _effective(w: DoubleArray, free: BoolArray | None) -> float:
    """Return the least effective sample size of the positions that are free anywhere. w: (n, k)."""
    free = _free(free, w)
    judged = free.any(axis=0)
    w = np.where(free, w, 0.0)[:, judged]
    total, squares = w.sum(axis=0), (w**2).sum(axis=0)
    shares = np.divide(total**2, squares, out=np.zeros_like(total), where=squares > 0)
    return float(shares.min()) if judged.any() else 0.0


def _estimate(value: float, deviations: DoubleArray, effective: float, least: float) -> Estimate:
    """Return the estimate. deviations: (n,), of each decision from the mean value."""
    n = len(deviations)
    half = Z * float(np.sqrt((deviations**2).sum())) / n if n else float("nan")
    reliable = effective >= least
    reason = (
        f"{effective:.0f} effective of {n} decisions"
        if reliable
        else f"only {effective:.0f} effective of {n} decisions, at least {least:.0f} are needed: "
        "the two policies rarely choose the same action; log more, or log with more exploration"
    )
    return Estimate(value, value - half, value + half, n, effective, reliable, reason)


def ips(
    rewards: DoubleArray,
    logged: DoubleArray,
    target: DoubleArray,
    cap: float | None = None,
    least: float = MIN_EFFECTIVE,
    free: BoolArray | None = None,
) -> Estimate:
    """Return the inverse propensity (IPS) estimate: unbiased without ``cap``, with high variance.

    rewards, logged, target: (n,) or (n, k).

    >>> rewards, logged = np.array([1.0, 0.0]), np.array([0.5, 0.5])
    >>> ips(rewards, logged, target=np.array([0.8, 0.2]), least=1).value
    0.8
    """
    w, r = _places(weights(logged, target, cap), rewards)
    earned = (w * r).sum(axis=1)
    value = float(earned.mean())
    return _estimate(value, earned - value, _effective(w, free), least)


def snips(
    rewards: DoubleArray,
    logged: DoubleArray,
    target: DoubleArray,
    cap: float | None = None,
    least: float = MIN_EFFECTIVE,
    free: BoolArray | None = None,
) -> Estimate:
    """Return the self-normalised (SNIPS) estimate: slightly biased, with lower variance.

    rewards, logged, target: (n,) or (n, k), each position normalised separately. If a position has
    no weight at all, the value is NaN and not reliable.
    """
    w, r = _places(weights(logged, target, cap), rewards)
    return _estimate(*_normalised(w, r), _effective(w, free), least)


def _normalised(w: DoubleArray, r: DoubleArray) -> tuple[float, DoubleArray]:
    """Return the self-normalised value, and (n,): the deviation of each decision from it."""
    mean = w.mean(axis=0) if len(w) else np.zeros(w.shape[1])
    with np.errstate(divide="ignore", invalid="ignore"):
        each = (w * r).mean(axis=0) / mean if len(w) else np.full(w.shape[1], np.nan)
        deviations = (w * (r - each) / mean).sum(axis=1)  # delta method
    return float(each.sum()), deviations


def snips_gain(
    rewards: DoubleArray,
    logged: DoubleArray,
    before: DoubleArray,
    after: DoubleArray,
    people: IntArray,
    least: float = MIN_EFFECTIVE,
    free: BoolArray | None = None,
) -> Estimate:
    """Return the SNIPS estimate of what the policy ``after`` earns more than ``before``.

    rewards, logged, before, after: (n,) or (n, k). people: int (n,), whose decision each is; the
    interval takes decisions of one person as dependent. effective: of the policy with fewer.
    """
    first, second, r = _places(weights(logged, before), weights(logged, after), rewards)
    (old, of_old), (new, of_new) = _normalised(first, r), _normalised(second, r)
    return _gain(new - old, of_new - of_old, people, _fewer(first, second, free), least)


def doubly_robust_gain(
    rewards: DoubleArray,
    logged: DoubleArray,
    before: DoubleArray,
    after: DoubleArray,
    predicted: DoubleArray,
    expected: tuple[DoubleArray, DoubleArray],
    people: IntArray,
    least: float = MIN_EFFECTIVE,
    free: BoolArray | None = None,
) -> Estimate:
    """Return the doubly robust estimate of what ``after`` earns more than ``before``.

    As ``snips_gain`` and ``doubly_robust``. expected: under ``before`` and under ``after``.
    """
    first, second, r, taken = _places(
        weights(logged, before), weights(logged, after), rewards, predicted
    )
    old, new = _places(*expected)
    earned = (new - old + (second - first) * (r - taken)).sum(axis=1)
    value = float(earned.mean())
    return _gain(value, earned - value, people, _fewer(first, second, free), least)


def _fewer(first: DoubleArray, second: DoubleArray, free: BoolArray | None) -> float:
    """Return the effective sample size of the policy that has fewer."""
    return min(_effective(first, free), _effective(second, free))


def _gain(
    value: float, deviations: DoubleArray, people: IntArray, effective: float, least: float
) -> Estimate:
    found = _estimate(value, deviations, effective, least)
    of_person = np.bincount(people, deviations) if len(people) else np.zeros(0)
    half = Z * float(np.sqrt((of_person**2).sum())) / max(len(people), 1)
    return replace(found, low=value - half, high=value + half)


def doubly_robust(
    rewards: DoubleArray,
    logged: DoubleArray,
    target: DoubleArray,
    predicted: DoubleArray,
    expected: DoubleArray,
    cap: float | None = None,
    least: float = MIN_EFFECTIVE,
    free: BoolArray | None = None,
) -> Estimate:
    """Return the doubly robust (DR) estimate: consistent if propensities or predictions are right.

    rewards, logged, target: (n,) or (n, k). predicted: the same shape, the reward model's
    prediction for the action that was taken. expected: the same shape, its prediction averaged
    over the target policy's actions in the same context and position. The model must not have been
    fitted on these decisions (cross-fitting).
    """
    w, r, taken, mean = _places(weights(logged, target, cap), rewards, predicted, expected)
    earned = (mean + w * (r - taken)).sum(axis=1)
    value = float(earned.mean())
    return _estimate(value, earned - value, _effective(w, free), least)
