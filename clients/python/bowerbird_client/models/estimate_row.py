from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar, cast

from attrs import define as _attrs_define
from attrs import field as _attrs_field

if TYPE_CHECKING:
    from ..models.change_estimate import ChangeEstimate
    from ..models.gain_estimate import GainEstimate


T = TypeVar("T", bound="EstimateRow")


@_attrs_define
class EstimateRow:
    """
    Attributes:
        ndcg (float | None): of purchases since the model's training data
        ndcg_change (ChangeEstimate | None): the price; null in the first row
        purchases (GainEstimate): What a list earns more than before, estimated off-policy from the logged lists.
        shown (float | None): mean of the attribute over the products of the lists
        value (GainEstimate): What a list earns more than before, estimated off-policy from the logged lists.
        weight (float | None): of the objective; null: as the drafts say
    """

    ndcg: float | None
    ndcg_change: ChangeEstimate | None
    purchases: GainEstimate
    shown: float | None
    value: GainEstimate
    weight: float | None
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        from ..models.change_estimate import ChangeEstimate

        ndcg: float | None
        ndcg = self.ndcg

        ndcg_change: dict[str, Any] | None
        if isinstance(self.ndcg_change, ChangeEstimate):
            ndcg_change = self.ndcg_change.to_dict()
        else:
            ndcg_change = self.ndcg_change

        purchases = self.purchases.to_dict()

        shown: float | None
        shown = self.shown

        value = self.value.to_dict()

        weight: float | None
        weight = self.weight

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "ndcg": ndcg,
                "ndcg_change": ndcg_change,
                "purchases": purchases,
                "shown": shown,
                "value": value,
                "weight": weight,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        from ..models.change_estimate import ChangeEstimate
        from ..models.gain_estimate import GainEstimate

        d = dict(src_dict)

        def _parse_ndcg(data: object) -> float | None:
            if data is None:
                return data
            return cast(float | None, data)

        ndcg = _parse_ndcg(d.pop("ndcg"))

        def _parse_ndcg_change(data: object) -> ChangeEstimate | None:
            if data is None:
                return data
            try:
                if not isinstance(data, dict):
                    raise TypeError()
                ndcg_change_type_0 = ChangeEstimate.from_dict(data)

                return ndcg_change_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(ChangeEstimate | None, data)

        ndcg_change = _parse_ndcg_change(d.pop("ndcg_change"))

        purchases = GainEstimate.from_dict(d.pop("purchases"))

        def _parse_shown(data: object) -> float | None:
            if data is None:
                return data
            return cast(float | None, data)

        shown = _parse_shown(d.pop("shown"))

        value = GainEstimate.from_dict(d.pop("value"))

        def _parse_weight(data: object) -> float | None:
            if data is None:
                return data
            return cast(float | None, data)

        weight = _parse_weight(d.pop("weight"))

        estimate_row = cls(
            ndcg=ndcg,
            ndcg_change=ndcg_change,
            purchases=purchases,
            shown=shown,
            value=value,
            weight=weight,
        )

        estimate_row.additional_properties = d
        return estimate_row

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
