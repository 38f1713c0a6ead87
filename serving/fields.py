"""Field types that the bodies of requests share: ids, prices, texts, and limits of lists."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints

from components.data.sources.spelling import SPACE


def _not_blank(text: str) -> str:
    if not text.strip(SPACE):
        raise ValueError("must not be blank: ingest would take it for no value")
    return text


Id = Annotated[
    str,
    # No control characters: they have no place in an id and PostgreSQL refuses NUL.
    StringConstraints(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]+$"),
    AfterValidator(_not_blank),
]
RESERVED = "session:"
"""Begins the user ids that exported sessions get."""


def _not_reserved(user_id: str) -> str:
    if user_id.startswith(RESERVED):
        raise ValueError(f"must not begin with {RESERVED!r}, which exported sessions are named by")
    return user_id


UserId = Annotated[Id, AfterValidator(_not_reserved)]
Text = Annotated[str, StringConstraints(pattern=r"^[^\x00]*$")]
Price = Annotated[float, Field(ge=0, le=1e9, allow_inf_nan=False)]

MAX_K = 1000
MAX_LIST = 1000
MAX_BATCH = 1000
MAX_REFUSED = 36
MAX_TERMS = 12
MAX_PROPOSALS = 20
MAX_SHOWN = 200
MAX_CURSOR = 100_000
MAX_PAGED = 2000
MAX_SHELVES = 20
"""Hard limits; ``serve.max_k`` and ``serve.max_history`` of params.yaml may be lower."""

LONGEST_VALUE, LONGEST_TEXT, MOST_VALUES = 200, 2000, 20
"""Characters of an attribute's value that answers show, of one of the type text, and values of a
set of one product. Further values and longer ones are left out: cut short they would match no
filter."""


class Body(BaseModel):
    """A body that refuses unknown fields."""

    model_config = ConfigDict(extra="forbid")
