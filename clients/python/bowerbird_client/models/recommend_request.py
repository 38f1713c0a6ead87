from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar, cast

from attrs import define as _attrs_define

from ..models.recommend_request_page import RecommendRequestPage
from ..types import UNSET, Unset

if TYPE_CHECKING:
    from ..models.recommend_request_attributes import RecommendRequestAttributes


T = TypeVar("T", bound="RecommendRequest")


@_attrs_define
class RecommendRequest:
    """For a user (known or new), a session, or an anonymous shopper with a few recent items.

    Attributes:
        attributes (RecommendRequestAttributes | Unset): by the names that ingest.items of params.yaml declares: of a
            category or set a value, or several of which a product has one, of a number or date {min, max}; products without
            the attribute do not meet it
        available_only (bool | Unset):  Default: True.
        category (None | str | Unset): only products of this category, at any level; case does not matter
        country (None | str | Unset): of the shopper, as the training data spell it: what rises there, on a surface
            whose source is rising; without enough customers there, what rises in the whole shop
        cursor (None | str | Unset): to read a list page by page: "" with the first page, then next of the answer
            before; with the same other fields, except for k
        exclude (list[str] | Unset): item ids not to show
        exclude_seen (bool | None | Unset): leave out what is in the history: true always, so the list may be short or
            empty; null as the model was trained, and rather than an empty list the history again
        filter_ (None | str | Unset):
        k (int | Unset):  Default: 10.
        max_price (float | None | Unset):
        min_price (float | None | Unset): products without a price do not meet it
        page (RecommendRequestPage | Unset): product, basket: what is shown there weighs more than older history
            Default: RecommendRequestPage.HOME.
        page_items (list[str] | Unset): the item ids on that page, or in the basket; they are not shown again
        reasons (bool | Unset): say why each item is shown Default: True.
        recent (list[str] | Unset): item ids, the newest last; they follow the stored history
        session_id (None | str | Unset): of a shopper who is not signed in
        surface (None | str | Unset): place of the shop, by its name in serve.surfaces, such as bought_together,
            buy_again or trending; its settings say what is shown there
        user_id (None | str | Unset):
    """

    attributes: RecommendRequestAttributes | Unset = UNSET
    available_only: bool | Unset = True
    category: str | Unset | None = UNSET
    country: str | Unset | None = UNSET
    cursor: str | Unset | None = UNSET
    exclude: list[str] | Unset = UNSET
    exclude_seen: bool | Unset | None = UNSET
    filter_: str | Unset | None = UNSET
    k: int | Unset = 10
    max_price: float | Unset | None = UNSET
    min_price: float | Unset | None = UNSET
    page: RecommendRequestPage | Unset = RecommendRequestPage.HOME
    page_items: list[str] | Unset = UNSET
    reasons: bool | Unset = True
    recent: list[str] | Unset = UNSET
    session_id: str | Unset | None = UNSET
    surface: str | Unset | None = UNSET
    user_id: str | Unset | None = UNSET

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

        country: str | Unset | None
        if isinstance(self.country, Unset):
            country = UNSET
        else:
            country = self.country

        cursor: str | Unset | None
        if isinstance(self.cursor, Unset):
            cursor = UNSET
        else:
            cursor = self.cursor

        exclude: list[str] | Unset = UNSET
        if not isinstance(self.exclude, Unset):
            exclude = self.exclude

        exclude_seen: bool | Unset | None
        if isinstance(self.exclude_seen, Unset):
            exclude_seen = UNSET
        else:
            exclude_seen = self.exclude_seen

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

        page: str | Unset = UNSET
        if not isinstance(self.page, Unset):
            page = self.page.value

        page_items: list[str] | Unset = UNSET
        if not isinstance(self.page_items, Unset):
            page_items = self.page_items

        reasons = self.reasons

        recent: list[str] | Unset = UNSET
        if not isinstance(self.recent, Unset):
            recent = self.recent

        session_id: str | Unset | None
        if isinstance(self.session_id, Unset):
            session_id = UNSET
        else:
            session_id = self.session_id

        surface: str | Unset | None
        if isinstance(self.surface, Unset):
            surface = UNSET
        else:
            surface = self.surface

        user_id: str | Unset | None
        if isinstance(self.user_id, Unset):
            user_id = UNSET
        else:
            user_id = self.user_id

        field_dict: dict[str, Any] = {}

        field_dict.update({})
        if attributes is not UNSET:
            field_dict["attributes"] = attributes
        if available_only is not UNSET:
            field_dict["available_only"] = available_only
        if category is not UNSET:
            field_dict["category"] = category
        if country is not UNSET:
            field_dict["country"] = country
        if cursor is not UNSET:
            field_dict["cursor"] = cursor
        if exclude is not UNSET:
            field_dict["exclude"] = exclude
        if exclude_seen is not UNSET:
            field_dict["exclude_seen"] = exclude_seen
        if filter_ is not UNSET:
            field_dict["filter"] = filter_
        if k is not UNSET:
            field_dict["k"] = k
        if max_price is not UNSET:
            field_dict["max_price"] = max_price
        if min_price is not UNSET:
            field_dict["min_price"] = min_price
        if page is not UNSET:
            field_dict["page"] = page
        if page_items is not UNSET:
            field_dict["page_items"] = page_items
        if reasons is not UNSET:
            field_dict["reasons"] = reasons
        if recent is not UNSET:
            field_dict["recent"] = recent
        if session_id is not UNSET:
            field_dict["session_id"] = session_id
        if surface is not UNSET:
            field_dict["surface"] = surface
        if user_id is not UNSET:
            field_dict["user_id"] = user_id

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        from ..models.recommend_request_attributes import RecommendRequestAttributes

        d = dict(src_dict)
        _attributes = d.pop("attributes", UNSET)
        attributes: RecommendRequestAttributes | Unset
        if isinstance(_attributes, Unset):
            attributes = UNSET
        else:
            attributes = RecommendRequestAttributes.from_dict(_attributes)

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

        def _parse_cursor(data: object) -> str | Unset | None:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(None | str | Unset, data)

        cursor = _parse_cursor(d.pop("cursor", UNSET))

        exclude = cast(list[str], d.pop("exclude", UNSET))

        def _parse_exclude_seen(data: object) -> bool | Unset | None:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(bool | None | Unset, data)

        exclude_seen = _parse_exclude_seen(d.pop("exclude_seen", UNSET))

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

        _page = d.pop("page", UNSET)
        page: RecommendRequestPage | Unset
        if isinstance(_page, Unset):
            page = UNSET
        else:
            page = RecommendRequestPage(_page)

        page_items = cast(list[str], d.pop("page_items", UNSET))

        reasons = d.pop("reasons", UNSET)

        recent = cast(list[str], d.pop("recent", UNSET))

        def _parse_session_id(data: object) -> str | Unset | None:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(None | str | Unset, data)

        session_id = _parse_session_id(d.pop("session_id", UNSET))

        def _parse_surface(data: object) -> str | Unset | None:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(None | str | Unset, data)

        surface = _parse_surface(d.pop("surface", UNSET))

        def _parse_user_id(data: object) -> str | Unset | None:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(None | str | Unset, data)

        user_id = _parse_user_id(d.pop("user_id", UNSET))

        recommend_request = cls(
            attributes=attributes,
            available_only=available_only,
            category=category,
            country=country,
            cursor=cursor,
            exclude=exclude,
            exclude_seen=exclude_seen,
            filter_=filter_,
            k=k,
            max_price=max_price,
            min_price=min_price,
            page=page,
            page_items=page_items,
            reasons=reasons,
            recent=recent,
            session_id=session_id,
            surface=surface,
            user_id=user_id,
        )

        return recommend_request
