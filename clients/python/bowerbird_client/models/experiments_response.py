from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar, cast

from attrs import define as _attrs_define
from attrs import field as _attrs_field

from ..types import UNSET, Unset

if TYPE_CHECKING:
    from ..models.experiments_response_experiments_item import ExperimentsResponseExperimentsItem
    from ..models.experiments_response_uplift_type_0 import ExperimentsResponseUpliftType0


T = TypeVar("T", bound="ExperimentsResponse")


@_attrs_define
class ExperimentsResponse:
    """
    Attributes:
        experiments (list[ExperimentsResponseExperimentsItem]): the running one first: arms with rates and intervals,
            difference, verdict
        note (None | str | Unset): why these are not up to date; null: they are
        uplift (ExperimentsResponseUpliftType0 | None | Unset): what recommendations earn against popular products:
            visitors, and the difference in conversion and revenue with always-valid intervals; null: not measured
    """

    experiments: list[ExperimentsResponseExperimentsItem]
    note: str | Unset | None = UNSET
    uplift: ExperimentsResponseUpliftType0 | Unset | None = UNSET
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        from ..models.experiments_response_uplift_type_0 import ExperimentsResponseUpliftType0

        experiments = []
        for experiments_item_data in self.experiments:
            experiments_item = experiments_item_data.to_dict()
            experiments.append(experiments_item)

        note: str | Unset | None
        if isinstance(self.note, Unset):
            note = UNSET
        else:
            note = self.note

        uplift: dict[str, Any] | Unset | None
        if isinstance(self.uplift, Unset):
            uplift = UNSET
        elif isinstance(self.uplift, ExperimentsResponseUpliftType0):
            uplift = self.uplift.to_dict()
        else:
            uplift = self.uplift

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "experiments": experiments,
            }
        )
        if note is not UNSET:
            field_dict["note"] = note
        if uplift is not UNSET:
            field_dict["uplift"] = uplift

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        from ..models.experiments_response_experiments_item import (
            ExperimentsResponseExperimentsItem,
        )
        from ..models.experiments_response_uplift_type_0 import ExperimentsResponseUpliftType0

        d = dict(src_dict)
        experiments = []
        _experiments = d.pop("experiments")
        for experiments_item_data in _experiments:
            experiments_item = ExperimentsResponseExperimentsItem.from_dict(experiments_item_data)

            experiments.append(experiments_item)

        def _parse_note(data: object) -> str | Unset | None:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(None | str | Unset, data)

        note = _parse_note(d.pop("note", UNSET))

        def _parse_uplift(data: object) -> ExperimentsResponseUpliftType0 | Unset | None:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            try:
                if not isinstance(data, dict):
                    raise TypeError()
                uplift_type_0 = ExperimentsResponseUpliftType0.from_dict(data)

                return uplift_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(ExperimentsResponseUpliftType0 | None | Unset, data)

        uplift = _parse_uplift(d.pop("uplift", UNSET))

        experiments_response = cls(
            experiments=experiments,
            note=note,
            uplift=uplift,
        )

        experiments_response.additional_properties = d
        return experiments_response

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
