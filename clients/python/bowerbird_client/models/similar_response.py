from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar, cast

from attrs import define as _attrs_define
from attrs import field as _attrs_field

from ..types import UNSET, Unset

if TYPE_CHECKING:
    from ..models.scored_item import ScoredItem


T = TypeVar("T", bound="SimilarResponse")


@_attrs_define
class SimilarResponse:
    """
    Attributes:
        items (list[ScoredItem]):
        model_version (str):
        unknown_items (list[str] | Unset): item ids of the request that the model does not know; they were ignored
    """

    items: list[ScoredItem]
    model_version: str
    unknown_items: list[str] | Unset = UNSET
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        items = []
        for items_item_data in self.items:
            items_item = items_item_data.to_dict()
            items.append(items_item)

        model_version = self.model_version

        unknown_items: list[str] | Unset = UNSET
        if not isinstance(self.unknown_items, Unset):
            unknown_items = self.unknown_items

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "items": items,
                "model_version": model_version,
            }
        )
        if unknown_items is not UNSET:
            field_dict["unknown_items"] = unknown_items

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        from ..models.scored_item import ScoredItem

        d = dict(src_dict)
        items = []
        _items = d.pop("items")
        for items_item_data in _items:
            items_item = ScoredItem.from_dict(items_item_data)

            items.append(items_item)

        model_version = d.pop("model_version")

        unknown_items = cast(list[str], d.pop("unknown_items", UNSET))

        similar_response = cls(
            items=items,
            model_version=model_version,
            unknown_items=unknown_items,
        )

        similar_response.additional_properties = d
        return similar_response

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
