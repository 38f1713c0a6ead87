from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar, cast

from attrs import define as _attrs_define
from attrs import field as _attrs_field

from ..types import UNSET, Unset

if TYPE_CHECKING:
    from ..models.conversation_state import ConversationState
    from ..models.scored_item import ScoredItem


T = TypeVar("T", bound="ConversationResponse")


@_attrs_define
class ConversationResponse:
    """
    Attributes:
        identified (bool): the answer is for the user or session of the request; false: it named none, or had neither
            the API key nor that person's session token, and is answered as anonymous
        impression_id (None | str): name it in the feedback that follows
        items (list[ScoredItem]): proposals, best first, all of them available
        model_version (str):
        options (list[str]): messages that a click may send next, in English
        question (None | str): a question back when the request is too general
        relaxed (list[str]): wishes that were relaxed because no product met all
        state (ConversationState): The state of a conversation. The client sends it back with the next message.

            The service stores none of it, so any worker can answer and there is nothing to erase. It holds
            only what the shopper wrote and saw, and is not signed: products, availability and prices are
            always those of the catalogue.
        text (str):
        understood (list[str]): what was understood and searched for
        labels (list[str] | Unset): what a page shows for each option, in another language than English
    """

    identified: bool
    impression_id: str | None
    items: list[ScoredItem]
    model_version: str
    options: list[str]
    question: str | None
    relaxed: list[str]
    state: ConversationState
    text: str
    understood: list[str]
    labels: list[str] | Unset = UNSET
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        identified = self.identified

        impression_id: str | None
        impression_id = self.impression_id

        items = []
        for items_item_data in self.items:
            items_item = items_item_data.to_dict()
            items.append(items_item)

        model_version = self.model_version

        options = self.options

        question: str | None
        question = self.question

        relaxed = self.relaxed

        state = self.state.to_dict()

        text = self.text

        understood = self.understood

        labels: list[str] | Unset = UNSET
        if not isinstance(self.labels, Unset):
            labels = self.labels

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "identified": identified,
                "impression_id": impression_id,
                "items": items,
                "model_version": model_version,
                "options": options,
                "question": question,
                "relaxed": relaxed,
                "state": state,
                "text": text,
                "understood": understood,
            }
        )
        if labels is not UNSET:
            field_dict["labels"] = labels

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        from ..models.conversation_state import ConversationState
        from ..models.scored_item import ScoredItem

        d = dict(src_dict)
        identified = d.pop("identified")

        def _parse_impression_id(data: object) -> str | None:
            if data is None:
                return data
            return cast(None | str, data)

        impression_id = _parse_impression_id(d.pop("impression_id"))

        items = []
        _items = d.pop("items")
        for items_item_data in _items:
            items_item = ScoredItem.from_dict(items_item_data)

            items.append(items_item)

        model_version = d.pop("model_version")

        options = cast(list[str], d.pop("options"))

        def _parse_question(data: object) -> str | None:
            if data is None:
                return data
            return cast(None | str, data)

        question = _parse_question(d.pop("question"))

        relaxed = cast(list[str], d.pop("relaxed"))

        state = ConversationState.from_dict(d.pop("state"))

        text = d.pop("text")

        understood = cast(list[str], d.pop("understood"))

        labels = cast(list[str], d.pop("labels", UNSET))

        conversation_response = cls(
            identified=identified,
            impression_id=impression_id,
            items=items,
            model_version=model_version,
            options=options,
            question=question,
            relaxed=relaxed,
            state=state,
            text=text,
            understood=understood,
            labels=labels,
        )

        conversation_response.additional_properties = d
        return conversation_response

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
