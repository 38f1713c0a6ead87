"""Filter expressions, checked against the attributes that exist, and bound to one shopper.

In: an expression's text. Out: a ``Filter``; ``bound`` makes the ``Condition`` on products of it, in
which the shopper's attributes and the days are values.

Every comparison has one of four kinds: texts, numbers, dates, or true and false. A comparison with
a value that is not known is false, and ``not`` makes it true: ``brand != "Acme"`` and
``not brand = "Acme"`` are the same, and products without a brand meet both.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from typing import Any, Literal

import numpy as np

from components.data.attributes import types
from components.settings import AttributeType, Settings
from serving.filters.conditions import (
    FALSE,
    TRUE,
    All,
    AnyOf,
    Below,
    Bound,
    Condition,
    Flag,
    Has,
    Known,
    Not,
    Within,
)
from serving.filters.syntax import (
    Comparison,
    DaysAgo,
    FilterError,
    Group,
    IsKnown,
    IsTrue,
    Name,
    Negation,
    Node,
    Operand,
    Values,
    parse,
)

Kind = Literal["texts", "number", "date", "flag"]
KINDS: dict[AttributeType, Kind] = {
    "category": "texts",
    "set": "texts",
    "number": "number",
    "date": "date",
}
BUILT_IN: dict[str, Kind] = {
    "available": "flag",
    "brand": "texts",
    "category": "texts",
    "currency": "texts",
    "item_id": "texts",
    "new": "flag",
    "price": "number",
}
"""Attributes that every product has. ``category``: of any level; ``new``: not sold before the
training."""
FLIPPED = {"<": ">", "<=": ">=", ">": "<", ">=": "<=", "=": "=", "!=": "!=", "in": "in"}
_SAID = {"texts": "a text", "number": "a number", "date": "a date", "flag": "true or false"}
_NEEDED = {
    "texts": "a text in quotes",
    "number": "a number",
    "date": 'a date of ISO 8601 in quotes, such as "2026-05-31", or days_ago(number)',
    "flag": "true or false",
}
DECLARED = "attributes."
"""Before the name of a declared attribute in a ``Condition``, since it may be ``price``."""


@dataclass(frozen=True)
class Schema:
    """The attributes that a filter may name: type by name.

    items, users: as ``ingest.items`` and ``ingest.users`` declare them. Hashable.
    """

    items: tuple[tuple[str, AttributeType], ...] = ()
    users: tuple[tuple[str, AttributeType], ...] = ()

    @classmethod
    def of(cls, items: Mapping[str, AttributeType], users: Mapping[str, AttributeType]) -> Schema:
        return cls(tuple(items.items()), tuple(users.items()))

    def kind(self, name: Name) -> Kind:
        """Return the kind of an attribute's values.

        Raises:
            FilterError: there is no such attribute, or it is a text, which no filter reads.
        """
        declared = dict(self.users if name.scope == "user" else self.items)
        if name.scope == "item" and name.name in BUILT_IN:
            return BUILT_IN[name.name]
        kind = declared.get(name.name)
        if kind is None:
            raise FilterError(
                f"there is no attribute {_shown(name)}; there are {self.known(name.scope)}",
                name.position,
            )
        if kind not in KINDS:
            raise FilterError(
                f"{_shown(name)} is of the type text, which no filter reads; there are "
                f"{self.known(name.scope)}",
                name.position,
            )
        return KINDS[kind]

    def known(self, scope: str) -> str:
        """Return the attributes that exist, as a filter writes them, for messages."""
        if scope == "user":
            names = [f"user.{name}" for name, kind in self.users if kind in KINDS]
            return ", ".join(names) or "none of the shopper: ingest.users declares none"
        own = [name for name, kind in self.items if kind in KINDS]
        if scope == "attributes":
            return ", ".join(f"attributes.{name}" for name in own) or "none declared"
        return ", ".join([*BUILT_IN, *(name for name in own if name not in BUILT_IN)])


def schema_of(settings: Settings) -> Schema:
    """Return the attributes that a shop declares."""
    return Schema.of(types(settings.ingest.items), types(settings.ingest.users))


@dataclass(frozen=True)
class Filter:
    """An expression that was checked against a schema.

    users: names of the shopper's attributes that it reads. dated: it counts days, so its condition
    depends on the date. items: whether it reads an attribute of products.
    """

    text: str
    node: Node
    schema: Schema
    users: tuple[str, ...]
    dated: bool
    items: bool

    def bound(
        self,
        shopper: Mapping[str, Any] | None = None,
        today: date | None = None,
        item_id: Callable[[str], str] = str,
    ) -> Condition:
        """Return the condition on products.

        shopper: values of the shopper's attributes by name, as JSON holds them; those that are
        absent, None or of another type are not known. today: UTC; None: the clock's. item_id:
        spells an item id as the catalogue does.
        """
        today = today or datetime.now(UTC).date()
        return _Binding(self.schema, shopper or {}, today, item_id).of(self.node)


@lru_cache(1024)
def compiled(text: str, schema: Schema) -> Filter:
    """Return a checked expression.

    Raises:
        FilterError: a ValueError that names the position, the attribute and what exists.

    >>> schema = Schema((("size", "category"),), (("sizes", "set"),))
    >>> chosen = compiled('price < 10 and size in user.sizes', schema)
    >>> chosen.bound({"sizes": ["M", "L"]}).conditions[1]
    Has(attribute='attributes.size', values=('l', 'm'))
    >>> compiled('prize < 10', schema)
    Traceback (most recent call last):
    serving.filters.syntax.FilterError: at character 1: there is no attribute prize; there are \
available, brand, category, currency, item_id, new, price, size
    """
    node = parse(text)
    names = _check(node, schema)
    users = sorted({one.name for one in names if isinstance(one, Name) and one.scope == "user"})
    items = any(isinstance(one, Name) and one.scope != "user" for one in names)
    dated = any(isinstance(one, DaysAgo) for one in names)
    return Filter(text, node, schema, tuple(users), dated, items)


def _check(node: Node, schema: Schema) -> list[Name | DaysAgo]:
    """Return the names and days of a tree, all of which fit their comparisons."""
    if isinstance(node, Group):
        return [name for one in node.nodes for name in _check(one, schema)]
    if isinstance(node, Negation):
        return _check(node.node, schema)
    if isinstance(node, IsKnown | IsTrue):
        kind = schema.kind(node.name)
        if isinstance(node, IsTrue) and kind != "flag":
            raise FilterError(
                f"{_shown(node.name)} is {_SAID[kind]}: compare it with something",
                node.name.position,
            )
        return [node.name]
    return _check_comparison(node, schema)


def _check_comparison(node: Comparison, schema: Schema) -> list[Name | DaysAgo]:
    names = [one for one in (node.left, node.right) if isinstance(one, Name)]
    others = [one for one in (node.left, node.right) if not isinstance(one, Name)]
    if not names:
        raise FilterError("compare an attribute with something", node.position)
    kind = schema.kind(names[0])
    scopes = [name.scope == "user" for name in names]
    if len(names) == 2:
        other = schema.kind(names[1])
        if other != kind:
            raise FilterError(
                f"{_shown(names[0])} is {_SAID[kind]} and {_shown(names[1])} is {_SAID[other]}",
                names[1].position,
            )
        if all(scopes) or (not any(scopes) and kind in ("texts", "flag")):
            raise FilterError(
                f"{_shown(names[0])} cannot be compared with {_shown(names[1])}, only with values"
                + ("" if all(scopes) else " and with attributes of the shopper"),
                names[1].position,
            )
    if node.operator not in ("=", "!=", "in") and kind in ("texts", "flag"):
        raise FilterError(
            f"{_shown(names[0])} is {_SAID[kind]}: compare it by =, != or in", node.position
        )
    if node.operator == "in" and kind == "flag":
        raise FilterError(f"{_shown(names[0])} is true or false: compare it by =", node.position)
    for one in others:
        _check_values(one, names[0], kind)
    return [*names, *(one for one in others if isinstance(one, DaysAgo))]


def _check_values(given: Operand, name: Name, kind: Kind) -> None:
    if isinstance(given, DaysAgo):
        if kind != "date":
            raise FilterError(f"{_shown(name)} is {_SAID[kind]}, not a date", given.position)
        return
    assert isinstance(given, Values)
    for value in given.values:
        fits = {
            "texts": isinstance(value, str),
            "number": isinstance(value, float),
            "date": isinstance(value, str) and _days(value) is not None,
            "flag": isinstance(value, bool),
        }[kind]
        if not fits:
            raise FilterError(f"{_shown(name)} needs {_NEEDED[kind]}", given.position)


def _shown(name: Name) -> str:
    return name.name if name.scope == "item" else f"{name.scope}.{name.name}"


class _Binding:
    """Makes conditions of a checked tree, for one shopper and day."""

    def __init__(
        self,
        schema: Schema,
        shopper: Mapping[str, Any],
        today: date,
        item_id: Callable[[str], str],
    ) -> None:
        self._schema = schema
        self._shopper = shopper
        self._today = today
        self._item_id = item_id

    def of(self, node: Node) -> Condition:
        if isinstance(node, Group):
            made = tuple(map(self.of, node.nodes))
            return All(made) if node.operator == "and" else AnyOf(made)
        if isinstance(node, Negation):
            return Not(self.of(node.node))
        if isinstance(node, IsTrue):
            return Flag(node.name.name)
        if isinstance(node, IsKnown):
            if node.name.scope == "user":
                return TRUE if self._values(node.name) else FALSE
            return Known(self._attribute(node.name))
        return self._comparison(node)

    def _attribute(self, name: Name) -> str:
        is_own = name.scope == "item" and name.name in BUILT_IN
        return name.name if is_own else DECLARED + name.name

    def _comparison(self, node: Comparison) -> Condition:
        left, operator, right = node.left, node.operator, node.right
        if operator == "!=":
            return Not(self._comparison(node._replace(operator="=")))
        if not isinstance(left, Name) or (left.scope == "user" and isinstance(right, Name)):
            left, operator, right = right, FLIPPED[operator], left
        assert isinstance(left, Name)
        kind = self._schema.kind(left)
        if isinstance(right, Name) and right.scope != "user":
            return self._of_two(left, operator, right)
        values = self._values(right) if isinstance(right, Name) else self._literals(right, kind)
        if left.scope == "user":
            own = self._values(left)
            met = any(_meets(kind, one, operator, other) for one in own for other in values)
            return TRUE if met else FALSE
        attribute = self._attribute(left)
        if kind == "flag":
            flag = Flag(attribute)
            return AnyOf(tuple(flag if value else Not(flag) for value in values))
        if kind == "texts":
            # Another case of an id may be another product.
            spell = self._item_id if attribute == "item_id" else str.casefold
            said = {spell(str(one)) for one in values}
            return Has(attribute, tuple(sorted(said))) if said else FALSE
        within = tuple(Within(attribute, *_bounds(operator, value)) for value in values)
        return within[0] if len(within) == 1 else AnyOf(within)

    def _of_two(self, left: Name, operator: str, right: Name) -> Condition:
        """Return the condition on two numbers or dates of a product."""
        one, other = self._attribute(left), self._attribute(right)
        if operator in (">", ">="):
            one, other = other, one
        if operator in ("=", "in"):
            return All((Below(one, other, False), Below(other, one, False)))
        return Below(one, other, operator in ("<", ">"))

    def _literals(self, given: Operand, kind: Kind) -> Sequence[Any]:
        if isinstance(given, DaysAgo):
            return [self._today - timedelta(days=given.days)]
        assert isinstance(given, Values)
        return [_days(str(value)) for value in given.values] if kind == "date" else given.values

    def _values(self, name: Name) -> Sequence[Any]:
        """Return the shopper's values, none where they are not known."""
        kind, value = self._schema.kind(name), self._shopper.get(name.name)
        if kind == "texts":
            values = value if isinstance(value, list) else [value]
            return [one for one in values if isinstance(one, str)]
        if kind == "number":
            if isinstance(value, bool) or not isinstance(value, int | float):
                return []
            return [float(value)] if math.isfinite(value) else []
        moment = _days(value) if isinstance(value, str) else None
        return [] if moment is None else [moment]


def _days(text: str) -> date | datetime | None:
    """Return the day of a text of ISO 8601, or the moment, in UTC unless it says so; None: none."""
    try:
        return date.fromisoformat(text)
    except ValueError:
        pass
    try:
        moment = datetime.fromisoformat(text)
        moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        moment.timestamp()
    except (ValueError, OverflowError):
        return None
    return moment


def _span(value: Any) -> tuple[Bound, Bound]:
    """Return the first and the last moment of a day, or a number or moment twice."""
    if isinstance(value, date) and not isinstance(value, datetime):
        return datetime.combine(value, time.min, UTC), datetime.combine(value, time.max, UTC)
    return value, value


def _bounds(operator: str, value: Any) -> tuple[Bound | None, Bound | None]:
    """Return the bounds, both included, of what is in this relation to ``value``."""
    first, last = _span(value)
    if operator == "<":
        return None, _next(first, -1)
    if operator == "<=":
        return None, last
    if operator == ">":
        return _next(last, 1), None
    if operator == ">=":
        return first, None
    return first, last


def _next(bound: Bound, sign: int) -> Bound:
    """Return the next lower (-1) or higher (1) bound: columns hold float32 and whole seconds."""
    if isinstance(bound, datetime):
        try:
            if sign < 0:
                return bound - timedelta(microseconds=1)
            return bound.replace(microsecond=0) + timedelta(seconds=1)
        except OverflowError:
            return bound
    return float(np.nextafter(np.float32(bound), np.float32(sign * np.inf)))


def _meets(kind: Kind, one: Any, operator: str, other: Any) -> bool:
    """Return whether two known values are in a relation."""
    if kind == "texts":
        return bool(str(one).casefold() == str(other).casefold())
    low, high = _bounds(operator, other)
    first, _ = _span(one)
    if isinstance(first, float):
        first = float(np.float32(first))
        low, high = _rounded(low), _rounded(high)
    return (low is None or first >= low) and (high is None or first <= high)  # type: ignore[operator]


def _rounded(bound: Bound | None) -> Bound | None:
    return float(np.float32(bound)) if isinstance(bound, float) else bound
