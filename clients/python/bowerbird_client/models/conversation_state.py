from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar, cast

from attrs import define as _attrs_define

from ..models.conversation_state_level_type_0 import ConversationStateLevelType0
from ..types import UNSET, Unset

T = TypeVar("T", bound="ConversationState")


@_attrs_define
class ConversationState:
    """The state of a conversation. The client sends it back with the next message.

    The service stores none of it, so any worker can answer and there is nothing to erase. It holds
    only what the shopper wrote and saw, and is not signed: products, availability and prices are
    always those of the catalogue.

        Attributes:
            conversation_id (str):
            details (list[str] | Unset):
            goes_with (list[str] | Unset): the items that the proposals should go with
            goes_with_thing (None | str | Unset): the kind of these items, if named
            language (None | str | Unset): ISO 639-1 code of the language of the answers
            last (list[str] | Unset): shown last, in order
            level (ConversationStateLevelType0 | None | Unset):
            like (None | str | Unset): the item that the proposals should be like
            max_price (float | None | Unset):
            min_price (float | None | Unset):
            needs (list[str] | Unset):
            purpose (list[str] | Unset):
            refused (list[str] | Unset):
            rejected (list[str] | Unset):
            said_at (int | Unset): seconds since 1970; an old state is discarded Default: 0.
            shown (list[str] | Unset): shown for this need
            things (list[str] | Unset):
            turn (int | Unset):  Default: 0.
    """

    conversation_id: str
    details: list[str] | Unset = UNSET
    goes_with: list[str] | Unset = UNSET
    goes_with_thing: str | Unset | None = UNSET
    language: str | Unset | None = UNSET
    last: list[str] | Unset = UNSET
    level: ConversationStateLevelType0 | Unset | None = UNSET
    like: str | Unset | None = UNSET
    max_price: float | Unset | None = UNSET
    min_price: float | Unset | None = UNSET
    needs: list[str] | Unset = UNSET
    purpose: list[str] | Unset = UNSET
    refused: list[str] | Unset = UNSET
    rejected: list[str] | Unset = UNSET
    said_at: int | Unset = 0
    shown: list[str] | Unset = UNSET
    things: list[str] | Unset = UNSET
    turn: int | Unset = 0

    def to_dict(self) -> dict[str, Any]:
        conversation_id = self.conversation_id

        details: list[str] | Unset = UNSET
        if not isinstance(self.details, Unset):
            details = self.details

        goes_with: list[str] | Unset = UNSET
        if not isinstance(self.goes_with, Unset):
            goes_with = self.goes_with

        goes_with_thing: str | Unset | None
        if isinstance(self.goes_with_thing, Unset):
            goes_with_thing = UNSET
        else:
            goes_with_thing = self.goes_with_thing

        language: str | Unset | None
        if isinstance(self.language, Unset):
            language = UNSET
        else:
            language = self.language

        last: list[str] | Unset = UNSET
        if not isinstance(self.last, Unset):
            last = self.last

        level: str | Unset | None
        if isinstance(self.level, Unset):
            level = UNSET
        elif isinstance(self.level, ConversationStateLevelType0):
            level = self.level.value
        else:
            level = self.level

        like: str | Unset | None
        if isinstance(self.like, Unset):
            like = UNSET
        else:
            like = self.like

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

        needs: list[str] | Unset = UNSET
        if not isinstance(self.needs, Unset):
            needs = self.needs

        purpose: list[str] | Unset = UNSET
        if not isinstance(self.purpose, Unset):
            purpose = self.purpose

        refused: list[str] | Unset = UNSET
        if not isinstance(self.refused, Unset):
            refused = self.refused

        rejected: list[str] | Unset = UNSET
        if not isinstance(self.rejected, Unset):
            rejected = self.rejected

        said_at = self.said_at

        shown: list[str] | Unset = UNSET
        if not isinstance(self.shown, Unset):
            shown = self.shown

        things: list[str] | Unset = UNSET
        if not isinstance(self.things, Unset):
            things = self.things

        turn = self.turn

        field_dict: dict[str, Any] = {}

        field_dict.update(
            {
                "conversation_id": conversation_id,
            }
        )
        if details is not UNSET:
            field_dict["details"] = details
        if goes_with is not UNSET:
            field_dict["goes_with"] = goes_with
        if goes_with_thing is not UNSET:
            field_dict["goes_with_thing"] = goes_with_thing
        if language is not UNSET:
            field_dict["language"] = language
        if last is not UNSET:
            field_dict["last"] = last
        if level is not UNSET:
            field_dict["level"] = level
        if like is not UNSET:
            field_dict["like"] = like
        if max_price is not UNSET:
            field_dict["max_price"] = max_price
        if min_price is not UNSET:
            field_dict["min_price"] = min_price
        if needs is not UNSET:
            field_dict["needs"] = needs
        if purpose is not UNSET:
            field_dict["purpose"] = purpose
        if refused is not UNSET:
            field_dict["refused"] = refused
        if rejected is not UNSET:
            field_dict["rejected"] = rejected
        if said_at is not UNSET:
            field_dict["said_at"] = said_at
        if shown is not UNSET:
            field_dict["shown"] = shown
        if things is not UNSET:
            field_dict["things"] = things
        if turn is not UNSET:
            field_dict["turn"] = turn

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        d = dict(src_dict)
        conversation_id = d.pop("conversation_id")

        details = cast(list[str], d.pop("details", UNSET))

        goes_with = cast(list[str], d.pop("goes_with", UNSET))

        def _parse_goes_with_thing(data: object) -> str | Unset | None:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(None | str | Unset, data)

        goes_with_thing = _parse_goes_with_thing(d.pop("goes_with_thing", UNSET))

        def _parse_language(data: object) -> str | Unset | None:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(None | str | Unset, data)

        language = _parse_language(d.pop("language", UNSET))

        last = cast(list[str], d.pop("last", UNSET))

        def _parse_level(data: object) -> ConversationStateLevelType0 | Unset | None:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            try:
                if not isinstance(data, str):
                    raise TypeError()
                level_type_0 = ConversationStateLevelType0(data)

                return level_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(ConversationStateLevelType0 | None | Unset, data)

        level = _parse_level(d.pop("level", UNSET))

        def _parse_like(data: object) -> str | Unset | None:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(None | str | Unset, data)

        like = _parse_like(d.pop("like", UNSET))

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

        needs = cast(list[str], d.pop("needs", UNSET))

        purpose = cast(list[str], d.pop("purpose", UNSET))

        refused = cast(list[str], d.pop("refused", UNSET))

        rejected = cast(list[str], d.pop("rejected", UNSET))

        said_at = d.pop("said_at", UNSET)

        shown = cast(list[str], d.pop("shown", UNSET))

        things = cast(list[str], d.pop("things", UNSET))

        turn = d.pop("turn", UNSET)

        conversation_state = cls(
            conversation_id=conversation_id,
            details=details,
            goes_with=goes_with,
            goes_with_thing=goes_with_thing,
            language=language,
            last=last,
            level=level,
            like=like,
            max_price=max_price,
            min_price=min_price,
            needs=needs,
            purpose=purpose,
            refused=refused,
            rejected=rejected,
            said_at=said_at,
            shown=shown,
            things=things,
            turn=turn,
        )

        return conversation_state
