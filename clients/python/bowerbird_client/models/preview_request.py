from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar, cast

from attrs import define as _attrs_define

from ..types import UNSET, Unset

if TYPE_CHECKING:
    from ..models.preview_request_drafts import PreviewRequestDrafts
    from ..models.preview_shopper import PreviewShopper


T = TypeVar("T", bound="PreviewRequest")


@_attrs_define
class PreviewRequest:
    """Rules to try: the lists of some shoppers before and after. Nothing is stored.

    Attributes:
        drafts (PreviewRequestDrafts): by id: changed or new rules; null: without that rule
        shoppers (list[PreviewShopper]):
        at (datetime.datetime | None | Unset): as if it were this time; null: now
        k (int | Unset):  Default: 10.
        surface (str | Unset):  Default: 'home'.
    """

    drafts: PreviewRequestDrafts
    shoppers: list[PreviewShopper]
    at: datetime.datetime | Unset | None = UNSET
    k: int | Unset = 10
    surface: str | Unset = "home"

    def to_dict(self) -> dict[str, Any]:
        drafts = self.drafts.to_dict()

        shoppers = []
        for shoppers_item_data in self.shoppers:
            shoppers_item = shoppers_item_data.to_dict()
            shoppers.append(shoppers_item)

        at: str | Unset | None
        if isinstance(self.at, Unset):
            at = UNSET
        elif isinstance(self.at, datetime.datetime):
            at = self.at.isoformat()
        else:
            at = self.at

        k = self.k

        surface = self.surface

        field_dict: dict[str, Any] = {}

        field_dict.update(
            {
                "drafts": drafts,
                "shoppers": shoppers,
            }
        )
        if at is not UNSET:
            field_dict["at"] = at
        if k is not UNSET:
            field_dict["k"] = k
        if surface is not UNSET:
            field_dict["surface"] = surface

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        from ..models.preview_request_drafts import PreviewRequestDrafts
        from ..models.preview_shopper import PreviewShopper

        d = dict(src_dict)
        drafts = PreviewRequestDrafts.from_dict(d.pop("drafts"))

        shoppers = []
        _shoppers = d.pop("shoppers")
        for shoppers_item_data in _shoppers:
            shoppers_item = PreviewShopper.from_dict(shoppers_item_data)

            shoppers.append(shoppers_item)

        def _parse_at(data: object) -> datetime.datetime | Unset | None:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            try:
                if not isinstance(data, str):
                    raise TypeError()
                at_type_0 = datetime.datetime.fromisoformat(data)

                return at_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(datetime.datetime | None | Unset, data)

        at = _parse_at(d.pop("at", UNSET))

        k = d.pop("k", UNSET)

        surface = d.pop("surface", UNSET)

        preview_request = cls(
            drafts=drafts,
            shoppers=shoppers,
            at=at,
            k=k,
            surface=surface,
        )

        return preview_request
