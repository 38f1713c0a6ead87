from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar, cast

from attrs import define as _attrs_define

from ..types import UNSET, Unset

if TYPE_CHECKING:
    from ..models.shelf_attributes import ShelfAttributes


T = TypeVar("T", bound="Shelf")


@_attrs_define
class Shelf:
    """One shelf of a page: the fields of ``RecommendRequest`` that are its own.

    Attributes:
        surface (str): by its name in serve.surfaces
        attributes (ShelfAttributes | Unset): by the names that ingest.items of params.yaml declares: of a category or
            set a value, or several of which a product has one, of a number or date {min, max}; products without the
            attribute do not meet it
        available_only (bool | Unset):  Default: True.
        category (None | str | Unset): only products of this category, at any level; case does not matter
        country (None | str | Unset):
        exclude (list[str] | Unset):
        filter_ (None | str | Unset):
        k (int | Unset):  Default: 10.
        max_price (float | None | Unset):
        min_price (float | None | Unset): products without a price do not meet it
        page_items (list[str] | Unset):
    """

    surface: str
    attributes: ShelfAttributes | Unset = UNSET
    available_only: bool | Unset = True
    category: str | Unset | None = UNSET
    country: str | Unset | None = UNSET
    exclude: list[str] | Unset = UNSET
    filter_: str | Unset | None = UNSET
    k: int | Unset = 10
    max_price: float | Unset | None = UNSET
    min_price: float | Unset | None = UNSET
    page_items: list[str] | Unset = UNSET

    def to_dict(self) -> dict[str, Any]:
        surface = self.surface

        attributes: dict[str, Any] | Unset = UNSET
        if not isinstance(self.attributes, Unset):
            attributes = self.attributes.to_dict()

        available_only = self.available_only

        category: str | Unset | None
        if isinstance(self.category, Unset):
            category = UNSET
        else:
            category = self.category

        country: str | Unset | None
        if isinstance(self.country, Unset):
            country = UNSET
        else:
            country = self.country

        exclude: list[str] | Unset = UNSET
        if not isinstance(self.exclude, Unset):
            exclude = self.exclude

        filter_: str | Unset | None
        if isinstance(self.filter_, Unset):
            filter_ = UNSET
        else:
            filter_ = self.filter_

        k = self.k

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

        page_items: list[str] | Unset = UNSET
        if not isinstance(self.page_items, Unset):
            page_items = self.page_items

        field_dict: dict[str, Any] = {}

        field_dict.update(
            {
                "surface": surface,
            }
        )
        if attributes is not UNSET:
            field_dict["attributes"] = attributes
        if available_only is not UNSET:
            field_dict["available_only"] = available_only
        if category is not UNSET:
            field_dict["category"] = category
        if country is not UNSET:
            field_dict["country"] = country
        if exclude is not UNSET:
            field_dict["exclude"] = exclude
        if filter_ is not UNSET:
            field_dict["filter"] = filter_
        if k is not UNSET:
            field_dict["k"] = k
        if max_price is not UNSET:
            field_dict["max_price"] = max_price
        if min_price is not UNSET:
            field_dict["min_price"] = min_price
        if page_items is not UNSET:
            field_dict["page_items"] = page_items

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        from ..models.shelf_attributes import ShelfAttributes

        d = dict(src_dict)
        surface = d.pop("surface")

        _attributes = d.pop("attributes", UNSET)
        attributes: ShelfAttributes | Unset
        if isinstance(_attributes, Unset):
            attributes = UNSET
        else:
            attributes = ShelfAttributes.from_dict(_attributes)

        available_only = d.pop("available_only", UNSET)

        def _parse_category(data: object) -> str | Unset | None:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(None | str | Unset, data)

        category = _parse_category(d.pop("category", UNSET))

        def _parse_country(data: object) -> str | Unset | None:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(None | str | Unset, data)

        country = _parse_country(d.pop("country", UNSET))

        exclude = cast(list[str], d.pop("exclude", UNSET))

        def _parse_filter_(data: object) -> str | Unset | None:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(None | str | Unset, data)

        filter_ = _parse_filter_(d.pop("filter", UNSET))

        k = d.pop("k", UNSET)

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

        page_items = cast(list[str], d.pop("page_items", UNSET))

        shelf = cls(
            surface=surface,
            attributes=attributes,
            available_only=available_only,
            category=category,
            country=country,
            exclude=exclude,
            filter_=filter_,
            k=k,
            max_price=max_price,
            min_price=min_price,
            page_items=page_items,
        )

        return shelf
