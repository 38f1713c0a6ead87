from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar, cast

from attrs import define as _attrs_define
from attrs import field as _attrs_field

from ..types import UNSET, Unset

if TYPE_CHECKING:
    from ..models.rule import Rule


T = TypeVar("T", bound="RuleEntry")


@_attrs_define
class RuleEntry:
    """A rule as it is stored.

    Attributes:
        author (str): as the change said; not verified
        changed_at (datetime.datetime):
        note (str):
        revision (int): of all rules; impressions name it
        role (str): of the key that changed it: merchandiser or operator
        rule (None | Rule): null: deleted, or no longer readable
        rule_id (str):
        version (int): of this rule, from 1
        problem (str | Unset): why it does not apply, such as an attribute that is no longer declared Default: ''.
    """

    author: str
    changed_at: datetime.datetime
    note: str
    revision: int
    role: str
    rule: Rule | None
    rule_id: str
    version: int
    problem: str | Unset = ""
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        from ..models.rule import Rule

        author = self.author

        changed_at = self.changed_at.isoformat()

        note = self.note

        revision = self.revision

        role = self.role

        rule: dict[str, Any] | None
        if isinstance(self.rule, Rule):
            rule = self.rule.to_dict()
        else:
            rule = self.rule

        rule_id = self.rule_id

        version = self.version

        problem = self.problem

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "author": author,
                "changed_at": changed_at,
                "note": note,
                "revision": revision,
                "role": role,
                "rule": rule,
                "rule_id": rule_id,
                "version": version,
            }
        )
        if problem is not UNSET:
            field_dict["problem"] = problem

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        from ..models.rule import Rule

        d = dict(src_dict)
        author = d.pop("author")

        changed_at = datetime.datetime.fromisoformat(d.pop("changed_at"))

        note = d.pop("note")

        revision = d.pop("revision")

        role = d.pop("role")

        def _parse_rule(data: object) -> Rule | None:
            if data is None:
                return data
            try:
                if not isinstance(data, dict):
                    raise TypeError()
                rule_type_0 = Rule.from_dict(data)

                return rule_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(None | Rule, data)

        rule = _parse_rule(d.pop("rule"))

        rule_id = d.pop("rule_id")

        version = d.pop("version")

        problem = d.pop("problem", UNSET)

        rule_entry = cls(
            author=author,
            changed_at=changed_at,
            note=note,
            revision=revision,
            role=role,
            rule=rule,
            rule_id=rule_id,
            version=version,
            problem=problem,
        )

        rule_entry.additional_properties = d
        return rule_entry

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
