from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from attrs import define as _attrs_define
from attrs import field as _attrs_field

if TYPE_CHECKING:
    from ..models.timeline_entry_evidence import TimelineEntryEvidence


T = TypeVar("T", bound="TimelineEntry")


@_attrs_define
class TimelineEntry:
    """Something that happened to the shop's models or data.

    Attributes:
        at (datetime.datetime):
        by (str): the part that acted, or operator
        evidence (TimelineEntryEvidence):
        id (str):
        kind (str):
        text (str): one sentence
    """

    at: datetime.datetime
    by: str
    evidence: TimelineEntryEvidence
    id: str
    kind: str
    text: str
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        at = self.at.isoformat()

        by = self.by

        evidence = self.evidence.to_dict()

        id = self.id

        kind = self.kind

        text = self.text

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "at": at,
                "by": by,
                "evidence": evidence,
                "id": id,
                "kind": kind,
                "text": text,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        from ..models.timeline_entry_evidence import TimelineEntryEvidence

        d = dict(src_dict)
        at = datetime.datetime.fromisoformat(d.pop("at"))

        by = d.pop("by")

        evidence = TimelineEntryEvidence.from_dict(d.pop("evidence"))

        id = d.pop("id")

        kind = d.pop("kind")

        text = d.pop("text")

        timeline_entry = cls(
            at=at,
            by=by,
            evidence=evidence,
            id=id,
            kind=kind,
            text=text,
        )

        timeline_entry.additional_properties = d
        return timeline_entry

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
