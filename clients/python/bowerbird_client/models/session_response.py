from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar, cast

from attrs import define as _attrs_define
from attrs import field as _attrs_field

from ..types import UNSET, Unset

T = TypeVar("T", bound="SessionResponse")


@_attrs_define
class SessionResponse:
    """A session of one shopper, to be sent as the header X-Session-Token.

    Attributes:
        expires_at (int): seconds since 1970
        session_id (str):
        token (str):
        user_id (None | str):
        moved_events (int | Unset): events of the session that are the user's now Default: 0.
    """

    expires_at: int
    session_id: str
    token: str
    user_id: str | None
    moved_events: int | Unset = 0
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        expires_at = self.expires_at

        session_id = self.session_id

        token = self.token

        user_id: str | None
        user_id = self.user_id

        moved_events = self.moved_events

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "expires_at": expires_at,
                "session_id": session_id,
                "token": token,
                "user_id": user_id,
            }
        )
        if moved_events is not UNSET:
            field_dict["moved_events"] = moved_events

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        d = dict(src_dict)
        expires_at = d.pop("expires_at")

        session_id = d.pop("session_id")

        token = d.pop("token")

        def _parse_user_id(data: object) -> str | None:
            if data is None:
                return data
            return cast(None | str, data)

        user_id = _parse_user_id(d.pop("user_id"))

        moved_events = d.pop("moved_events", UNSET)

        session_response = cls(
            expires_at=expires_at,
            session_id=session_id,
            token=token,
            user_id=user_id,
            moved_events=moved_events,
        )

        session_response.additional_properties = d
        return session_response

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
