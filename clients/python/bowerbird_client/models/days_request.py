from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import Any, TypeVar

from attrs import define as _attrs_define

from ..types import UNSET, Unset

T = TypeVar("T", bound="DaysRequest")


@_attrs_define
class DaysRequest:
    """
    Attributes:
        first (datetime.date): first day, UTC
        last (datetime.date): last day, included
        reason (str | Unset):  Default: 'by the operator'.
    """

    first: datetime.date
    last: datetime.date
    reason: str | Unset = "by the operator"

    def to_dict(self) -> dict[str, Any]:
        first = self.first.isoformat()

        last = self.last.isoformat()

        reason = self.reason

        field_dict: dict[str, Any] = {}

        field_dict.update(
            {
                "first": first,
                "last": last,
            }
        )
        if reason is not UNSET:
            field_dict["reason"] = reason

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        d = dict(src_dict)
        first = datetime.date.fromisoformat(d.pop("first"))

        last = datetime.date.fromisoformat(d.pop("last"))

        reason = d.pop("reason", UNSET)

        days_request = cls(
            first=first,
            last=last,
            reason=reason,
        )

        return days_request
