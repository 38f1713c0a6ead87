"""Schemas of the routes of merchandising rules."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Self

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints, model_validator
from pydantic.config import JsonDict

from serving.api.schemas import ScoredItem
from serving.fields import MAX_LIST, Body, Id, Text, UserId
from serving.merchandising.rules import Rule, RuleId, Surface

Author = Annotated[Text, StringConstraints(max_length=100)]
Note = Annotated[Text, StringConstraints(max_length=200)]
MOST_DRAFTS, MOST_SHOPPERS, MOST_PREVIEWED = 20, 10, 50

EXAMPLE: JsonDict = {
    "name": "Spring sale",
    "action": "boost",
    "where": 'category = "Garden" and price < 20',
    "weight": 1.0,
    "surfaces": ["home"],
    "ends": "2030-04-01T00:00:00Z",
}


class RuleRequest(Body):
    """A new rule, or the whole of a changed one."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"rule": EXAMPLE, "author": "Ann", "note": "see plan"}]},
    )

    rule: Rule
    author: Author = Field("", description="who changes it, for the audit trail; not verified")
    note: Note = Field("", description="why, for the audit trail")
    version: int | None = Field(
        None,
        ge=0,
        le=1_000_000_000,
        description="of the rule that is changed, 0: it is new; 409 if it was changed since. "
        "null: whatever there is",
    )


class RuleEntry(BaseModel):
    """A rule as it is stored."""

    rule_id: str
    version: int = Field(description="of this rule, from 1")
    revision: int = Field(description="of all rules; impressions name it")
    rule: Rule | None = Field(description="null: deleted, or no longer readable")
    problem: str = Field(
        "", description="why it does not apply, such as an attribute that is no longer declared"
    )
    role: str = Field(description="of the key that changed it: merchandiser or operator")
    author: str = Field(description="as the change said; not verified")
    note: str
    changed_at: datetime


class RulesResponse(BaseModel):
    rules: list[RuleEntry] = Field(description="in the order that conflicts are resolved by")
    attributes: list[str] = Field(description="of products, that where may name")
    user_attributes: list[str] = Field(description="of the shopper, that segment may name")


class RuleChanges(BaseModel):
    changes: list[RuleEntry] = Field(description="newest first; rule: null where it was deleted")


class PreviewShopper(Body):
    user_id: UserId | None = None
    session_id: Id | None = None
    recent: list[Id] = Field([], max_length=MAX_LIST)


class PreviewRequest(Body):
    """Rules to try: the lists of some shoppers before and after. Nothing is stored."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {"drafts": {"spring": EXAMPLE}, "shoppers": [{"user_id": "13085"}], "k": 5}
            ]
        },
    )

    drafts: dict[RuleId, Rule | None] = Field(
        max_length=MOST_DRAFTS, description="by id: changed or new rules; null: without that rule"
    )
    shoppers: list[PreviewShopper] = Field(min_length=1, max_length=MOST_SHOPPERS)
    surface: Surface = "home"
    k: int = Field(10, ge=1, le=MOST_PREVIEWED)
    at: AwareDatetime | None = Field(None, description="as if it were this time; null: now")

    @model_validator(mode="after")
    def _has_drafts(self) -> Self:
        if not self.drafts:
            raise ValueError("drafts must name a rule")
        return self


class Preview(BaseModel):
    before: list[ScoredItem]
    after: list[ScoredItem]


class PreviewResponse(BaseModel):
    previews: list[Preview] = Field(description="one a shopper, in their order")
