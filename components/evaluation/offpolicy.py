"""What another policy would have earned, from the log of the one that was served.

In: for each logged decision the reward, the probability with which the served policy took that
action, and the probability with which the judged policy would have. Out: an ``Estimate`` with its
interval and its effective sample size; with too few effective samples it refuses to judge.

IPS: Horvitz and Thompson 1952. SNIPS: Swaminathan and Joachims, NeurIPS 2015. Doubly robust:
Dudík, Langford and Li, ICML 2011.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

MIN_EFFECTIVE = 100.0
"""Effective samples below which an estimate is not to be trusted."""

Z = 1.959963984540054


@dataclass(frozen=True)
class Estimate:
    """value: mean reward of the judged policy; low, high: 95 % interval (normal approximation).

    effective: (Σw)² / Σw², Kish's effective sample size. judged: false where it is below the
    least that was asked for; ``reason`` says so, and value and interval are not to be used.
    """

    value: float
    low: float
    high: float
    n: int
    effective: float
    judged: bool
    reason: str


def weights(logged: np.ndarray, judged: np.ndarray, cap: float | None = None) -> np.ndarray:
    """Return judged / logged probabilities (n,), at most ``cap``.

    Raises:
        ValueError: shapes differ, or a logged probability is not within 0 (exclusive) and 1: an
            action that was taken had a chance, so the log is wrong.
    """
    logged, judged = np.asarray(logged, dtype=np.float64), np.asarray(judged, dtype=np.float64)
    if logged.shape != judged.shape or logged.ndim != 1:
        raise ValueError(f"one probability for each decision: {logged.shape} and {judged.shape}")
    if not ((logged > 0) & (logged <= 1)).all():
        raise ValueError("logged propensities must lie within 0 (exclusive) and 1")
    if not ((judged >= 0) & (judged <= 1)).all():
        raise ValueError("the judged policy's probabilities must lie within 0 and 1")
    found = judged / logged
    return found if cap is None else np.minimum(found, cap)


def _estimate(value: float, deviations: np.ndarray, w: np.ndarray, least: float) -> Estimate:
    n = len(w)
    total = float(w.sum())
    effective = total**2 / float((w**2).sum()) if total else 0.0
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
    rewards: np.ndarray,
    logged: np.ndarray,
    judged: np.ndarray,
    cap: float | None = None,
    least: float = MIN_EFFECTIVE,
) -> Estimate:
    """Return the inverse propensity estimate: unbiased without ``cap``, of high variance.

    rewards, logged, judged: (n,).
    """
    w = weights(logged, judged, cap)
    earned = w * np.asarray(rewards, dtype=np.float64)
    value = float(earned.mean())
    return _estimate(value, earned - value, w, least)


def snips(
    rewards: np.ndarray,
    logged: np.ndarray,
    judged: np.ndarray,
    cap: float | None = None,
    least: float = MIN_EFFECTIVE,
) -> Estimate:
    """Return the self-normalised estimate: a little biased, of less variance, within the rewards.

    rewards, logged, judged: (n,). Without any weight the value is NaN and nothing is judged.
    """
    w = weights(logged, judged, cap)
    rewards = np.asarray(rewards, dtype=np.float64)
    mean = w.mean() if len(w) else 0.0
    value = float((w * rewards).sum() / w.sum()) if mean else float("nan")
    deviations = w * (rewards - value) / mean if mean else np.full(len(w), np.nan)  # delta method
    return _estimate(value, deviations, w, least)


def doubly_robust(
    rewards: np.ndarray,
    logged: np.ndarray,
    judged: np.ndarray,
    predicted: np.ndarray,
    expected: np.ndarray,
    cap: float | None = None,
    least: float = MIN_EFFECTIVE,
) -> Estimate:
    """Return the doubly robust estimate: right if the propensities or the predictions are.

    predicted: (n,) the reward model's prediction for the action that was taken. expected: (n,)
    its prediction averaged over the judged policy's actions in the same context. The model must
    not have been fitted on these very decisions (cross-fit).
    """
    w = weights(logged, judged, cap)
    rewards = np.asarray(rewards, dtype=np.float64)
    earned = np.asarray(expected) + w * (rewards - np.asarray(predicted))
    value = float(earned.mean())
    return _estimate(value, earned - value, w, least)
