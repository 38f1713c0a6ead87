"""One merchandising rule: its fields, and what it means in terms of conditions on products.

In: JSON, of a request or of the event store. Out: a ``Rule``, checked against the attributes that
exist, and the ``Step`` that the ranking process applies.
"""

from __future__ import annotations

from datetime import date, datetime
from typing import Annotated, Literal, Self, get_args

from pydantic import AwareDatetime, Field, StringConstraints, model_validator

from serving.fields import Body, Id, Text
from serving.filters.conditions import TRUE, All, Condition, Has
from serving.filters.expression import BUILT_IN, DECLARED, Schema, compiled
from serving.filters.syntax import FilterError
from serving.recommend.query import FilterText
from serving.recommend.steps import Step

Action = Literal["pin", "boost", "bury", "exclude", "cap", "share"]
ACTIONS: tuple[Action, ...] = get_args(Action)
MOST_PINNED, LAST_PLACE = 20, 100
RuleId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")]
Surface = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,40}$")]
NEEDED: dict[Action, tuple[str, ...]] = {
    "pin": ("items", "position"),
    "boost": ("weight",),
    "bury": ("weight",),
    "exclude": (),
    "cap": ("by", "most"),
    "share": ("share",),
}
"""Fields that an action needs, besides ``items`` or ``where``; other actions must not have them."""


class Rule(Body):
    """A merchandising rule. All times are UTC."""

    name: Annotated[Text, StringConstraints(min_length=1, max_length=100)] = Field(
        description="for people, such as Spring sale"
    )
    action: Action = Field(
        description="pin: products at a place; boost, bury: up or down; exclude: in no list; cap: "
        "at most so many of one brand, seller, …; share: at least a share of the list"
    )
    items: list[Id] = Field(
        [], max_length=MOST_PINNED, description="product ids; of pin in the order of their places"
    )
    where: FilterText | None = Field(
        None, description="a filter on products; with items, both must hold"
    )
    position: int | None = Field(
        None, ge=1, le=LAST_PLACE, description="of pin: place of the first product, from 1"
    )
    weight: float | None = Field(
        None, gt=0, le=10, description="of boost and bury: in standard deviations of the scores"
    )
    by: Annotated[str, StringConstraints(max_length=60)] | None = Field(
        None, description="of cap: brand, category, or a declared attribute such as seller"
    )
    most: int | None = Field(None, ge=1, le=LAST_PLACE, description="of cap: products of one value")
    share: float | None = Field(None, gt=0, le=1, description="of share: at least, of the list")
    surfaces: list[Surface] = Field(
        [], max_length=20, description="where it applies, such as home and search; empty: on all"
    )
    segment: FilterText | None = Field(
        None, description="a filter on the shopper's attributes alone, such as user.age = '25-34'"
    )
    starts: AwareDatetime | None = Field(None, description="with time zone; null: at once")
    ends: AwareDatetime | None = Field(
        None, description="from then on it no longer applies; null: never"
    )
    priority: int = Field(0, ge=-1000, le=1000, description="of two rules in conflict the higher")
    enabled: bool = True

    @model_validator(mode="after")
    def _whole(self) -> Self:
        needed = NEEDED[self.action]
        for name in dict.fromkeys(name for names in NEEDED.values() for name in names):
            if name == "items":
                continue
            if name in needed and getattr(self, name) is None:
                raise ValueError(f"{_a(self.action)} needs {name}")
            if name not in needed and getattr(self, name) is not None:
                raise ValueError(f"{_a(self.action)} has no {name}")
        if self.action == "pin" and not self.items:
            raise ValueError(f"{_a(self.action)} needs items")
        if self.action != "cap" and not self.items and self.where is None:
            raise ValueError(f"{_a(self.action)} needs items or where")
        if self.starts is not None and self.ends is not None and self.ends <= self.starts:
            raise ValueError("ends must be after starts")
        return self

    def check(self, schema: Schema) -> None:
        """Raise ValueError, whose arguments are a sentence and a field, if a filter or ``by`` names
        what does not exist."""
        for field, text in (("where", self.where), ("segment", self.segment)):
            if text is None:
                continue
            try:
                found = compiled(text, schema)
            except FilterError as error:
                raise ValueError(str(error), field) from error
            if field == "where" and found.users:
                raise ValueError("where is of products: name the shopper in segment", field)
            if field == "segment" and found.items:
                raise ValueError("segment is of the shopper: name products in where", field)
        if self.by is not None and self.by not in _capped(schema):
            known = ", ".join(_capped(schema))
            raise ValueError(f"no such attribute; there are {known}", "by")

    def is_on(self, surface: str, now: datetime) -> bool:
        """Return whether the rule applies on a surface at a time, to some shopper."""
        return (
            self.enabled
            and (not self.surfaces or surface in self.surfaces)
            and (self.starts is None or self.starts <= now)
            and (self.ends is None or now < self.ends)
        )

    def condition(self, schema: Schema, today: date) -> Condition:
        """Return the condition on the products that the rule is about."""
        found: list[Condition] = []
        if self.items:
            found.append(Has("item_id", tuple(sorted(self.items))))
        if self.where is not None:
            found.append(compiled(self.where, schema).bound(today=today))
        return found[0] if len(found) == 1 else All(tuple(found)) if found else TRUE


def _a(action: str) -> str:
    return f"{'an' if action == 'exclude' else 'a'} {action}"


def step_of(rule: Rule, revision: int, schema: Schema, today: date) -> Step:
    """Return what the ranking process does for a rule."""
    by = rule.by or ""
    amount = rule.position or rule.weight or rule.most or rule.share or 0.0
    return Step(
        revision,
        rule.action,
        rule.condition(schema, today),
        tuple(rule.items),
        by if by in BUILT_IN or not by else DECLARED + by,
        -amount if rule.action == "bury" else amount,
    )


def _capped(schema: Schema) -> list[str]:
    """Return the attributes that a cap may be by."""
    return ["brand", "category", *(name for name, kind in schema.items if kind == "category")]
