"""Filter expressions over a real server: in recommendations, similar items, search, facets and
conversation, with the shopper's attributes, and with hostile texts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pandas as pd
import pytest
import yaml

from components.data.item_table import read_item_table, write_item_table
from components.manifest import write_manifest
from components.settings import Settings
from tests.colour_shop import N_ITEMS, write_colour_model
from tests.conftest import REPOSITORY

SHOP, OPERATOR = {"X-API-Key": "shop-key"}, {"X-API-Key": "operator-key"}
REGIONS = (["DE", "FR"], ["FR"], [])
ITEMS = {
    "path": "i.csv",
    "columns": {"item_id": "i", "title": "t"},
    "attributes": {
        **{"colour": "category", "use": "set", "margin": "number", "launched": "date"},
        **{"regions": "set", "care": "text"},
    },
}
USERS = {
    "path": "u.csv",
    "columns": {"user_id": "u"},
    "attributes": {"age": "category", "region": "category", "colours": "set", "budget": "number"},
}


@pytest.fixture(scope="module")
def root(settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root with the colour shop, in which products are sold by region."""
    root = tmp_path_factory.mktemp("filters")
    write_colour_model(root, settings)
    folder = root / "models/hybrid"
    table = read_item_table(folder)
    table["set:regions"] = [REGIONS[n // 3 % 3] for n in range(N_ITEMS)]
    days = pd.Timestamp.now("UTC").normalize() - pd.to_timedelta(np.arange(N_ITEMS), unit="D")
    table["date:launched"] = days
    table["text:care"] = "wash by hand"
    table["categories"] = [["Home", "Mug" if n % 2 else "Cup"] for n in range(N_ITEMS)]
    table["main_category"] = ["Mug" if n % 2 else "Cup" for n in range(N_ITEMS)]
    table["price"] = np.float32(1) + np.arange(N_ITEMS, dtype=np.float32) / 10
    write_item_table(table, folder)
    write_manifest(folder)
    values = yaml.safe_load((REPOSITORY / "params.yaml").read_text())
    values["ingest"] |= {"items": [ITEMS], "users": [USERS]}
    values["serve"]["hidden_attributes"] = ["margin"]
    (root / "params.yaml").write_text(yaml.safe_dump(values))
    return root


@pytest.fixture(scope="module")
def client(root: Path, in_thread: Any) -> Iterator[httpx.Client]:
    keys = {"BOWERBIRD_API_KEY": "shop-key", "BOWERBIRD_OPERATOR_KEY": "operator-key"}
    with in_thread(root, keys).serving() as found:
        found.headers.update(SHOP)
        yield found


ROUTES: dict[str, dict[str, Any]] = {
    "/recommend": {"k": 60, "exclude_seen": False},
    "/search": {"k": 60},
    "/similar": {"item_ids": ["i3"], "k": 60},
    "/conversation": {"message": "show me cups or mugs", "k": 20},
}


def found(client: httpx.Client, route: str, text: str | None, **more: Any) -> list[str]:
    body = {**ROUTES[route], **({} if text is None else {"filter": text}), **more}
    answer = client.post(route, json=body)
    assert answer.status_code == 200, answer.text
    return [item["item_id"] for item in answer.json()["items"]]


def numbers(client: httpx.Client, route: str, text: str | None, **more: Any) -> set[int]:
    return {int(item[1:]) for item in found(client, route, text, **more)}


@pytest.mark.parametrize("route", ["/recommend", "/search", "/similar"])
def test_a_filter_means_the_same_on_every_route(client: httpx.Client, route: str) -> None:
    here = numbers(client, route, None)
    assert len(here) >= N_ITEMS - 1
    red = {n for n in here if n % 3 == 1 and n != N_ITEMS - 1}
    assert numbers(client, route, 'colour = "RED"') == red
    assert numbers(client, route, 'not colour in ["red"]') == here - red
    both = 'category in ["mug", "bag"] and price < 2.5 or item_id in ["i8", "i10"]'
    assert (
        numbers(client, route, both)
        == here & {n for n in here if n % 2 and n < 15} | {8, 10} & here
    )
    assert numbers(client, route, '"DE" in regions') == {n for n in here if n // 3 % 3 == 0}
    assert numbers(client, route, "launched >= days_ago(7)") == here & set(range(8))
    more = {"max_price": 2.0, "attributes": {"use": "kitchen"}}
    with_others = numbers(client, route, 'colour = "red"', **more)
    assert with_others == {n for n in red if n <= 10}
    assert numbers(client, route, "price < 0") == set()


def test_a_conversation_keeps_to_the_filter(client: httpx.Client) -> None:
    some = numbers(client, "/conversation", 'category = "Mug" and colour = "red"')
    assert some
    assert all(n % 2 == 1 and n % 3 == 1 for n in some)
    assert numbers(client, "/conversation", None) - some
    body = {"message": "mugs", "filter": 'category = "Mug" and colour = "red"', "k": 3}
    first = client.post("/conversation", json=body).json()
    again = client.post("/conversation", json={**body, "message": "more", "state": first["state"]})
    shown = [item["item_id"] for item in again.json()["items"]]
    assert shown
    assert all(int(item[1:]) % 6 == 1 for item in shown)


@pytest.mark.parametrize("route", list(ROUTES))
def test_a_filter_reads_the_attributes_of_its_shopper(client: httpx.Client, route: str) -> None:
    user = f"shopper{route[1:]}"
    mine = "colour in user.colours and (user.region is null or user.region in regions)"
    assert numbers(client, route, mine, user_id=user) == set()  # nothing is known
    put = {"colours": ["Red", "blue"], "region": "DE", "budget": 3}
    users = {"users": [{"user_id": user, "attributes": put}]}
    assert client.put("/users", json=users).status_code == 200
    own = numbers(client, route, mine, user_id=user)
    assert own
    assert all(n % 3 in (0, 1) and n // 3 % 3 == 0 for n in own)
    cheap = numbers(client, route, f"({mine}) and price <= user.budget", user_id=user)
    assert cheap == {n for n in own if n <= 20} or route == "/conversation"
    assert all(n <= 20 for n in cheap)
    # A request that may not speak for the user knows nothing of them.
    stranger = client.post(
        route, json={**ROUTES[route], "filter": mine, "user_id": user}, headers={"X-API-Key": "no"}
    )
    assert stranger.status_code == 200
    assert stranger.json()["items"] == []


def test_attributes_of_the_training_are_read_whole(client: httpx.Client) -> None:
    """Also values that are too rare to be learned from, which have no code."""
    answers = [
        found(client, "/search", f'user.age = "{age}" and colour = "blue"', user_id="known")
        for age in ("young", "old")
    ]
    assert sorted(map(len, answers)) == [0, 20]


def test_the_filter_of_an_attribute_does_not_narrow_its_facet(client: httpx.Client) -> None:
    body = {"filter": 'colour in ["red"] and launched >= days_ago(8)'}
    answer = client.post("/facets", json=body).json()
    assert answer["total"] == 3
    facets = {one["name"]: one for one in answer["facets"]}
    assert {one["value"]: one["items"] for one in facets["colour"]["values"]} == {
        "blue": 3,
        "red": 3,
        "green": 3,
    }
    use = client.post("/facets", json={"attributes": {"colour": "red"}}).json()
    same = client.post("/facets", json={"filter": 'colour = "red"'}).json()
    assert same == use


def test_pages_of_different_filters_are_not_mixed_up(client: httpx.Client) -> None:
    for colour, rest in (("red", 1), ("blue", 0), ("red", 1)):
        assert all(
            n % 3 == rest for n in numbers(client, "/recommend", f'colour = "{colour}"', k=5)
        )


@pytest.mark.parametrize("route", [*ROUTES, "/facets"])
@pytest.mark.parametrize(
    ("text", "status", "message"),
    [
        ("colr = 1", 422, "at character 1: there is no attribute colr; there are availa"),
        ("price < ", 422, "at character 9: the expression ends too early"),
        ("price < 'x'", 422, "at character 9: price needs a number"),
        ("care = 'x'", 422, "at character 1: care is of the type text"),
        ("user.name = 'x'", 422, "there are user.age, user.budget, user.colours, user.region"),
        ("__import__('os')", 422, "at character 11: '(' is not expected here"),
        ("(" * 2001, 422, "filter: String should have at most 2000 characters"),
        ("not " * 400 + "new", 422, "a filter is nested at most 16 deep"),
        ("brand = '\0'", 200, ""),
        ("item_id = '1'; drop table events; --'", 422, "';' is not expected here"),
    ],
)
def test_what_is_no_filter_is_refused_by_place_and_name(
    client: httpx.Client, route: str, text: str, status: int, message: str
) -> None:
    answer = client.post(route, json={**ROUTES.get(route, {}), "filter": text})
    assert answer.status_code == status, answer.text
    if status == 422:
        assert message in answer.json()["error"]
        assert answer.json()["fields"][0]["field"] == "filter"


def test_hidden_attributes_are_for_the_shop_alone(client: httpx.Client) -> None:
    assert found(client, "/search", "margin >= 58") == ["i58"]
    body = {"filter": "margin >= 58"}
    answer = client.post("/search", json=body, headers={"X-API-Key": "another"})
    assert answer.status_code == 422
    assert "there is no attribute margin" in answer.json()["error"]
    assert "margin" not in answer.json()["error"].partition("there are")[2]


def test_the_document_describes_filters(client: httpx.Client) -> None:
    schemas = client.get("/openapi.json").json()["components"]["schemas"]
    for name in ("RecommendRequest", "SearchRequest", "SimilarRequest", "ConversationRequest"):
        (text, _) = schemas[name]["properties"]["filter"]["anyOf"]
        assert text["maxLength"] == 2000
    example = schemas["RecommendRequest"]["examples"][2]
    assert client.post("/recommend", json=example).status_code == 200
