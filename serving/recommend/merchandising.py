"""Merchandising rules over a ranked list: what the ranking process does with them.

In: the ``Steps`` of a request and its ranked pool. Out: the list with boosts, caps, shares and
pins, and which places a rule decided. Products that rules exclude are no part of the pool: they
are in the request's filters. Of two rules in conflict the earlier step wins; the kinds give way in
this order: filters and exclusions, pins, caps, shares, boosts.

An objective is a weighted sum of two standard scores within the pool, relevance and an attribute:
the usual scalarisation of a ranking with two goals (Marler and Arora, Structural and
Multidisciplinary Optimization 26, 2004; price and profit in recommenders: Jannach and Adomavicius,
2017). An exposure moves its products as a boost does, by an offset that ``ExposureControl`` sets.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from math import ceil
from typing import Any, NamedTuple

import numpy as np
import orjson
import pandas as pd
from numpy.typing import NDArray

from components.data.attributes import column_of
from serving.filters.conditions import TRUE, All, Condition
from serving.filters.expression import DECLARED
from serving.recommend.business_rules import group_codes
from serving.recommend.engine import Engine, cached
from serving.recommend.steps import Step, Steps
from serving.recommend.types import RULE, RankedList, Request

BOOSTS, BITS = 16, 1024
"""Sums of boosts, and conditions, of which the products stay known."""
MOVES = ("boost", "bury", "exposure")
"""Actions that add a constant to the scores of their products."""
EXTREME = 3.0
"""Standard deviations beyond which an attribute's value counts no more: one product at a price of
thousands must not make all others equal."""


Further = Callable[[Request], list[int]]
"""Ranks products, also those that are not in a list's pool: a request → codes, best first."""


class Arranged(NamedTuple):
    """ranked: the list, then candidates. placed: places, from 1, that a rule decided. promoted:
    codes of products that rules put higher."""

    ranked: RankedList
    placed: list[int]
    promoted: frozenset[int]


@dataclass
class _Cap:
    """Counts the products of each value. groups: int (items,), -1 without a value. members: which
    products count."""

    groups: NDArray[np.int32]
    members: NDArray[np.uint8]
    most: int
    counts: Counter[int]

    def group(self, code: int) -> int:
        return int(self.groups[code]) if _has(self.members, code) else -1

    def allows(self, code: int, instead: int | None = None) -> bool:
        """Return whether the product may be added, instead of another that is in the list."""
        group = self.group(code)
        if group < 0:
            return True
        same = instead is not None and self.group(instead) == group
        return self.counts[group] - same < self.most

    def count(self, code: int, change: int = 1) -> None:
        group = self.group(code)
        if group >= 0:
            self.counts[group] += change


@dataclass
class _Share:
    """members: which products count. need, have: in the list."""

    members: NDArray[np.uint8]
    condition: Condition
    need: int
    have: int = 0


class Merchandiser:
    """Applies steps over one catalogue. Thread-safe."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._boosts: dict[tuple[Step, ...], NDArray[np.float32]] = {}
        self._bits: dict[Condition, NDArray[np.uint8]] = {}
        self._groups: dict[str, NDArray[np.int32]] = {}

    def boosted(
        self, request: Request, ranked: RankedList, scores: NDArray[Any]
    ) -> tuple[RankedList, frozenset[int]]:
        """Return the pool in the order of the scores with boosts and objectives, and the codes of
        the products that these move up.

        scores: float (n,), comparable. A boost is in standard deviations of the pool's scores.
        """
        codes = np.array(ranked.items, dtype=np.int64)
        added = self._added(request.steps, codes)
        if added is None or not ranked.items:
            return replace(ranked, scores=scores.tolist()), frozenset()
        scores = scores + added * (scores.std() or 1.0)
        order = np.argsort(-scores, kind="stable")
        moved = replace(ranked.take(order.tolist()), scores=scores[order].tolist())
        return moved, frozenset(codes[added > 0].tolist())

    def _added(self, steps: Steps, codes: NDArray[np.int64]) -> NDArray[np.float64] | None:
        """Return float64 (n,): by how many standard deviations each product of a pool moves, None
        without anything that moves one."""
        boosts = self._sum(steps)
        objectives = [one for one in steps.all if one.action == "objective"]
        if boosts is None and not objectives:
            return None
        added = np.zeros(len(codes)) if boosts is None else boosts[codes].astype(np.float64)
        for step in objectives:
            values = self._engine.masks.numbers(step.by)[codes]
            counts = np.isfinite(values)
            if step.condition != TRUE:
                counts &= _have(self._members(step.condition), codes)
            added[counts] += step.amount * standard_scores(values[counts])
        return added

    def _sum(self, applied: Steps) -> NDArray[np.float32] | None:
        """Return float32 (items,): the sum of the boosts of each product, None without any."""
        steps = tuple(one for one in applied.all if one.action in MOVES and one.amount)
        if not steps:
            return None

        def make(steps: tuple[Step, ...]) -> NDArray[np.float32]:
            found = np.zeros(self._engine.n_items, dtype=np.float32)
            for step in steps:
                found[self._engine.masks.of(step.condition)] += step.amount
            return found

        return cached(self._boosts, steps, make, BOOSTS)

    def arrange(
        self,
        request: Request,
        ranked: RankedList,
        fixed: int,
        n: int,
        promoted: frozenset[int] = frozenset(),
        more: Further | None = None,
    ) -> Arranged:
        """Return ``n`` products of the pool, or further ones where pins and shares need them.

        fixed: places of the list that stay; those after it are candidates for exploration.
        promoted: what ``boosted`` moved up. more: ranks products that are not in the pool; None:
        the list has no others, not even by a pin.
        """
        steps = request.steps.all
        pins = self._pins(request, fixed, None if more is not None else {*ranked.items})
        pinned = set(pins.values())
        caps = [self._cap(one) for one in steps if one.action == "cap"]
        for code in pinned:
            for cap in caps:
                cap.count(code)
        left = [code for code in ranked.items if code not in pinned]
        chosen = _within(left, fixed - len(pins), caps)
        shares = [
            _Share(self._members(one.condition), one.condition, ceil(one.amount * fixed - 1e-9))
            for one in steps
            if one.action == "share"
        ]
        added: dict[int, float] = {}
        for at, share in enumerate(shares):
            for one in shares[: at + 1]:
                one.have = sum(_has(one.members, code) for code in (*pinned, *chosen))
            if share.have < share.need:
                places = fixed - len(pins)
                self._fill(request, shares[: at + 1], caps, left, chosen, added, places, more)
        rank = {code: at for at, code in enumerate(ranked.items)}
        chosen.sort(key=lambda code: rank.get(code, len(rank)))
        shown = _with_pins(chosen, pins)
        taken = {*shown}
        rest = _within([code for code in left if code not in taken], n - len(shown), caps)
        by_rule = {*pinned, *added}
        placed = [at for at, code in enumerate(shown, 1) if code in by_rule]
        scores = dict(zip(ranked.items, ranked.scores, strict=True))
        lowest = min(ranked.scores, default=0.0)
        sources = dict(zip(ranked.items, ranked.sources, strict=True))
        codes = [*shown, *rest]
        made = RankedList(
            codes,
            [scores.get(code, lowest) for code in codes],
            [RULE if code in by_rule else sources[code] for code in codes],
            evidence=ranked.evidence,
        )
        return Arranged(made, placed, promoted | by_rule)

    def _pins(self, request: Request, fixed: int, among: set[int] | None) -> dict[int, int]:
        """Return place, from 0, → code of the products that are pinned and may be shown. among: the
        only products of the list; None: no limit."""
        mask = self._engine.mask(request.filters)
        history = request.history
        seen = history.excluded if request.exclude_seen else history.disliked
        blocked = {*request.exclude, *np.asarray(seen).tolist()}
        pins: dict[int, int] = {}
        for step in request.steps.all:
            if step.action != "pin":
                continue
            members, place = self._members(step.condition), int(step.amount) - 1
            if place >= fixed:
                if fixed == request.k:
                    continue  # the list is shorter
                place = fixed - 1  # the places after it are drawn
                while place in pins:
                    place -= 1
            for code in self._engine.items.get_indexer(list(step.items)).tolist():
                if code < 0 or not mask[code] or code in blocked or not _has(members, code):
                    continue
                if code in pins.values() or (among is not None and code not in among):
                    continue
                while place in pins:
                    place += 1
                if not 0 <= place < fixed:
                    break
                pins[place] = code
        return pins

    def _fill(
        self,
        request: Request,
        shares: Sequence[_Share],
        caps: Sequence[_Cap],
        left: Sequence[int],
        chosen: list[int],
        added: dict[int, float],
        places: int,
        more: Further | None,
    ) -> None:
        """Put products of the last of ``shares`` into ``chosen`` until it is met or none is left.

        They replace the lowest products that no share before needs; caps hold.
        """
        *earlier, share = shares
        candidates = [code for code in left if _has(share.members, code)]
        if more is not None and len(set(candidates) - set(chosen)) < share.need - share.have:
            where = All((request.filters.where, share.condition))
            filters = replace(request.filters, where=where)
            candidates += more(replace(request, k=places + share.need, filters=filters))
        for code in dict.fromkeys(candidates):
            if share.have >= share.need:
                return
            if code in chosen or (code not in left and code in request.exclude):
                continue
            victim = None
            if len(chosen) >= places:
                victim = self._victim(code, share, earlier, caps, chosen)
                if victim is None:
                    continue
            elif not all(cap.allows(code) for cap in caps):
                continue
            if victim is not None:
                chosen.remove(victim)
                added.pop(victim, None)
                for cap in caps:
                    cap.count(victim, -1)
                for one in earlier:
                    one.have -= _has(one.members, victim)
            chosen.append(code)
            added[code] = 0.0
            for cap in caps:
                cap.count(code)
            for one in shares:
                one.have += _has(one.members, code)

    @staticmethod
    def _victim(
        code: int,
        share: _Share,
        earlier: Sequence[_Share],
        caps: Sequence[_Cap],
        chosen: Sequence[int],
    ) -> int | None:
        """Return the lowest product that ``code`` may replace, None without one."""
        for one in reversed(chosen):
            needed = any(
                _has(other.members, one)
                and not _has(other.members, code)
                and other.have <= other.need
                for other in earlier
            )
            if needed or _has(share.members, one):
                continue
            if all(cap.allows(code, instead=one) for cap in caps):
                return one
        return None

    def _cap(self, step: Step) -> _Cap:
        groups = cached(self._groups, step.by, self._groups_of, BOOSTS)
        return _Cap(groups, self._members(step.condition), int(step.amount), Counter())

    def _groups_of(self, attribute: str) -> NDArray[np.int32]:
        values = values_of(self._engine, attribute)
        if values is None:
            return np.full(self._engine.n_items, -1, dtype=np.int32)
        return group_codes(values)

    def _members(self, condition: Condition) -> NDArray[np.uint8]:
        """Return the products that meet a condition, a bit each."""

        def make(condition: Condition) -> NDArray[np.uint8]:
            return np.packbits(self._engine.masks.of(condition))

        return cached(self._bits, condition, make, BITS)


def values_of(engine: Engine, attribute: str) -> pd.Series | None:
    """Return each product's value of an attribute that a cap may be by, None where it was declared
    since the training."""
    column = "main_category" if attribute == "category" else attribute
    if attribute.startswith(DECLARED):
        column = column_of(attribute.removeprefix(DECLARED), "category")
    table = engine.model.catalogue.table
    return table.get(column)


def standard_scores(values: NDArray[Any]) -> NDArray[np.float64]:
    """Return float64 (n,): deviations from the mean in standard deviations, at most EXTREME.

    >>> standard_scores(np.array([1.0, 2.0, 3.0])).round(2).tolist()
    [-1.22, 0.0, 1.22]
    """
    spread = float(values.std()) if len(values) else 0.0
    if spread == 0:
        return np.zeros(len(values))
    return np.clip((values - values.mean()) / spread, -EXTREME, EXTREME).astype(np.float64)


def logged_rules(steps: Steps, placed: Sequence[int]) -> str | None:
    """Return what an impression says of the rules that applied, None without any.

    placed: places, from 1, that a rule decided.
    """
    if not steps.all:
        return None
    revisions = list(dict.fromkeys(one.revision for one in steps.all))
    return orjson.dumps({"rules": revisions, "placed": list(placed)}).decode()


def _has(bits: NDArray[np.uint8], code: int) -> bool:
    return bool(bits[code >> 3] >> (7 - (code & 7)) & 1)


def _have(bits: NDArray[np.uint8], codes: NDArray[np.int64]) -> NDArray[np.bool_]:
    return (bits[codes >> 3] >> (7 - (codes & 7)) & 1).astype(bool)


def _within(codes: Iterable[int], most: int, caps: Sequence[_Cap]) -> list[int]:
    """Return the first codes that the caps allow, and count them there."""
    found: list[int] = []
    for code in codes:
        if len(found) >= most:
            break
        if all(cap.allows(code) for cap in caps):
            found.append(code)
            for cap in caps:
                cap.count(code)
    return found


def _with_pins(chosen: Sequence[int], pins: dict[int, int]) -> list[int]:
    """Return the codes with the pins at their places, or at the end of a shorter list."""
    found = [*chosen]
    for place in sorted(pins):
        found.insert(place, pins[place])
    return found
