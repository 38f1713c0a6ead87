from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar, cast

from attrs import define as _attrs_define
from attrs import field as _attrs_field

if TYPE_CHECKING:
    from ..models.erased_place import ErasedPlace


T = TypeVar("T", bound="EraseResponse")


@_attrs_define
class EraseResponse:
    """The receipt of an erasure; the file of the same content holds a hash, not the id.

    Attributes:
        erased_at (datetime.datetime):
        erased_events (int):
        places (list[ErasedPlace]):
        receipt (None | str): file below var/erasures; null: it was not written
    """

    erased_at: datetime.datetime
    erased_events: int
    places: list[ErasedPlace]
    receipt: str | None
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        erased_at = self.erased_at.isoformat()

        erased_events = self.erased_events

        places = []
        for places_item_data in self.places:
            places_item = places_item_data.to_dict()
            places.append(places_item)

        receipt: str | None
        receipt = self.receipt

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "erased_at": erased_at,
                "erased_events": erased_events,
                "places": places,
                "receipt": receipt,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        from ..models.erased_place import ErasedPlace

        d = dict(src_dict)
        erased_at = datetime.datetime.fromisoformat(d.pop("erased_at"))

        erased_events = d.pop("erased_events")

        places = []
        _places = d.pop("places")
        for places_item_data in _places:
            places_item = ErasedPlace.from_dict(places_item_data)

            places.append(places_item)

        def _parse_receipt(data: object) -> str | None:
            if data is None:
                return data
            return cast(None | str, data)

        receipt = _parse_receipt(d.pop("receipt"))

        erase_response = cls(
            erased_at=erased_at,
            erased_events=erased_events,
            places=places,
            receipt=receipt,
        )

        erase_response.additional_properties = d
        return erase_response

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
