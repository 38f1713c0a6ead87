from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar, cast

from attrs import define as _attrs_define

from ..types import UNSET, Unset

if TYPE_CHECKING:
    from ..models.facets_request_attributes import FacetsRequestAttributes


T = TypeVar("T", bound="FacetsRequest")


@_attrs_define
class FacetsRequest:
    """The filters that products must meet to be counted, as those of search.

    Attributes:
        attributes (FacetsRequestAttributes | Unset): by the names that ingest.items of params.yaml declares: of a
            category or set a value, or several of which a product has one, of a number or date {min, max}; products without
            the attribute do not meet it
        available_only (bool | Unset):  Default: True.
        category (None | str | Unset): only products of this category, at any level; case does not matter
        max_price (float | None | Unset):
        min_price (float | None | Unset): products without a price do not meet it
    """

    attributes: FacetsRequestAttributes | Unset = UNSET
    available_only: bool | Unset = True
    category: str | Unset | None = UNSET
    max_price: float | Unset | None = UNSET
    min_price: float | Unset | None = UNSET

    def to_dict(self) -> dict[str, Any]:
        attributes: dict[str, Any] | Unset = UNSET
        if not isinstance(self.attributes, Unset):
            attributes = self.attributes.to_dict()

        available_only = self.available_only

        category: str | Unset | None
        if isinstance(self.category, Unset):
            category = UNSET
        else:
            category = self.category

        max_price: float | Unset | None
        if isinstance(self.max_price, Unset):
            max_price = UNSET
        else:
            max_price = self.max_price

        min_price: float | Unset | None
        if isinstance(self.min_price, Unset):
            min_price = UNSET
        else:
            min_price = self.min_price

        field_dict: dict[str, Any] = {}

        field_dict.update({})
        if attributes is not UNSET:
            field_dict["attributes"] = attributes
        if available_only is not UNSET:
            field_dict["available_only"] = available_only
        if category is not UNSET:
            field_dict["category"] = category
        if max_price is not UNSET:
            field_dict["max_price"] = max_price
        if min_price is not UNSET:
            field_dict["min_price"] = min_price

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        from ..models.facets_request_attributes import FacetsRequestAttributes

        d = dict(src_dict)
        _attributes = d.pop("attributes", UNSET)
        attributes: FacetsRequestAttributes | Unset
        if isinstance(_attributes, Unset):
            attributes = UNSET
        else:
            attributes = FacetsRequestAttributes.from_dict(_attributes)

        available_only = d.pop("available_only", UNSET)

        def _parse_category(data: object) -> str | Unset | None:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(None | str | Unset, data)

        category = _parse_category(d.pop("category", UNSET))

        def _parse_max_price(data: object) -> float | Unset | None:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(float | None | Unset, data)

        max_price = _parse_max_price(d.pop("max_price", UNSET))

        def _parse_min_price(data: object) -> float | Unset | None:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(float | None | Unset, data)

        min_price = _parse_min_price(d.pop("min_price", UNSET))

        facets_request = cls(
            attributes=attributes,
            available_only=available_only,
            category=category,
            max_price=max_price,
            min_price=min_price,
        )

        return facets_request
