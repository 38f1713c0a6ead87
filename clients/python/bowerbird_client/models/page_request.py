from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar, cast

from attrs import define as _attrs_define

from ..types import UNSET, Unset

if TYPE_CHECKING:
    from ..models.shelf import Shelf


T = TypeVar("T", bound="PageRequest")


@_attrs_define
class PageRequest:
    """Several shelves of one page, which have no product in common.

    Attributes:
        shelves (list[Shelf]): in the order of their rank: a product is on the first one that has it
        reasons (bool | Unset):  Default: True.
        recent (list[str] | Unset):
        session_id (None | str | Unset):
        user_id (None | str | Unset):
    """

    shelves: list[Shelf]
    reasons: bool | Unset = True
    recent: list[str] | Unset = UNSET
    session_id: str | Unset | None = UNSET
    user_id: str | Unset | None = UNSET

    def to_dict(self) -> dict[str, Any]:
        shelves = []
        for shelves_item_data in self.shelves:
            shelves_item = shelves_item_data.to_dict()
            shelves.append(shelves_item)

        reasons = self.reasons

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

        field_dict.update(
            {
                "shelves": shelves,
            }
        )
        if reasons is not UNSET:
            field_dict["reasons"] = reasons
        if recent is not UNSET:
            field_dict["recent"] = recent
        if session_id is not UNSET:
            field_dict["session_id"] = session_id
        if user_id is not UNSET:
            field_dict["user_id"] = user_id

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        from ..models.shelf import Shelf

        d = dict(src_dict)
        shelves = []
        _shelves = d.pop("shelves")
        for shelves_item_data in _shelves:
            shelves_item = Shelf.from_dict(shelves_item_data)

            shelves.append(shelves_item)

        reasons = d.pop("reasons", UNSET)

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

        page_request = cls(
            shelves=shelves,
            reasons=reasons,
            recent=recent,
            session_id=session_id,
            user_id=user_id,
        )

        return page_request
