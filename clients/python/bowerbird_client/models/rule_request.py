from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar, cast

from attrs import define as _attrs_define

from ..types import UNSET, Unset

if TYPE_CHECKING:
    from ..models.rule import Rule


T = TypeVar("T", bound="RuleRequest")


@_attrs_define
class RuleRequest:
    """A new rule, or the whole of a changed one.

    Attributes:
        rule (Rule): A merchandising rule. All times are UTC.
        author (str | Unset): who changes it, for the audit trail; not verified Default: ''.
        note (str | Unset): why, for the audit trail Default: ''.
        version (int | None | Unset): of the rule that is changed, 0: it is new; 409 if it was changed since. null:
            whatever there is
    """

    rule: Rule
    author: str | Unset = ""
    note: str | Unset = ""
    version: int | Unset | None = UNSET

    def to_dict(self) -> dict[str, Any]:
        rule = self.rule.to_dict()

        author = self.author

        note = self.note

        version: int | Unset | None
        if isinstance(self.version, Unset):
            version = UNSET
        else:
            version = self.version

        field_dict: dict[str, Any] = {}

        field_dict.update(
            {
                "rule": rule,
            }
        )
        if author is not UNSET:
            field_dict["author"] = author
        if note is not UNSET:
            field_dict["note"] = note
        if version is not UNSET:
            field_dict["version"] = version

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        from ..models.rule import Rule

        d = dict(src_dict)
        rule = Rule.from_dict(d.pop("rule"))

        author = d.pop("author", UNSET)

        note = d.pop("note", UNSET)

        def _parse_version(data: object) -> int | Unset | None:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(int | None | Unset, data)

        version = _parse_version(d.pop("version", UNSET))

        rule_request = cls(
            rule=rule,
            author=author,
            note=note,
            version=version,
        )

        return rule_request
