"""Exploration of a served list: ε-greedy and Thompson sampling, with every propensity.

In: scores of the candidates, from any recommender. Out: the list to show and, for each shown item,
the propensity that ``evaluation.off_policy`` and ``models.off_policy`` need later.

    ids, propensities = EpsilonGreedy(0.1).choose(scores, k=10, random=np.random.default_rng())

Everywhere: ``scores`` float (batch, n), -inf is never shown; ``ids`` int32 (batch, k), columns of
``scores``, ``MISSING`` where a row has fewer than k candidates. A propensity is the *marginal*
probability, over the policy's own draws, of this item at this very place, float64 (batch, k), 0
at MISSING: the action is item × place, as in the Open Bandit Dataset (Saito et al., 2021). Pass
the best few hundred candidates, not a catalogue: any item passed may be shown.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from components.arrays import BoolArray, DoubleArray, Int32Array, IntArray, RealArray
from components.recommenders.base import MISSING, top_k

BLOCK = 2_000_000
"""Values drawn at once."""


class Explorer(ABC):
    """A policy that draws lists."""

    @abstractmethod
    def choose(
        self, scores: RealArray, k: int, random: np.random.Generator
    ) -> tuple[Int32Array, DoubleArray]:
        """Return a drawn list of each row and its propensities, both (batch, k)."""

    @abstractmethod
    def propensities(
        self, scores: RealArray, ids: IntArray, random: np.random.Generator
    ) -> DoubleArray:
        """Return the propensity of each place of any lists ``ids``, (batch, k)."""

    @abstractmethod
    def chances(self, scores: RealArray, k: int, random: np.random.Generator) -> DoubleArray:
        """Return float64 (batch, n, k): how often each candidate is at each place. Those of a place
        sum to 1 where there are k candidates."""


@dataclass(frozen=True)
class EpsilonGreedy(Explorer):
    """At each place: with probability ``epsilon`` any item that is left, else the best one left.

    Propensities are exact.
    """

    epsilon: float

    def __post_init__(self) -> None:
        if not 0 <= self.epsilon <= 1:
            raise ValueError(f"epsilon must lie within 0 and 1, not {self.epsilon}")

    def choose(
        self, scores: RealArray, k: int, random: np.random.Generator
    ) -> tuple[Int32Array, DoubleArray]:
        batch, n = scores.shape
        order, _ = top_k(scores, n)
        count = (order != MISSING).sum(axis=1)
        rows = np.arange(batch)
        taken = np.arange(n) >= count[:, None]  # (batch, n) by rank
        # The largest key left is a uniform draw among the items left, whatever was taken before.
        keys = random.random((batch, n))
        ranks = np.full((batch, k), MISSING)
        for place in range(min(k, n)):
            keys[taken] = -1.0
            explore = random.random(batch) < self.epsilon
            picked = np.where(explore, keys.argmax(axis=1), taken.argmin(axis=1))
            left = place < count
            ranks[left, place] = picked[left]
            taken[rows, picked] = True
        ids = np.where(ranks >= 0, order[rows[:, None], ranks], MISSING).astype(np.int32)
        return ids, self._of_ranks(ranks, count)

    def propensities(
        self, scores: RealArray, ids: IntArray, random: np.random.Generator | None = None
    ) -> DoubleArray:
        rank, count = self._ranks(scores)
        known = np.where(ids == MISSING, scores.shape[1], ids)
        return self._of_ranks(np.take_along_axis(rank, known, axis=1), count)

    def chances(
        self, scores: RealArray, k: int, random: np.random.Generator | None = None
    ) -> DoubleArray:
        """Return the chances, which are exact.

        >>> EpsilonGreedy(0.5).chances(np.array([[1.0, 3.0]]), 2).tolist()
        [[[0.25, 0.75], [0.75, 0.25]]]
        """
        rank, count = self._ranks(scores)
        n = scores.shape[1]
        each = np.repeat(rank[:, :n].reshape(-1, 1), k, axis=1)
        return self._of_ranks(each, np.repeat(count, n)).reshape(-1, n, k)

    def _ranks(self, scores: RealArray) -> tuple[IntArray, IntArray]:
        """Return (batch, n + 1), the rank of each candidate, MISSING for none and in the last
        column, and (batch,), how many there are."""
        order, _ = top_k(scores, scores.shape[1])
        rank = np.full((len(scores), scores.shape[1] + 1), MISSING)
        rows, columns = np.nonzero(order != MISSING)
        rank[rows, order[rows, columns]] = columns
        return rank, (order != MISSING).sum(axis=1)

    def _of_ranks(self, ranks: IntArray, count: IntArray) -> DoubleArray:
        k = ranks.shape[1]
        found = np.zeros(ranks.shape)
        for n in np.unique(count[count > 0]):  # rows with as many candidates share a table
            rows = count == n
            table = _place_probabilities(int(n), k, self.epsilon)
            known = np.minimum(ranks[rows], len(table) - 1)
            found[rows] = np.where(known >= 0, table[known, np.arange(k)], 0.0)
        return found


@lru_cache(maxsize=1024)
def _place_probabilities(n: int, k: int, epsilon: float) -> DoubleArray:
    """Return (k + 1, k): the probability that the item of rank r among n is at place j.

    By the number m of better items already shown while this one is not: below m = r the best item
    left is another, at m = r it is this one. All ranks from k on have the same probability: only a
    random draw shows them.
    """
    ranks = np.arange(k + 1)
    waiting = np.zeros((k + 1, k + 1))  # (rank, m): still waiting, with m better ones shown
    waiting[:, 0] = 1.0
    better = ranks[:, None] - ranks[None, :]  # (rank, m) better ones left
    better[k] = n  # more better ones than places: m never gets there
    first = better == 0
    table = np.zeros((k + 1, k))
    for place in range(min(k, n)):
        left = n - place
        table[:, place] = (waiting * ((1 - epsilon) * first + epsilon / left)).sum(axis=1)
        others = np.clip(np.minimum(better, left - 1), 0, None)
        up = np.where(first, 0.0, (1 - epsilon) + epsilon * others / left)
        stay = epsilon * (left - 1 - others) / left
        waiting, risen = waiting * stay, waiting * up
        waiting[:, 1:] += risen[:, :-1]
    return table


class Sampler(Explorer):
    """Draw what each item may be worth, show the best k of the draw.

    A propensity is estimated from ``draws`` further lists as (c + 1) / (draws + 1), c of them with
    the item at the place. The one added keeps it above 0, and for c binomial it makes the inverse
    nearly unbiased: E[1 / estimate] = (1 − (1 − p)^(draws + 1)) / p.
    """

    draws: int

    @abstractmethod
    def sample(self, scores: RealArray, size: int, random: np.random.Generator) -> RealArray:
        """Return (size, batch, n): drawn values."""

    def choose(
        self, scores: RealArray, k: int, random: np.random.Generator
    ) -> tuple[Int32Array, DoubleArray]:
        ids = self._lists(scores, k, 1, random)[0]
        return ids, self.propensities(scores, ids, random)

    def propensities(
        self, scores: RealArray, ids: IntArray, random: np.random.Generator
    ) -> DoubleArray:
        count = np.zeros(ids.shape)
        step = max(1, BLOCK // max(scores.size, 1))
        for start in range(0, self.draws, step):
            drawn = self._lists(scores, ids.shape[1], min(step, self.draws - start), random)
            count += (drawn == ids).sum(axis=0)
        return np.where(ids == MISSING, 0.0, (count + 1) / (self.draws + 1))

    def chances(self, scores: RealArray, k: int, random: np.random.Generator) -> DoubleArray:
        """Return the shares of ``draws`` lists: unbiased, with standard errors up to
        0.5 / √draws."""
        count = np.zeros((len(scores), scores.shape[1], k))
        rows, places = np.arange(len(scores))[:, None], np.arange(k)
        step = max(1, BLOCK // max(scores.size, 1))
        for start in range(0, self.draws, step):
            drawn = self._lists(scores, k, min(step, self.draws - start), random)
            there = drawn != MISSING
            at = tuple(np.broadcast_to(one, drawn.shape)[there] for one in (rows, places))
            np.add.at(count, (at[0], drawn[there], at[1]), 1.0)
        return count / self.draws

    def _lists(
        self, scores: RealArray, k: int, size: int, random: np.random.Generator
    ) -> Int32Array:
        """Return int32 (size, batch, k): lists of ``size`` draws."""
        values = np.where(np.isneginf(scores), -np.inf, self.sample(scores, size, random))
        return top_k(values.reshape(-1, scores.shape[1]), k)[0].reshape(size, len(scores), k)


@dataclass(frozen=True, eq=False)
class GaussianThompson(Sampler):
    """Each item's worth is normal around its score (Thompson 1933; Agrawal and Goyal, ICML 2013).

    deviation: in units of the score, one for all or (n,) or (batch, n): larger where there is less
    data.
    """

    deviation: float | RealArray
    draws: int = 300

    def __post_init__(self) -> None:
        if not (np.asarray(self.deviation) >= 0).all():
            raise ValueError("deviation must not be negative")

    def sample(self, scores: RealArray, size: int, random: np.random.Generator) -> RealArray:
        noise = random.standard_normal((size, *scores.shape), dtype=np.float32)
        return scores + noise * np.asarray(self.deviation, dtype=np.float32)


@dataclass(frozen=True, eq=False)
class BetaThompson(Sampler):
    """Each item's click rate is Beta(1 + clicks, 1 + skips) (Chapelle and Li, NeurIPS 2011).

    clicks, skips: float (n,) or (batch, n), how often each candidate was shown and clicked, or
    not. Of the scores only -inf counts.
    """

    clicks: DoubleArray
    skips: DoubleArray
    draws: int = 300

    def __post_init__(self) -> None:
        if (np.asarray(self.clicks) < 0).any() or (np.asarray(self.skips) < 0).any():
            raise ValueError("clicks and skips must not be negative")

    def sample(self, scores: RealArray, size: int, random: np.random.Generator) -> RealArray:
        alpha, beta = np.add(self.clicks, 1.0), np.add(self.skips, 1.0)
        return random.beta(alpha, beta, (size, *scores.shape))


@dataclass(frozen=True, eq=False)
class Softmax(Sampler):
    """Places are filled in turn from softmax(score / temperature) of the items left.

    Drawn by the Gumbel trick (Kool, van Hoof and Welling, ICML 2019); the lists of a stochastic
    policy such as ``models.off_policy``.
    """

    temperature: float = 1.0
    draws: int = 300

    def __post_init__(self) -> None:
        if not self.temperature > 0:
            raise ValueError(f"temperature must be above 0, not {self.temperature}")

    def sample(self, scores: RealArray, size: int, random: np.random.Generator) -> RealArray:
        return scores + self.temperature * random.gumbel(size=(size, *scores.shape))


def click_counts(
    ids: IntArray, clicked: BoolArray, n_items: int, looks: DoubleArray | None = None
) -> tuple[DoubleArray, DoubleArray]:
    """Return clicks and skips of each item, float64 (n_items,) each.

    ids: int (n, k), shown items by place, ``MISSING`` skipped. clicked: bool, the same shape.
    looks: (k,), the probability that a place is seen: a place without a click counts as that much
    of a skip.
    """
    shown = ids != MISSING
    skipped = ~clicked * (np.ones(ids.shape[1]) if looks is None else looks)
    clicks, skips = (
        np.bincount(ids[shown], kind[shown], minlength=n_items).astype(np.float64)
        for kind in (clicked, skipped)
    )
    return clicks, skips
