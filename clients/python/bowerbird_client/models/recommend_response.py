from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar, cast

from attrs import define as _attrs_define
from attrs import field as _attrs_field

from ..types import UNSET, Unset

if TYPE_CHECKING:
    from ..models.recommend_response_sources_type_0 import RecommendResponseSourcesType0
    from ..models.scored_item import ScoredItem


T = TypeVar("T", bound="RecommendResponse")


@_attrs_define
class RecommendResponse:
    """
    Attributes:
        history_length (int): events that the answer is based on
        identified (bool): the answer is for the user or session of the request; false: it named none, or had neither
            the API key nor that person's session token, and is answered as anonymous
        impression_id (str): name it in the feedback that follows
        items (list[ScoredItem]):
        model_version (str):
        source (str): source of the first item; none: no item met the filters
        arm (None | str | Unset): control or treatment while an experiment runs
        fallback (bool | None | Unset): of a surface: its own source had nothing, so a fallback's list is shown
        next_ (None | str | Unset): cursor of the next page, if the request had one; null: this is the last
        sources (None | RecommendResponseSourcesType0 | Unset): of a surface: how many of the items came from each
            source
        surface (None | str | Unset): of the request
        title (None | str | Unset): what the shelf may be called, in the answer's language; of a fallback its own; empty
            for a surface that the shop added
        unknown_items (list[str] | Unset): item ids of the request that the model does not know; they were ignored
    """

    history_length: int
    identified: bool
    impression_id: str
    items: list[ScoredItem]
    model_version: str
    source: str
    arm: str | Unset | None = UNSET
    fallback: bool | Unset | None = UNSET
    next_: str | Unset | None = UNSET
    sources: RecommendResponseSourcesType0 | Unset | None = UNSET
    surface: str | Unset | None = UNSET
    title: str | Unset | None = UNSET
    unknown_items: list[str] | Unset = UNSET
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        from ..models.recommend_response_sources_type_0 import RecommendResponseSourcesType0

        history_length = self.history_length

        identified = self.identified

        impression_id = self.impression_id

        items = []
        for items_item_data in self.items:
            items_item = items_item_data.to_dict()
            items.append(items_item)

        model_version = self.model_version

        source = self.source

        arm: str | Unset | None
        if isinstance(self.arm, Unset):
            arm = UNSET
        else:
            arm = self.arm

        fallback: bool | Unset | None
        if isinstance(self.fallback, Unset):
            fallback = UNSET
        else:
            fallback = self.fallback

        next_: str | Unset | None
        if isinstance(self.next_, Unset):
            next_ = UNSET
        else:
            next_ = self.next_

        sources: dict[str, Any] | Unset | None
        if isinstance(self.sources, Unset):
            sources = UNSET
        elif isinstance(self.sources, RecommendResponseSourcesType0):
            sources = self.sources.to_dict()
        else:
            sources = self.sources

        surface: str | Unset | None
        if isinstance(self.surface, Unset):
            surface = UNSET
        else:
            surface = self.surface

        title: str | Unset | None
        if isinstance(self.title, Unset):
            title = UNSET
        else:
            title = self.title

        unknown_items: list[str] | Unset = UNSET
        if not isinstance(self.unknown_items, Unset):
            unknown_items = self.unknown_items

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "history_length": history_length,
                "identified": identified,
                "impression_id": impression_id,
                "items": items,
                "model_version": model_version,
                "source": source,
            }
        )
        if arm is not UNSET:
            field_dict["arm"] = arm
        if fallback is not UNSET:
            field_dict["fallback"] = fallback
        if next_ is not UNSET:
            field_dict["next"] = next_
        if sources is not UNSET:
            field_dict["sources"] = sources
        if surface is not UNSET:
            field_dict["surface"] = surface
        if title is not UNSET:
            field_dict["title"] = title
        if unknown_items is not UNSET:
            field_dict["unknown_items"] = unknown_items

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        from ..models.recommend_response_sources_type_0 import RecommendResponseSourcesType0
        from ..models.scored_item import ScoredItem

        d = dict(src_dict)
        history_length = d.pop("history_length")

        identified = d.pop("identified")

        impression_id = d.pop("impression_id")

        items = []
        _items = d.pop("items")
        for items_item_data in _items:
            items_item = ScoredItem.from_dict(items_item_data)

            items.append(items_item)

        model_version = d.pop("model_version")

        source = d.pop("source")

        def _parse_arm(data: object) -> str | Unset | None:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(None | str | Unset, data)

        arm = _parse_arm(d.pop("arm", UNSET))

        def _parse_fallback(data: object) -> bool | Unset | None:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(bool | None | Unset, data)

        fallback = _parse_fallback(d.pop("fallback", UNSET))

        def _parse_next_(data: object) -> str | Unset | None:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(None | str | Unset, data)

        next_ = _parse_next_(d.pop("next", UNSET))

        def _parse_sources(data: object) -> RecommendResponseSourcesType0 | Unset | None:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            try:
                if not isinstance(data, dict):
                    raise TypeError()
                sources_type_0 = RecommendResponseSourcesType0.from_dict(data)

                return sources_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(None | RecommendResponseSourcesType0 | Unset, data)

        sources = _parse_sources(d.pop("sources", UNSET))

        def _parse_surface(data: object) -> str | Unset | None:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(None | str | Unset, data)

        surface = _parse_surface(d.pop("surface", UNSET))

        def _parse_title(data: object) -> str | Unset | None:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(None | str | Unset, data)

        title = _parse_title(d.pop("title", UNSET))

        unknown_items = cast(list[str], d.pop("unknown_items", UNSET))

        recommend_response = cls(
            history_length=history_length,
            identified=identified,
            impression_id=impression_id,
            items=items,
            model_version=model_version,
            source=source,
            arm=arm,
            fallback=fallback,
            next_=next_,
            sources=sources,
            surface=surface,
            title=title,
            unknown_items=unknown_items,
        )

        recommend_response.additional_properties = d
        return recommend_response

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
