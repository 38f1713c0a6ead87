"""Scores of systems: what they showed for each need, and the figures with their intervals.

In: systems, needs and a ``Shop``. Out: one row for each system and need, then ``Figures`` of rows.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from benchmarks.needs.data import Need, Shop
from benchmarks.needs.systems import Answer, K, System

Z = 1.959964
"""Quantile of the normal distribution for intervals of 95 %."""


@dataclass(frozen=True)
class Share:
    """A share with its 95 % interval; NaN without cases."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        if np.isnan(self.value):
            return "–"
        return f"{self.value:.2f} ({self.low:.2f}–{self.high:.2f})"


NO_CASES = Share(np.nan, np.nan, np.nan)


@dataclass(frozen=True)
class Figures:
    """Figures of one system on some needs; ``benchmarks/needs/__main__.py`` defines them.

    p50, p95: milliseconds of one answer.
    """

    kept: Share
    sensible: Share
    filled: Share
    intent: Share
    answered: Share
    refused: Share
    p50: float
    p95: float


def converse(system: System, need: Need) -> tuple[list[Answer], list[float]]:
    """Return a system's answers to the turns of a need, and the milliseconds of each."""
    answers: list[Answer] = []
    milliseconds = []
    for message in need.turns:
        started = time.perf_counter()
        answers.append(system.reply(message, answers[-1] if answers else None))
        milliseconds.append(1000 * (time.perf_counter() - started))
    return answers, milliseconds


def references(need: Need, shop: Shop, before: Answer | None) -> list[int] | None:
    """Return the products that a need refers to, None where the last answer lacks such a place."""
    shown = before.items if before else []
    found = []
    for reference in need.references:
        if reference.title is not None:
            found += shop.named(reference.title)
        elif reference.place is not None:
            at = reference.place - 1 if reference.place > 0 else reference.place
            if not -len(shown) <= at < len(shown):
                return None
            found.append(shown[at])
    return found


def intent_met(need: Need, answers: Sequence[Answer], shop: Shop) -> bool:
    """Return whether a system did what the last message requests, whatever products it chose."""
    last = answers[-1]
    before = answers[-2] if len(answers) > 1 else None
    proposed = bool(last.items) and not last.asked
    if need.intent in ("not_my_field", "small_talk"):
        return not last.items
    if need.intent == "find":
        return proposed if need.satisfiable else not last.items or last.relaxed
    if need.intent == "refine":
        return proposed and before is not None and _refined(need, last, before, shop)
    named = references(need, shop, before)
    if not named:
        return False
    if need.intent in ("compare", "tell_more"):
        return set(last.items) == set(named)
    return proposed and not set(last.items) & set(named)


def _refined(need: Need, last: Answer, before: Answer, shop: Shop) -> bool:
    """Return whether an answer changed the one before as requested."""
    if not before.items:
        return False
    if need.change == "more":
        return not set(last.items) & set(before.items)
    if need.change == "detail":
        fitted = bool(shop.sensible(need)[before.items].all())  # nothing was left to change
        return fitted or last.items != before.items
    now, then = np.median(shop.prices[last.items]), np.median(shop.prices[before.items])
    return bool(now < then) if need.change == "cheaper" else bool(now > then)


def run(systems: Sequence[System], needs: Sequence[Need], shop: Shop) -> pd.DataFrame:
    """Return one row for each system and need: what was shown, and what of it was right."""
    rows = []
    for system in systems:
        for need in needs:
            answers, milliseconds = converse(system, need)
            items = answers[-1].items
            rows.append(
                {
                    "system": system.name,
                    "id": need.id,
                    "language": need.language,
                    "half": need.half,
                    "intent": need.intent,
                    "limited": need.limited,
                    "proposes": need.proposes,
                    "satisfiable": need.satisfiable,
                    "shown": len(items),
                    "kept": int(shop.kept(need)[items].sum()),
                    "sensible": int(shop.sensible(need)[items].sum()) if need.proposes else 0,
                    "intent_met": intent_met(need, answers, shop),
                    "answered": bool(items) and not answers[-1].asked,
                    "milliseconds": milliseconds,
                }
            )
    return pd.DataFrame(rows)


def figures(rows: pd.DataFrame) -> Figures:
    """Return the figures of the rows of one system."""
    limited, proposing = rows[rows["limited"]], rows[rows["proposes"]]
    impossible = rows[~rows["satisfiable"]]
    milliseconds = np.concatenate(rows["milliseconds"].to_list())
    return Figures(
        kept=_ratio(limited["kept"], limited["shown"]),
        sensible=_ratio(proposing["sensible"], proposing["shown"]),
        filled=_ratio(proposing["sensible"], pd.Series(K, index=proposing.index)),
        intent=_share(rows["intent_met"]),
        answered=_share(proposing["answered"]),
        refused=_share(impossible["intent_met"]),
        p50=float(np.percentile(milliseconds, 50)),
        p95=float(np.percentile(milliseconds, 95)),
    )


def _ratio(part: pd.Series, whole: pd.Series) -> Share:
    """Return the sum of ``part`` over that of ``whole``: both of one row for each need.

    The interval is Wilson's with each need as one case, since its products are not independent. A
    bootstrap of needs would have no width where all are right, or all are wrong.
    """
    cases = int((whole > 0).sum())
    if not cases:
        return NO_CASES
    p, spread = part.sum() / whole.sum(), Z**2 / cases
    middle = (p + spread / 2) / (1 + spread)
    half = Z / (1 + spread) * np.sqrt(p * (1 - p) / cases + spread / (4 * cases))
    return Share(float(p), float(max(0.0, middle - half)), float(min(1.0, middle + half)))


def _share(right: pd.Series) -> Share:
    """Return the share of needs of which ``right`` (bool) is true."""
    return _ratio(right.astype(int), pd.Series(1, index=right.index))
