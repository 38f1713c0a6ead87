from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar, cast

from attrs import define as _attrs_define
from attrs import field as _attrs_field

from ..types import UNSET, Unset

if TYPE_CHECKING:
    from ..models.rule_entry import RuleEntry


T = TypeVar("T", bound="RulesResponse")


@_attrs_define
class RulesResponse:
    """
    Attributes:
        attributes (list[str]): of products, that where may name
        rules (list[RuleEntry]): in the order that conflicts are resolved by
        user_attributes (list[str]): of the shopper, that segment may name
        numbers (list[str] | Unset): of products, that an objective may be by
    """

    attributes: list[str]
    rules: list[RuleEntry]
    user_attributes: list[str]
    numbers: list[str] | Unset = UNSET
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        attributes = self.attributes

        rules = []
        for rules_item_data in self.rules:
            rules_item = rules_item_data.to_dict()
            rules.append(rules_item)

        user_attributes = self.user_attributes

        numbers: list[str] | Unset = UNSET
        if not isinstance(self.numbers, Unset):
            numbers = self.numbers

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "attributes": attributes,
                "rules": rules,
                "user_attributes": user_attributes,
            }
        )
        if numbers is not UNSET:
            field_dict["numbers"] = numbers

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        from ..models.rule_entry import RuleEntry

        d = dict(src_dict)
        attributes = cast(list[str], d.pop("attributes"))

        rules = []
        _rules = d.pop("rules")
        for rules_item_data in _rules:
            rules_item = RuleEntry.from_dict(rules_item_data)

            rules.append(rules_item)

        user_attributes = cast(list[str], d.pop("user_attributes"))

        numbers = cast(list[str], d.pop("numbers", UNSET))

        rules_response = cls(
            attributes=attributes,
            rules=rules,
            user_attributes=user_attributes,
            numbers=numbers,
        )

        rules_response.additional_properties = d
        return rules_response

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
