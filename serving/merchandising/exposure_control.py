"""Shares of exposure kept within bounds over all lists: the controller of exposure rules.

In: the impressions in the event store. Out: by how much the products of each group move now, in
standard deviations of the scores, for the rules of ``Rulebook``.

Exposure: a place p has 1 / log2(1 + p) (Singh and Joachims, KDD 2018), and the places of a list sum
to 1, so that a group's share is the mean over lists.

The controller is that of Morik, Singh, Hong and Joachims (Controlling fairness and bias in dynamic
learning-to-rank, SIGIR 2020): the offset of a group is proportional to the exposure that it lacks
so far, summed over the lists, so that the mean share reaches the bound. Here the sum is never below
0, as a virtual queue (Neely, Stochastic network optimization, 2010): a surplus of earlier weeks
does not allow a later lack. It is also limited, so that a bound that cannot be met does not wind it
up.

Every worker and replica computes this from the same impressions, those whose ``rules`` name the
rule's revision, so nothing else has to be shared. Changing a rule starts the counting again.
"""

from __future__ import annotations

import heapq
import time
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import numpy as np
import orjson
import sqlalchemy as sa
from numpy.typing import NDArray

from serving.events.database import Database
from serving.events.tables import DAY, IMPRESSIONS, SECOND
from serving.filters.expression import Schema
from serving.merchandising.rulebook import Numbered, Offsets
from serving.merchandising.rules import Rule, attribute_of
from serving.recommend.engine import Engine
from serving.recommend.merchandising import values_of
from serving.recommend.types import Mask

MOST_READ = 20_000
"""Impressions that are read at once, and at most from before the start: newer ones say more."""
STRONGEST = 5.0
"""Standard deviations that a group moves at most."""
STEP = 0.25
"""Offsets are multiples of it, so that lists stay cached between two of them."""
SLACK = 0.05
"""The controller aims this share of a bound within it: the mean does not end just outside."""
DELAY = 50
"""Lists that are shown, at least, before an offset shows its effect. The gain is 1 / DELAY: with a
delay of d lists and a share that rises by s for each standard deviation, the loop is stable if
s · d / DELAY < π / 2, and s is below 0.5."""
TOGETHER = 50
"""Lists whose exposure is added to a virtual queue at once."""
LOOP_SECONDS = 20
"""Seconds of lists that count as the delay where traffic is dense: writing, reading and caching."""
NEWEST = 1_000
"""Lists that the share of the newest lists is of."""
LARGEST = 20
"""Groups of a rule whose shares are reported: those with the most exposure."""


@dataclass(frozen=True)
class ExposureShare:
    """A group's share. group: "" for the products of ``items`` and ``where``, else a value of
    ``by``. share: over ``lists``, all since the newest version of the rule, or the newest of them.
    recent: over the newest NEWEST lists. offset: standard deviations that it moves now."""

    revision: int
    group: str
    lists: int
    share: float
    recent: float
    offset: float


@dataclass
class _Group:
    """exposure: summed over the lists. lack, excess: the virtual queues, in lists."""

    exposure: float = 0.0
    lack: float = 0.0
    excess: float = 0.0
    name: str = ""


@dataclass
class _Controlled:
    """A rule's state. outside: the groups whose virtual queues are not empty. newest: number of
    lists and their exposures, of the newest lists. moments: microseconds since 1970 of each list of
    the last LOOP_SECONDS before the newest one."""

    lists: int = 0
    groups: dict[str, _Group] = field(default_factory=dict)
    outside: set[str] = field(default_factory=set)
    newest: deque[tuple[int, dict[str, float]]] = field(default_factory=deque)
    moments: deque[int] = field(default_factory=deque)


class ExposureControl:
    """The shares of exposure of one worker. ``step`` is called by one thread; others may read.

    delay, loop_seconds: as DELAY and LOOP_SECONDS.
    """

    def __init__(
        self,
        database: Database,
        schema: Schema,
        delay: int = DELAY,
        loop_seconds: float = LOOP_SECONDS,
    ) -> None:
        self._database = database
        self._schema = schema
        self._delay = delay
        self._loop = loop_seconds * SECOND
        self._last_row: int | None = None
        self._rules: dict[int, _Controlled] = {}
        self._offsets: dict[int, Offsets] = {}
        self._shares: dict[int, list[ExposureShare]] = {}

    def offsets(self, revision: int) -> Offsets:
        """Return the groups of a rule that move now, and by how much."""
        return self._offsets.get(revision, ())

    def shares(self) -> list[ExposureShare]:
        """Return the measured shares: of each rule the LARGEST groups, the largest first."""
        return [one for of_rule in self._shares.values() for one in of_rule]

    def step(self, rules: Sequence[Numbered], engine: Engine) -> None:
        """Read the impressions since the last call, and set the offsets.

        Raises:
            StoreError: the database failed; offsets stay as they were.
        """
        rules = [one for one in rules if one.rule.action == "exposure" and one.revision]
        if not rules:
            self._last_row, self._rules, self._offsets, self._shares = None, {}, {}, {}
            return
        known = {one.revision for one in rules}
        if known - self._rules.keys():
            # The impressions of a rule that is new here: it may be old elsewhere.
            self._last_row, self._rules = None, {}
        while len(rows := self._read()) == MOST_READ:
            self.count(rows, rules, engine)
        self.count(rows, rules, engine)

    def _read(self) -> list[Mapping[str, Any]]:
        table = IMPRESSIONS.c
        with self._database.connected() as connection:
            if self._last_row is None:
                newest = connection.scalar(sa.select(sa.func.max(table.row_id))) or 0
                before = sa.select(sa.func.max(table.row_id)).where(
                    table.timestamp < time.time_ns() // 1000 - DAY
                )
                self._last_row = max(newest - MOST_READ, connection.scalar(before) or 0, 0)
            wanted = (
                sa.select(table.row_id, table.item_ids, table.rules, table.timestamp)
                .where(table.row_id > self._last_row)
                .order_by(table.row_id)
                .limit(MOST_READ)
            )
            rows = list(connection.execute(wanted).mappings())
        if rows:
            self._last_row = rows[-1]["row_id"]
        return [dict(row) for row in rows]

    def count(
        self, lists: Iterable[Mapping[str, Any]], rules: Sequence[Numbered], engine: Engine
    ) -> None:
        """Count lists, and set the offsets. lists: item_ids, rules and timestamp as impressions."""
        given = [(one, _revisions(one["rules"])) for one in lists]
        made, offsets, shares = dict(self._rules), dict(self._offsets), dict(self._shares)
        today = datetime.now(UTC).date()
        for numbered in rules:
            rule, revision = numbered.rule, numbered.revision
            if rule.action != "exposure":
                continue
            is_new = revision not in made  # also after another new rule had all counted again
            state = made.setdefault(revision, _Controlled())
            of_rule = [one for one, revisions in given if revision in revisions]
            if of_rule:
                counts = engine.masks.of(rule.condition(self._schema, today))
                for start in range(0, len(of_rule), TOGETHER):
                    self._add(state, rule, of_rule[start : start + TOGETHER], counts, engine)
            if of_rule or is_new:
                offsets[revision] = self._offsets_of(state)
                shares[revision] = _shares_of(revision, state, dict(offsets[revision]))
        current = {one.revision for one in rules}
        # Other threads read what these names hold; nothing of it changes afterwards.
        self._rules = {revision: made[revision] for revision in made if revision in current}
        self._offsets = {revision: offsets[revision] for revision in offsets if revision in current}
        self._shares = {revision: shares[revision] for revision in shares if revision in current}

    def _add(
        self,
        state: _Controlled,
        rule: Rule,
        lists: Sequence[Mapping[str, Any]],
        counts: Mask,
        engine: Engine,
    ) -> None:
        """Add lists to a rule's state. counts: bool (items,), the products that it is about."""
        shown = [orjson.loads(one["item_ids"]) for one in lists]
        codes = engine.items.get_indexer([item for items in shown for item in items])
        weights = np.concatenate([place_weights(len(items)) for items in shown])
        n, shown_counts = len(lists), counts[codes] & (codes >= 0)
        exposures, names = {"": float(weights[shown_counts].sum())}, {"": ""}
        if rule.by is not None:
            exposures = {}
            column = values_of(engine, attribute_of(rule))
            values = [] if column is None else column.iloc[codes[shown_counts]].tolist()
            for value, weight in zip(values, weights[shown_counts].tolist(), strict=False):
                if isinstance(value, str) and value:
                    key = value.casefold()
                    names[key] = value
                    exposures[key] = exposures.get(key, 0.0) + weight
        state.lists += n
        state.newest.append((n, exposures))
        while len(state.newest) > 1 and sum(one for one, _ in state.newest) - n >= NEWEST:
            state.newest.popleft()
        state.moments.extend(one["timestamp"] for one in lists)
        while state.moments[0] < state.moments[-1] - self._loop:
            state.moments.popleft()
        low, high = aims(rule.at_least, rule.at_most)
        limit = STRONGEST / self._gain(state)
        # The queues of all other groups are empty, and stay so without exposure.
        for key in {*exposures, *state.outside}:
            group = state.groups.setdefault(key, _Group(name=names.get(key, "")))
            earned = exposures.get(key, 0.0)
            group.exposure += earned
            if low is not None:
                group.lack = min(max(group.lack + low * n - earned, 0.0), limit)
            if high is not None:
                group.excess = min(max(group.excess + earned - high * n, 0.0), limit)
            (state.outside.add if group.lack or group.excess else state.outside.discard)(key)

    def _gain(self, state: _Controlled) -> float:
        """Return the standard deviations for each list's exposure that a group lacks."""
        return 1 / max(self._delay, len(state.moments))

    def _offsets_of(self, state: _Controlled) -> Offsets:
        gain = self._gain(state)
        outside = ((key, state.groups[key]) for key in sorted(state.outside))
        found = (
            (key, round(gain * (group.lack - group.excess) / STEP) * STEP) for key, group in outside
        )
        return tuple((key, offset) for key, offset in found if offset)


def _shares_of(
    revision: int, state: _Controlled, offsets: Mapping[str, float]
) -> list[ExposureShare]:
    n_newest = sum(n for n, _ in state.newest)
    largest = heapq.nlargest(LARGEST, state.groups.items(), key=lambda one: one[1].exposure)
    return [
        ExposureShare(
            revision,
            group.name,
            state.lists,
            group.exposure / state.lists if state.lists else 0.0,
            sum(exposures.get(key, 0.0) for _, exposures in state.newest) / max(n_newest, 1),
            offsets.get(key, 0.0),
        )
        for key, group in largest
    ]


def aims(low: float | None, high: float | None) -> tuple[float | None, float | None]:
    """Return the bounds that the controller aims at, SLACK within those of the rule.

    >>> aims(0.5, None), aims(None, 0.5), aims(0.48, 0.5)
    ((0.525, None), (None, 0.475), (0.49, 0.49))
    """
    at_least = None if low is None else min(low * (1 + SLACK), 1.0)
    at_most = None if high is None else high * (1 - SLACK)
    if low is not None and high is not None and at_least > at_most:  # type: ignore[operator]
        at_least = at_most = (low + high) / 2
    return at_least, at_most


def place_weights(n: int) -> NDArray[np.float64]:
    """Return float64 (n,): the exposure of each place of a list, which sum to 1."""
    found = 1 / np.log2(np.arange(2, n + 2))
    return found / found.sum() if n else found


def _revisions(rules: str | None) -> list[int]:
    found: list[int] = [] if rules is None else orjson.loads(rules)["rules"]
    return found
