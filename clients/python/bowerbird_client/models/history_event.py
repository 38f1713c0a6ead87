from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import Any, TypeVar, cast

from attrs import define as _attrs_define
from attrs import field as _attrs_field

T = TypeVar("T", bound="HistoryEvent")


@_attrs_define
class HistoryEvent:
    """
    Attributes:
        event (None | str): null: from the training data
        item_id (str):
        timestamp (datetime.datetime):
        title (None | str):
    """

    event: str | None
    item_id: str
    timestamp: datetime.datetime
    title: str | None
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        event: str | None
        event = self.event

        item_id = self.item_id

        timestamp = self.timestamp.isoformat()

        title: str | None
        title = self.title

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "event": event,
                "item_id": item_id,
                "timestamp": timestamp,
                "title": title,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        d = dict(src_dict)

        def _parse_event(data: object) -> str | None:
            if data is None:
                return data
            return cast(None | str, data)

        event = _parse_event(d.pop("event"))

        item_id = d.pop("item_id")

        timestamp = datetime.datetime.fromisoformat(d.pop("timestamp"))

        def _parse_title(data: object) -> str | None:
            if data is None:
                return data
            return cast(None | str, data)

        title = _parse_title(d.pop("title"))

        history_event = cls(
            event=event,
            item_id=item_id,
            timestamp=timestamp,
            title=title,
        )

        history_event.additional_properties = d
        return history_event

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
