"""Filter expressions against a schema, and their masks against a plain evaluation by row."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.filters.conditions import FALSE, TRUE, All, Has, conjuncts
from serving.filters.expression import Schema, compiled
from serving.filters.syntax import FilterError
from serving.recommend.attribute_index import AttributeIndex
from serving.recommend.masks import Masks

TODAY = date(2026, 3, 10)
SCHEMA = Schema.of(
    {
        "colour": "category",
        "regions": "set",
        "weight": "number",
        "list_price": "number",
        "launched": "date",
        "care": "text",
    },
    {"sizes": "set", "region": "category", "budget": "number", "born": "date"},
)
WORDS = ["Oak", "oak", "ELM", "ash"]
NUMBERS = [0.1, 1.0, 2.55, 3.0]
DAYS = ["2026-03-01", "2026-03-08", "2026-03-10"]
MOMENTS = [f"{day}T{hour}:00:00+00:00" for day in DAYS for hour in ("00", "12")]

Row = dict[str, Any]
User = dict[str, Any]


def rows(n: int) -> list[Row]:
    """Return products in which each value is missing now and then."""
    random = np.random.default_rng(5)

    def one(values: list[Any]) -> Any:
        return None if random.random() < 0.25 else values[random.integers(len(values))]

    def some() -> list[str]:
        return list(random.choice(WORDS, random.integers(0, 3)))

    return [
        {
            "item_id": f"i{at}",
            "category": some(),
            "brand": one([*WORDS, ""]),
            "price": one(NUMBERS),
            "available": bool(random.random() < 0.7),
            "new": bool(random.random() < 0.3),
            "colour": one(WORDS),
            "regions": some() or None,
            "weight": one(NUMBERS),
            "list_price": one(NUMBERS),
            "launched": one(MOMENTS),
        }
        for at in range(n)
    ]


ROWS = rows(80)


def masks(few: float) -> Masks:
    table = pd.DataFrame(
        {
            "item_id": [row["item_id"] for row in ROWS],
            "brand": [row["brand"] for row in ROWS],
            "category:colour": [row["colour"] for row in ROWS],
            "set:regions": [row["regions"] for row in ROWS],
            "number:weight": pd.Series([row["weight"] for row in ROWS], dtype="float32"),
            "number:list_price": pd.Series([row["list_price"] for row in ROWS], dtype="float32"),
            "date:launched": pd.to_datetime([row["launched"] for row in ROWS], utc=True),
        }
    )
    categories: dict[str, list[int]] = {}
    for code, row in enumerate(ROWS):
        for name in row["category"]:
            categories.setdefault(name.casefold(), []).append(code)
    return Masks(
        pd.Index(table["item_id"]),
        AttributeIndex(table),
        {name: np.array(codes) for name, codes in categories.items()},
        np.array([np.nan if row["price"] is None else np.float32(row["price"]) for row in ROWS]),
        {name: np.array([row[name] for row in ROWS]) for name in ("available", "new")},
        few,
    )


BY_LISTS, BY_SCANS = masks(1), masks(np.inf)
ALLOWED = np.array([row["available"] for row in ROWS])


def meets(text: str, user: User | None = None) -> set[str]:
    """Return the ids of the products that meet an expression."""
    condition = compiled(text, SCHEMA).bound(user, TODAY)
    mask = BY_LISTS.of(condition)
    for other in (BY_LISTS, BY_SCANS):
        assert (other.of(condition) == mask).all()
        assert (other.of(condition, ALLOWED) == (mask & ALLOWED)).all()
    return {row["item_id"] for row, met in zip(ROWS, mask, strict=True) if met}


# --- expressions with the plain function that they mean ---

Meaning = Callable[[Row, User], bool]
RELATIONS: dict[str, Callable[[Any, Any], bool]] = {
    "=": lambda a, b: a == b,
    "<": lambda a, b: a < b,
    "<=": lambda a, b: a <= b,
    ">": lambda a, b: a > b,
    ">=": lambda a, b: a >= b,
}
FLIPPED = {"=": "=", "<": ">", "<=": ">=", ">": "<", ">=": "<="}


def as_list(value: Any) -> list[str]:
    given = value if isinstance(value, list) else [value]
    return [one.casefold() for one in given if one]


def day_of(value: str) -> date:
    return datetime.fromisoformat(value).date()


@st.composite
def of_texts(draw: st.DrawFn) -> tuple[str, Meaning]:
    name = draw(st.sampled_from(["category", "brand", "colour", "regions"]))
    form = draw(st.sampled_from(["=", "!=", "in", "not in", "in item", "user", "user in item"]))
    some = draw(st.lists(st.sampled_from(WORDS), min_size=1, max_size=3))
    quoted = "[" + ", ".join(f'"{one}"' for one in some) + "]"

    def overlap(row: Row, others: list[str]) -> bool:
        return bool(set(as_list(row[name])) & {one.casefold() for one in others})

    if form in ("=", "!="):
        return f'{name} {form} "{some[0]}"', lambda row, _: overlap(row, some[:1]) == (form == "=")
    if form in ("in", "not in"):
        return f"{name} {form} {quoted}", lambda row, _: overlap(row, some) == (form == "in")
    if form == "in item":
        return f'"{some[0]}" in {name}', lambda row, _: overlap(row, some[:1])
    if form == "user":
        return f"{name} in user.sizes", lambda row, user: overlap(row, as_list(user.get("sizes")))
    return f"user.region in {name}", lambda row, user: overlap(row, as_list(user.get("region")))


@st.composite
def of_numbers(draw: st.DrawFn) -> tuple[str, Meaning]:
    name, other = draw(st.permutations(["price", "weight", "list_price"]))[:2]
    sign = draw(st.sampled_from(list(RELATIONS)))
    number = draw(st.sampled_from([*NUMBERS, 0.0, 9.5]))
    relation = RELATIONS[sign]

    def against(row: Row, value: float | None) -> bool:
        return row[name] is not None and value is not None and relation(row[name], value)

    form = draw(st.sampled_from(["literal", "left", "user", "item", "list"]))
    if form == "literal":
        return f"{name} {sign} {number}", lambda row, _: against(row, number)
    if form == "left":
        return f"{number} {FLIPPED[sign]} {name}", lambda row, _: against(row, number)
    if form == "user":
        return f"{name} {sign} user.budget", lambda row, user: against(row, user.get("budget"))
    if form == "list":
        return f"{name} in [{number}, 3]", lambda row, _: row[name] in (number, 3.0)
    return f"{name} {sign} {other}", lambda row, _: against(row, row[other])


@st.composite
def of_dates(draw: st.DrawFn) -> tuple[str, Meaning]:
    sign = draw(st.sampled_from(list(RELATIONS)))
    relation = RELATIONS[sign]
    form = draw(st.sampled_from(["day", "moment", "days_ago", "user"]))
    if form == "moment":
        moment = draw(st.sampled_from(MOMENTS))
        return (
            f'launched {sign} "{moment}"',
            lambda row, _: (
                row["launched"] is not None
                and relation(
                    datetime.fromisoformat(row["launched"]), datetime.fromisoformat(moment)
                )
            ),
        )

    def against(row: Row, day: date | None) -> bool:
        return (
            row["launched"] is not None
            and day is not None
            and (relation(day_of(row["launched"]), day))
        )

    if form == "day":
        text = draw(st.sampled_from(DAYS))
        return f'launched {sign} "{text}"', lambda row, _: against(row, date.fromisoformat(text))
    if form == "user":
        return f"launched {sign} user.born", lambda row, user: against(
            row, user.get("born") and date.fromisoformat(user["born"])
        )
    ago = draw(st.integers(0, 9))
    return f"launched {sign} days_ago({ago})", lambda row, _: against(
        row, TODAY - timedelta(days=ago)
    )


@st.composite
def of_others(draw: st.DrawFn) -> tuple[str, Meaning]:
    name = draw(st.sampled_from(["available", "new"]))
    known = draw(st.sampled_from(["brand", "colour", "regions", "price", "launched", "category"]))
    return draw(
        st.sampled_from(
            [
                (name, lambda row, _: row[name]),
                (f"{name} = false", lambda row, _: not row[name]),
                (f"{known} is null", lambda row, _: not row[known]),
                (f"{known} is not null", lambda row, _: bool(row[known])),
                ("user.budget is null", lambda _, user: user.get("budget") is None),
                ('user.sizes = "oak"', lambda _, user: "oak" in as_list(user.get("sizes"))),
                ("user.budget >= 1", lambda _, user: (user.get("budget") or 0) >= 1),
                ('item_id in ["i1", "I2", "i3"]', lambda row, _: row["item_id"] in ("i1", "i3")),
            ]
        )
    )


def grouped(
    inner: st.SearchStrategy[tuple[str, Meaning]],
) -> st.SearchStrategy[tuple[str, Meaning]]:
    def both(pair: tuple[tuple[str, Meaning], tuple[str, Meaning]]) -> tuple[str, Meaning]:
        (one, f), (other, g) = pair
        return f"({one}) and ({other})", lambda row, user: f(row, user) and g(row, user)

    def either(pair: tuple[tuple[str, Meaning], tuple[str, Meaning]]) -> tuple[str, Meaning]:
        (one, f), (other, g) = pair
        return f"({one} or {other})", lambda row, user: f(row, user) or g(row, user)

    def neither(one: tuple[str, Meaning]) -> tuple[str, Meaning]:
        text, f = one
        return f"not ({text})", lambda row, user: not f(row, user)

    pairs = st.tuples(inner, inner)
    return pairs.map(both) | pairs.map(either) | inner.map(neither)


EXPRESSIONS = st.recursive(
    st.one_of(of_texts(), of_numbers(), of_dates(), of_others()), grouped, max_leaves=6
)
USERS = st.fixed_dictionaries(
    {},
    optional={
        "sizes": st.lists(st.sampled_from(WORDS)) | st.none(),
        "region": st.sampled_from(WORDS),
        "budget": st.sampled_from(NUMBERS) | st.none(),
        "born": st.sampled_from(DAYS),
    },
)


@settings(max_examples=150)
@given(EXPRESSIONS, USERS)
def test_a_mask_equals_the_evaluation_of_each_row(
    expression: tuple[str, Meaning], user: User
) -> None:
    text, meaning = expression
    assert meets(text, user) == {row["item_id"] for row in ROWS if meaning(row, user)}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "price < 3 and colr = 'red'",
            "at character 15: there is no attribute colr; there are available, brand, category, "
            "currency, item_id, new, price, colour, regions, weight, list_price, launched",
        ),
        (
            "size in user.size",
            "at character 1: there is no attribute size",
        ),
        (
            "colour in user.size",
            "at character 11: there is no attribute user.size; there are user.sizes, user.region, "
            "user.budget, user.born",
        ),
        ("care = 'x'", "at character 1: care is of the type text, which no filter reads"),
        ("price = 'red'", "at character 9: price needs a number"),
        ("item_id = 22423", "at character 11: item_id needs a text in quotes"),
        ("colour < 'red'", "at character 8: colour is a text: compare it by =, != or in"),
        ("colour = weight", "at character 10: colour is a text and weight is a number"),
        ("colour = brand", "at character 10: colour cannot be compared with brand, only with"),
        ("user.region = user.sizes", "user.region cannot be compared with user.sizes"),
        ("colour", "at character 1: colour is a text: compare it with something"),
        ("1 = 1", "at character 3: compare an attribute with something"),
        ("launched > 'spring'", "at character 12: launched needs a date of ISO 8601"),
        ("launched > '2026-02-30'", "at character 12: launched needs a date"),
        ("price > days_ago(3)", "at character 9: price is a number, not a date"),
        ("available = 'yes'", "at character 13: available needs true or false"),
        ("available in [true]", "available is true or false: compare it by ="),
        ("attributes.price = 1", "there is no attribute attributes.price; there are attributes.c"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(text: str, message: str) -> None:
    with pytest.raises(FilterError) as raised:
        compiled(text, SCHEMA)
    assert message in str(raised.value)


def test_a_declared_attribute_may_be_called_like_a_built_in_one() -> None:
    schema = Schema.of({"price": "category"}, {})
    assert (
        compiled("price < 2", schema).bound()
        != compiled('attributes.price = "low"', schema).bound()
    )
    assert compiled('attributes.price = "LOW"', schema).bound() == Has("attributes.price", ("low",))


def test_what_a_filter_depends_on_is_known() -> None:
    of_user = compiled("colour in user.sizes and launched > days_ago(3)", SCHEMA)
    assert (of_user.users, of_user.dated, of_user.items) == (("sizes",), True, True)
    segment = compiled("user.budget > 3", SCHEMA)
    assert (segment.users, segment.dated, segment.items) == (("budget",), False, False)
    assert segment.bound({"budget": 4}) == TRUE
    assert segment.bound({"budget": "4"}) == FALSE  # declared otherwise since
    assert segment.bound({}) == FALSE


def test_conditions_of_similar_text_differ() -> None:
    """They are keys of the cache of masks."""
    assert TRUE != FALSE
    assert len({TRUE, FALSE, *conjuncts(compiled("new and available", SCHEMA).bound())}) == 4
    assert compiled("brand is null", SCHEMA).bound() != All((Has("brand", ()),))


def test_the_last_day_is_included_whole() -> None:
    until = meets('launched <= "2026-03-08"')
    assert until == {r["item_id"] for r in ROWS if r["launched"] and r["launched"] < "2026-03-09"}
    assert until | meets('launched > "2026-03-08"') == meets("launched is not null")
    assert until & meets('launched > "2026-03-08"') == set()


def test_days_at_the_ends_of_the_calendar() -> None:
    assert meets('launched > "9999-12-31"') == set()
    assert meets('launched < "0001-01-01"') == set()
