from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar, cast

from attrs import define as _attrs_define

from ..types import UNSET, Unset

T = TypeVar("T", bound="RerankRequest")


@_attrs_define
class RerankRequest:
    """A given list of items, to be put into the shopper's order.

    Attributes:
        item_ids (list[str]):
        recent (list[str] | Unset):
        session_id (None | str | Unset):
        surface (None | str | Unset): place of the shop, such as search; for the outcomes by surface
        user_id (None | str | Unset):
    """

    item_ids: list[str]
    recent: list[str] | Unset = UNSET
    session_id: str | Unset | None = UNSET
    surface: str | Unset | None = UNSET
    user_id: str | Unset | None = UNSET

    def to_dict(self) -> dict[str, Any]:
        item_ids = self.item_ids

        recent: list[str] | Unset = UNSET
        if not isinstance(self.recent, Unset):
            recent = self.recent

        session_id: str | Unset | None
        if isinstance(self.session_id, Unset):
            session_id = UNSET
        else:
            session_id = self.session_id

        surface: str | Unset | None
        if isinstance(self.surface, Unset):
            surface = UNSET
        else:
            surface = self.surface

        user_id: str | Unset | None
        if isinstance(self.user_id, Unset):
            user_id = UNSET
        else:
            user_id = self.user_id

        field_dict: dict[str, Any] = {}

        field_dict.update(
            {
                "item_ids": item_ids,
            }
        )
        if recent is not UNSET:
            field_dict["recent"] = recent
        if session_id is not UNSET:
            field_dict["session_id"] = session_id
        if surface is not UNSET:
            field_dict["surface"] = surface
        if user_id is not UNSET:
            field_dict["user_id"] = user_id

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        d = dict(src_dict)
        item_ids = cast(list[str], d.pop("item_ids"))

        recent = cast(list[str], d.pop("recent", UNSET))

        def _parse_session_id(data: object) -> str | Unset | None:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(None | str | Unset, data)

        session_id = _parse_session_id(d.pop("session_id", UNSET))

        def _parse_surface(data: object) -> str | Unset | None:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(None | str | Unset, data)

        surface = _parse_surface(d.pop("surface", UNSET))

        def _parse_user_id(data: object) -> str | Unset | None:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(None | str | Unset, data)

        user_id = _parse_user_id(d.pop("user_id", UNSET))

        rerank_request = cls(
            item_ids=item_ids,
            recent=recent,
            session_id=session_id,
            surface=surface,
            user_id=user_id,
        )

        return rerank_request
