"""Merchandising rules over a ranked list: what the ranking process does with them.

In: the ``Steps`` of a request and its ranked pool. Out: the list with boosts, caps, shares and
pins, and which places a rule decided. Products that rules exclude are no part of the pool: they
are in the request's filters. Of two rules in conflict the earlier step wins; the kinds give way in
this order: filters and exclusions, pins, caps, shares, boosts.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from math import ceil
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from components.data.attributes import column_of
from serving.filters.conditions import All, Condition
from serving.filters.expression import DECLARED
from serving.recommend.business_rules import group_codes
from serving.recommend.engine import Engine, cached
from serving.recommend.steps import Step
from serving.recommend.types import RULE, RankedList, Request

BOOSTS, BITS = 16, 1024
"""Sums of boosts, and conditions, of which the products stay known."""


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

    groups: NDArray[np.int64]
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
        self._groups: dict[str, NDArray[np.int64]] = {}

    def boosted(self, request: Request, ranked: RankedList, scores: NDArray[Any]) -> RankedList:
        """Return the pool in the order of the scores with boosts.

        scores: float (n,), comparable. A boost is in standard deviations of the pool's scores.
        """
        boosts = self._sum(request)
        if boosts is None or not ranked.items:
            return replace(ranked, scores=scores.tolist())
        codes = np.array(ranked.items, dtype=np.int64)
        scores = scores + boosts[codes] * (scores.std() or 1.0)
        order = np.argsort(-scores, kind="stable")
        return replace(ranked.take(order.tolist()), scores=scores[order].tolist())

    def _sum(self, request: Request) -> NDArray[np.float32] | None:
        """Return float32 (items,): the sum of the boosts of each product, None without any."""
        steps = tuple(one for one in request.steps.all if one.action in ("boost", "bury"))
        if not steps:
            return None

        def make(steps: tuple[Step, ...]) -> NDArray[np.float32]:
            found = np.zeros(self._engine.n_items, dtype=np.float32)
            for step in steps:
                found[self._engine.masks.of(step.condition)] += step.amount
            return found

        return cached(self._boosts, steps, make, BOOSTS)

    def arrange(self, request: Request, ranked: RankedList, fixed: int, n: int) -> Arranged:
        """Return ``n`` products of the pool, or further ones where pins and shares need them.

        fixed: places of the list that stay; those after it are candidates for exploration.
        """
        steps = request.steps.all
        pins = self._pins(request, fixed)
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
                self._fill(request, shares[: at + 1], caps, left, chosen, added, fixed - len(pins))
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
        )
        boosts = self._sum(request)
        up = () if boosts is None else (code for code in codes if boosts[code] > 0)
        return Arranged(made, placed, frozenset((*by_rule, *up)))

    def _pins(self, request: Request, fixed: int) -> dict[int, int]:
        """Return place, from 0, → code of the products that are pinned and may be shown."""
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
                if code in pins.values():
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
    ) -> None:
        """Put products of the last of ``shares`` into ``chosen`` until it is met or none is left.

        They replace the lowest products that no share before needs; caps hold.
        """
        *earlier, share = shares
        candidates = [code for code in left if _has(share.members, code)]
        if len(set(candidates) - set(chosen)) < share.need - share.have:
            where = All((request.filters.where, share.condition))
            filters = replace(request.filters, where=where)
            wider = replace(request, k=places + share.need, filters=filters)
            candidates += self._engine.recommend([wider])[0].items
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

    def _groups_of(self, attribute: str) -> NDArray[np.int64]:
        column = "main_category" if attribute == "category" else attribute
        if attribute.startswith(DECLARED):
            column = column_of(attribute.removeprefix(DECLARED), "category")
        table = self._engine.model.catalogue.table
        if column not in table:  # declared since the training
            return np.full(len(table), -1, dtype=np.int64)
        return group_codes(table[column])

    def _members(self, condition: Condition) -> NDArray[np.uint8]:
        """Return the products that meet a condition, a bit each."""

        def make(condition: Condition) -> NDArray[np.uint8]:
            return np.packbits(self._engine.masks.of(condition))

        return cached(self._bits, condition, make, BITS)


def _has(bits: NDArray[np.uint8], code: int) -> bool:
    return bool(bits[code >> 3] >> (7 - (code & 7)) & 1)


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
