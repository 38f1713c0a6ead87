"""The rules in force, and those that apply to one request.

In: the rules of the event store, read again within a second of a change. Out: the ``Steps`` for a
surface and a shopper, in the order that conflicts are resolved by: the higher priority, then the
newer rule.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

from pydantic import ValidationError

from serving.events.database import Database
from serving.events.errors import StoreError
from serving.events.rules_table import StoredRule, read_rules, rules_marker
from serving.filters.conditions import All, AnyOf, Condition, Not
from serving.filters.expression import Schema, compiled
from serving.health import Health
from serving.merchandising.rules import Rule, steps_of
from serving.recommend.steps import NO_STEPS, Steps

logger = logging.getLogger("bentoml.bowerbird")

Offsets = tuple[tuple[str, float], ...]
"""By how much the groups of an exposure rule move, in standard deviations of the scores."""
OffsetsOf = Callable[[int], Offsets]
"""Revision of an exposure rule → its offsets now."""
KEPT = 256
"""Combinations of rules, by surface and segments, that stay made."""


@dataclass(frozen=True)
class Numbered:
    """A rule with the revision of its newest change, a draft's is 0."""

    rule_id: str
    revision: int
    rule: Rule


class Rulebook:
    """Rules that were checked against the declared attributes, immutable."""

    def __init__(
        self, rules: Sequence[Numbered], schema: Schema, offsets: OffsetsOf = lambda revision: ()
    ) -> None:
        """offsets: of the groups of exposure rules, as they are at each request."""
        self.rules = tuple(sorted(rules, key=lambda one: (-one.rule.priority, -one.revision)))
        self._schema = schema
        self._offsets = offsets
        self._made: dict[tuple[tuple[tuple[int, Offsets], ...], date], Steps] = {}

    def steps(
        self,
        surface: str,
        values: Callable[[], Mapping[str, Any]],
        now: datetime | None = None,
    ) -> Steps:
        """Return what is done on a surface for one shopper.

        values: returns the shopper's attributes; called only where a rule has a segment.
        """
        if not self.rules:
            return NO_STEPS
        now = now or datetime.now(UTC)
        of_shopper: Mapping[str, Any] | None = None
        applied = []
        for at, rule in enumerate(one.rule for one in self.rules):
            if not rule.is_on(surface, now):
                continue
            if rule.segment is not None:
                of_shopper = values() if of_shopper is None else of_shopper
                segment = compiled(rule.segment, self._schema).bound(of_shopper, now.date())
                if not _is_true(segment):
                    continue
            applied.append((at, self._offsets_of(at)))
        if not applied:
            return NO_STEPS
        key = tuple(applied), now.date()
        found = self._made.get(key)
        if found is None:
            if len(self._made) >= KEPT:
                self._made.pop(next(iter(self._made)), None)
            found = self._made[key] = Steps.of(
                step
                for at, offsets in applied
                for step in steps_of(
                    *(self.rules[at].rule, self.rules[at].revision, self._schema, now.date()),
                    offsets,
                )
            )
        return found

    def _offsets_of(self, at: int) -> Offsets:
        one = self.rules[at]
        return self._offsets(one.revision) if one.rule.action == "exposure" else ()

    def changed(self, drafts: Mapping[str, Rule | None]) -> Rulebook:
        """Return the book with other rules by their ids; None: without that rule."""
        stay = [one for one in self.rules if one.rule_id not in drafts]
        new = [Numbered(name, 0, rule) for name, rule in drafts.items() if rule is not None]
        return Rulebook([*stay, *new], self._schema, self._offsets)


def _is_true(condition: Condition) -> bool:
    """Return the truth of a condition without a leaf: one on a shopper alone."""
    if isinstance(condition, All):
        return all(map(_is_true, condition.conditions))
    if isinstance(condition, AnyOf):
        return any(map(_is_true, condition.conditions))
    assert isinstance(condition, Not)
    return not _is_true(condition.condition)


class RulebookReader:
    """Keeps the newest rules of the event store."""

    def __init__(
        self,
        database: Database,
        schema: Schema,
        health: Health,
        offsets: OffsetsOf = lambda revision: (),
    ) -> None:
        """offsets: as of ``Rulebook``."""
        self.schema = schema
        self.book = Rulebook([], schema)
        self._offsets = offsets
        self._database = database
        self._health = health
        self._marker: tuple[int, int] | None = None

    def refresh(self) -> None:
        """Read the rules if any was changed; while the store is away, those read before stay."""
        try:
            marker = rules_marker(self._database)
            if marker == self._marker:
                return
            stored = read_rules(self._database)
        except StoreError:
            return
        found, refused = [], []
        for one in stored:
            rule, problem = parsed(one, self.schema)
            if rule is None:
                refused.append(f"{one.rule_id}: {problem}")
            else:
                found.append(Numbered(one.rule_id, one.revision, rule))
        for text in refused:
            logger.error("the merchandising rule %s does not apply", text)
        self._health.report(
            "merchandising rules",
            f"{len(refused)} do not apply, see the log" if refused else None,
        )
        self.book, self._marker = Rulebook(found, self.schema, self._offsets), marker


def parsed(stored: StoredRule, schema: Schema) -> tuple[Rule | None, str]:
    """Return a stored rule, None where it no longer fits the declared attributes, and why."""
    try:
        rule = Rule.model_validate_json(stored.content or "")
        rule.check(schema)
    except ValidationError as error:
        return None, str(error.errors()[0]["msg"])
    except ValueError as error:
        return None, str(error.args[0])
    return rule, ""
