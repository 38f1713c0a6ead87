from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar, cast

from attrs import define as _attrs_define

from ..types import UNSET, Unset

if TYPE_CHECKING:
    from ..models.conversation_state import ConversationState


T = TypeVar("T", bound="ConversationRequest")


@_attrs_define
class ConversationRequest:
    """One message, with the state that the last answer gave.

    Attributes:
        message (str):
        filter_ (None | str | Unset):
        k (int | Unset):  Default: 5.
        session_id (None | str | Unset):
        state (ConversationState | None | Unset): null: a new conversation
        stream (bool | Unset): answer as server-sent events: proposals (this answer without its text), text (a piece of
            it), done (this answer) Default: False.
        user_id (None | str | Unset):
    """

    message: str
    filter_: str | Unset | None = UNSET
    k: int | Unset = 5
    session_id: str | Unset | None = UNSET
    state: ConversationState | Unset | None = UNSET
    stream: bool | Unset = False
    user_id: str | Unset | None = UNSET

    def to_dict(self) -> dict[str, Any]:
        from ..models.conversation_state import ConversationState

        message = self.message

        filter_: str | Unset | None
        if isinstance(self.filter_, Unset):
            filter_ = UNSET
        else:
            filter_ = self.filter_

        k = self.k

        session_id: str | Unset | None
        if isinstance(self.session_id, Unset):
            session_id = UNSET
        else:
            session_id = self.session_id

        state: dict[str, Any] | Unset | None
        if isinstance(self.state, Unset):
            state = UNSET
        elif isinstance(self.state, ConversationState):
            state = self.state.to_dict()
        else:
            state = self.state

        stream = self.stream

        user_id: str | Unset | None
        if isinstance(self.user_id, Unset):
            user_id = UNSET
        else:
            user_id = self.user_id

        field_dict: dict[str, Any] = {}

        field_dict.update(
            {
                "message": message,
            }
        )
        if filter_ is not UNSET:
            field_dict["filter"] = filter_
        if k is not UNSET:
            field_dict["k"] = k
        if session_id is not UNSET:
            field_dict["session_id"] = session_id
        if state is not UNSET:
            field_dict["state"] = state
        if stream is not UNSET:
            field_dict["stream"] = stream
        if user_id is not UNSET:
            field_dict["user_id"] = user_id

        return field_dict

    @classmethod
    def from_dict(cls: type[T], src_dict: Mapping[str, Any]) -> T:
        from ..models.conversation_state import ConversationState

        d = dict(src_dict)
        message = d.pop("message")

        def _parse_filter_(data: object) -> str | Unset | None:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(None | str | Unset, data)

        filter_ = _parse_filter_(d.pop("filter", UNSET))

        k = d.pop("k", UNSET)

        def _parse_session_id(data: object) -> str | Unset | None:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(None | str | Unset, data)

        session_id = _parse_session_id(d.pop("session_id", UNSET))

        def _parse_state(data: object) -> ConversationState | Unset | None:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            try:
                if not isinstance(data, dict):
                    raise TypeError()
                state_type_0 = ConversationState.from_dict(data)

                return state_type_0
            except (TypeError, ValueError, AttributeError, KeyError):
                pass
            return cast(ConversationState | None | Unset, data)

        state = _parse_state(d.pop("state", UNSET))

        stream = d.pop("stream", UNSET)

        def _parse_user_id(data: object) -> str | Unset | None:
            if data is None:
                return data
            if isinstance(data, Unset):
                return data
            return cast(None | str | Unset, data)

        user_id = _parse_user_id(d.pop("user_id", UNSET))

        conversation_request = cls(
            message=message,
            filter_=filter_,
            k=k,
            session_id=session_id,
            state=state,
            stream=stream,
            user_id=user_id,
        )

        return conversation_request
