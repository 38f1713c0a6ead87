from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar, cast

from attrs import define as _attrs_define
from attrs import field as _attrs_field

from ..models.range_facet_type import RangeFacetType

T = TypeVar("T", bound="RangeFacet")


@_attrs_define
class RangeFacet:
    """The lowest and the highest value of a number or date.

    Attributes:
        max_ (float | str):
        min_ (float | str): of a date its day, such as 2026-05-31
        name (str):
        type_ (RangeFacetType):
    """

    max_: float | str
    min_: float | str
    name: str
    type_: RangeFacetType
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        max_: float | str
        max_ = self.max_

        min_: float | str
        min_ = self.min_

        name = self.name

        type_ = self.type_.value

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "max": max_,
                "min": min_,
                "name": name,
                "type": type_,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        d = dict(src_dict)

        def _parse_max_(data: object) -> float | str:
            return cast(float | str, data)

        max_ = _parse_max_(d.pop("max"))

        def _parse_min_(data: object) -> float | str:
            return cast(float | str, data)

        min_ = _parse_min_(d.pop("min"))

        name = d.pop("name")

        type_ = RangeFacetType(d.pop("type"))

        range_facet = cls(
            max_=max_,
            min_=min_,
            name=name,
            type_=type_,
        )

        range_facet.additional_properties = d
        return range_facet

    @property
    def additional_keys(self) -> list[str]:
        return list(self.additional_properties.keys())

    def __getitem__(self, key: str) -> Any:
        return self.additional_properties[key]

    def __setitem__(self, key: str, value: Any) -> None:
        self.additional_properties[key] = value

    def __delitem__(self, key: str) -> None:
        del self.additional_properties[key]

    def __contains__(self, key: str) -> bool:
        return key in self.additional_properties
