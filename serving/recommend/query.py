"""Bodies of recommendation requests, in the ids of the shop."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from contextlib import suppress
from datetime import UTC, date, datetime, time
from typing import Annotated, Literal, Self

from pydantic import (
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    StringConstraints,
    Tag,
    model_validator,
)

from components.settings import AttributeType, SurfaceName
from serving.fields import MAX_CURSOR, MAX_K, MAX_LIST, MAX_SHELVES, Body, Id, Price, Text, UserId
from serving.filters.conditions import TRUE, Bound, Condition
from serving.filters.syntax import LONGEST
from serving.recommend.types import AttributeFilter, Filters

MAX_FILTERS, MAX_VALUES = 10, 50

FilterText = Annotated[
    str,
    Field(
        min_length=1,
        max_length=LONGEST,
        examples=[
            'category in ["Kitchen", "Garden"] and price < 10',
            'not brand = "Acme" and (use = "tea" or launched >= days_ago(30))',
            "size in user.sizes and user.region in regions",
        ],
        description="an expression over attributes of products (`available`, `brand`, `category` "
        "of any level, `currency`, `item_id`, `new`, `price`, and those that ingest.items of "
        "params.yaml declares) and of the shopper (`user.` and a name that ingest.users declares): "
        "`= != < <= > >= in [...]`, `is null`, `and`, `or`, `not`, parentheses, `days_ago(n)`; "
        "a comparison with a value that is not known is false",
    ),
]


def _bound(value: object) -> object:
    """Return a bound, checked to be a number or a date of ISO 8601."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        with suppress(OverflowError):  # an integer of more than 308 digits
            number = float(value)
            if math.isfinite(number):
                return number
    if isinstance(value, str):
        with suppress(ValueError):
            _moment(value, time.min)
            return value
    raise ValueError("must be a number, or a date of ISO 8601 such as 2026-05-31")


def _moment(text: str, of_day: time) -> datetime:
    """Return a date of ISO 8601, in UTC unless it says so; a day alone at the time ``of_day``.

    Raises:
        ValueError: it is none.
    """
    try:
        return datetime.combine(date.fromisoformat(text), of_day, UTC)
    except ValueError:
        moment = datetime.fromisoformat(text)
        return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


NumberOrDate = Annotated[float | str, BeforeValidator(_bound)]


class Range(Body):
    """Bounds of a number or of a date, both included; a day is included as a whole."""

    min: NumberOrDate | None = None
    max: NumberOrDate | None = None

    @model_validator(mode="after")
    def _of_one_type(self) -> Self:
        if len(self.kinds) == 0:
            raise ValueError("give both bounds as numbers, or both as dates")
        return self

    @property
    def kinds(self) -> tuple[AttributeType, ...]:
        """The types of attributes that the bounds fit."""
        given = {type(one) for one in (self.min, self.max) if one is not None}
        return tuple(kind for kind, python in BOUNDS.items() if given <= {python})

    def bounds(self) -> tuple[Bound | None, Bound | None]:
        """Return both bounds, dates as moments."""
        low = _moment(self.min, time.min) if isinstance(self.min, str) else self.min
        high = _moment(self.max, time.max) if isinstance(self.max, str) else self.max
        return low, high


BOUNDS: dict[AttributeType, type] = {"number": float, "date": str}


def _listed(value: object) -> object:
    """Return the list of a single value."""
    return [value] if isinstance(value, str) else value


def _form(value: object) -> str | None:
    """Return the tag of the form that a filter has; None: of neither."""
    if isinstance(value, str | list):
        return "values"
    return "range" if isinstance(value, dict | Range) else None


Values = Annotated[list[Text], Field(min_length=1, max_length=MAX_VALUES), BeforeValidator(_listed)]
ValuesOrRange = Annotated[
    Annotated[Values, Tag("values")] | Annotated[Range, Tag("range")],
    Discriminator(
        _form,
        custom_error_type="filter",
        custom_error_message="must be a value, a list of values, or {min, max} of a number or date",
    ),
]


class ItemFilters(Body):
    """The filters that recommend, similar, search and the shelves of a page share."""

    filter: FilterText | None = None
    category: Annotated[str, StringConstraints(min_length=1, max_length=200)] | None = Field(
        None, description="only products of this category, at any level; case does not matter"
    )
    min_price: Price | None = Field(None, description="products without a price do not meet it")
    max_price: Price | None = None
    available_only: bool = True
    attributes: dict[Id, ValuesOrRange] = Field(
        {},
        max_length=MAX_FILTERS,
        description="by the names that ingest.items of params.yaml declares: of a category or set "
        "a value, or several of which a product has one, of a number or date {min, max}; products "
        "without the attribute do not meet it",
    )

    def filters(self, where: Condition = TRUE) -> Filters:
        """Return the filters as the engine takes them. where: the condition of ``filter``."""
        attributes: list[AttributeFilter] = [
            (name, (), *one.bounds())
            if isinstance(one, Range)
            else (name, tuple(sorted({value.casefold() for value in one})), None, None)
            for name, one in sorted(self.attributes.items())
        ]
        return Filters(
            *(self.category, self.min_price, self.max_price, self.available_only),
            tuple(attributes),
            where,
        )

    def check_attributes(self, declared: Mapping[str, AttributeType]) -> None:
        """Raise ValueError, whose arguments are a sentence and a field, if an attribute is not
        declared or cannot be filtered so. declared: type by name."""
        for name, one in self.attributes.items():
            kinds = one.kinds if isinstance(one, Range) else ("category", "set")
            if declared.get(name) not in kinds:
                fitting = [other for other, kind in declared.items() if kind in kinds]
                known = ", ".join(fitting) or "none"
                raise ValueError(
                    f"no {' or '.join(kinds)} of that name is declared; declared are: {known}",
                    f"attributes.{name}",
                )


class Filtered(ItemFilters):
    """Filters, and the shopper whose attributes they read."""

    user_id: UserId | None = None
    session_id: Id | None = Field(None, description="of a shopper who is not signed in")


class RecommendRequest(Filtered):
    """For a user (known or new), a session, or an anonymous shopper with a few recent items."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {"user_id": "13085", "k": 5},
                {"recent": ["85123A", "22423"], "k": 5, "max_price": 10, "exclude": ["21232"]},
                {"user_id": "13085", "filter": 'category in ["Kitchen", "Bag"] and price < 10'},
            ]
        },
    )

    recent: list[Id] = Field(
        [],
        max_length=MAX_LIST,
        description="item ids, the newest last; they follow the stored history",
    )
    k: int = Field(10, ge=1, le=MAX_K)
    exclude: list[Id] = Field([], max_length=MAX_LIST, description="item ids not to show")
    exclude_seen: bool | None = Field(
        None,
        description="leave out what is in the history: true always, so the list may be short or "
        "empty; null as the model was trained, and rather than an empty list the history again",
    )
    reasons: bool = Field(True, description="say why each item is shown")
    page: Literal["home", "product", "basket"] = Field(
        "home", description="product, basket: what is shown there weighs more than older history"
    )
    page_items: list[Id] = Field(
        [],
        max_length=MAX_LIST,
        description="the item ids on that page, or in the basket; they are not shown again",
    )
    surface: SurfaceName | None = Field(
        None,
        description="place of the shop, by its name in serve.surfaces, such as bought_together, "
        "buy_again or trending; its settings say what is shown there",
    )
    country: str | None = Field(
        None,
        min_length=1,
        max_length=100,
        description="of the shopper, as the training data spell it: what rises there, on a surface "
        "whose source is rising; without enough customers there, what rises in the whole shop",
    )
    cursor: str | None = Field(
        None,
        max_length=MAX_CURSOR,
        description='to read a list page by page: "" with the first page, then next of the answer '
        "before; with the same other fields, except for k",
    )

    @property
    def is_filtered(self) -> bool:
        """Whether the request may leave few products to choose from."""
        given = (self.category, self.min_price, self.max_price, self.filter)
        return bool(self.exclude or self.attributes) or any(one is not None for one in given)

    def check_surface(self, surfaces: Collection[str]) -> None:
        """Raise ValueError, whose arguments are a sentence and a field, if there is no such
        surface. surfaces: their names."""
        if self.surface is not None and self.surface not in surfaces:
            known = ", ".join(surfaces)
            raise ValueError(f"serve.surfaces has no such surface; it has {known}", "surface")

    @model_validator(mode="after")
    def _page_has_items(self) -> Self:
        if self.page == "home" and self.page_items and self.surface is None:
            raise ValueError("page_items belong to page product or basket, or to a surface")
        if self.page == "product" and not self.page_items:
            raise ValueError("page product needs the product in page_items")
        return self


class Shelf(ItemFilters):
    """One shelf of a page: the fields of ``RecommendRequest`` that are its own."""

    surface: SurfaceName = Field(description="by its name in serve.surfaces")
    k: int = Field(10, ge=1, le=MAX_K)
    page_items: list[Id] = Field([], max_length=MAX_LIST)
    exclude: list[Id] = Field([], max_length=MAX_LIST)
    country: str | None = Field(None, min_length=1, max_length=100)


class PageRequest(Body):
    """Several shelves of one page, which have no product in common."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {
                    "user_id": "13085",
                    "shelves": [
                        {"surface": "bought_together", "page_items": ["85123A"], "k": 4},
                        {"surface": "product", "page_items": ["85123A"], "k": 8},
                        {"surface": "trending", "k": 8},
                    ],
                }
            ]
        },
    )

    user_id: UserId | None = None
    session_id: Id | None = None
    recent: list[Id] = Field([], max_length=MAX_LIST)
    reasons: bool = True
    shelves: list[Shelf] = Field(
        min_length=1,
        max_length=MAX_SHELVES,
        description="in the order of their rank: a product is on the first one that has it",
    )

    def requests(self) -> list[RecommendRequest]:
        """Return the request of each shelf."""
        shopper = {name: getattr(self, name) for name in ("user_id", "session_id", "recent")}
        return [
            RecommendRequest(**shopper, reasons=self.reasons, **dict(one)) for one in self.shelves
        ]


class RerankRequest(Body):
    """A given list of items, to be put into the shopper's order."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [{"user_id": "13085", "item_ids": ["85123A", "22423", "21232"]}]
        },
    )

    user_id: UserId | None = None
    session_id: Id | None = None
    recent: list[Id] = Field([], max_length=MAX_LIST)
    item_ids: list[Id] = Field(min_length=1, max_length=MAX_LIST)
    surface: SurfaceName | None = Field(
        None, description="place of the shop, such as search; for the outcomes by surface"
    )


def surface_of(body: RecommendRequest) -> str:
    """Return the surface that a request is for, by which merchandising rules apply."""
    return body.surface or body.page
