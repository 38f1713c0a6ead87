from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar, cast

from attrs import define as _attrs_define

from ..types import UNSET, Unset

if TYPE_CHECKING:
    from ..models.item_update_attributes_type_0 import ItemUpdateAttributesType0


T = TypeVar("T", bound="ItemUpdate")


@_attrs_define
class ItemUpdate:
    """A new product (with a title at least), or the changed fields of one.

    A field that is left out stays as it is; null clears it: the product then has no such value,
    whatever the shop's files say.

        Attributes:
            item_id (str):
            attributes (ItemUpdateAttributesType0 | None | Unset): by the names that ingest.items of params.yaml declares: a
                number, a text, a list of texts, or a date of ISO 8601; null: not known; null instead of all: none is known
            available (bool | None | Unset):
            brand (None | str | Unset):
            categories (list[str] | None | Unset): the most general first
            currency (None | str | Unset):
            description (None | str | Unset):
            expires_at (datetime.datetime | None | Unset): with time zone: from then on it is gone as after DELETE /items;
                null: never
            image (None | str | Unset): of its picture; an address that begins with https://, http:// or one /, without
                spaces and quotation marks
            price (float | None | Unset):
            title (None | str | Unset):
            url (None | str | Unset): of its page; an address that begins with https://, http:// or one /, without spaces
                and quotation marks
    """

    item_id: str
    attributes: ItemUpdateAttributesType0 | Unset | None = UNSET
    available: bool | Unset | None = UNSET
    brand: str | Unset | None = UNSET
    categories: list[str] | Unset | None = UNSET
    currency: str | Unset | None = UNSET
    description: str | Unset | None = UNSET
    expires_at: datetime.datetime | Unset | None = UNSET
    image: str | Unset | None = UNSET
    price: float | Unset | None = UNSET
    title: str | Unset | None = UNSET
    url: str | Unset | None = UNSET

    def to_dict(self) -> dict[str, Any]:
        from ..models.item_update_attributes_type_0 import ItemUpdateAttributesType0

        item_id = self.item_id

        attributes: dict[str, Any] | Unset | None
        if isinstance(self.attributes, Unset):
            attributes = UNSET
        elif isinstance(self.attributes, ItemUpdateAttributesType0):
            attributes = self.attributes.to_dict()
        else:
            attributes = self.attributes

        available: bool | Unset | None
        if isinstance(self.available, Unset):
            available = UNSET
        else:
            available = self.available

        brand: str | Unset | None
        if isinstance(self.brand, Unset):
            brand = UNSET
        else:
            brand = self.brand

        categories: list[str] | Unset | None
        if isinstance(self.categories, Unset):
            categories = UNSET
        elif isinstance(self.categories, list):
            categories = self.categories

        else:
            categories = self.categories

        currency: str | Unset | None
        if isinstance(self.currency, Unset):
            currency = UNSET
        else:
            currency = self.currency

        description: str | Unset | None
        if isinstance(self.description, Unset):
            description = UNSET
        else:
            description = self.description

        expires_at: str | Unset | None
        if isinstance(self.expires_at, Unset):
            expires_at = UNSET
        elif isinstance(self.expires_at, datetime.datetime):
            expires_at = self.expires_at.isoformat()
        else:
            expires_at = self.expires_at

        image: str | Unset | None
        if isinstance(self.image, Unset):
            image = UNSET
        else:
            image = self.image

        price: float | Unset | None
        if isinstance(self.price, Unset):
            price = UNSET
        else:
            price = self.price

        title: str | Unset | None
        if isinstance(self.title, Unset):
            title = UNSET
        else:
            title = self.title

        url: str | Unset | None
        if isinstance(self.url, Unset):
            url = UNSET
        else:
            url = self.url

        field_dict: dict[str, Any] = {}

        field_dict.update(
            {
                "item_id": item_id,
            }
        )
        if attributes is not UNSET:
            field_dict["attributes"] = attributes
        if available is not UNSET:
            field_dict["available"] = available
        if brand is not UNSET:
            field_dict["brand"] = brand
        if categories is not UNSET:
            field_dict["categories"] = categories
        if currency is not UNSET:
            field_dict["currency"] = currency
        if description is not UNSET:
            field_dict["description"] = description
        if expires_at is not UNSET:
            field_dict["expires_at"] = expires_at
        if image is not UNSET:
            field_dict["image"] = image
        if price is not UNSET:
            field_dict["price"] = price
        if title is not UNSET:
            field_dict["title"] = title
        if url is not UNSET:
            field_dict["url"] = url

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        from ..models.item_update_attributes_type_0 import ItemUpdateAttributesType0

        d = dict(src_dict)
        item_id = d.pop("item_id")

        def _parse_attributes(data: object) -> ItemUpdateAttributesType0 | Unset | None:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            try:
                if not isinstance(data, dict):
                    raise TypeError()
                attributes_type_0 = ItemUpdateAttributesType0.from_dict(data)

                return attributes_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(ItemUpdateAttributesType0 | None | Unset, data)

        attributes = _parse_attributes(d.pop("attributes", UNSET))

        def _parse_available(data: object) -> bool | Unset | None:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(bool | None | Unset, data)

        available = _parse_available(d.pop("available", UNSET))

        def _parse_brand(data: object) -> str | Unset | None:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(None | str | Unset, data)

        brand = _parse_brand(d.pop("brand", UNSET))

        def _parse_categories(data: object) -> list[str] | Unset | None:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            try:
                if not isinstance(data, list):
                    raise TypeError()
                categories_type_0 = cast(list[str], data)

                return categories_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(list[str] | None | Unset, data)

        categories = _parse_categories(d.pop("categories", UNSET))

        def _parse_currency(data: object) -> str | Unset | None:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(None | str | Unset, data)

        currency = _parse_currency(d.pop("currency", UNSET))

        def _parse_description(data: object) -> str | Unset | None:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(None | str | Unset, data)

        description = _parse_description(d.pop("description", UNSET))

        def _parse_expires_at(data: object) -> datetime.datetime | Unset | None:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            try:
                if not isinstance(data, str):
                    raise TypeError()
                expires_at_type_0 = datetime.datetime.fromisoformat(data)

                return expires_at_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(datetime.datetime | None | Unset, data)

        expires_at = _parse_expires_at(d.pop("expires_at", UNSET))

        def _parse_image(data: object) -> str | Unset | None:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(None | str | Unset, data)

        image = _parse_image(d.pop("image", UNSET))

        def _parse_price(data: object) -> float | Unset | None:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(float | None | Unset, data)

        price = _parse_price(d.pop("price", UNSET))

        def _parse_title(data: object) -> str | Unset | None:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(None | str | Unset, data)

        title = _parse_title(d.pop("title", UNSET))

        def _parse_url(data: object) -> str | Unset | None:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(None | str | Unset, data)

        url = _parse_url(d.pop("url", UNSET))

        item_update = cls(
            item_id=item_id,
            attributes=attributes,
            available=available,
            brand=brand,
            categories=categories,
            currency=currency,
            description=description,
            expires_at=expires_at,
            image=image,
            price=price,
            title=title,
            url=url,
        )

        return item_update
