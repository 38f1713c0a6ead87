from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from attrs import define as _attrs_define

if TYPE_CHECKING:
    from ..models.feedback_event import FeedbackEvent


T = TypeVar("T", bound="FeedbackBatch")


@_attrs_define
class FeedbackBatch:
    """
    Attributes:
        events (list[FeedbackEvent]):
    """

    events: list[FeedbackEvent]

    def to_dict(self) -> dict[str, Any]:
        events = []
        for events_item_data in self.events:
            events_item = events_item_data.to_dict()
            events.append(events_item)

        field_dict: dict[str, Any] = {}

        field_dict.update(
            {
                "events": events,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        from ..models.feedback_event import FeedbackEvent

        d = dict(src_dict)
        events = []
        _events = d.pop("events")
        for events_item_data in _events:
            events_item = FeedbackEvent.from_dict(events_item_data)

            events.append(events_item)

        feedback_batch = cls(
            events=events,
        )

        return feedback_batch
