from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar, cast

from attrs import define as _attrs_define
from attrs import field as _attrs_field

from ..types import UNSET, Unset

if TYPE_CHECKING:
    from ..models.scored_item_attributes import ScoredItemAttributes
    from ..models.scored_item_evidence_type_0 import ScoredItemEvidenceType0


T = TypeVar("T", bound="ScoredItem")


@_attrs_define
class ScoredItem:
    """
    Attributes:
        categories (list[str]):
        currency (str):
        item_id (str):
        price (float | None):
        score (float): higher is better; comparable within one source
        source (str): hybrid, content, segment, popular, similar, search or rerank; on a surface also new, goes_with,
            together, due, viewed or rising
        title (str):
        attributes (ScoredItemAttributes | Unset): those known, by the names that ingest.items declares and in that
            order, without serve.hidden_attributes; a date as ISO 8601; values of at most 200 characters, texts of at most
            2000, of a set at most 20 values
        evidence (None | ScoredItemEvidenceType0 | Unset): figures behind an item of a surface. together: support
            (baskets with both), lift. due: bought (days with a purchase), days_since, interval_days (the customer's median,
            else the product's), due (days_since / interval_days). rising: growth (sales through those at the shop's pace),
            sold (in the last 7 days)
        image (None | str | Unset): of its picture; an address that begins with https://, http:// or one /, without
            spaces and quotation marks
        reason (None | str | Unset): a short text that states facts
        url (None | str | Unset): of its page; an address that begins with https://, http:// or one /, without spaces
            and quotation marks
    """

    categories: list[str]
    currency: str
    item_id: str
    price: float | None
    score: float
    source: str
    title: str
    attributes: ScoredItemAttributes | Unset = UNSET
    evidence: ScoredItemEvidenceType0 | Unset | None = UNSET
    image: str | Unset | None = UNSET
    reason: str | Unset | None = UNSET
    url: str | Unset | None = UNSET
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        from ..models.scored_item_evidence_type_0 import ScoredItemEvidenceType0

        categories = self.categories

        currency = self.currency

        item_id = self.item_id

        price: float | None
        price = self.price

        score = self.score

        source = self.source

        title = self.title

        attributes: dict[str, Any] | Unset = UNSET
        if not isinstance(self.attributes, Unset):
            attributes = self.attributes.to_dict()

        evidence: dict[str, Any] | Unset | None
        if isinstance(self.evidence, Unset):
            evidence = UNSET
        elif isinstance(self.evidence, ScoredItemEvidenceType0):
            evidence = self.evidence.to_dict()
        else:
            evidence = self.evidence

        image: str | Unset | None
        if isinstance(self.image, Unset):
            image = UNSET
        else:
            image = self.image

        reason: str | Unset | None
        if isinstance(self.reason, Unset):
            reason = UNSET
        else:
            reason = self.reason

        url: str | Unset | None
        if isinstance(self.url, Unset):
            url = UNSET
        else:
            url = self.url

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "categories": categories,
                "currency": currency,
                "item_id": item_id,
                "price": price,
                "score": score,
                "source": source,
                "title": title,
            }
        )
        if attributes is not UNSET:
            field_dict["attributes"] = attributes
        if evidence is not UNSET:
            field_dict["evidence"] = evidence
        if image is not UNSET:
            field_dict["image"] = image
        if reason is not UNSET:
            field_dict["reason"] = reason
        if url is not UNSET:
            field_dict["url"] = url

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        from ..models.scored_item_attributes import ScoredItemAttributes
        from ..models.scored_item_evidence_type_0 import ScoredItemEvidenceType0

        d = dict(src_dict)
        categories = cast(list[str], d.pop("categories"))

        currency = d.pop("currency")

        item_id = d.pop("item_id")

        def _parse_price(data: object) -> float | None:
            if data is None:
                return data
            return cast(float | None, data)

        price = _parse_price(d.pop("price"))

        score = d.pop("score")

        source = d.pop("source")

        title = d.pop("title")

        _attributes = d.pop("attributes", UNSET)
        attributes: ScoredItemAttributes | Unset
        if isinstance(_attributes, Unset):
            attributes = UNSET
        else:
            attributes = ScoredItemAttributes.from_dict(_attributes)

        def _parse_evidence(data: object) -> ScoredItemEvidenceType0 | Unset | None:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            try:
                if not isinstance(data, dict):
                    raise TypeError()
                evidence_type_0 = ScoredItemEvidenceType0.from_dict(data)

                return evidence_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(None | ScoredItemEvidenceType0 | Unset, data)

        evidence = _parse_evidence(d.pop("evidence", UNSET))

        def _parse_image(data: object) -> str | Unset | None:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(None | str | Unset, data)

        image = _parse_image(d.pop("image", UNSET))

        def _parse_reason(data: object) -> str | Unset | None:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(None | str | Unset, data)

        reason = _parse_reason(d.pop("reason", UNSET))

        def _parse_url(data: object) -> str | Unset | None:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(None | str | Unset, data)

        url = _parse_url(d.pop("url", UNSET))

        scored_item = cls(
            categories=categories,
            currency=currency,
            item_id=item_id,
            price=price,
            score=score,
            source=source,
            title=title,
            attributes=attributes,
            evidence=evidence,
            image=image,
            reason=reason,
            url=url,
        )

        scored_item.additional_properties = d
        return scored_item

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
