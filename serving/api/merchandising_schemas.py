"""Schemas of the routes of merchandising rules."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Self

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints, model_validator
from pydantic.config import JsonDict

from serving.api.schemas import ScoredItem
from serving.fields import MAX_LIST, Body, Id, Text, UserId
from serving.merchandising.rules import MOST_WEIGHT, Rule, RuleId, Surface

Author = Annotated[Text, StringConstraints(max_length=100)]
Note = Annotated[Text, StringConstraints(max_length=200)]
MOST_DRAFTS, MOST_SHOPPERS, MOST_PREVIEWED, MOST_JUDGED = 20, 10, 50, 2_000

EXAMPLE: JsonDict = {
    "name": "Spring sale",
    "action": "boost",
    "where": 'category = "Garden" and price < 20',
    "weight": 1.0,
    "surfaces": ["home"],
    "ends": "2030-04-01T00:00:00Z",
}


OBJECTIVE: JsonDict = {"name": "Margin", "action": "objective", "by": "price", "weight": 0.5}


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
    numbers: list[str] = Field([], description="of products, that an objective may be by")


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


class EstimateRequest(Body):
    """Rules to judge before they are in force. Nothing is stored."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [{"drafts": {"margin": OBJECTIVE}, "weights": [0.25, 0.5, 1], "k": 10}]
        },
    )

    drafts: dict[RuleId, Rule | None] = Field(
        max_length=MOST_DRAFTS, description="as of the preview"
    )
    weights: list[Annotated[float, Field(ge=-MOST_WEIGHT, le=MOST_WEIGHT)]] = Field(
        [], max_length=8, description="of the objective among the drafts, one after the other"
    )
    attribute: Annotated[str, StringConstraints(max_length=60)] | None = Field(
        None,
        description="price or a declared number that is estimated; null: that of the objective",
    )
    surface: Surface = "home"
    k: int = Field(10, ge=1, le=MOST_PREVIEWED)
    lists: int = Field(
        300,
        ge=1,
        le=MOST_JUDGED,
        description="shoppers, drawn at random, and newest logged lists, at most",
    )

    @model_validator(mode="after")
    def _has_an_attribute(self) -> Self:
        if not self.drafts:
            raise ValueError("drafts must name a rule")
        n = len(self.objectives)
        if self.weights and n != 1:
            raise ValueError(f"weights are of one objective among the drafts, and there are {n}")
        if self.attribute is None and n != 1:
            raise ValueError("attribute must say what is estimated, where no objective does")
        return self

    @property
    def objectives(self) -> list[str]:
        """Ids of the drafts that are objectives."""
        pairs = self.drafts.items()
        return [name for name, rule in pairs if rule is not None and rule.action == "objective"]


class ChangeEstimate(BaseModel):
    """A mean with its 95 % interval."""

    value: float
    low: float
    high: float


class GainEstimate(BaseModel):
    """What a list earns more than before, estimated off-policy from the logged lists."""

    gain: ChangeEstimate | None = Field(description="self-normalised; null: reason says why")
    doubly_robust: ChangeEstimate | None = Field(description="by the other estimator, to compare")
    effective: float = Field(description="effective number of logged lists")
    support: float = Field(description="share of what the lists would show that the log shows")
    reason: str


class EstimateRow(BaseModel):
    weight: float | None = Field(description="of the objective; null: as the drafts say")
    ndcg: float | None = Field(description="of purchases since the model's training data")
    ndcg_change: ChangeEstimate | None = Field(description="the price; null in the first row")
    shown: float | None = Field(description="mean of the attribute over the products of the lists")
    value: GainEstimate = Field(description="in the attribute of the products bought")
    purchases: GainEstimate = Field(description="in products bought")


class EstimateResponse(BaseModel):
    attribute: str
    shoppers: int = Field(description="whose purchases counted for NDCG")
    lists: int = Field(description="logged lists that counted for the gains")
    reason: str = Field(description="why there is no NDCG, else empty")
    rows: list[EstimateRow] = Field(description="first the rules in force, with weight 0")


class ExposureShare(BaseModel):
    revision: int = Field(description="of the rule")
    group: str = Field(description="value of by; empty: the products of items and where")
    lists: int = Field(description="lists counted by this worker: up to a day, at most 20,000")
    share: float = Field(description="of their exposure; a place p has 1 / log2(1 + p) of it")
    recent: float = Field(description="of the newest 1,000 of them")
    offset: float = Field(description="standard deviations of the scores that it moves now")


class ExposureResponse(BaseModel):
    shares: list[ExposureShare]


class Preview(BaseModel):
    before: list[ScoredItem]
    after: list[ScoredItem]


class PreviewResponse(BaseModel):
    previews: list[Preview] = Field(description="one a shopper, in their order")
