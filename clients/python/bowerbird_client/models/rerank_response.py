from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar, cast

from attrs import define as _attrs_define
from attrs import field as _attrs_field

from ..types import UNSET, Unset

if TYPE_CHECKING:
    from ..models.scored_item import ScoredItem


T = TypeVar("T", bound="RerankResponse")


@_attrs_define
class RerankResponse:
    """All items of the list that are known, best first.

    Attributes:
        identified (bool): the answer is for the user or session of the request; false: it named none, or had neither
            the API key nor that person's session token, and is answered as anonymous
        impression_id (str):
        items (list[ScoredItem]):
        model_version (str):
        excluded_items (list[str] | Unset): known items of the request that a merchandising rule excludes
        unknown_items (list[str] | Unset): item ids of the request that the model does not know; they were ignored
    """

    identified: bool
    impression_id: str
    items: list[ScoredItem]
    model_version: str
    excluded_items: list[str] | Unset = UNSET
    unknown_items: list[str] | Unset = UNSET
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        identified = self.identified

        impression_id = self.impression_id

        items = []
        for items_item_data in self.items:
            items_item = items_item_data.to_dict()
            items.append(items_item)

        model_version = self.model_version

        excluded_items: list[str] | Unset = UNSET
        if not isinstance(self.excluded_items, Unset):
            excluded_items = self.excluded_items

        unknown_items: list[str] | Unset = UNSET
        if not isinstance(self.unknown_items, Unset):
            unknown_items = self.unknown_items

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "identified": identified,
                "impression_id": impression_id,
                "items": items,
                "model_version": model_version,
            }
        )
        if excluded_items is not UNSET:
            field_dict["excluded_items"] = excluded_items
        if unknown_items is not UNSET:
            field_dict["unknown_items"] = unknown_items

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        from ..models.scored_item import ScoredItem

        d = dict(src_dict)
        identified = d.pop("identified")

        impression_id = d.pop("impression_id")

        items = []
        _items = d.pop("items")
        for items_item_data in _items:
            items_item = ScoredItem.from_dict(items_item_data)

            items.append(items_item)

        model_version = d.pop("model_version")

        excluded_items = cast(list[str], d.pop("excluded_items", UNSET))

        unknown_items = cast(list[str], d.pop("unknown_items", UNSET))

        rerank_response = cls(
            identified=identified,
            impression_id=impression_id,
            items=items,
            model_version=model_version,
            excluded_items=excluded_items,
            unknown_items=unknown_items,
        )

        rerank_response.additional_properties = d
        return rerank_response

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
