from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar, cast

from attrs import define as _attrs_define

from ..types import UNSET, Unset

if TYPE_CHECKING:
    from ..models.similar_request_attributes import SimilarRequestAttributes


T = TypeVar("T", bound="SimilarRequest")


@_attrs_define
class SimilarRequest:
    """One item, or the items of a basket, to find similar ones to.

    Attributes:
        item_ids (list[str]):
        attributes (SimilarRequestAttributes | Unset): by the names that ingest.items of params.yaml declares: of a
            category or set a value, or several of which a product has one, of a number or date {min, max}; products without
            the attribute do not meet it
        available_only (bool | Unset):  Default: True.
        category (None | str | Unset): only products of this category, at any level; case does not matter
        filter_ (None | str | Unset):
        k (int | Unset):  Default: 10.
        max_price (float | None | Unset):
        min_price (float | None | Unset): products without a price do not meet it
        session_id (None | str | Unset): of a shopper who is not signed in
        user_id (None | str | Unset):
    """

    item_ids: list[str]
    attributes: SimilarRequestAttributes | Unset = UNSET
    available_only: bool | Unset = True
    category: str | Unset | None = UNSET
    filter_: str | Unset | None = UNSET
    k: int | Unset = 10
    max_price: float | Unset | None = UNSET
    min_price: float | Unset | None = UNSET
    session_id: str | Unset | None = UNSET
    user_id: str | Unset | None = UNSET

    def to_dict(self) -> dict[str, Any]:
        item_ids = self.item_ids

        attributes: dict[str, Any] | Unset = UNSET
        if not isinstance(self.attributes, Unset):
            attributes = self.attributes.to_dict()

        available_only = self.available_only

        category: str | Unset | None
        if isinstance(self.category, Unset):
            category = UNSET
        else:
            category = self.category

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

        session_id: str | Unset | None
        if isinstance(self.session_id, Unset):
            session_id = UNSET
        else:
            session_id = self.session_id

        user_id: str | Unset | None
        if isinstance(self.user_id, Unset):
            user_id = UNSET
        else:
            user_id = self.user_id

        field_dict: dict[str, Any] = {}

        field_dict.update(
            {
                "item_ids": item_ids,
            }
        )
        if attributes is not UNSET:
            field_dict["attributes"] = attributes
        if available_only is not UNSET:
            field_dict["available_only"] = available_only
        if category is not UNSET:
            field_dict["category"] = category
        if filter_ is not UNSET:
            field_dict["filter"] = filter_
        if k is not UNSET:
            field_dict["k"] = k
        if max_price is not UNSET:
            field_dict["max_price"] = max_price
        if min_price is not UNSET:
            field_dict["min_price"] = min_price
        if session_id is not UNSET:
            field_dict["session_id"] = session_id
        if user_id is not UNSET:
            field_dict["user_id"] = user_id

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        from ..models.similar_request_attributes import SimilarRequestAttributes

        d = dict(src_dict)
        item_ids = cast(list[str], d.pop("item_ids"))

        _attributes = d.pop("attributes", UNSET)
        attributes: SimilarRequestAttributes | Unset
        if isinstance(_attributes, Unset):
            attributes = UNSET
        else:
            attributes = SimilarRequestAttributes.from_dict(_attributes)

        available_only = d.pop("available_only", UNSET)

        def _parse_category(data: object) -> str | Unset | None:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(None | str | Unset, data)

        category = _parse_category(d.pop("category", UNSET))

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

        def _parse_session_id(data: object) -> str | Unset | None:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(None | str | Unset, data)

        session_id = _parse_session_id(d.pop("session_id", UNSET))

        def _parse_user_id(data: object) -> str | Unset | None:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(None | str | Unset, data)

        user_id = _parse_user_id(d.pop("user_id", UNSET))

        similar_request = cls(
            item_ids=item_ids,
            attributes=attributes,
            available_only=available_only,
            category=category,
            filter_=filter_,
            k=k,
            max_price=max_price,
            min_price=min_price,
            session_id=session_id,
            user_id=user_id,
        )

        return similar_request
