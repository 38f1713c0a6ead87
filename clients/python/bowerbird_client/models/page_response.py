from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from attrs import define as _attrs_define
from attrs import field as _attrs_field

if TYPE_CHECKING:
    from ..models.recommend_response import RecommendResponse


T = TypeVar("T", bound="PageResponse")


@_attrs_define
class PageResponse:
    """One shelf for each of the request, in its order; no product is on two of them.

    Attributes:
        shelves (list[RecommendResponse]):
    """

    shelves: list[RecommendResponse]
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        shelves = []
        for shelves_item_data in self.shelves:
            shelves_item = shelves_item_data.to_dict()
            shelves.append(shelves_item)

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "shelves": shelves,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        from ..models.recommend_response import RecommendResponse

        d = dict(src_dict)
        shelves = []
        _shelves = d.pop("shelves")
        for shelves_item_data in _shelves:
            shelves_item = RecommendResponse.from_dict(shelves_item_data)

            shelves.append(shelves_item)

        page_response = cls(
            shelves=shelves,
        )

        page_response.additional_properties = d
        return page_response

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
