from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from attrs import define as _attrs_define

if TYPE_CHECKING:
    from ..models.user_update_attributes import UserUpdateAttributes


T = TypeVar("T", bound="UserUpdate")


@_attrs_define
class UserUpdate:
    """Attributes of a user; those of other names stay.

    Attributes:
        attributes (UserUpdateAttributes): by the names that ingest.users of params.yaml declares: a number, a text, a
            list of texts, or a date of ISO 8601; null: not known
        user_id (str):
    """

    attributes: UserUpdateAttributes
    user_id: str

    def to_dict(self) -> dict[str, Any]:
        attributes = self.attributes.to_dict()

        user_id = self.user_id

        field_dict: dict[str, Any] = {}

        field_dict.update(
            {
                "attributes": attributes,
                "user_id": user_id,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        from ..models.user_update_attributes import UserUpdateAttributes

        d = dict(src_dict)
        attributes = UserUpdateAttributes.from_dict(d.pop("attributes"))

        user_id = d.pop("user_id")

        user_update = cls(
            attributes=attributes,
            user_id=user_id,
        )

        return user_update
