"""The state of a conversation, which the client keeps."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from serving.fields import MAX_PROPOSALS, MAX_REFUSED, MAX_SHOWN, MAX_TERMS, Body, Id, Price

MAX_TURN = 10_000
Term = Annotated[str, StringConstraints(min_length=1, max_length=80)]


PRICE_LIMIT = "up to "
"""How the message of a suggested limit of the price begins."""


def alternatives(thing: str) -> list[str]:
    """Return the words of a thing of a state, such as "mug or cup"."""
    return thing.split(" or ")


class ConversationState(Body):
    """The state of a conversation. The client sends it back with the next message.

    The service stores none of it, so any worker can answer and there is nothing to erase. It holds
    only what the shopper wrote and saw, and is not signed: products, availability and prices are
    always those of the catalogue.
    """

    conversation_id: Id
    turn: int = Field(0, ge=0, le=MAX_TURN)
    said_at: int = Field(
        0, ge=0, le=10**11, description="seconds since 1970; an old state is discarded"
    )
    things: list[Term] = Field([], max_length=MAX_TERMS)
    details: list[Term] = Field([], max_length=MAX_TERMS)
    purpose: list[Term] = Field([], max_length=MAX_TERMS)
    needs: list[Term] = Field([], max_length=MAX_TERMS)
    refused: list[Term] = Field([], max_length=MAX_REFUSED)
    min_price: Price | None = None
    max_price: Price | None = None
    level: Literal["cheap", "dear"] | None = None
    language: str | None = Field(
        None, pattern="^[a-z]{2}$", description="ISO 639-1 code of the language of the answers"
    )
    like: Id | None = Field(None, description="the item that the proposals should be like")
    goes_with: list[Id] = Field(
        [], max_length=MAX_TERMS, description="the items that the proposals should go with"
    )
    goes_with_thing: Term | None = Field(None, description="the kind of these items, if named")
    last: list[Id] = Field([], max_length=MAX_PROPOSALS, description="shown last, in order")
    shown: list[Id] = Field([], max_length=MAX_SHOWN, description="shown for this need")
    rejected: list[Id] = Field([], max_length=MAX_SHOWN)
