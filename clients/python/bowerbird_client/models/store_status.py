from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar, cast

from attrs import define as _attrs_define
from attrs import field as _attrs_field

if TYPE_CHECKING:
    from ..models.store_status_dropped import StoreStatusDropped


T = TypeVar("T", bound="StoreStatus")


@_attrs_define
class StoreStatus:
    """State of the event store, as this worker sees it.

    Attributes:
        bytes_ (int): its size when it was last measured; of PostgreSQL an estimate
        dropped (StoreStatusDropped): impressions shown but not kept, by reason
        impressions_removed (int): by retention since this worker began; see docs
        note (None | str): why the traffic is not up to date; null: it is
        problem (None | str): why impressions or events are not kept; null: they are
        reachable (bool):
    """

    bytes_: int
    dropped: StoreStatusDropped
    impressions_removed: int
    note: str | None
    problem: str | None
    reachable: bool
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        bytes_ = self.bytes_

        dropped = self.dropped.to_dict()

        impressions_removed = self.impressions_removed

        note: str | None
        note = self.note

        problem: str | None
        problem = self.problem

        reachable = self.reachable

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "bytes": bytes_,
                "dropped": dropped,
                "impressions_removed": impressions_removed,
                "note": note,
                "problem": problem,
                "reachable": reachable,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        from ..models.store_status_dropped import StoreStatusDropped

        d = dict(src_dict)
        bytes_ = d.pop("bytes")

        dropped = StoreStatusDropped.from_dict(d.pop("dropped"))

        impressions_removed = d.pop("impressions_removed")

        def _parse_note(data: object) -> str | None:
            if data is None:
                return data
            return cast(None | str, data)

        note = _parse_note(d.pop("note"))

        def _parse_problem(data: object) -> str | None:
            if data is None:
                return data
            return cast(None | str, data)

        problem = _parse_problem(d.pop("problem"))

        reachable = d.pop("reachable")

        store_status = cls(
            bytes_=bytes_,
            dropped=dropped,
            impressions_removed=impressions_removed,
            note=note,
            problem=problem,
            reachable=reachable,
        )

        store_status.additional_properties = d
        return store_status

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
