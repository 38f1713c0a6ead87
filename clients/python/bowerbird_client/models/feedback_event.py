from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import Any, TypeVar, cast

from attrs import define as _attrs_define

from ..models.feedback_event_event import FeedbackEventEvent
from ..types import UNSET, Unset

T = TypeVar("T", bound="FeedbackEvent")


@_attrs_define
class FeedbackEvent:
    """What a shopper did. Sent again with the same event_id it is kept once.

    With the shop's key it names a user or a session; with a session token it is the token's.

        Attributes:
            event (FeedbackEventEvent): dislike, hide: the product is not shown to this shopper again, and similar ones go
                down; so do ratings of preprocess.low_rating stars or less
            item_id (str):
            event_id (str | Unset): the sender's own id of this event; without it a repeated send counts twice
            impression_id (None | str | Unset): the recommendation that led here; it must have been this shopper's
            order_id (None | str | Unset): the shop's id of the order, as its files have it: a purchase that is in both
                counts once
            price (float | None | Unset): of one unit
            quantity (float | Unset):  Default: 1.0.
            rating (float | None | Unset):
            session_id (None | str | Unset):
            timestamp (datetime.datetime | None | Unset): with time zone; null: now. Late events are sorted in by their
                time; those older than serve.max_event_age_hours need the shop's key
            user_id (None | str | Unset):
    """

    event: FeedbackEventEvent
    item_id: str
    event_id: str | Unset = UNSET
    impression_id: str | Unset | None = UNSET
    order_id: str | Unset | None = UNSET
    price: float | Unset | None = UNSET
    quantity: float | Unset = 1.0
    rating: float | Unset | None = UNSET
    session_id: str | Unset | None = UNSET
    timestamp: datetime.datetime | Unset | None = UNSET
    user_id: str | Unset | None = UNSET

    def to_dict(self) -> dict[str, Any]:
        event = self.event.value

        item_id = self.item_id

        event_id = self.event_id

        impression_id: str | Unset | None
        if isinstance(self.impression_id, Unset):
            impression_id = UNSET
        else:
            impression_id = self.impression_id

        order_id: str | Unset | None
        if isinstance(self.order_id, Unset):
            order_id = UNSET
        else:
            order_id = self.order_id

        price: float | Unset | None
        if isinstance(self.price, Unset):
            price = UNSET
        else:
            price = self.price

        quantity = self.quantity

        rating: float | Unset | None
        if isinstance(self.rating, Unset):
            rating = UNSET
        else:
            rating = self.rating

        session_id: str | Unset | None
        if isinstance(self.session_id, Unset):
            session_id = UNSET
        else:
            session_id = self.session_id

        timestamp: str | Unset | None
        if isinstance(self.timestamp, Unset):
            timestamp = UNSET
        elif isinstance(self.timestamp, datetime.datetime):
            timestamp = self.timestamp.isoformat()
        else:
            timestamp = self.timestamp

        user_id: str | Unset | None
        if isinstance(self.user_id, Unset):
            user_id = UNSET
        else:
            user_id = self.user_id

        field_dict: dict[str, Any] = {}

        field_dict.update(
            {
                "event": event,
                "item_id": item_id,
            }
        )
        if event_id is not UNSET:
            field_dict["event_id"] = event_id
        if impression_id is not UNSET:
            field_dict["impression_id"] = impression_id
        if order_id is not UNSET:
            field_dict["order_id"] = order_id
        if price is not UNSET:
            field_dict["price"] = price
        if quantity is not UNSET:
            field_dict["quantity"] = quantity
        if rating is not UNSET:
            field_dict["rating"] = rating
        if session_id is not UNSET:
            field_dict["session_id"] = session_id
        if timestamp is not UNSET:
            field_dict["timestamp"] = timestamp
        if user_id is not UNSET:
            field_dict["user_id"] = user_id

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        d = dict(src_dict)
        event = FeedbackEventEvent(d.pop("event"))

        item_id = d.pop("item_id")

        event_id = d.pop("event_id", UNSET)

        def _parse_impression_id(data: object) -> str | Unset | None:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(None | str | Unset, data)

        impression_id = _parse_impression_id(d.pop("impression_id", UNSET))

        def _parse_order_id(data: object) -> str | Unset | None:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(None | str | Unset, data)

        order_id = _parse_order_id(d.pop("order_id", UNSET))

        def _parse_price(data: object) -> float | Unset | None:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(float | None | Unset, data)

        price = _parse_price(d.pop("price", UNSET))

        quantity = d.pop("quantity", UNSET)

        def _parse_rating(data: object) -> float | Unset | None:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(float | None | Unset, data)

        rating = _parse_rating(d.pop("rating", UNSET))

        def _parse_session_id(data: object) -> str | Unset | None:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(None | str | Unset, data)

        session_id = _parse_session_id(d.pop("session_id", UNSET))

        def _parse_timestamp(data: object) -> datetime.datetime | Unset | None:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            try:
                if not isinstance(data, str):
                    raise TypeError()
                timestamp_type_0 = datetime.datetime.fromisoformat(data)

                return timestamp_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(datetime.datetime | None | Unset, data)

        timestamp = _parse_timestamp(d.pop("timestamp", UNSET))

        def _parse_user_id(data: object) -> str | Unset | None:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(None | str | Unset, data)

        user_id = _parse_user_id(d.pop("user_id", UNSET))

        feedback_event = cls(
            event=event,
            item_id=item_id,
            event_id=event_id,
            impression_id=impression_id,
            order_id=order_id,
            price=price,
            quantity=quantity,
            rating=rating,
            session_id=session_id,
            timestamp=timestamp,
            user_id=user_id,
        )

        return feedback_event
