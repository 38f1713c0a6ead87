"""Attributes over HTTP: put, used by the next recommendation, exported, erased, trained with."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import chdir
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pandas as pd
import pytest
import yaml
from typer.testing import CliRunner

import bowerbird
from components.data.attribute_codes import Vocabulary
from components.data.item_table import read_item_table
from components.recommenders.two_stage.hybrid import Hybrid
from components.settings import Settings
from serving.events.event_erasure import erase
from serving.events.export import export_users
from serving.events.store import EventStore
from serving.events.tables import CATALOGUE
from serving.events.user_table import (
    attributes_of,
    changed_after,
    put_users,
    read_users,
    users_revision,
)
from serving.models.catalogue import overlaid
from tests.colour_shop import write_colour_model
from tests.conftest import REPOSITORY

DATE = "must be a date of ISO 8601 in the years 1678 to 2261, such as 1990-05-31"
BLUE = {f"i{one}" for one in range(0, 60, 3)}
SOURCES: dict[str, Any] = {
    "interactions": [
        {"path": "l.csv", "columns": {"user_id": "u", "item_id": "i", "timestamp": "t"}}
    ],
    "items": [
        {
            "path": "i.csv",
            "columns": {"item_id": "i", "title": "t"},
            "attributes": {"colour": "category", "use": "set", "margin": "number"},
        }
    ],
    "users": [
        {
            "path": "data/users/users.parquet",
            "columns": {"user_id": "user_id"},
            "attributes": {"age": "category", "born": "date", "likes": "set"},
        }
    ],
    "reviews": [],
}


@pytest.fixture(scope="module")
def made(settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root with a model, profiles and attributes of the colour shop."""
    root = tmp_path_factory.mktemp("colours")
    write_colour_model(root, settings)
    values = yaml.safe_load((REPOSITORY / "params.yaml").read_text())
    values["ingest"] |= SOURCES
    (root / "params.yaml").write_text(yaml.safe_dump(values))
    return root


@pytest.fixture(scope="module")
def client(made: Path, in_thread: Any) -> Iterator[httpx.Client]:
    keys = {"BOWERBIRD_API_KEY": "shop-key", "BOWERBIRD_OPERATOR_KEY": "operator-key"}
    server = in_thread(made, keys).start()
    with server.client() as found:
        found.headers["X-API-Key"] = "operator-key"
        yield found
    server.stop()


def shown(client: httpx.Client, user_id: str, k: int = 10) -> list[str]:
    answer = client.post("/recommend", json={"user_id": user_id, "k": k})
    assert answer.status_code == 200, answer.text
    return [item["item_id"] for item in answer.json()["items"]]


def blues(items: list[str]) -> float:
    return len(BLUE & set(items)) / len(items)


def put(client: httpx.Client, user_id: str, **attributes: Any) -> None:
    body = {"users": [{"user_id": user_id, "attributes": attributes}]}
    answer = client.put("/users", json=body)
    assert (answer.status_code, answer.text) == (200, '{"users":1}')


def test_a_newcomers_first_page_follows_the_attributes(client: httpx.Client) -> None:
    nobody = shown(client, "nobody")
    assert blues(shown(client, "known")) > 0.7  # of the training's files
    put(client, "nobody", age="young")
    assert blues(shown(client, "nobody")) > 0.7
    put(client, "nobody", age="old", likes=["tea", "tea"])
    assert blues(shown(client, "nobody")) < 0.3
    put(client, "known", age="old")  # the newer value counts
    assert blues(shown(client, "known")) < 0.3
    put(client, "nobody", age=None)
    assert shown(client, "nobody") == nobody


def test_proposals_of_a_conversation_follow_a_newcomers_attributes(client: httpx.Client) -> None:
    def proposed(user_id: str, message: str) -> list[str]:
        body = {"user_id": user_id, "message": message, "k": 10}
        answer = client.post("/conversation", json=body)
        assert answer.status_code == 200, answer.text
        assert answer.json()["identified"]
        return [item["item_id"] for item in answer.json()["items"]]

    put(client, "a-young-talker", age="young")
    put(client, "an-old-talker", age="old")
    for message in ("a cup", "I do not know"):
        assert blues(proposed("a-young-talker", message)) > 0.6
        assert blues(proposed("an-old-talker", message)) < 0.4


def test_attributes_are_exported_and_erased_with_their_user(
    client: httpx.Client, made: Path
) -> None:
    nobody = shown(client, "nobody-else")
    put(client, "anna-0815", age="young", born="1990-05-31")
    assert blues(shown(client, "anna-0815")) > 0.7
    exported = client.get("/users/anna-0815/export").json()
    assert exported["attributes"] == [{"age": "young", "born": "1990-05-31"}]
    receipt = client.delete("/users/anna-0815")
    assert receipt.status_code == 200, receipt.text
    states = {one["place"]: (one["state"], one["rows"]) for one in receipt.json()["places"]}
    assert states["event store: attributes"] == ("erased", 1)
    assert client.get("/users/anna-0815/export").json()["attributes"] == []
    assert shown(client, "anna-0815") == nobody
    assert not any(
        b"1990-05-31" in file.read_bytes() for file in (made / "var").rglob("events.db*")
    )
    put(client, "anna-0815", age="young")  # after the erasure they are kept again
    assert blues(shown(client, "anna-0815")) > 0.7


def test_attributes_of_the_training_are_erased_too(client: httpx.Client, made: Path) -> None:
    file = made / "models/profiles/profiles.attributes.parquet"
    table = pd.read_parquet(file)
    user = table["user_id"][table["category:age"] == "young"].iloc[5]
    client.delete(f"/users/{user}")
    assert user not in pd.read_parquet(file)["user_id"].tolist()
    assert shown(client, user) == shown(client, "somebody")


def test_products_are_filtered_by_attributes(client: httpx.Client, made: Path) -> None:
    table = read_item_table(made / "models/hybrid").set_index("item_id")

    def found(route: str, attributes: dict[str, Any], **body: Any) -> set[str]:
        answer = client.post(route, json={"k": 100, "attributes": attributes, **body})
        assert answer.status_code == 200, answer.text
        return {item["item_id"] for item in answer.json()["items"]} - {"new"}

    colour = set(table.index[table["category:colour"] == "red"])
    uses = table["set:use"].explode()
    garden = set(uses.index[uses.eq("garden").fillna(False)])
    cheap = set(table.index[table["number:margin"].between(2, 10)])
    assert found("/search", {"colour": ["RED"]}) == colour
    assert found("/search", {"colour": ["red"], "use": ["garden"]}) == colour & garden
    assert found("/search", {"margin": {"min": 2, "max": 10}}) == cheap
    assert found("/search", {"colour": ["mauve"]}) == set()
    assert found("/search", {"colour": "red"}) == colour
    for form in (5, None, True):
        answer = client.post("/search", json={"attributes": {"colour": form}})
        assert answer.status_code == 422
        (problem,) = answer.json()["fields"]
        assert problem["field"] == "attributes.colour"
        assert problem["problem"].startswith("must be a value, a list of values, or {min, max}")
    assert found("/recommend", {"colour": ["red"]}) == colour
    assert found("/recommend", {"colour": ["blue", "red"]}) == colour | BLUE  # not from the cache
    assert found("/similar", {"colour": ["red"]}, item_ids=["i4"]) == colour - {"i4"}
    for attributes in ({"size": ["M"]}, {"colour": {"min": 1}}, {"margin": ["1"]}):
        for route, body in (
            ("/recommend", {}),
            ("/search", {}),
            ("/similar", {"item_ids": ["i4"]}),
        ):
            answer = client.post(route, json={"attributes": attributes, **body})
            assert answer.status_code == 422
            assert answer.json()["fields"][0]["field"] == f"attributes.{next(iter(attributes))}"


def test_reasons_name_attributes_only_where_they_are_true(client: httpx.Client) -> None:
    def reasons(body: dict[str, Any]) -> dict[str, str]:
        answer = client.post("/recommend", json={"k": 60, "exclude_seen": False, **body}).json()
        return {item["item_id"]: item["reason"] for item in answer["items"]}

    often = reasons({"recent": ["i1", "i4", "i7", "i2"]})  # three of four are red
    because = {item for item, one in often.items() if one == "because you often choose colour red"}
    assert because
    assert all(int(item[1:]) % 3 == 1 for item in because)
    assert not any("choose" in one for one in reasons({"recent": ["i1", "i2", "i3"]}).values())
    put(client, "a-newcomer", age="young")
    like = {
        item
        for item, one in reasons({"user_id": "a-newcomer"}).items()
        if one == "often bought by customers like you"
    }
    assert len(like & BLUE) > 5
    assert not like - BLUE
    assert not any("like you" in one for one in reasons({"user_id": "unknown"}).values())


@pytest.mark.parametrize(
    ("attributes", "problem"),
    [
        ({"size": "M"}, "the attribute is not declared; declared are: age, born, likes"),
        ({"age": 7}, "must be a text of 1 to 1000 characters"),
        ({"age": ""}, "must be a text of 1 to 1000 characters"),
        ({"born": "yesterday"}, DATE),
        ({"likes": "tea"}, "must be a list of at most 100 texts"),
        ({"likes": ["tea"] * 101}, "must be a list of at most 100 texts"),
    ],
)
def test_what_is_no_attribute_is_refused(
    client: httpx.Client, attributes: dict[str, Any], problem: str
) -> None:
    users = [{"user_id": "fine", "attributes": {}}, {"user_id": "b", "attributes": attributes}]
    answer = client.put("/users", json={"users": users})
    (name,) = attributes
    assert answer.status_code == 422
    assert answer.json()["fields"] == [{"field": f"users.1.attributes.{name}", "problem": problem}]
    assert client.get("/users/b/export").json()["attributes"] == []


def test_only_the_shop_sets_attributes(client: httpx.Client) -> None:
    body = {"users": [{"user_id": "b", "attributes": {"age": "old"}}]}
    assert client.put("/users", json=body, headers={"X-API-Key": ""}).status_code == 401
    assert client.put("/users", json=body, headers={"X-API-Key": "shop-key"}).status_code == 200


def test_nested_and_huge_attributes_are_refused(client: httpx.Client) -> None:
    for attributes in ({"age": {"a": 1}}, {"age": True}, {f"a{n}": "x" for n in range(51)}):
        body = {"users": [{"user_id": "b", "attributes": attributes}]}
        assert client.put("/users", json=body).status_code == 422
    reserved = {"users": [{"user_id": "session:1", "attributes": {"age": "old"}}]}
    assert client.put("/users", json=reserved).status_code == 422


def test_items_take_attributes_and_keep_those_put_before(client: httpx.Client, made: Path) -> None:
    new = {"item_id": "new", "title": "Cup", "attributes": {"colour": "blue", "margin": 3}}
    answer = client.put("/items", json={"items": [new, {"item_id": "i1", "attributes": {}}]})
    assert answer.status_code == 200, answer.text
    bad = {"item_id": "i1", "attributes": {"margin": "high"}}
    answer = client.put("/items", json={"items": [bad]})
    assert answer.json()["fields"][0]["field"] == "items.0.attributes.margin"
    more = {"item_id": "new", "attributes": {"use": ["garden"], "margin": None}}
    assert client.put("/items", json={"items": [more]}).status_code == 200
    with sqlite3.connect(next((made / "var").rglob("events.db"))) as store:
        (text,) = store.execute("SELECT attributes FROM catalogue WHERE item_id = 'new'").fetchone()
    assert json.loads(text) == {"colour": "blue", "margin": None, "use": ["garden"]}


def test_changed_attributes_of_products_are_in_the_overlay(made: Path) -> None:
    model = Hybrid.load(made / "models/hybrid")
    rows = [
        {"item_id": "i0", "attributes": {"colour": "red", "margin": 99.0}},
        {"item_id": "new", "title": "Cup", "attributes": {"use": ["garden"]}},
        {"item_id": "i2"},
    ]
    nothing = dict.fromkeys(column.name for column in CATALOGUE.c)
    table = overlaid(model, [{**nothing, **row} for row in rows], None).catalogue.table
    table = table.set_index("item_id")
    assert table.loc["i0", ["category:colour", "number:margin"]].tolist() == ["red", 99.0]
    assert table.loc["i2", "category:colour"] == "green"
    assert table.loc["new", "set:use"] == ["garden"]
    assert pd.isna(table.loc["new", "category:colour"])
    assert table["number:margin"].dtype == np.float32


def test_attributes_survive_in_both_databases_and_one_put_changes_all_or_none(url: str) -> None:
    store = EventStore(url)
    try:
        database = store.database
        first = put_users(database, [("a", {"age": "old"}), ("b", {"age": "young"})])
        second = put_users(database, [("a", {"likes": ["tea"]}), ("a", {"age": None})])
        assert second == users_revision(database) > first
        assert changed_after(database, first) == ["user:a"]
        assert read_users(database) == [
            ("a", {"age": None, "likes": ["tea"]}),
            ("b", {"age": "young"}),
        ]
        assert attributes_of(database, ["user:b", "user:c"]) == {"user:b": {"age": "young"}}
        erase(store, "user:a")  # it has the newest revision
        assert put_users(database, [("b", {"age": "old"})]) > second
    finally:
        store.close()


def test_put_attributes_are_exported_for_the_next_training(made: Path, tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_bytes((made / "params.yaml").read_bytes())
    store = EventStore(f"sqlite:///{tmp_path}/var/events.db")
    rows = {"age": "old", "born": "1960-01-01", "likes": ["tea"], "gone": "x"}
    put_users(store.database, [("a", rows), ("b", {"age": "young"})])
    store.close()
    with chdir(tmp_path), pytest.MonkeyPatch.context() as patch:
        patch.setattr(bowerbird, "ROOT", tmp_path)
        patch.setenv("BOWERBIRD_SERVE__EVENTS_URL", f"sqlite:///{tmp_path}/var/events.db")
        result = CliRunner().invoke(bowerbird.app, ["export-feedback"])
    assert result.exit_code == 0, result.output
    found = pd.read_parquet(tmp_path / "data/users/users.parquet").set_index("user_id")
    assert found.loc["a", ["age", "born"]].tolist() == ["old", "1960-01-01"]
    assert list(found.loc["a", "likes"]) == ["tea"]
    assert set(found.columns) == {"age", "born", "likes"}


@pytest.mark.parametrize("value", [["tea"], 4, "25-34"])
def test_values_of_a_type_declared_before_are_left_out(value: Any, tmp_path: Path) -> None:
    """The shop declared another type since they were put: no request and no export fails."""
    vocabulary = Vocabulary({"number:age": (30.0,), "category:plan": ("gold",)})
    found = vocabulary.codes_of({"age": value, "plan": value})
    assert found["category:plan"] == []
    assert len(found["number:age"]) == (value == 4)
    store = EventStore(f"sqlite:///{tmp_path}/events.db")
    put_users(store.database, [("a", {"age": value}), ("b", {"age": 40.0})])
    (file,) = export_users(store.database, tmp_path, {"age": "number"})
    store.close()
    ages = pd.read_parquet(file).set_index("user_id")["age"]
    assert ages["b"] == 40
    assert pd.isna(ages["a"]) or value == 4


@pytest.mark.parametrize("date", ["9999-12-31", "0001-01-01", "2024-13-01", "soon"])
def test_a_date_that_no_table_holds_is_refused(client: httpx.Client, date: str) -> None:
    answer = client.put("/users", json={"users": [{"user_id": "u", "attributes": {"born": date}}]})
    assert answer.status_code == 422
    assert "born" in answer.text
