"""Merchandising rules over a real server, and on the operator's page in a real Chromium."""

from __future__ import annotations

import json
import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pandas as pd
import pytest
import yaml
from pydantic import SecretStr
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import Select, WebDriverWait

from components.data.item_table import read_item_table, write_item_table
from components.manifest import write_manifest
from components.settings import Settings
from serving.events.export import export_impressions
from serving.events.store import open_store
from tests.colour_shop import N_ITEMS, write_colour_model
from tests.conftest import REPOSITORY

KEYS = {
    "BOWERBIRD_API_KEY": "shop-key",
    "BOWERBIRD_OPERATOR_KEY": "operator-key",
    "BOWERBIRD_MERCHANDISER_KEY": "merchandiser-key",
}
MERCHANDISER = {"X-API-Key": "merchandiser-key"}
OWN = {
    "items": [
        {
            "path": "i.csv",
            "columns": {"item_id": "i", "title": "t"},
            "attributes": {"colour": "category", "use": "set", "margin": "number"},
        }
    ],
    "users": [{"path": "u.csv", "columns": {"user_id": "u"}, "attributes": {"age": "category"}}],
}


@pytest.fixture(scope="module")
def root(settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("merchandising")
    write_colour_model(root, settings)
    folder = root / "models/hybrid"
    table = read_item_table(folder)
    table["title"] = [
        f"{one} cup {n}".capitalize() for n, one in enumerate(table["category:colour"])
    ]
    table["price"] = np.float32(1) + np.arange(N_ITEMS, dtype=np.float32) / 10
    write_item_table(table, folder)
    write_manifest(folder)
    values = yaml.safe_load((REPOSITORY / "params.yaml").read_text())
    values["ingest"] |= OWN
    (root / "params.yaml").write_text(yaml.safe_dump(values))
    return root


@pytest.fixture(scope="module")
def client(root: Path, in_thread: Any) -> Iterator[httpx.Client]:
    with in_thread(root, {**KEYS, "BOWERBIRD_SERVE__RULES__POOL": "40"}).serving() as found:
        found.headers["X-API-Key"] = "shop-key"
        yield found


def put(client: httpx.Client, rule_id: str, status: int = 200, **rule: Any) -> dict[str, Any]:
    more = {name: rule.pop(name) for name in ("version", "author", "note") if name in rule}
    body = {"rule": {"name": rule_id, **rule}, **more}
    answer = client.put(f"/merchandising/rules/{rule_id}", json=body, headers=MERCHANDISER)
    assert answer.status_code == status, answer.text
    found: dict[str, Any] = answer.json()
    return found


@pytest.fixture
def no_rules(client: httpx.Client) -> Iterator[None]:
    """No rule is left from a test."""
    yield
    for one in client.get("/merchandising/rules", headers=MERCHANDISER).json()["rules"]:
        path = f"/merchandising/rules/{one['rule_id']}"
        assert client.delete(path, headers=MERCHANDISER).status_code == 200


def shown(client: httpx.Client, route: str = "/recommend", **body: Any) -> list[str]:
    answer = client.post(route, json={"k": 10, **body})
    assert answer.status_code == 200, answer.text
    return [item["item_id"] for item in answer.json()["items"]]


@pytest.mark.usefixtures("no_rules")
def test_a_rule_is_in_force_when_the_answer_arrives(client: httpx.Client) -> None:
    before = shown(client)
    made = put(client, "pin", action="pin", items=[" i50"], position=2, author="Ann", note="new")
    assert (made["version"], made["role"], made["author"]) == (1, "merchandiser", "Ann")
    assert made["rule"]["items"] == ["i50"]  # spelled as the catalogue does
    assert shown(client)[1] == "i50"
    put(client, "pin", action="pin", items=["i50"], position=1, version=1)
    assert shown(client)[0] == "i50"
    answer = client.post("/recommend", json={"k": 3, "filter": 'colour = "red"'}).json()
    assert "i50" not in [item["item_id"] for item in answer["items"]]
    client.delete("/merchandising/rules/pin?author=Bo", headers=MERCHANDISER)
    assert shown(client) == before
    changes = client.get("/merchandising/changes?rule_id=pin", headers=MERCHANDISER).json()
    trail = [(one["version"], one["author"], one["rule"] is None) for one in changes["changes"]]
    assert trail == [(3, "Bo", True), (2, "", False), (1, "Ann", False)]


@pytest.mark.usefixtures("no_rules")
def test_excluded_products_are_nowhere(client: httpx.Client) -> None:
    put(client, "no-red", action="exclude", where='colour = "red"')
    for route, body in (
        ("/recommend", {"k": 60, "exclude_seen": False}),
        ("/search", {"k": 60}),
        ("/similar", {"item_ids": ["i3"], "k": 60}),
        ("/conversation", {"message": "cups", "k": 20}),
    ):
        found = shown(client, route, **body)
        assert found
        assert not [one for one in found if int(one[1:]) % 3 == 1 and one != "i59"], route
    put(client, "no-red", action="exclude", where='colour = "red"', surfaces=["search"])
    assert any(int(one[1:]) % 3 == 1 for one in shown(client, k=60))


@pytest.mark.usefixtures("no_rules")
def test_rules_apply_on_all_routes_that_show_products(client: httpx.Client, root: Path) -> None:
    asked: dict[str, dict[str, Any]] = {
        "/search": {"query": "cup", "k": 5},
        "/similar": {"item_ids": ["i3"], "k": 5},
        "/conversation": {"message": "cups", "k": 5},
        "/rerank": {"item_ids": [f"i{n}" for n in range(6, 30)]},
    }
    before = {route: bodyless(client, route, body) for route, body in asked.items()}
    pinned = {route: found[-1] for route, found in before.items()}
    surfaces = {route: route[1:] for route in asked}
    for route, item in pinned.items():
        put(
            client,
            f"pin-{route[1:]}",
            action="pin",
            items=[item],
            position=1,
            surfaces=[surfaces[route]],
        )
    for route, body in asked.items():
        assert bodyless(client, route, body)[0] == pinned[route], route
    put(client, "margin", action="objective", by="margin", weight=10, priority=-1)
    for route, body in asked.items():
        found = bodyless(client, route, body)
        assert found[0] == pinned[route], route
        assert margin(found) > margin(before[route]), route
    # What is given is what comes back: nothing is added to a list that was given or was searched.
    put(client, "other", action="pin", items=["i50"], position=2, surfaces=["rerank"])
    put(client, "cap", action="cap", by="colour", most=1, surfaces=["rerank", "search"])
    found = bodyless(client, "/rerank", asked["/rerank"])
    assert sorted(found) == sorted(asked["/rerank"]["item_ids"])
    assert len({int(one[1:]) % 3 for one in found[:3]}) == 3
    pages = [
        bodyless(client, "/search", {"query": "cup", "k": 5, "offset": at})
        for at in range(0, 60, 5)
    ]
    assert len({one for page in pages for one in page}) == sum(map(len, pages)) == N_ITEMS
    put(client, "no", action="exclude", items=["i7"], surfaces=["rerank"])
    answer = client.post("/rerank", json=asked["/rerank"]).json()
    assert "i7" not in [item["item_id"] for item in answer["items"]]
    assert answer["excluded_items"] == ["i7"]
    time.sleep(0.5)
    with sqlite3.connect(root / "var/events/events.db") as connection:
        (rules,) = connection.execute(
            "SELECT rules FROM impressions WHERE impression_id = ?", [answer["impression_id"]]
        ).fetchone()
    assert json.loads(rules)["placed"] == [1]


@pytest.mark.usefixtures("no_rules")
def test_rules_reorder_only_what_is_ranked_by_relevance(client: httpx.Client, root: Path) -> None:
    far = {"query": "cup", "k": 5, "offset": 45}
    before = bodyless(client, "/search", far)
    put(client, "bury", action="bury", where='colour = "red"', weight=3)
    put(client, "blues", action="share", where='colour = "blue"', share=1)
    assert bodyless(client, "/search", far) == before  # behind the pool of 40
    asked = [{"message": message, "k": 5} for message in ("cups", "cups under £0.50")]
    ids = []
    for body in asked:
        answer = client.post("/conversation", json=body).json()
        assert len(answer["items"]) == 5
        ids.append(answer["impression_id"])
    time.sleep(0.5)
    with sqlite3.connect(root / "var/events/events.db") as connection:
        logged = dict(connection.execute("SELECT impression_id, rules FROM impressions"))
    assert len(json.loads(logged[ids[0]])["rules"]) == 2
    assert logged[ids[1]] is None  # the nearest in price, in that order


def bodyless(client: httpx.Client, route: str, body: dict[str, Any]) -> list[str]:
    """Return the ids of a route's answer to exactly this request."""
    answer = client.post(route, json=body)
    assert answer.status_code == 200, answer.text
    return [item["item_id"] for item in answer.json()["items"]]


def buy(client: httpx.Client, bought: dict[str, str]) -> None:
    """Let users buy one product each."""
    for user, item in bought.items():
        event = {"user_id": user, "item_id": item, "event": "purchase"}
        assert client.post("/feedback", json=event).is_success


def margin(items: list[str]) -> float:
    """Return the mean margin of the first five: product i<n> has the margin n, but i59 has none."""
    return float(np.mean([int(one[1:]) for one in items[:5] if one != "i59"]))


@pytest.mark.usefixtures("no_rules")
def test_an_estimate_says_what_a_weight_costs_or_why_it_cannot(client: httpx.Client) -> None:
    draft = {"name": "x", "action": "objective", "by": "margin", "weight": 1}
    body: dict[str, Any] = {"drafts": {"m": draft}, "weights": [0.5, 5], "k": 5, "lists": 50}
    buy(client, {f"buyer{n}": "i3" for n in range(35)})
    answer = client.post("/merchandising/estimate", json=body, headers=MERCHANDISER)
    assert answer.status_code == 200, answer.text
    found = answer.json()
    assert [row["weight"] for row in found["rows"]] == [0, 0.5, 5]
    assert found["attribute"] == "margin"
    assert (found["shoppers"], found["reason"]) == (35, "")
    plain, _, much = found["rows"]
    assert much["shown"] > plain["shown"]
    assert much["ndcg_change"]["low"] <= much["ndcg_change"]["high"] <= 0
    assert much["value"]["gain"] is None
    assert much["value"]["reason"]
    for wrong, field in (
        ({"drafts": {"m": {**draft, "by": "colour"}}}, "drafts.m.by"),
        ({"surface": "bought_together"}, "surface"),
        ({"surface": "emial"}, "surface"),
        ({"weights": [50]}, "weights.0"),
        ({"attribute": "colour"}, "attribute"),
    ):
        refused = client.post("/merchandising/estimate", json=body | wrong, headers=MERCHANDISER)
        assert refused.status_code == 422
        assert refused.json()["fields"][0]["field"] == field
    shop = client.post("/merchandising/estimate", json=body)
    assert shop.status_code == 403


@pytest.mark.usefixtures("no_rules")
def test_shares_of_exposure_are_counted_and_kept(client: httpx.Client) -> None:
    rule = put(client, "reds", action="exposure", where='colour = "red"', at_least=0.6)
    for n in range(80):
        shown(client, recent=[f"i{n % 20 * 3}"], k=5)
    until = time.monotonic() + 20
    shares: list[dict[str, Any]] = []
    while time.monotonic() < until and not (shares and shares[0]["offset"] > 0):
        time.sleep(0.3)
        answer = client.get("/merchandising/exposure", headers=MERCHANDISER).json()
        shares = [one for one in answer["shares"] if one["revision"] == rule["revision"]]
    assert shares[0]["lists"] > 20
    assert shares[0]["share"] < 0.6
    assert shares[0]["offset"] > 0


@pytest.mark.usefixtures("no_rules")
def test_rules_follow_the_surface_and_the_shopper(client: httpx.Client) -> None:
    put(client, "s", action="pin", items=["i50"], position=1, surfaces=["basket"])
    put(client, "y", action="pin", items=["i31"], position=1, segment='user.age = "young"')
    users = {"users": [{"user_id": "fresh", "attributes": {"age": "young"}}]}
    assert client.put("/users", json=users).status_code == 200
    assert shown(client)[0] not in ("i50", "i31")
    assert shown(client, page="basket", page_items=["i3"])[0] == "i50"
    assert shown(client, user_id="fresh")[0] == "i31"
    # Without the key nobody is young.
    body = {"k": 5, "user_id": "fresh"}
    answer = client.post("/recommend", json=body, headers={"X-API-Key": "no"}).json()
    assert answer["items"][0]["item_id"] != "i31"


@pytest.mark.usefixtures("no_rules")
def test_a_rule_ends_by_itself(client: httpx.Client) -> None:
    ends = pd.Timestamp.now("UTC") + pd.Timedelta(seconds=4)
    put(client, "short", action="pin", items=["i50"], position=1, ends=ends.isoformat())
    assert shown(client)[0] == "i50"
    while pd.Timestamp.now("UTC") < ends:
        time.sleep(0.2)
    assert shown(client)[0] != "i50"


@pytest.mark.usefixtures("no_rules")
def test_a_preview_shows_both_lists_and_stores_nothing(client: httpx.Client, root: Path) -> None:
    put(client, "old", action="pin", items=["i50"], position=1)
    draft = {"name": "x", "action": "pin", "items": ["i31"], "position": 1}
    body = {
        "drafts": {"old": None, "new": draft},
        "shoppers": [{"user_id": "known"}, {"recent": ["i3"]}],
        "k": 5,
    }
    before = shown(client, user_id="known", k=5)
    time.sleep(1)  # a response does not wait for its impression
    logged = impressions(root)
    answer = client.post("/merchandising/preview", json=body, headers=MERCHANDISER)
    assert answer.status_code == 200, answer.text
    one, other = answer.json()["previews"]
    assert [item["item_id"] for item in one["before"]] == before
    assert (one["after"][0]["item_id"], other["after"][0]["item_id"]) == ("i31", "i31")
    assert one["after"][0]["reason"] == "selected by the shop"
    assert one["before"][0]["item_id"] == "i50"
    assert len(one["after"]) == 5
    time.sleep(1)
    assert impressions(root) == logged
    assert shown(client, user_id="known", k=5) == before
    draft["where"] = "colr = 1"
    refused = client.post("/merchandising/preview", json=body, headers=MERCHANDISER)
    assert refused.status_code == 422
    assert refused.json()["fields"][0]["field"] == "drafts.new.where"


def impressions(root: Path) -> int:
    with sqlite3.connect(root / "var/events/events.db") as connection:
        (count,) = connection.execute("SELECT count(*) FROM impressions").fetchone()
    return int(count)


@pytest.mark.usefixtures("no_rules")
def test_impressions_and_their_files_name_the_rules(
    client: httpx.Client, root: Path, tmp_path: Path
) -> None:
    pin = put(client, "pin", action="pin", items=["i50"], position=2)
    boost = put(client, "up", action="boost", where='colour = "red"', weight=1, priority=-1)
    answer = client.post("/recommend", json={"k": 5}).json()
    time.sleep(0.5)
    with open_store(f"sqlite:///{root}/var/events/events.db") as store:
        export_impressions(store.database, tmp_path)
    found = pd.read_parquet(tmp_path).set_index("impression_id")
    row = found.loc[answer["impression_id"]]
    revisions = [pin["revision"], boost["revision"]]
    assert json.loads(row["rules"]) == {"rules": revisions, "placed": [2]}
    assert row["propensities"].tolist() == [1.0] * 5
    assert found["rules"].isna().any()  # of lists without rules


def test_only_merchandisers_and_operators_change_rules(client: httpx.Client) -> None:
    body = {"rule": {"name": "x", "action": "exclude", "items": ["i1"]}}
    for key, status in (("shop-key", 403), ("no", 403), ("operator-key", 200)):
        headers = {"X-API-Key": key}
        asked = [
            client.put("/merchandising/rules/x", json=body, headers=headers),
            client.get("/merchandising/rules", headers=headers),
            client.get("/merchandising/changes", headers=headers),
            client.delete("/merchandising/rules/x", headers=headers),
        ]
        assert {one.status_code for one in asked} == {status}, key
    # The merchandiser's key is for nothing else.
    for method, path, given in (
        ("GET", "/status", None),
        ("GET", "/operator/timeline", None),
        ("POST", "/operator/rollback", {}),
        ("PUT", "/items", {"items": [{"item_id": "i1", "price": 2}]}),
        ("PUT", "/users", {"users": [{"user_id": "u", "attributes": {}}]}),
        ("GET", "/users/known/export", None),
        ("POST", "/feedback", {"item_id": "i1", "event": "view", "user_id": "known"}),
    ):
        answer = client.request(method, path, json=given, headers=MERCHANDISER)
        assert answer.status_code in (401, 403), (path, answer.text)
    mine = client.post("/recommend", json={"user_id": "known"}, headers=MERCHANDISER).json()
    assert mine["identified"] is False


def test_impossible_rules_and_stale_versions_are_refused(client: httpx.Client) -> None:
    wrong = put(client, "x", 422, action="exclude", where="colr = 'red'")
    assert "at character 1: there is no attribute colr" in wrong["error"]
    assert wrong["fields"][0]["field"] == "rule.where"
    assert "a boost needs weight" in put(client, "x", 422, action="boost", items=["a"])["error"]
    assert "not 4" in put(client, "x", 409, action="exclude", items=["a"], version=4)["error"]
    gone = client.delete("/merchandising/rules/nothing", headers=MERCHANDISER)
    assert gone.status_code == 409
    bad = client.put("/merchandising/rules/a b", json={}, headers=MERCHANDISER)
    assert bad.status_code == 422


@pytest.mark.usefixtures("no_rules")
def test_another_worker_reads_a_rule_within_seconds(
    client: httpx.Client, root: Path, open_backend: Callable[..., Any]
) -> None:
    url = SecretStr(f"sqlite:///{root}/var/events/events.db")
    backend = open_backend(root, events_url=url)
    backend.rulebook.refresh()
    assert not backend.rulebook.book.rules
    backend.start()
    put(client, "seen", action="exclude", items=["i1"])
    until = time.monotonic() + 10
    while not backend.rulebook.book.rules and time.monotonic() < until:
        time.sleep(0.1)
    assert [one.rule_id for one in backend.rulebook.book.rules] == ["seen"]


def operators_page(client: httpx.Client, browser: webdriver.Chrome) -> Callable[[str], Any]:
    """Open the page with the merchandiser's key; return what finds an element by its id."""
    page = str(client.base_url).replace("127.0.0.1", "localhost").rstrip("/")
    browser.get(f"{page}/operator")
    browser.execute_script("sessionStorage.setItem('key', 'merchandiser-key')")
    browser.get(f"{page}/operator")
    return lambda name: browser.find_element(By.ID, name)


def test_a_merchandiser_makes_previews_and_deletes_a_rule_on_the_page(
    client: httpx.Client, browser: webdriver.Chrome
) -> None:
    at = operators_page(client, browser)
    wait = WebDriverWait(browser, 90)
    put(client, "winter", action="cap", by="colour", most=3, author="Bo", surfaces=["home"])
    wait.until(lambda _: "winter" in at("rules").text)
    at("new-rule").click()
    at("rule-id").send_keys("spring-sale")
    at("rule-name").send_keys("Spring <b>sale</b>")
    Select(at("rule-action")).select_by_value("pin")
    assert not at("rule-weight").is_displayed()
    at("rule-items").send_keys("i50, i31")
    at("rule-position").send_keys("2")
    at("rule-where").send_keys('colour = "gren"')
    at("rule-where").clear()
    at("rule-where").send_keys("margin >= 30")
    at("rule-author").send_keys("Ann")
    at("preview-users").send_keys("known")
    at("try").click()
    wait.until(lambda _: len(browser.find_elements(By.CSS_SELECTOR, "#preview ol")) == 2)
    after = browser.find_elements(By.CSS_SELECTOR, "#preview ol")[1]
    lines = [one.text for one in after.find_elements(By.TAG_NAME, "li")]
    assert "i50" in lines[1]
    assert "i31" in lines[2]
    assert "i50" not in shown(client, user_id="known")[:3]  # nothing is stored
    browser.find_element(By.CSS_SELECTOR, "#rule button.main").click()
    wait.until(lambda _: "saved: spring-sale, version 1" in at("rules-note").text)
    wait.until(lambda _: "Spring <b>sale</b>" in at("rules").text)
    assert shown(client, user_id="known")[1:3] == ["i50", "i31"]
    if folder := os.environ.get("SCREENSHOTS"):
        browser.set_window_size(1280, 1500)
        browser.execute_script("document.getElementById('rules-card').scrollIntoView()")
        at("rules-card").screenshot(f"{folder}/rules.png")
    browser.find_element(By.CSS_SELECTOR, "[aria-label='Delete Spring <b>sale</b>']").click()
    browser.find_element(By.CSS_SELECTOR, "#delete button[value=yes]").click()
    wait.until(lambda _: "Spring" not in at("rules").text)
    changes = client.get("/merchandising/changes?limit=2", headers=MERCHANDISER).json()["changes"]
    assert [(one["rule_id"], one["author"]) for one in changes] == [("spring-sale", "Ann")] * 2
    client.delete("/merchandising/rules/winter", headers=MERCHANDISER)


@pytest.mark.usefixtures("no_rules")
def test_an_objective_is_estimated_and_shares_are_seen_on_the_page(
    client: httpx.Client, browser: webdriver.Chrome
) -> None:
    buy(client, {f"customer{n}": f"i{n}" for n in range(40)})
    put(client, "reds", action="exposure", where='colour = "red"', at_least=0.3, at_most=0.5)
    for n in range(30):
        shown(client, recent=[f"i{n}"], k=5)
    at = operators_page(client, browser)
    wait = WebDriverWait(browser, 90)
    wait.until(lambda _: "at least 30.0 % of the exposure" in at("rules").text)
    wait.until(lambda _: "lists" in at("rules").text)  # the measured share
    at("new-rule").click()
    at("rule-id").send_keys("more-margin")
    at("rule-name").send_keys("More margin")
    Select(at("rule-action")).select_by_value("objective")
    assert at("estimate").is_displayed()
    assert not at("rule-at_least").is_displayed()
    at("rule-by").send_keys("margin")
    at("rule-weight").clear()
    at("rule-weight").send_keys("0.5")
    at("estimate").click()
    wait.until(lambda _: len(browser.find_elements(By.CSS_SELECTOR, "#estimated tbody tr")) == 5)
    assert "No gain estimated" in at("estimated").text
    assert len(browser.find_elements(By.CSS_SELECTOR, "#estimated svg")) == 2
    if folder := os.environ.get("SCREENSHOTS"):
        browser.set_window_size(1280, 1500)
        at("rules-card").screenshot(f"{folder}/objective.png")
    browser.find_element(By.CSS_SELECTOR, "#rule button.main").click()
    wait.until(lambda _: "margin × 0.5" in at("rules").text)
    stored = client.get("/merchandising/rules", headers=MERCHANDISER).json()["rules"]
    made = next(one["rule"] for one in stored if one["rule_id"] == "more-margin")
    assert (made["by"], made["weight"]) == ("margin", 0.5)
