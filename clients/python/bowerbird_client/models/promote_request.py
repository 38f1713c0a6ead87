from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from attrs import define as _attrs_define

from ..types import UNSET, Unset

T = TypeVar("T", bound="PromoteRequest")


@_attrs_define
class PromoteRequest:
    """
    Attributes:
        version (str):
        now (bool | Unset): serve all shoppers at once, without a canary Default: False.
    """

    version: str
    now: bool | Unset = False

    def to_dict(self) -> dict[str, Any]:
        version = self.version

        now = self.now

        field_dict: dict[str, Any] = {}

        field_dict.update(
            {
                "version": version,
            }
        )
        if now is not UNSET:
            field_dict["now"] = now

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        d = dict(src_dict)
        version = d.pop("version")

        now = d.pop("now", UNSET)

        promote_request = cls(
            version=version,
            now=now,
        )

        return promote_request
