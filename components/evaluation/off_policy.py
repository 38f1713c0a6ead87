"""What another policy would have earned, from the log of the one that was served.

In: for each logged decision the reward, the probability with which the served policy took that
action, and the probability with which the judged policy would have. Out: an ``Estimate`` with its
interval and its effective sample size; with too few effective samples it refuses to judge.

A decision is one action, arrays (n,), or a list of k places, arrays (n, k). A list is worth the sum
of its places' rewards, and the action is item × place, its probability marginal (the item-position
estimator of Li, Abbasi-Yadkori, Kveton et al., KDD 2018): right where a click depends on the item
and its place, not on its neighbours. A place left empty has reward 0 and probabilities 1.

IPS: Horvitz and Thompson 1952. SNIPS: Swaminathan and Joachims, NeurIPS 2015. Doubly robust:
Dudík, Langford and Li, ICML 2011.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from components.arrays import DoubleArray

MIN_EFFECTIVE = 100.0
"""Effective samples below which an estimate is not to be trusted."""

Z = 1.959963984540054


@dataclass(frozen=True)
class Estimate:
    """value: mean reward of the judged policy's decisions; low, high: 95 % interval (normal).

    effective: (Σw)² / Σw², Kish's effective sample size, of a list the least of its places'.
    judged: false where it is below the least that was asked for; ``reason`` says so, and value and
    interval are not to be used.
    """

    value: float
    low: float
    high: float
    n: int
    effective: float
    judged: bool
    reason: str


def weights(logged: DoubleArray, judged: DoubleArray, cap: float | None = None) -> DoubleArray:
    """Return judged / logged probabilities (n,) or (n, k), at most ``cap``.

    Raises:
        ValueError: shapes differ, or a logged probability is not within 0 (exclusive) and 1: an
            action that was taken had a chance, so the log is wrong.
    """
    logged, judged = np.asarray(logged, dtype=np.float64), np.asarray(judged, dtype=np.float64)
    if logged.shape != judged.shape or logged.ndim not in (1, 2):
        raise ValueError(
            f"one probability for each decision, or each of its places: {logged.shape} and "
            f"{judged.shape}"
        )
    if not ((logged > 0) & (logged <= 1)).all():
        raise ValueError("logged propensities must lie within 0 (exclusive) and 1")
    if not ((judged >= 0) & (judged <= 1)).all():
        raise ValueError("the judged policy's probabilities must lie within 0 and 1")
    found = judged / logged
    return found if cap is None else np.minimum(found, cap)


def _places(*arrays: DoubleArray) -> list[DoubleArray]:
    """Return float64 (n, k) of each array, k = 1 where it has one action a decision."""
    return [np.asarray(one, dtype=np.float64).reshape(len(one), -1) for one in arrays]


def _estimate(value: float, deviations: DoubleArray, w: DoubleArray, least: float) -> Estimate:
    """deviations: (n,), what each decision adds to the value above the mean. w: (n, k)."""
    n = len(w)
    total, squares = w.sum(axis=0), (w**2).sum(axis=0)
    shares = np.divide(total**2, squares, out=np.zeros_like(total), where=squares > 0)
    effective = float(shares.min(initial=np.inf)) if n else 0.0
    half = Z * float(np.sqrt((deviations**2).sum())) / n if n else float("nan")
    judged = effective >= least
    reason = (
        f"{effective:.0f} effective of {n} decisions"
        if judged
        else f"only {effective:.0f} effective of {n} decisions, at least {least:.0f} are needed: "
        "the two policies hardly ever do the same; log more, or log with more exploration"
    )
    return Estimate(value, value - half, value + half, n, effective, judged, reason)


def ips(
    rewards: DoubleArray,
    logged: DoubleArray,
    judged: DoubleArray,
    cap: float | None = None,
    least: float = MIN_EFFECTIVE,
) -> Estimate:
    """Return the inverse propensity estimate: unbiased without ``cap``, of high variance.

    rewards, logged, judged: (n,) or (n, k).

    >>> rewards, logged = np.array([1.0, 0.0]), np.array([0.5, 0.5])
    >>> ips(rewards, logged, judged=np.array([0.8, 0.2]), least=1).value
    0.8
    """
    w, r = _places(weights(logged, judged, cap), rewards)
    earned = (w * r).sum(axis=1)
    value = float(earned.mean())
    return _estimate(value, earned - value, w, least)


def snips(
    rewards: DoubleArray,
    logged: DoubleArray,
    judged: DoubleArray,
    cap: float | None = None,
    least: float = MIN_EFFECTIVE,
) -> Estimate:
    """Return the self-normalised estimate: a little biased, of less variance, within the rewards.

    rewards, logged, judged: (n,) or (n, k), each place normalised by itself. Where a place has no
    weight at all the value is NaN and nothing is judged.
    """
    w, r = _places(weights(logged, judged, cap), rewards)
    mean = w.mean(axis=0) if len(w) else np.zeros(w.shape[1])
    with np.errstate(divide="ignore", invalid="ignore"):
        each = (w * r).mean(axis=0) / mean if len(w) else np.full(w.shape[1], np.nan)
        deviations = (w * (r - each) / mean).sum(axis=1)  # delta method
    return _estimate(float(each.sum()), deviations, w, least)


def doubly_robust(
    rewards: DoubleArray,
    logged: DoubleArray,
    judged: DoubleArray,
    predicted: DoubleArray,
    expected: DoubleArray,
    cap: float | None = None,
    least: float = MIN_EFFECTIVE,
) -> Estimate:
    """Return the doubly robust estimate: right if the propensities or the predictions are.

    rewards, logged, judged: (n,) or (n, k). predicted: the same shape, the reward model's
    prediction for the action that was taken. expected: the same shape, its prediction averaged
    over the judged policy's actions in the same context and place. The model must not have been
    fitted on these very decisions (cross-fit).
    """
    w, r, taken, mean = _places(weights(logged, judged, cap), rewards, predicted, expected)
    earned = (mean + w * (r - taken)).sum(axis=1)
    value = float(earned.mean())
    return _estimate(value, earned - value, w, least)
