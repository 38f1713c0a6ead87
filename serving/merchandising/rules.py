"""One merchandising rule: its fields, and what it means in terms of conditions on products.

In: JSON, of a request or of the event store. Out: a ``Rule``, checked against the attributes that
exist, and the ``Step`` that the ranking process applies.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from typing import Annotated, Literal, Self, get_args

from pydantic import AwareDatetime, Field, StringConstraints, model_validator

from serving.fields import Body, Id, Text
from serving.filters.conditions import TRUE, All, Condition, Has
from serving.filters.expression import BUILT_IN, DECLARED, Schema, compiled
from serving.filters.syntax import FilterError
from serving.recommend.query import FilterText
from serving.recommend.steps import Step

Action = Literal["pin", "boost", "bury", "exclude", "cap", "share", "objective", "exposure"]
ACTIONS: tuple[Action, ...] = get_args(Action)
MOST_PINNED, LAST_PLACE, MOST_WEIGHT = 20, 100, 10
RuleId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")]
Surface = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,40}$")]
NEEDED: dict[Action, tuple[str, ...]] = {
    "pin": ("items", "position"),
    "boost": ("weight",),
    "bury": ("weight",),
    "exclude": (),
    "cap": ("by", "most"),
    "share": ("share",),
    "objective": ("by", "weight"),
    "exposure": (),
}
"""Fields that an action needs, besides ``items`` or ``where``; other actions must not have them."""
OPTIONAL: dict[Action, tuple[str, ...]] = {"exposure": ("by", "at_least", "at_most")}
"""Fields that an action may have."""
OF_ALL: tuple[Action, ...] = ("cap", "objective", "exposure")
"""Actions that are about all products where they name none."""


class Rule(Body):
    """A merchandising rule. All times are UTC."""

    name: Annotated[Text, StringConstraints(min_length=1, max_length=100)] = Field(
        description="for people, such as Spring sale"
    )
    action: Action = Field(
        description="pin: products at a place; boost, bury: up or down; exclude: in no list; cap: "
        "at most so many of one brand, seller, …; share: at least a share of the list; objective: "
        "products with a higher margin, price, … up; exposure: a share of the exposure of all lists"
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
        None,
        ge=-MOST_WEIGHT,
        le=MOST_WEIGHT,
        description="of boost and bury, above 0: in standard deviations of the scores; of "
        "objective: as many of these for each standard deviation of the attribute, below 0: the "
        "lower the better",
    )
    by: Annotated[str, StringConstraints(max_length=60)] | None = Field(
        None,
        description="of cap: brand, category, or a declared attribute such as seller; of "
        "objective: price or a declared number such as margin; of exposure: as cap, and at_most "
        "holds for each of its values",
    )
    most: int | None = Field(None, ge=1, le=LAST_PLACE, description="of cap: products of one value")
    share: float | None = Field(None, gt=0, le=1, description="of share: at least, of the list")
    at_least: float | None = Field(
        None, gt=0, lt=1, description="of exposure: of the products of items or where together"
    )
    at_most: float | None = Field(None, gt=0, lt=1, description="of exposure: no more than that")
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
        needed, optional = NEEDED[self.action], OPTIONAL.get(self.action, ())
        every = (*NEEDED.values(), *OPTIONAL.values())
        for name in dict.fromkeys(name for names in every for name in names):
            if name == "items":
                continue
            if name in needed and getattr(self, name) is None:
                raise ValueError(f"{_a(self.action)} needs {name}")
            if name not in (*needed, *optional) and getattr(self, name) is not None:
                raise ValueError(f"{_a(self.action)} has no {name}")
        if self.action == "pin" and not self.items:
            raise ValueError(f"{_a(self.action)} needs items")
        if self.action not in OF_ALL and not self.items and self.where is None:
            raise ValueError(f"{_a(self.action)} needs items or where")
        if self.weight is not None and (
            self.weight == 0 or (self.weight < 0 and self.action != "objective")
        ):
            raise ValueError(f"{_a(self.action)} needs a weight above 0")
        if self.action == "exposure":
            self._check_exposure()
        if self.starts is not None and self.ends is not None and self.ends <= self.starts:
            raise ValueError("ends must be after starts")
        return self

    def _check_exposure(self) -> None:
        low, high = self.at_least, self.at_most
        if low is None and high is None:
            raise ValueError("an exposure needs at_least or at_most")
        if low is not None and high is not None and high <= low:
            raise ValueError("at_most must be above at_least")
        if self.by is None and not self.items and self.where is None:
            raise ValueError("an exposure needs items, where or by")
        if self.by is not None and low is not None:
            raise ValueError("at_least is of the products of items or where: leave out by")

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
        allowed = numbers(schema) if self.action == "objective" else capped(schema)
        if self.by is not None and self.by not in allowed:
            known = ", ".join(allowed)
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
    return f"{'an' if action[0] in 'aeiou' else 'a'} {action}"


def steps_of(
    rule: Rule, revision: int, schema: Schema, today: date, offsets: Sequence[tuple[str, float]]
) -> list[Step]:
    """Return what the ranking process does for a rule.

    offsets: of an exposure, by how much its groups move now (``ExposureControl.offsets``).
    """
    condition, by = rule.condition(schema, today), attribute_of(rule)
    if rule.action == "exposure":
        # Without an offset too, so that impressions say that the rule applied, and count.
        return [
            Step(revision, rule.action, in_group(condition, by, group), by=by, amount=offset)
            for group, offset in offsets
        ] or [Step(revision, rule.action, condition, by=by)]
    amount = rule.position or rule.weight or rule.most or rule.share or 0.0
    items, sign = tuple(rule.items), -1 if rule.action == "bury" else 1
    return [Step(revision, rule.action, condition, items, by, sign * amount)]


def attribute_of(rule: Rule) -> str:
    """Return ``by`` as a condition names it, "" without one."""
    return named(rule.by) if rule.by else ""


def named(attribute: str) -> str:
    """Return an attribute of products as a condition names it."""
    return attribute if attribute in BUILT_IN else DECLARED + attribute


def in_group(condition: Condition, by: str, group: str) -> Condition:
    """Return the condition on the products of a rule that have the value ``group`` of ``by``."""
    if not by:
        return condition
    own = Has(by, (group,))
    return own if condition == TRUE else All((condition, own))


def capped(schema: Schema) -> list[str]:
    """Return the attributes that a cap or an exposure may be by."""
    return ["brand", "category", *(name for name, kind in schema.items if kind == "category")]


def numbers(schema: Schema) -> list[str]:
    """Return the attributes that an objective may be by."""
    own = [name for name, kind in schema.items if kind == "number"]
    return ["price", *(name for name in own if name != "price")]
