from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar, cast

from attrs import define as _attrs_define
from attrs import field as _attrs_field

T = TypeVar("T", bound="ErasedPlace")


@_attrs_define
class ErasedPlace:
    """
    Attributes:
        place (str):
        rows (int | None): rows erased there; null: not counted
        state (str): erased, at the next training, nothing kept, not erased, or the shop's own files: remove it there
        todo (str): what remains to be done; empty: nothing
    """

    place: str
    rows: int | None
    state: str
    todo: str
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        place = self.place

        rows: int | None
        rows = self.rows

        state = self.state

        todo = self.todo

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "place": place,
                "rows": rows,
                "state": state,
                "todo": todo,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        d = dict(src_dict)
        place = d.pop("place")

        def _parse_rows(data: object) -> int | None:
            if data is None:
                return data
            return cast(int | None, data)

        rows = _parse_rows(d.pop("rows"))

        state = d.pop("state")

        todo = d.pop("todo")

        erased_place = cls(
            place=place,
            rows=rows,
            state=state,
            todo=todo,
        )

        erased_place.additional_properties = d
        return erased_place

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
