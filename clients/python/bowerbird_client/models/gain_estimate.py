from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar, cast

from attrs import define as _attrs_define
from attrs import field as _attrs_field

if TYPE_CHECKING:
    from ..models.change_estimate import ChangeEstimate


T = TypeVar("T", bound="GainEstimate")


@_attrs_define
class GainEstimate:
    """What a list earns more than before, estimated off-policy from the logged lists.

    Attributes:
        doubly_robust (ChangeEstimate | None): by the other estimator, to compare
        effective (float): effective number of logged lists
        gain (ChangeEstimate | None): self-normalised; null: reason says why
        reason (str):
        support (float): share of what the lists would show that the log shows
    """

    doubly_robust: ChangeEstimate | None
    effective: float
    gain: ChangeEstimate | None
    reason: str
    support: float
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        from ..models.change_estimate import ChangeEstimate

        doubly_robust: dict[str, Any] | None
        if isinstance(self.doubly_robust, ChangeEstimate):
            doubly_robust = self.doubly_robust.to_dict()
        else:
            doubly_robust = self.doubly_robust

        effective = self.effective

        gain: dict[str, Any] | None
        if isinstance(self.gain, ChangeEstimate):
            gain = self.gain.to_dict()
        else:
            gain = self.gain

        reason = self.reason

        support = self.support

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "doubly_robust": doubly_robust,
                "effective": effective,
                "gain": gain,
                "reason": reason,
                "support": support,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        from ..models.change_estimate import ChangeEstimate

        d = dict(src_dict)

        def _parse_doubly_robust(data: object) -> ChangeEstimate | None:
            if data is None:
                return data
            try:
                if not isinstance(data, dict):
                    raise TypeError()
                doubly_robust_type_0 = ChangeEstimate.from_dict(data)

                return doubly_robust_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(ChangeEstimate | None, data)

        doubly_robust = _parse_doubly_robust(d.pop("doubly_robust"))

        effective = d.pop("effective")

        def _parse_gain(data: object) -> ChangeEstimate | None:
            if data is None:
                return data
            try:
                if not isinstance(data, dict):
                    raise TypeError()
                gain_type_0 = ChangeEstimate.from_dict(data)

                return gain_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(ChangeEstimate | None, data)

        gain = _parse_gain(d.pop("gain"))

        reason = d.pop("reason")

        support = d.pop("support")

        gain_estimate = cls(
            doubly_robust=doubly_robust,
            effective=effective,
            gain=gain,
            reason=reason,
            support=support,
        )

        gain_estimate.additional_properties = d
        return gain_estimate

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
