"""Conditions on products: what a filter is once the shopper and the day are known.

Hashable, so that masks are cached by them, and pickled to the ranking process.
``serving.recommend.masks`` evaluates them. A comparison with a value that is not known is false.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

Bound = float | datetime


@dataclass(frozen=True, slots=True)
class Has:
    """The product has one of the values. values: casefolded."""

    attribute: str
    values: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Within:
    """A number or date lies within the bounds, both included. None: no bound."""

    attribute: str
    low: Bound | None
    high: Bound | None


@dataclass(frozen=True, slots=True)
class Below:
    """One number or date of the product is below another of it, or, not ``strict``, equal to it."""

    attribute: str
    other: str
    strict: bool


@dataclass(frozen=True, slots=True)
class Known:
    """The product has a value."""

    attribute: str


@dataclass(frozen=True, slots=True)
class Flag:
    """A property that is true or false, such as ``available``, is true."""

    attribute: str


@dataclass(frozen=True, slots=True)
class Not:
    """The condition is not met."""

    condition: Condition


@dataclass(frozen=True, slots=True)
class All:
    """All conditions are met; none: true."""

    conditions: tuple[Condition, ...]


@dataclass(frozen=True, slots=True)
class AnyOf:
    """One of the conditions is met; none: false."""

    conditions: tuple[Condition, ...]


Leaf = Has | Within | Below | Known | Flag
Condition = Leaf | Not | All | AnyOf
TRUE, FALSE = All(()), AnyOf(())


def both(one: Condition, other: Condition) -> Condition:
    """Return the condition that both are met.

    >>> both(TRUE, Flag("new"))
    Flag(attribute='new')
    """
    if one == TRUE or other == TRUE:
        return other if one == TRUE else one
    return All((one, other))


def conjuncts(condition: Condition) -> tuple[Condition, ...]:
    """Return the conditions that must all be met.

    >>> conjuncts(All((Flag("new"), All((Known("brand"),)))))
    (Flag(attribute='new'), Known(attribute='brand'))
    """
    if not isinstance(condition, All):
        return (condition,)
    return tuple(one for part in condition.conditions for one in conjuncts(part))


def attributes_in(condition: Condition) -> frozenset[str]:
    """Return the names of the attributes that a condition reads."""
    if isinstance(condition, Not):
        return attributes_in(condition.condition)
    if isinstance(condition, All | AnyOf):
        return frozenset().union(*map(attributes_in, condition.conditions))
    if isinstance(condition, Below):
        return frozenset((condition.attribute, condition.other))
    return frozenset((condition.attribute,))
