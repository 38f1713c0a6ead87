"""Guardrails of a promotion: limits on what NDCG does not measure.

In: the lists of two versions for the same users, their latency and their size. Out: one
``Guardrail`` for each limit in ``register.guardrails``, with both values. A challenger may be
better in NDCG and still show fewer products, answer too late or fill the disk.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from components.arrays import BoolArray, IntArray
from components.data.dataset import DAY, Histories, Prepared
from components.evaluation.metrics import coverage
from components.recommenders.base import MISSING
from components.recommenders.two_stage.hybrid import OPTIONAL, Hybrid
from components.settings import Guardrails

K = 10
"""Length of the lists that are compared."""
TIMED, ROUNDS = 40, 3
"""Users whose lists are timed, and how often each."""
NOTICEABLE = 2.0
"""Milliseconds: a smaller growth of latency never refuses a version, whatever its ratio."""


@dataclass(frozen=True)
class Behaviour:
    """What the guardrails measure of a version.

    lists: int (users, K) in the codes of the present catalogue, MISSING where a list is short.
    milliseconds: latency at a batch of one, see ``latencies``. megabytes: of the model's files.
    """

    lists: IntArray
    milliseconds: float
    megabytes: float


@dataclass(frozen=True)
class Guardrail:
    """One limit. champion, challenger: the values; limit: of the challenger's value.

    setting: the key of ``register.guardrails`` that the limit comes from.
    """

    name: str
    champion: float
    challenger: float
    limit: float
    passed: bool
    setting: str

    def refusal(self, other: str) -> str:
        """Return why it refuses a version; other: what the champion's place is called."""
        bound = "at least" if self.challenger < self.limit else "at most"
        return (
            f"{self.name} {self.challenger:.3f} against the {other}'s {self.champion:.3f}, "
            f"register.guardrails.{self.setting} requires {bound} {self.limit:.3f}"
        )


def guardrails(
    champion: Behaviour,
    challenger: Behaviour,
    n_items: int,
    new: BoolArray,
    need: Guardrails,
) -> tuple[Guardrail, ...]:
    """Return all guardrails, passed or not.

    n_items: size of the catalogue. new: bool (n_items,), see ``new_products``.
    """
    lists = champion.lists, challenger.lists
    short = _short(lists[0]), _short(lists[1])
    latency = champion.milliseconds, challenger.milliseconds
    growth = max(need.latency_ratio * latency[0], latency[0] + NOTICEABLE)
    size = champion.megabytes, challenger.megabytes
    return (
        _fall("coverage", tuple(coverage(one, n_items) for one in lists), need.coverage_fall),
        _fall("new_products", tuple(_share(one, new) for one in lists), need.new_products_fall),
        _most("short_lists", short, max(need.short_lists, short[0]), "short_lists"),
        _most("latency_growth_ms", latency, growth, "latency_ratio"),
        _most("latency_ms", latency, max(need.latency_ms, latency[0]), "latency_ms"),
        _most("size_mb", size, need.size_ratio * size[0], "size_ratio"),
        _most("list_change", (0.0, list_change(*lists)), need.list_change, "list_change"),
    )


def sanity_guardrails(
    old: IntArray, new: IntArray, n_items: int, need: Guardrails
) -> tuple[Guardrail, ...]:
    """Return the guardrails of a refreshed version, by the lists of the same users before and
    after: int (users, K), codes of the present catalogue, MISSING where a list is short."""
    short = _short(old), _short(new)
    return (
        _fall("coverage", (coverage(old, n_items), coverage(new, n_items)), need.coverage_fall),
        _most("short_lists", short, max(need.short_lists, short[0]), "short_lists"),
        _most("list_change", (0.0, list_change(old, new)), need.refresh_change, "refresh_change"),
    )


def _fall(name: str, values: tuple[float, ...], most: float) -> Guardrail:
    """Return the guardrail of a value of (champion, challenger) that may fall by a share."""
    limit = (1 - most) * values[0]
    return Guardrail(name, values[0], values[1], limit, values[1] >= limit, f"{name}_fall")


def _most(name: str, values: tuple[float, ...], limit: float, setting: str) -> Guardrail:
    """Return the guardrail of a value of (champion, challenger) that has a highest value."""
    return Guardrail(name, values[0], values[1], limit, values[1] <= limit, setting)


def new_products(prepared: Prepared, days: int) -> BoolArray:
    """Return bool (items,): products whose first event lies in the last ``days`` days before the
    test window."""
    x = prepared.interactions
    first = np.full(x.n_items, np.iinfo(np.int64).max)
    np.minimum.at(first, x.items, x.times)
    return (first >= prepared.test_start - days * DAY) & (first < prepared.test_start)


def list_change(old: IntArray, new: IntArray) -> float:
    """Return the share of the products in ``new`` that the same user's list in ``old`` lacks.

    >>> list_change(np.array([[0, 1], [2, MISSING]]), np.array([[1, 0], [2, 3]]))
    0.25
    """
    listed = new != MISSING
    kept = (new[:, :, None] == old[:, None, :]).any(axis=2)
    return float((listed & ~kept).sum() / max(listed.sum(), 1))


def _share(lists: IntArray, items: BoolArray) -> float:
    """Return the share of the listed products that are among ``items`` (bool (items,))."""
    listed = lists != MISSING
    return float((items[np.maximum(lists, 0)] & listed).sum() / max(listed.sum(), 1))


def _short(lists: IntArray) -> float:
    """Return the share of lists that are short; 0 without lists."""
    return float((lists == MISSING).any(axis=1).sum() / max(len(lists), 1))


def latencies(
    models: Sequence[Hybrid], histories: Sequence[Histories], exclude_seen: bool
) -> list[float]:
    """Return each model's latency at a batch of one: the median over users, in milliseconds.

    Measured as processor time of this process: the time on an idle machine. Elapsed time on a busy
    one would refuse a model at random. histories: of the same users, in the codes of each model;
    without users all are 0. A list of each model before is not timed. The models take turns, and of
    each user's ROUNDS the fastest counts, because other programs make a call slower, never faster.
    """
    if not len(histories[0]):
        return [0.0] * len(models)
    rows = np.unique(np.linspace(0, len(histories[0]) - 1, TIMED).astype(np.int64))
    ones = [[own.pick(rows[n : n + 1]) for n in range(len(rows))] for own in histories]
    for model, own in zip(models, ones, strict=True):
        model.recommend(own[0], K, exclude_seen=exclude_seen)
    seconds = np.empty((len(models), ROUNDS, len(rows)))
    for turn in range(ROUNDS):
        for user in range(len(rows)):
            for place in np.roll(np.arange(len(models)), turn + user).tolist():
                start = time.process_time()
                models[place].recommend(ones[place][user], K, exclude_seen=exclude_seen)
                seconds[place, turn, user] = time.process_time() - start
    return [float(one) for one in 1000 * np.median(seconds.min(axis=1), axis=1)]


def megabytes(folder: Path) -> float:
    """Return the size of a model's files in MB, without the parts that only serving reads."""
    files = (path for path in folder.rglob("*") if path.is_file())
    own = (path for path in files if path.relative_to(folder).parts[0] not in OPTIONAL)
    return sum(path.stat().st_size for path in own) / 1e6
