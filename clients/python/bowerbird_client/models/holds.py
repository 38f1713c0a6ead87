from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar, cast

from attrs import define as _attrs_define
from attrs import field as _attrs_field

from ..types import UNSET, Unset

if TYPE_CHECKING:
    from ..models.holds_days_item import HoldsDaysItem
    from ..models.holds_promotions_type_0 import HoldsPromotionsType0


T = TypeVar("T", bound="Holds")


@_attrs_define
class Holds:
    """What the operator or the monitoring holds back.

    Attributes:
        days (list[HoldsDaysItem] | Unset): the days that nothing is learned from: first, last, reason, by
        note (None | str | Unset): why the held days are not known; null: they are
        promotions (HoldsPromotionsType0 | None | Unset): since when promotions are held, and the reason; null: they are
            not
    """

    days: list[HoldsDaysItem] | Unset = UNSET
    note: str | Unset | None = UNSET
    promotions: HoldsPromotionsType0 | Unset | None = UNSET
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        from ..models.holds_promotions_type_0 import HoldsPromotionsType0

        days: list[dict[str, Any]] | Unset = UNSET
        if not isinstance(self.days, Unset):
            days = []
            for days_item_data in self.days:
                days_item = days_item_data.to_dict()
                days.append(days_item)

        note: str | Unset | None
        if isinstance(self.note, Unset):
            note = UNSET
        else:
            note = self.note

        promotions: dict[str, Any] | Unset | None
        if isinstance(self.promotions, Unset):
            promotions = UNSET
        elif isinstance(self.promotions, HoldsPromotionsType0):
            promotions = self.promotions.to_dict()
        else:
            promotions = self.promotions

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update({})
        if days is not UNSET:
            field_dict["days"] = days
        if note is not UNSET:
            field_dict["note"] = note
        if promotions is not UNSET:
            field_dict["promotions"] = promotions

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        from ..models.holds_days_item import HoldsDaysItem
        from ..models.holds_promotions_type_0 import HoldsPromotionsType0

        d = dict(src_dict)
        _days = d.pop("days", UNSET)
        days: list[HoldsDaysItem] | Unset = UNSET
        if _days is not UNSET:
            days = []
            for days_item_data in _days:
                days_item = HoldsDaysItem.from_dict(days_item_data)

                days.append(days_item)

        def _parse_note(data: object) -> str | Unset | None:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(None | str | Unset, data)

        note = _parse_note(d.pop("note", UNSET))

        def _parse_promotions(data: object) -> HoldsPromotionsType0 | Unset | None:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            try:
                if not isinstance(data, dict):
                    raise TypeError()
                promotions_type_0 = HoldsPromotionsType0.from_dict(data)

                return promotions_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(HoldsPromotionsType0 | None | Unset, data)

        promotions = _parse_promotions(d.pop("promotions", UNSET))

        holds = cls(
            days=days,
            note=note,
            promotions=promotions,
        )

        holds.additional_properties = d
        return holds

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
