from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from attrs import define as _attrs_define
from attrs import field as _attrs_field

if TYPE_CHECKING:
    from ..models.estimate_row import EstimateRow


T = TypeVar("T", bound="EstimateResponse")


@_attrs_define
class EstimateResponse:
    """
    Attributes:
        attribute (str):
        lists (int): logged lists that counted for the gains
        reason (str): why there is no NDCG, else empty
        rows (list[EstimateRow]): first the rules in force, with weight 0
        shoppers (int): whose purchases counted for NDCG
    """

    attribute: str
    lists: int
    reason: str
    rows: list[EstimateRow]
    shoppers: int
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        attribute = self.attribute

        lists = self.lists

        reason = self.reason

        rows = []
        for rows_item_data in self.rows:
            rows_item = rows_item_data.to_dict()
            rows.append(rows_item)

        shoppers = self.shoppers

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "attribute": attribute,
                "lists": lists,
                "reason": reason,
                "rows": rows,
                "shoppers": shoppers,
            }
        )

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        from ..models.estimate_row import EstimateRow

        d = dict(src_dict)
        attribute = d.pop("attribute")

        lists = d.pop("lists")

        reason = d.pop("reason")

        rows = []
        _rows = d.pop("rows")
        for rows_item_data in _rows:
            rows_item = EstimateRow.from_dict(rows_item_data)

            rows.append(rows_item)

        shoppers = d.pop("shoppers")

        estimate_response = cls(
            attribute=attribute,
            lists=lists,
            reason=reason,
            rows=rows,
            shoppers=shoppers,
        )

        estimate_response.additional_properties = d
        return estimate_response

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
