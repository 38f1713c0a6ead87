from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from attrs import define as _attrs_define
from attrs import field as _attrs_field

from ..models.values_facet_type import ValuesFacetType

if TYPE_CHECKING:
    from ..models.facet_value import FacetValue


T = TypeVar("T", bound="ValuesFacet")


@_attrs_define
class ValuesFacet:
    """Values of a category or set, the most frequent first.

    Attributes:
        left_out (int): further values, which are not in the list
        name (str):
        type_ (ValuesFacetType):
        values (list[FacetValue]): at most 30, and the values of the request
    """

    left_out: int
    name: str
    type_: ValuesFacetType
    values: list[FacetValue]
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        left_out = self.left_out

        name = self.name

        type_ = self.type_.value

        values = []
        for values_item_data in self.values:
            values_item = values_item_data.to_dict()
            values.append(values_item)

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "left_out": left_out,
                "name": name,
                "type": type_,
                "values": values,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        from ..models.facet_value import FacetValue

        d = dict(src_dict)
        left_out = d.pop("left_out")

        name = d.pop("name")

        type_ = ValuesFacetType(d.pop("type"))

        values = []
        _values = d.pop("values")
        for values_item_data in _values:
            values_item = FacetValue.from_dict(values_item_data)

            values.append(values_item)

        values_facet = cls(
            left_out=left_out,
            name=name,
            type_=type_,
            values=values,
        )

        values_facet.additional_properties = d
        return values_facet

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
