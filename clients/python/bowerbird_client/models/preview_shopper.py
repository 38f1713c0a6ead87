from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar, cast

from attrs import define as _attrs_define

from ..types import UNSET, Unset

T = TypeVar("T", bound="PreviewShopper")


@_attrs_define
class PreviewShopper:
    """
    Attributes:
        recent (list[str] | Unset):
        session_id (None | str | Unset):
        user_id (None | str | Unset):
    """

    recent: list[str] | Unset = UNSET
    session_id: str | Unset | None = UNSET
    user_id: str | Unset | None = UNSET

    def to_dict(self) -> dict[str, Any]:
        recent: list[str] | Unset = UNSET
        if not isinstance(self.recent, Unset):
            recent = self.recent

        session_id: str | Unset | None
        if isinstance(self.session_id, Unset):
            session_id = UNSET
        else:
            session_id = self.session_id

        user_id: str | Unset | None
        if isinstance(self.user_id, Unset):
            user_id = UNSET
        else:
            user_id = self.user_id

        field_dict: dict[str, Any] = {}

        field_dict.update({})
        if recent is not UNSET:
            field_dict["recent"] = recent
        if session_id is not UNSET:
            field_dict["session_id"] = session_id
        if user_id is not UNSET:
            field_dict["user_id"] = user_id

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        d = dict(src_dict)
        recent = cast(list[str], d.pop("recent", UNSET))

        def _parse_session_id(data: object) -> str | Unset | None:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(None | str | Unset, data)

        session_id = _parse_session_id(d.pop("session_id", UNSET))

        def _parse_user_id(data: object) -> str | Unset | None:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(None | str | Unset, data)

        user_id = _parse_user_id(d.pop("user_id", UNSET))

        preview_shopper = cls(
            recent=recent,
            session_id=session_id,
            user_id=user_id,
        )

        return preview_shopper
