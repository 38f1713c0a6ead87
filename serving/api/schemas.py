"""Schemas of requests and responses, with examples; the OpenAPI document is made from them."""

from __future__ import annotations

import uuid
from datetime import UTC, date, datetime
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    field_validator,
    model_validator,
)

from components.clock import CLOCK_SKEW
from components.web_addresses import LONGEST_ADDRESS, WEB_ADDRESSES, is_web_address
from serving.conversation.dialogue_state import ConversationState
from serving.events.tables import SECOND
from serving.fields import MAX_BATCH, MAX_K, MAX_LIST, MAX_PROPOSALS, Body, Id, Price, Text, UserId
from serving.recommend.query import Filtered, FilterText

IDENTIFIED = (
    "the answer is for the user or session of the request; false: it named none, or had neither "
    "the API key nor that person's session token, and is answered as anonymous"
)

MAX_ATTRIBUTES = 50
Attributes = dict[Id, Annotated[float, Field(strict=True)] | Text | list[Text] | None]
ATTRIBUTES = (
    "by the names that {} of params.yaml declares: a number, a text, a list of texts, or a date of "
    "ISO 8601; null: not known"
)

EARLIEST = datetime(2000, 1, 1, tzinfo=UTC)


class SimilarRequest(Filtered):
    """One item, or the items of a basket, to find similar ones to."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"item_ids": ["85123A"], "k": 5}]}
    )

    item_ids: list[Id] = Field(min_length=1, max_length=MAX_LIST)
    k: int = Field(10, ge=1, le=MAX_K)


class SearchRequest(Filtered):
    """Words to search for; none: browse, the popular products first."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {"query": "red retrospot bag", "max_price": 5, "k": 5},
                {"query": "bag", "filter": 'not category = "Kitchen" and price >= 2'},
            ]
        },
    )

    query: str = Field("", max_length=500)
    k: int = Field(20, ge=1, le=MAX_K)
    offset: int = Field(0, ge=0, le=100_000)


class FacetsRequest(Filtered):
    """The filters that products must meet to be counted, as those of search."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"category": "Kitchen", "attributes": {"colour": "red"}}]},
    )


class FacetValue(BaseModel):
    value: str = Field(description="as a filter takes it; of several spellings the most frequent")
    items: int = Field(description="products that have it")


class ValuesFacet(BaseModel):
    """Values of a category or set, the most frequent first."""

    name: str
    type: Literal["category", "set"]
    values: list[FacetValue] = Field(description="at most 30, and the values of the request")
    left_out: int = Field(description="further values, which are not in the list")


class RangeFacet(BaseModel):
    """The lowest and the highest value of a number or date."""

    name: str
    type: Literal["number", "date"]
    min: float | str = Field(description="of a date its day, such as 2026-05-31")
    max: float | str


class FacetsResponse(BaseModel):
    """Each facet counts the products that meet the filters except for those of its attribute."""

    total: int = Field(description="products that meet all filters")
    facets: list[ValuesFacet | RangeFacet] = Field(
        description="at most 10, those of the request among them, in the order that ingest.items "
        "declares attributes"
    )
    left_out: int = Field(description="further attributes, which have no facet")


class Item(BaseModel):
    """A product as pages show it."""

    item_id: str
    title: str
    price: float | None
    currency: str
    categories: list[str]
    image: str | None = Field(None, description=f"of its picture; {WEB_ADDRESSES}")
    url: str | None = Field(None, description=f"of its page; {WEB_ADDRESSES}")
    attributes: dict[str, float | str | list[str]] = Field(
        {},
        description="those known, by the names that ingest.items declares and in that order, "
        "without serve.hidden_attributes; a date as ISO 8601; values of at most 200 characters, "
        "texts of at most 2000, of a set at most 20 values",
    )


class ScoredItem(Item):
    score: float = Field(description="higher is better; comparable within one source")
    source: str = Field(
        description="hybrid, content, segment, popular, similar, search or rerank; on a surface "
        "also new, goes_with, together, due, viewed or rising"
    )
    reason: str | None = Field(None, description="a short text that states facts")
    evidence: dict[str, float] | None = Field(
        None,
        description="figures behind an item of a surface. together: support (baskets with both), "
        "lift. due: bought (days with a purchase), days_since, interval_days (the customer's "
        "median, else the product's), due (days_since / interval_days). rising: growth (sales "
        "through those at the shop's pace), sold (in the last 7 days)",
    )


class Answered(BaseModel):
    items: list[ScoredItem]
    model_version: str
    unknown_items: list[str] = Field(
        [], description="item ids of the request that the model does not know; they were ignored"
    )


class RecommendResponse(Answered):
    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "items": [
                        {
                            "item_id": "22423",
                            "title": "REGENCY CAKESTAND 3 TIER",
                            "price": 12.75,
                            "currency": "GBP",
                            "categories": ["Kitchen"],
                            "image": "https://shop.example/images/22423.jpg",
                            "url": "https://shop.example/products/22423",
                            "attributes": {"colour": "red"},
                            "score": 1.7,
                            "source": "hybrid",
                            "reason": "popular lately",
                        }
                    ],
                    "model_version": "3",
                    "unknown_items": [],
                    "impression_id": "0f8c…",
                    "source": "hybrid",
                    "identified": True,
                    "history_length": 12,
                }
            ]
        }
    )

    impression_id: str = Field(description="name it in the feedback that follows")
    source: str = Field(description="source of the first item; none: no item met the filters")
    identified: bool = Field(description=IDENTIFIED)
    history_length: int = Field(description="events that the answer is based on")
    arm: str | None = Field(None, description="control or treatment while an experiment runs")
    surface: str | None = Field(None, description="of the request")
    title: str | None = Field(
        None,
        description="what the shelf may be called, in the answer's language; of a fallback its "
        "own; empty for a surface that the shop added",
    )
    sources: dict[str, int] | None = Field(
        None, description="of a surface: how many of the items came from each source"
    )
    fallback: bool | None = Field(
        None, description="of a surface: its own source had nothing, so a fallback's list is shown"
    )
    next: str | None = Field(
        None, description="cursor of the next page, if the request had one; null: this is the last"
    )


class PageResponse(BaseModel):
    """One shelf for each of the request, in its order; no product is on two of them."""

    shelves: list[RecommendResponse]


class RerankResponse(Answered):
    """All items of the list that are known, best first."""

    excluded_items: list[str] = Field(
        [], description="known items of the request that a merchandising rule excludes"
    )
    impression_id: str
    identified: bool = Field(description=IDENTIFIED)


class SimilarResponse(Answered):
    pass


class SearchResponse(Answered):
    total: int = Field(description="products that match")


class ConversationRequest(Body):
    """One message, with the state that the last answer gave."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {"message": "a gift for a child under 10 pounds, no plastic", "user_id": "13085"}
            ]
        },
    )

    message: str = Field(min_length=1, max_length=500)
    filter: FilterText | None = None
    state: ConversationState | None = Field(None, description="null: a new conversation")
    user_id: UserId | None = None
    session_id: Id | None = None
    k: int = Field(5, ge=1, le=MAX_PROPOSALS)
    stream: bool = Field(
        False,
        description="answer as server-sent events: proposals (this answer without its text), "
        "text (a piece of it), done (this answer)",
    )


class ConversationResponse(BaseModel):
    model_config = ConfigDict(protected_namespaces=())

    text: str
    question: str | None = Field(description="a question back when the request is too general")
    options: list[str] = Field(description="messages that a click may send next, in English")
    labels: list[str] = Field(
        [],
        exclude_if=lambda labels: not labels,
        description="what a page shows for each option, in another language than English",
    )
    items: list[ScoredItem] = Field(description="proposals, best first, all of them available")
    understood: list[str] = Field(description="what was understood and searched for")
    relaxed: list[str] = Field(description="wishes that were relaxed because no product met all")
    state: ConversationState
    model_version: str
    identified: bool = Field(description=IDENTIFIED)
    impression_id: str | None = Field(description="name it in the feedback that follows")


class ConversationText(BaseModel):
    text: str


class SessionRequest(Body):
    """The user of a new session, and the session that this person had before signing in."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"user_id": "13085", "session_id": "pX0mVfKq7b5Yw3Zt"}]},
    )

    user_id: UserId | None = Field(
        None, description="a signed-in user: needs the API key, if one is set"
    )
    session_id: Id | None = Field(
        None,
        description="the session before signing in: its events become the user's, and the new "
        "token is of the same session, so feedback may name the lists that it was shown",
    )

    @model_validator(mode="after")
    def _signs_in(self) -> Self:
        if self.session_id is not None and self.user_id is None:
            raise ValueError("session_id needs the user_id of the person who signs in")
        return self


class SessionResponse(BaseModel):
    """A session of one shopper, to be sent as the header X-Session-Token."""

    token: str
    session_id: str
    user_id: str | None
    expires_at: int = Field(description="seconds since 1970")
    moved_events: int = Field(0, description="events of the session that are the user's now")


class FeedbackEvent(Body):
    """What a shopper did. Sent again with the same event_id it is kept once.

    With the shop's key it names a user or a session; with a session token it is the token's.
    """

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {
                    "event_id": "b7f4c9a2",
                    "user_id": "13085",
                    "item_id": "85123A",
                    "event": "purchase",
                    "quantity": 2,
                    "price": 2.55,
                }
            ]
        },
    )

    event_id: Id = Field(
        default_factory=lambda: uuid.uuid4().hex,
        description="the sender's own id of this event; without it a repeated send counts twice",
    )
    user_id: UserId | None = None
    session_id: Id | None = None
    item_id: Id
    # One literal: a union would be named by its parts where an event is refused.
    event: Literal["view", "click", "cart", "purchase", "rating", "dislike", "hide"] = Field(
        description="dislike, hide: the product is not shown to this shopper again, and similar "
        "ones go down; so do ratings of preprocess.low_rating stars or less"
    )
    rating: float | None = Field(None, ge=1, le=5, allow_inf_nan=False)
    quantity: float = Field(1, gt=0, le=1e6, allow_inf_nan=False)
    price: float | None = Field(None, gt=0, le=1e9, allow_inf_nan=False, description="of one unit")
    timestamp: AwareDatetime | None = Field(
        None,
        description="with time zone; null: now. Late events are sorted in by their time; those "
        "older than serve.max_event_age_hours need the shop's key",
    )
    impression_id: Id | None = Field(
        None, description="the recommendation that led here; it must have been this shopper's"
    )
    order_id: Id | None = Field(
        None,
        description="the shop's id of the order, as its files have it: a purchase that is in both "
        "counts once",
    )

    @field_validator("timestamp")
    @classmethod
    def _possible(cls, value: datetime | None) -> datetime | None:
        if value is not None and not EARLIEST <= value <= datetime.now(UTC) + CLOCK_SKEW:
            raise ValueError("must lie between the year 2000 and tomorrow")
        return value

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if self.event == "rating" and self.rating is None:
            raise ValueError("an event of kind rating needs a rating from 1 to 5")
        return self


class FeedbackBatch(Body):
    events: list[FeedbackEvent] = Field(min_length=1, max_length=MAX_BATCH)


class FeedbackResponse(BaseModel):
    """The events are durable when this arrives."""

    accepted: int
    duplicates: int = Field(description="events whose event_id was there already")
    event_ids: list[str]
    unknown_items: list[str] = Field(
        [], description="item ids that the model does not know yet; the events are stored"
    )
    pushed_away: list[str] = Field(
        [],
        description="item ids that the shopper is not shown again because of a dislike, a hide or "
        "few stars; similar products go down in the lists that follow",
    )
    unknown_impressions: list[str] = Field(
        [], description="unknown impression ids; the events are stored without them"
    )


class HistoryEvent(BaseModel):
    item_id: str
    title: str | None
    event: str | None = Field(description="null: from the training data")
    timestamp: datetime


class HistoryResponse(BaseModel):
    user_id: str
    events: list[HistoryEvent] = Field(description="the newest last")


class ExportResponse(BaseModel):
    """All that is kept of a user or a session. Times of the store's rows are microseconds since
    1970, UTC."""

    events: list[dict[str, Any]]
    attributes: list[dict[str, Any]] = Field(description="put by PUT /users")
    impressions: list[dict[str, Any]] = Field(description="recommendations that were shown")
    exposures: list[dict[str, Any]] = Field(description="experiments, and the arm of each")
    history: list[dict[str, Any]] = Field(
        description="the user's training data in the models in service"
    )
    tables: list[dict[str, Any]] = Field(
        description="rows of the exported files and of the pipeline's tables on this machine"
    )
    erasures: list[dict[str, Any]] = Field(description="records of earlier erasures")


class ErasedPlace(BaseModel):
    place: str
    state: str = Field(
        description="erased, at the next training, nothing kept, not erased, or the shop's own "
        "files: remove it there"
    )
    rows: int | None = Field(description="rows erased there; null: not counted")
    todo: str = Field(description="what remains to be done; empty: nothing")


class EraseResponse(BaseModel):
    """The receipt of an erasure; the file of the same content holds a hash, not the id."""

    erased_events: int
    erased_at: datetime
    places: list[ErasedPlace]
    receipt: str | None = Field(description="file below var/erasures; null: it was not written")


class ModelResponse(BaseModel):
    model_config = ConfigDict(protected_namespaces=())

    version: str
    items: int
    users: int
    candidates: list[str]
    loaded_at: datetime
    trained_until: datetime
    last_load_error: str | None = Field(None, description="why a newer champion is not served")
    limits: dict[str, int]


class StoreStatus(BaseModel):
    """State of the event store, as this worker sees it."""

    reachable: bool
    note: str | None = Field(description="why the traffic is not up to date; null: it is")
    problem: str | None = Field(
        description="why impressions or events are not kept; null: they are"
    )
    dropped: dict[str, int] = Field(description="impressions shown but not kept, by reason")
    bytes: int = Field(description="its size when it was last measured; of PostgreSQL an estimate")
    impressions_removed: int = Field(description="by retention since this worker began; see docs")


class CanaryStatus(BaseModel):
    """Which version serves all shoppers, and how the one in its canary does."""

    stable: str = Field(description="the version that serves the shoppers outside the canary")
    version: str | None = Field(None, description="the version in its canary; null: none runs")
    started: datetime | None = None
    share: float = Field(description="of the shoppers, in the canary")
    evidence: dict[str, Any] | None = Field(
        None, description="hours, shoppers, outcome, lists and seconds of both groups; state"
    )
    decisions: list[dict[str, Any]] = Field([], description="the newest first, with their reasons")


class Holds(BaseModel):
    """What the operator or the monitoring holds back."""

    promotions: dict[str, Any] | None = Field(
        None, description="since when promotions are held, and the reason; null: they are not"
    )
    days: list[dict[str, Any]] = Field(
        [], description="the days that nothing is learned from: first, last, reason, by"
    )
    note: str | None = Field(None, description="why the held days are not known; null: they are")


class StatusResponse(BaseModel):
    """The last 24 hours of the store, and what the pipeline last reported."""

    events_today: dict[str, int]
    impressions_today: int
    events_pending: int
    impressions_dropped: int
    unknown_item_events: int = Field(
        description="events of ids that are no products of the model in service: they are kept, "
        "and count only once a product has the id"
    )
    unknown_items: list[dict[str, Any]] = Field(
        description="the ids of most of them: item_id, events"
    )
    store: StoreStatus
    activity: list[dict[str, Any]] = Field(
        description="of each hour: start, impressions, events by kind, and followed: the events "
        "that named an impression"
    )
    surfaces: list[dict[str, Any]] = Field(
        description="what came of the lists by their place in the shop: surface, impressions, "
        "followed and bought (lists that an event, that a purchase named)"
    )
    drift: dict[str, Any] | None = Field(
        description="the newest verdict; page: its report's path below /reports"
    )
    validation: dict[str, Any] | None = Field(description="reports/validation.json")
    alerts: list[dict[str, Any]] = Field(
        description="the open alerts, newest first: kind, subject, reason, opened, last, count"
    )
    holds: Holds
    reports: str = Field(description="prefix of links to reports, valid for a few minutes")
    versions: list[dict[str, Any]] = Field(
        [], description="registered model versions, newest first, with their aliases"
    )
    problems: dict[str, str] = Field(
        {},
        description="degraded parts: damaged or not loaded; served without them or with older ones",
    )
    canary: CanaryStatus | None = Field(
        None, description="null: a promoted version serves all shoppers at once"
    )
    shadow: dict[str, Any] | None = Field(
        None,
        description="the challenger in the background: version, lists made, failed and dropped, "
        "overlap with what was shown, p95_seconds of both; null: none runs",
    )


class CategoriesResponse(BaseModel):
    categories: list[dict[str, str | int]]


def _web_address(value: str) -> str:
    if not is_web_address(value):
        raise ValueError(WEB_ADDRESSES)
    return value


WebAddress = Annotated[Text, Field(max_length=LONGEST_ADDRESS), AfterValidator(_web_address)]


class ItemUpdate(Body):
    """A new product (with a title at least), or the changed fields of one.

    A field that is left out stays as it is; null clears it: the product then has no such value,
    whatever the shop's files say.
    """

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {
                    "item_id": "23999",
                    "title": "Red retrospot lunch bag",
                    "description": "Insulated, 30 x 20 cm",
                    "categories": ["Kitchen", "Bag"],
                    "price": 4.95,
                    "currency": "GBP",
                    "image": "https://shop.example/images/23999.jpg",
                    "url": "https://shop.example/products/23999",
                    "expires_at": "2030-12-24T18:00:00Z",
                },
                {"item_id": "85123A", "price": 2.75, "available": False, "image": None},
            ]
        },
    )

    item_id: Id
    title: Text | None = Field(None, min_length=1, max_length=1000)
    description: Text | None = Field(None, max_length=20_000)
    brand: Text | None = Field(None, max_length=200)
    categories: list[Annotated[Text, Field(min_length=1, max_length=200)]] | None = Field(
        None, max_length=20, description="the most general first"
    )
    price: Price | None = None
    currency: Annotated[str, StringConstraints(pattern=r"^[A-Z]{3}$")] | None = None
    available: bool | None = None
    image: WebAddress | None = Field(None, description=f"of its picture; {WEB_ADDRESSES}")
    url: WebAddress | None = Field(None, description=f"of its page; {WEB_ADDRESSES}")
    expires_at: AwareDatetime | None = Field(
        None,
        description="with time zone: from then on it is gone as after DELETE /items; null: never",
    )
    attributes: Attributes | None = Field(
        None,
        description=ATTRIBUTES.format("ingest.items") + "; null instead of all: none is known",
        max_length=MAX_ATTRIBUTES,
    )

    @model_validator(mode="after")
    def _keeps_its_title(self) -> Self:
        if self.title is None and "title" in self.model_fields_set:
            raise ValueError("a product needs a title: leave the field out to keep the one it has")
        if self.title is not None and not self.title.strip():
            raise ValueError("a product needs a title that is not blank")
        return self

    def change(self) -> dict[str, Any]:
        """Return the fields that the request names, as ``put_items`` takes them."""
        given = self.model_dump(exclude_unset=True)
        if self.expires_at is not None:
            given["expires_at"] = int(self.expires_at.timestamp() * SECOND)
        return given


class ItemsRequest(Body):
    items: list[ItemUpdate] = Field(min_length=1, max_length=MAX_BATCH)


class ItemsResponse(BaseModel):
    """The change of the products is durable when this arrives."""

    items: int
    revision: int = Field(description="of the catalogue; it grows with every change")
    live: bool = Field(
        description="whether this worker uses them already; otherwise within seconds"
    )


class UserUpdate(Body):
    """Attributes of a user; those of other names stay."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [{"user_id": "13085", "attributes": {"age": "25-34", "likes": ["tea"]}}]
        },
    )

    user_id: UserId
    attributes: Attributes = Field(
        description=ATTRIBUTES.format("ingest.users"), max_length=MAX_ATTRIBUTES
    )


class UsersRequest(Body):
    users: list[UserUpdate] = Field(min_length=1, max_length=MAX_BATCH)


class UsersResponse(BaseModel):
    """The attributes are durable when this arrives, and used by this worker; by others within a
    second."""

    users: int


class PageToken(BaseModel):
    token: str | None = Field(description="null: a key is set, and no token is needed")


class PromoteRequest(Body):
    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"version": "3"}]})

    version: Annotated[str, StringConstraints(pattern=r"^[0-9]{1,9}$")]
    now: bool = Field(False, description="serve all shoppers at once, without a canary")


Reason = Annotated[Text, StringConstraints(min_length=1, max_length=200)]


class HoldRequest(Body):
    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"reason": "the sale ends on Monday"}]}
    )

    reason: Reason = "by the operator"


class DaysRequest(HoldRequest):
    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {"first": "2026-03-01", "last": "2026-03-02", "reason": "test orders of a campaign"}
            ]
        },
    )

    first: date = Field(description="first day, UTC")
    last: date = Field(description="last day, included")


class TimelineEntry(BaseModel):
    """Something that happened to the shop's models or data."""

    id: str
    at: datetime
    kind: str
    text: str = Field(description="one sentence")
    by: str = Field(description="the part that acted, or operator")
    evidence: dict[str, Any]


class TimelineResponse(BaseModel):
    entries: list[TimelineEntry] = Field(description="newest first")


class Job(BaseModel):
    """A command of the operator, such as a change of the champion, which every worker loads within
    seconds."""

    id: str
    command: str = Field(description="promote, rollback, hold or release, with its arguments")
    state: Literal["queued", "running", "done", "failed"]
    error: str | None = Field(description="why it failed")
    created: datetime
    finished: datetime | None


class ExperimentsResponse(BaseModel):
    experiments: list[dict[str, Any]] = Field(
        description="the running one first: arms with rates and intervals, difference, verdict"
    )
    uplift: dict[str, Any] | None = Field(
        None,
        description="what recommendations earn against popular products: visitors, and the "
        "difference in conversion and revenue with always-valid intervals; null: not measured",
    )
    note: str | None = Field(None, description="why these are not up to date; null: they are")


class FieldProblem(BaseModel):
    field: str
    problem: str


class ErrorResponse(BaseModel):
    """The response to every refused request."""

    error: str
    fields: list[FieldProblem] = []
