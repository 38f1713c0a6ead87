from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import Any, TypeVar, cast

from attrs import define as _attrs_define

from ..models.rule_action import RuleAction
from ..types import UNSET, Unset

T = TypeVar("T", bound="Rule")


@_attrs_define
class Rule:
    """A merchandising rule. All times are UTC.

    Attributes:
        action (RuleAction): pin: products at a place; boost, bury: up or down; exclude: in no list; cap: at most so
            many of one brand, seller, …; share: at least a share of the list; objective: products with a higher margin,
            price, … up; exposure: a share of the exposure of all lists
        name (str): for people, such as Spring sale
        at_least (float | None | Unset): of exposure: of the products of items or where together
        at_most (float | None | Unset): of exposure: no more than that
        by (None | str | Unset): of cap: brand, category, or a declared attribute such as seller; of objective: price or
            a declared number such as margin; of exposure: as cap, and at_most holds for each of its values
        enabled (bool | Unset):  Default: True.
        ends (datetime.datetime | None | Unset): from then on it no longer applies; null: never
        items (list[str] | Unset): product ids; of pin in the order of their places
        most (int | None | Unset): of cap: products of one value
        position (int | None | Unset): of pin: place of the first product, from 1
        priority (int | Unset): of two rules in conflict the higher Default: 0.
        segment (None | str | Unset): a filter on the shopper's attributes alone, such as user.age = '25-34'
        share (float | None | Unset): of share: at least, of the list
        starts (datetime.datetime | None | Unset): with time zone; null: at once
        surfaces (list[str] | Unset): where it applies, such as home and search; empty: on all
        weight (float | None | Unset): of boost and bury, above 0: in standard deviations of the scores; of objective:
            as many of these for each standard deviation of the attribute, below 0: the lower the better
        where (None | str | Unset): a filter on products; with items, both must hold
    """

    action: RuleAction
    name: str
    at_least: float | Unset | None = UNSET
    at_most: float | Unset | None = UNSET
    by: str | Unset | None = UNSET
    enabled: bool | Unset = True
    ends: datetime.datetime | Unset | None = UNSET
    items: list[str] | Unset = UNSET
    most: int | Unset | None = UNSET
    position: int | Unset | None = UNSET
    priority: int | Unset = 0
    segment: str | Unset | None = UNSET
    share: float | Unset | None = UNSET
    starts: datetime.datetime | Unset | None = UNSET
    surfaces: list[str] | Unset = UNSET
    weight: float | Unset | None = UNSET
    where: str | Unset | None = UNSET

    def to_dict(self) -> dict[str, Any]:
        action = self.action.value

        name = self.name

        at_least: float | Unset | None
        if isinstance(self.at_least, Unset):
            at_least = UNSET
        else:
            at_least = self.at_least

        at_most: float | Unset | None
        if isinstance(self.at_most, Unset):
            at_most = UNSET
        else:
            at_most = self.at_most

        by: str | Unset | None
        if isinstance(self.by, Unset):
            by = UNSET
        else:
            by = self.by

        enabled = self.enabled

        ends: str | Unset | None
        if isinstance(self.ends, Unset):
            ends = UNSET
        elif isinstance(self.ends, datetime.datetime):
            ends = self.ends.isoformat()
        else:
            ends = self.ends

        items: list[str] | Unset = UNSET
        if not isinstance(self.items, Unset):
            items = self.items

        most: int | Unset | None
        if isinstance(self.most, Unset):
            most = UNSET
        else:
            most = self.most

        position: int | Unset | None
        if isinstance(self.position, Unset):
            position = UNSET
        else:
            position = self.position

        priority = self.priority

        segment: str | Unset | None
        if isinstance(self.segment, Unset):
            segment = UNSET
        else:
            segment = self.segment

        share: float | Unset | None
        if isinstance(self.share, Unset):
            share = UNSET
        else:
            share = self.share

        starts: str | Unset | None
        if isinstance(self.starts, Unset):
            starts = UNSET
        elif isinstance(self.starts, datetime.datetime):
            starts = self.starts.isoformat()
        else:
            starts = self.starts

        surfaces: list[str] | Unset = UNSET
        if not isinstance(self.surfaces, Unset):
            surfaces = self.surfaces

        weight: float | Unset | None
        if isinstance(self.weight, Unset):
            weight = UNSET
        else:
            weight = self.weight

        where: str | Unset | None
        if isinstance(self.where, Unset):
            where = UNSET
        else:
            where = self.where

        field_dict: dict[str, Any] = {}

        field_dict.update(
            {
                "action": action,
                "name": name,
            }
        )
        if at_least is not UNSET:
            field_dict["at_least"] = at_least
        if at_most is not UNSET:
            field_dict["at_most"] = at_most
        if by is not UNSET:
            field_dict["by"] = by
        if enabled is not UNSET:
            field_dict["enabled"] = enabled
        if ends is not UNSET:
            field_dict["ends"] = ends
        if items is not UNSET:
            field_dict["items"] = items
        if most is not UNSET:
            field_dict["most"] = most
        if position is not UNSET:
            field_dict["position"] = position
        if priority is not UNSET:
            field_dict["priority"] = priority
        if segment is not UNSET:
            field_dict["segment"] = segment
        if share is not UNSET:
            field_dict["share"] = share
        if starts is not UNSET:
            field_dict["starts"] = starts
        if surfaces is not UNSET:
            field_dict["surfaces"] = surfaces
        if weight is not UNSET:
            field_dict["weight"] = weight
        if where is not UNSET:
            field_dict["where"] = where

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        d = dict(src_dict)
        action = RuleAction(d.pop("action"))

        name = d.pop("name")

        def _parse_at_least(data: object) -> float | Unset | None:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(float | None | Unset, data)

        at_least = _parse_at_least(d.pop("at_least", UNSET))

        def _parse_at_most(data: object) -> float | Unset | None:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(float | None | Unset, data)

        at_most = _parse_at_most(d.pop("at_most", UNSET))

        def _parse_by(data: object) -> str | Unset | None:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(None | str | Unset, data)

        by = _parse_by(d.pop("by", UNSET))

        enabled = d.pop("enabled", UNSET)

        def _parse_ends(data: object) -> datetime.datetime | Unset | None:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            try:
                if not isinstance(data, str):
                    raise TypeError()
                ends_type_0 = datetime.datetime.fromisoformat(data)

                return ends_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(datetime.datetime | None | Unset, data)

        ends = _parse_ends(d.pop("ends", UNSET))

        items = cast(list[str], d.pop("items", UNSET))

        def _parse_most(data: object) -> int | Unset | None:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(int | None | Unset, data)

        most = _parse_most(d.pop("most", UNSET))

        def _parse_position(data: object) -> int | Unset | None:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(int | None | Unset, data)

        position = _parse_position(d.pop("position", UNSET))

        priority = d.pop("priority", UNSET)

        def _parse_segment(data: object) -> str | Unset | None:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(None | str | Unset, data)

        segment = _parse_segment(d.pop("segment", UNSET))

        def _parse_share(data: object) -> float | Unset | None:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(float | None | Unset, data)

        share = _parse_share(d.pop("share", UNSET))

        def _parse_starts(data: object) -> datetime.datetime | Unset | None:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            try:
                if not isinstance(data, str):
                    raise TypeError()
                starts_type_0 = datetime.datetime.fromisoformat(data)

                return starts_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(datetime.datetime | None | Unset, data)

        starts = _parse_starts(d.pop("starts", UNSET))

        surfaces = cast(list[str], d.pop("surfaces", UNSET))

        def _parse_weight(data: object) -> float | Unset | None:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(float | None | Unset, data)

        weight = _parse_weight(d.pop("weight", UNSET))

        def _parse_where(data: object) -> str | Unset | None:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(None | str | Unset, data)

        where = _parse_where(d.pop("where", UNSET))

        rule = cls(
            action=action,
            name=name,
            at_least=at_least,
            at_most=at_most,
            by=by,
            enabled=enabled,
            ends=ends,
            items=items,
            most=most,
            position=position,
            priority=priority,
            segment=segment,
            share=share,
            starts=starts,
            surfaces=surfaces,
            weight=weight,
            where=where,
        )

        return rule
