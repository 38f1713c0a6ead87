from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar, cast

from attrs import define as _attrs_define
from attrs import field as _attrs_field

from ..types import UNSET, Unset

if TYPE_CHECKING:
    from ..models.canary_status_decisions_item import CanaryStatusDecisionsItem
    from ..models.canary_status_evidence_type_0 import CanaryStatusEvidenceType0


T = TypeVar("T", bound="CanaryStatus")


@_attrs_define
class CanaryStatus:
    """Which version serves all shoppers, and how the one in its canary does.

    Attributes:
        share (float): of the shoppers, in the canary
        stable (str): the version that serves the shoppers outside the canary
        decisions (list[CanaryStatusDecisionsItem] | Unset): the newest first, with their reasons
        evidence (CanaryStatusEvidenceType0 | None | Unset): hours, shoppers, outcome, lists and seconds of both groups;
            state
        started (datetime.datetime | None | Unset):
        version (None | str | Unset): the version in its canary; null: none runs
    """

    share: float
    stable: str
    decisions: list[CanaryStatusDecisionsItem] | Unset = UNSET
    evidence: CanaryStatusEvidenceType0 | Unset | None = UNSET
    started: datetime.datetime | Unset | None = UNSET
    version: str | Unset | None = UNSET
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        from ..models.canary_status_evidence_type_0 import CanaryStatusEvidenceType0

        share = self.share

        stable = self.stable

        decisions: list[dict[str, Any]] | Unset = UNSET
        if not isinstance(self.decisions, Unset):
            decisions = []
            for decisions_item_data in self.decisions:
                decisions_item = decisions_item_data.to_dict()
                decisions.append(decisions_item)

        evidence: dict[str, Any] | Unset | None
        if isinstance(self.evidence, Unset):
            evidence = UNSET
        elif isinstance(self.evidence, CanaryStatusEvidenceType0):
            evidence = self.evidence.to_dict()
        else:
            evidence = self.evidence

        started: str | Unset | None
        if isinstance(self.started, Unset):
            started = UNSET
        elif isinstance(self.started, datetime.datetime):
            started = self.started.isoformat()
        else:
            started = self.started

        version: str | Unset | None
        if isinstance(self.version, Unset):
            version = UNSET
        else:
            version = self.version

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "share": share,
                "stable": stable,
            }
        )
        if decisions is not UNSET:
            field_dict["decisions"] = decisions
        if evidence is not UNSET:
            field_dict["evidence"] = evidence
        if started is not UNSET:
            field_dict["started"] = started
        if version is not UNSET:
            field_dict["version"] = version

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        from ..models.canary_status_decisions_item import CanaryStatusDecisionsItem
        from ..models.canary_status_evidence_type_0 import CanaryStatusEvidenceType0

        d = dict(src_dict)
        share = d.pop("share")

        stable = d.pop("stable")

        _decisions = d.pop("decisions", UNSET)
        decisions: list[CanaryStatusDecisionsItem] | Unset = UNSET
        if _decisions is not UNSET:
            decisions = []
            for decisions_item_data in _decisions:
                decisions_item = CanaryStatusDecisionsItem.from_dict(decisions_item_data)

                decisions.append(decisions_item)

        def _parse_evidence(data: object) -> CanaryStatusEvidenceType0 | Unset | None:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            try:
                if not isinstance(data, dict):
                    raise TypeError()
                evidence_type_0 = CanaryStatusEvidenceType0.from_dict(data)

                return evidence_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(CanaryStatusEvidenceType0 | None | Unset, data)

        evidence = _parse_evidence(d.pop("evidence", UNSET))

        def _parse_started(data: object) -> datetime.datetime | Unset | None:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            try:
                if not isinstance(data, str):
                    raise TypeError()
                started_type_0 = datetime.datetime.fromisoformat(data)

                return started_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(datetime.datetime | None | Unset, data)

        started = _parse_started(d.pop("started", UNSET))

        def _parse_version(data: object) -> str | Unset | None:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(None | str | Unset, data)

        version = _parse_version(d.pop("version", UNSET))

        canary_status = cls(
            share=share,
            stable=stable,
            decisions=decisions,
            evidence=evidence,
            started=started,
            version=version,
        )

        canary_status.additional_properties = d
        return canary_status

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
