from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar, cast

from attrs import define as _attrs_define
from attrs import field as _attrs_field

from ..types import UNSET, Unset

T = TypeVar("T", bound="FeedbackResponse")


@_attrs_define
class FeedbackResponse:
    """The events are durable when this arrives.

    Attributes:
        accepted (int):
        duplicates (int): events whose event_id was there already
        event_ids (list[str]):
        pushed_away (list[str] | Unset): item ids that the shopper is not shown again because of a dislike, a hide or
            few stars; similar products go down in the lists that follow
        unknown_impressions (list[str] | Unset): unknown impression ids; the events are stored without them
        unknown_items (list[str] | Unset): item ids that the model does not know yet; the events are stored
    """

    accepted: int
    duplicates: int
    event_ids: list[str]
    pushed_away: list[str] | Unset = UNSET
    unknown_impressions: list[str] | Unset = UNSET
    unknown_items: list[str] | Unset = UNSET
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        accepted = self.accepted

        duplicates = self.duplicates

        event_ids = self.event_ids

        pushed_away: list[str] | Unset = UNSET
        if not isinstance(self.pushed_away, Unset):
            pushed_away = self.pushed_away

        unknown_impressions: list[str] | Unset = UNSET
        if not isinstance(self.unknown_impressions, Unset):
            unknown_impressions = self.unknown_impressions

        unknown_items: list[str] | Unset = UNSET
        if not isinstance(self.unknown_items, Unset):
            unknown_items = self.unknown_items

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "accepted": accepted,
                "duplicates": duplicates,
                "event_ids": event_ids,
            }
        )
        if pushed_away is not UNSET:
            field_dict["pushed_away"] = pushed_away
        if unknown_impressions is not UNSET:
            field_dict["unknown_impressions"] = unknown_impressions
        if unknown_items is not UNSET:
            field_dict["unknown_items"] = unknown_items

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        d = dict(src_dict)
        accepted = d.pop("accepted")

        duplicates = d.pop("duplicates")

        event_ids = cast(list[str], d.pop("event_ids"))

        pushed_away = cast(list[str], d.pop("pushed_away", UNSET))

        unknown_impressions = cast(list[str], d.pop("unknown_impressions", UNSET))

        unknown_items = cast(list[str], d.pop("unknown_items", UNSET))

        feedback_response = cls(
            accepted=accepted,
            duplicates=duplicates,
            event_ids=event_ids,
            pushed_away=pushed_away,
            unknown_impressions=unknown_impressions,
            unknown_items=unknown_items,
        )

        feedback_response.additional_properties = d
        return feedback_response

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
