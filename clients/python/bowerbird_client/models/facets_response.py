from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from attrs import define as _attrs_define
from attrs import field as _attrs_field

if TYPE_CHECKING:
    from ..models.range_facet import RangeFacet
    from ..models.values_facet import ValuesFacet


T = TypeVar("T", bound="FacetsResponse")


@_attrs_define
class FacetsResponse:
    """Each facet counts the products that meet the filters except for those of its attribute.

    Attributes:
        facets (list[RangeFacet | ValuesFacet]): at most 10, those of the request among them, in the order that
            ingest.items declares attributes
        left_out (int): further attributes, which have no facet
        total (int): products that meet all filters
    """

    facets: list[RangeFacet | ValuesFacet]
    left_out: int
    total: int
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        from ..models.values_facet import ValuesFacet

        facets = []
        for facets_item_data in self.facets:
            facets_item: dict[str, Any]
            if isinstance(facets_item_data, ValuesFacet):
                facets_item = facets_item_data.to_dict()
            else:
                facets_item = facets_item_data.to_dict()

            facets.append(facets_item)

        left_out = self.left_out

        total = self.total

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "facets": facets,
                "left_out": left_out,
                "total": total,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        from ..models.range_facet import RangeFacet
        from ..models.values_facet import ValuesFacet

        d = dict(src_dict)
        facets = []
        _facets = d.pop("facets")
        for facets_item_data in _facets:

            def _parse_facets_item(data: object) -> RangeFacet | ValuesFacet:
                try:
                    if not isinstance(data, dict):
                        raise TypeError()
                    facets_item_type_0 = ValuesFacet.from_dict(data)

                    return facets_item_type_0
                except (TypeError, ValueError, AttributeError, KeyError):
                    pass
                if not isinstance(data, dict):
                    raise TypeError()
                facets_item_type_1 = RangeFacet.from_dict(data)

                return facets_item_type_1

            facets_item = _parse_facets_item(facets_item_data)

            facets.append(facets_item)

        left_out = d.pop("left_out")

        total = d.pop("total")

        facets_response = cls(
            facets=facets,
            left_out=left_out,
            total=total,
        )

        facets_response.additional_properties = d
        return facets_response

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
