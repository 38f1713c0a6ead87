from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar, cast

from attrs import define as _attrs_define
from attrs import field as _attrs_field

from ..types import UNSET, Unset

if TYPE_CHECKING:
    from ..models.model_response_limits import ModelResponseLimits


T = TypeVar("T", bound="ModelResponse")


@_attrs_define
class ModelResponse:
    """
    Attributes:
        candidates (list[str]):
        items (int):
        limits (ModelResponseLimits):
        loaded_at (datetime.datetime):
        trained_until (datetime.datetime):
        users (int):
        version (str):
        last_load_error (None | str | Unset): why a newer champion is not served
    """

    candidates: list[str]
    items: int
    limits: ModelResponseLimits
    loaded_at: datetime.datetime
    trained_until: datetime.datetime
    users: int
    version: str
    last_load_error: str | Unset | None = UNSET
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        candidates = self.candidates

        items = self.items

        limits = self.limits.to_dict()

        loaded_at = self.loaded_at.isoformat()

        trained_until = self.trained_until.isoformat()

        users = self.users

        version = self.version

        last_load_error: str | Unset | None
        if isinstance(self.last_load_error, Unset):
            last_load_error = UNSET
        else:
            last_load_error = self.last_load_error

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "candidates": candidates,
                "items": items,
                "limits": limits,
                "loaded_at": loaded_at,
                "trained_until": trained_until,
                "users": users,
                "version": version,
            }
        )
        if last_load_error is not UNSET:
            field_dict["last_load_error"] = last_load_error

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        from ..models.model_response_limits import ModelResponseLimits

        d = dict(src_dict)
        candidates = cast(list[str], d.pop("candidates"))

        items = d.pop("items")

        limits = ModelResponseLimits.from_dict(d.pop("limits"))

        loaded_at = datetime.datetime.fromisoformat(d.pop("loaded_at"))

        trained_until = datetime.datetime.fromisoformat(d.pop("trained_until"))

        users = d.pop("users")

        version = d.pop("version")

        def _parse_last_load_error(data: object) -> str | Unset | None:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(None | str | Unset, data)

        last_load_error = _parse_last_load_error(d.pop("last_load_error", UNSET))

        model_response = cls(
            candidates=candidates,
            items=items,
            limits=limits,
            loaded_at=loaded_at,
            trained_until=trained_until,
            users=users,
            version=version,
            last_load_error=last_load_error,
        )

        model_response.additional_properties = d
        return model_response

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
