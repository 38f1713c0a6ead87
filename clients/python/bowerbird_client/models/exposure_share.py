from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from attrs import define as _attrs_define
from attrs import field as _attrs_field

T = TypeVar("T", bound="ExposureShare")


@_attrs_define
class ExposureShare:
    """
    Attributes:
        group (str): value of by; empty: the products of items and where
        lists (int): lists counted by this worker: up to a day, at most 20,000
        offset (float): standard deviations of the scores that it moves now
        recent (float): of the newest 1,000 of them
        revision (int): of the rule
        share (float): of their exposure; a place p has 1 / log2(1 + p) of it
    """

    group: str
    lists: int
    offset: float
    recent: float
    revision: int
    share: float
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        group = self.group

        lists = self.lists

        offset = self.offset

        recent = self.recent

        revision = self.revision

        share = self.share

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "group": group,
                "lists": lists,
                "offset": offset,
                "recent": recent,
                "revision": revision,
                "share": share,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        d = dict(src_dict)
        group = d.pop("group")

        lists = d.pop("lists")

        offset = d.pop("offset")

        recent = d.pop("recent")

        revision = d.pop("revision")

        share = d.pop("share")

        exposure_share = cls(
            group=group,
            lists=lists,
            offset=offset,
            recent=recent,
            revision=revision,
            share=share,
        )

        exposure_share.additional_properties = d
        return exposure_share

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
