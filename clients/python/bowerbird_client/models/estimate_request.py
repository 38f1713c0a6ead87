from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar, cast

from attrs import define as _attrs_define

from ..types import UNSET, Unset

if TYPE_CHECKING:
    from ..models.estimate_request_drafts import EstimateRequestDrafts


T = TypeVar("T", bound="EstimateRequest")


@_attrs_define
class EstimateRequest:
    """Rules to judge before they are in force. Nothing is stored.

    Attributes:
        drafts (EstimateRequestDrafts): as of the preview
        attribute (None | str | Unset): price or a declared number that is estimated; null: that of the objective
        k (int | Unset):  Default: 10.
        lists (int | Unset): shoppers, drawn at random, and newest logged lists, at most Default: 300.
        surface (str | Unset):  Default: 'home'.
        weights (list[float] | Unset): of the objective among the drafts, one after the other
    """

    drafts: EstimateRequestDrafts
    attribute: str | Unset | None = UNSET
    k: int | Unset = 10
    lists: int | Unset = 300
    surface: str | Unset = "home"
    weights: list[float] | Unset = UNSET

    def to_dict(self) -> dict[str, Any]:
        drafts = self.drafts.to_dict()

        attribute: str | Unset | None
        if isinstance(self.attribute, Unset):
            attribute = UNSET
        else:
            attribute = self.attribute

        k = self.k

        lists = self.lists

        surface = self.surface

        weights: list[float] | Unset = UNSET
        if not isinstance(self.weights, Unset):
            weights = self.weights

        field_dict: dict[str, Any] = {}

        field_dict.update(
            {
                "drafts": drafts,
            }
        )
        if attribute is not UNSET:
            field_dict["attribute"] = attribute
        if k is not UNSET:
            field_dict["k"] = k
        if lists is not UNSET:
            field_dict["lists"] = lists
        if surface is not UNSET:
            field_dict["surface"] = surface
        if weights is not UNSET:
            field_dict["weights"] = weights

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        from ..models.estimate_request_drafts import EstimateRequestDrafts

        d = dict(src_dict)
        drafts = EstimateRequestDrafts.from_dict(d.pop("drafts"))

        def _parse_attribute(data: object) -> str | Unset | None:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(None | str | Unset, data)

        attribute = _parse_attribute(d.pop("attribute", UNSET))

        k = d.pop("k", UNSET)

        lists = d.pop("lists", UNSET)

        surface = d.pop("surface", UNSET)

        weights = cast(list[float], d.pop("weights", UNSET))

        estimate_request = cls(
            drafts=drafts,
            attribute=attribute,
            k=k,
            lists=lists,
            surface=surface,
            weights=weights,
        )

        return estimate_request
