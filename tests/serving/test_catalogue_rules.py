"""What is a product, over HTTP: spelled ids, unknown ones, deleted and expired ones, cleared
fields, images."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import chdir
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pandas as pd
import pytest
import yaml
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait
from typer.testing import CliRunner

import bowerbird
from components.data import ingest, validation
from components.data.dataset import Prepared
from components.data.profiles import write_profiles
from components.settings import Settings, load_settings
from tests.colour_shop import N_ITEMS, ages, colour_hybrid, colour_shop
from tests.conftest import REPOSITORY
from tests.serving.conftest import static_pages

JUNK = "junk-<b>1</b>"
PIXEL = (
    b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR\x00\x00\x00\x01\x00\x00\x00\x01\x08\x02\x00\x00\x00\x90wS"
    b"\xde\x00\x00\x00\x0cIDATx\x9cc\xf8\xcf\xc0\x00\x00\x03\x01\x01\x00\xc9\xfe\x92\xef\x00\x00\x00"
    b"\x00IEND\xaeB`\x82"
)
LINES: dict[str, Any] = {
    "path": "lines.csv",
    "item_ids": {"case": "lower"},
    "columns": {"user_id": "u", "item_id": "i", "timestamp": "t", "order_id": "o"},
}
ITEMS: dict[str, Any] = {
    "path": "items.csv",
    "item_ids": {"case": "lower"},
    "columns": {"item_id": "i", "title": "t", "image": "picture", "url": "page"},
    "attributes": {"colour": "category", "care": "text", "margin": "number"},
}
ADDED: dict[str, Any] = {
    "path": "data/catalogue/items.parquet",
    "columns": {name: name for name in ("item_id", "title", "image", "url")},
    "attributes": ITEMS["attributes"],
}


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The origin of a server of pictures."""
    folder = tmp_path_factory.mktemp("images")
    (folder / "cup.png").write_bytes(PIXEL)
    with static_pages(folder) as origin:
        yield origin


@pytest.fixture(scope="module")
def root(settings: Settings, images: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A shop with an item file whose ids are in small letters, and its model."""
    root = tmp_path_factory.mktemp("rules")
    train, catalogue = colour_shop()
    table = catalogue.table.rename(columns={"set:use": "set:other"})
    table["text:care"] = [f"Wash cup {one} by hand. " * 12 for one in range(N_ITEMS)]
    table["brand"] = "iCup GmbH"
    table["image"] = f"{images}/cup.png"
    table.loc[table["item_id"] == "i1", "image"] = "javascript:alert(1)"
    table["url"] = "https://shop.example/cups"
    model = colour_hybrid(train, type(catalogue)(table), settings)
    model.save(root / "models/hybrid")
    prepared = Prepared(train, type(catalogue)(table), ages(), 0, 0, 0, None)
    write_profiles(prepared, root / "models/profiles/profiles.parquet")
    values = yaml.safe_load((REPOSITORY / "params.yaml").read_text())
    files = {"interactions": [LINES], "items": [ITEMS, ADDED], "users": [], "reviews": []}
    values["ingest"] |= files
    values["serve"]["image_sources"] = [images]
    (root / "params.yaml").write_text(yaml.safe_dump(values))
    lines = pd.DataFrame({"u": ["u1"] * 4, "i": ["I1", "i2", "I3", "I4"], "t": "2024-01-01"})
    lines.assign(o=["1", "2", "3", "4"]).to_csv(root / "lines.csv", index=False)
    listed = pd.DataFrame({"i": table["item_id"].str.upper(), "t": table["title"]})
    listed = listed.assign(colour="red", care="", margin=1, page="/cups/1")
    listed["picture"] = [f"{images}/cup.png"] * (N_ITEMS - 1) + ["data:image/svg+xml,<svg/>"]
    listed.to_csv(root / "items.csv", index=False)
    return root


@pytest.fixture(scope="module")
def client(root: Path, in_thread: Any) -> Iterator[httpx.Client]:
    with in_thread(root, {"BOWERBIRD_API_KEY": "shop-key"}).serving() as found:
        found.headers["X-API-Key"] = "shop-key"
        yield found


def post(client: httpx.Client, route: str, **body: Any) -> dict[str, Any]:
    answer = client.post(route, json=body)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def ids(answer: dict[str, Any]) -> list[str]:
    return [item["item_id"] for item in answer["items"]]


def put(client: httpx.Client, **item: Any) -> None:
    answer = client.put("/items", json={"items": [item]})
    assert answer.status_code == 200, answer.text
    assert answer.json()["live"]


def item(client: httpx.Client, item_id: str) -> dict[str, Any]:
    found = post(client, "/search", query="", k=100, available_only=False)["items"]
    return next(one for one in found if one["item_id"] == item_id)


def test_ids_are_spelled_as_ingest_spells_them(client: httpx.Client) -> None:
    assert ids(post(client, "/rerank", item_ids=["I7", " i7", "I8"])) in (
        ["i7", "i8"],
        ["i8", "i7"],
    )
    assert ids(post(client, "/similar", item_ids=["I7"], k=5))
    body = {"recent": ["I7"], "exclude": ["I8"], "k": 60, "exclude_seen": True}
    answer = post(client, "/recommend", **body)
    assert answer["unknown_items"] == []
    assert answer["history_length"] == 1
    assert not {"i7", "i8"} & set(ids(answer))
    for route in ("/recommend", "/search"):
        text = 'item_id in ["I7", " i8 ", "i9"] and item_id != "I9"'
        assert sorted(ids(post(client, route, filter=text, k=60))) == ["i7", "i8"]
    event = {"user_id": "spelled", "item_id": "I9", "event": "purchase"}
    assert post(client, "/feedback", **event)["unknown_items"] == []
    assert "i9" not in ids(post(client, "/recommend", user_id="spelled", k=60))
    kept = client.get("/users/spelled/history").json()["events"]
    assert [one["item_id"] for one in kept] == ["i9"]
    put(client, item_id="NEW-7", title="Cup new")
    assert item(client, "new-7")["title"] == "Cup new"
    put(client, item_id="New-7", price=3)
    assert item(client, "new-7")["price"] == 3


def test_an_unknown_id_is_counted_and_reported_and_no_product(
    client: httpx.Client, root: Path
) -> None:
    bought = [
        {"event_id": f"j{n}", "user_id": f"buyer-{n}", "item_id": JUNK, "event": "purchase"}
        for n in range(25)
    ]
    answer = post(client, "/feedback/batch", events=[*bought, bought[0]])
    assert answer["unknown_items"] == [JUNK]
    counted = "bowerbird_unknown_item_events_total 25.0"
    assert counted in client.get("/metrics").text
    status = client.get("/status").json()
    assert status["unknown_item_events"] == 25
    assert status["unknown_items"] == [{"item_id": JUNK, "events": 25}]
    shown = post(client, "/recommend", user_id="buyer-1", k=100, exclude_seen=False)
    assert JUNK not in ids(shown)
    with chdir(root), pytest.MonkeyPatch.context() as patch:
        patch.setattr(bowerbird, "ROOT", root)
        patch.setenv("BOWERBIRD_SERVE__EVENTS_URL", f"sqlite:///{root}/var/events/events.db")
        result = CliRunner().invoke(bowerbird.app, ["export-feedback"])
        assert result.exit_code == 0, result.output
    settings = load_settings(root / "params.yaml")
    (root / "reports").mkdir(exist_ok=True)
    ingest.run(settings, root)
    validation.run(settings, root, pages=False)
    items = pd.read_parquet(root / "data/valid/items.parquet").set_index("item_id")
    assert JUNK not in items.index
    assert {"i1", "new-7"} <= set(items.index)
    assert items.loc["i1", "image"].endswith("/cup.png")
    assert (items.loc["i59", "image"], items.loc["i59", "url"]) == (None, "/cups/1")
    report = json.loads((root / "reports/validation.json").read_text())
    notes = " ".join([*report["interactions"]["notes"], *report["items"]["notes"]])
    assert f"25 events name 1 ids that are no products, most often '{JUNK}' (25)" in notes
    assert "items.csv: column 'picture' (for image): 1 values are left out" in notes


def test_a_deleted_product_is_gone_at_once_until_it_is_put_again(client: httpx.Client) -> None:
    def everywhere() -> set[str]:
        wide = {"k": 100, "available_only": False}
        return {
            *ids(post(client, "/recommend", recent=["i10"], exclude_seen=False, **wide)),
            *ids(post(client, "/recommend", user_id="nobody", **wide)),
            *ids(post(client, "/search", query="cup 20", **wide)),
            *ids(post(client, "/search", query="", **wide)),
            *ids(post(client, "/similar", item_ids=["i10"], **wide)),
            *ids(post(client, "/rerank", item_ids=["i20", "i10"])),
            *ids(post(client, "/conversation", message="cup 20", k=20)),
        }

    assert "i20" in everywhere()
    before = post(client, "/facets")["total"]
    answer = client.delete("/items/I20")
    assert (answer.status_code, answer.json()["live"]) == (200, True)
    assert "i20" not in everywhere()
    assert post(client, "/rerank", item_ids=["i20", "i10"])["unknown_items"] == ["i20"]
    assert post(client, "/facets")["total"] == before - 1
    assert client.delete("/items/i20").status_code == 200
    assert client.delete("/items/no-such").status_code == 404
    assert client.delete("/items/i21", headers={"X-API-Key": "no"}).status_code == 401
    put(client, item_id="i20", price=7)
    assert "i20" in everywhere()
    assert (item(client, "i20")["title"], item(client, "i20")["price"]) == ("Cup 20", 7)

    put(client, item_id="short-lived", title="Cup of the week")
    assert client.delete("/items/short-lived").status_code == 200
    assert client.put("/items", json={"items": [{"item_id": "short-lived", "price": 1}]}).json()[
        "fields"
    ] == [{"field": "items.0.title", "problem": "a new product needs a title"}]


def test_a_product_expires_by_itself(client: httpx.Client) -> None:
    def shown() -> bool:
        return "i22" in ids(post(client, "/search", query="", k=100, available_only=False))

    soon = datetime.now(UTC) + timedelta(seconds=3)
    put(client, item_id="i22", expires_at=soon.isoformat())
    assert shown()
    until = time.monotonic() + 15
    while shown():
        assert time.monotonic() < until
        time.sleep(0.2)
    assert datetime.now(UTC) >= soon
    put(client, item_id="i22", expires_at=None)
    assert shown()
    put(client, item_id="i22", expires_at="2020-01-01T00:00:00Z")
    assert not shown()
    put(client, item_id="i22", price=2)  # put again after it expired
    assert shown()


def test_null_clears_a_field_and_names_keep_their_spelling(client: httpx.Client) -> None:
    titled = {"title": "iPhone 15 Pro — naïve Ümlaut", "categories": ["eBooks & iPads", "ÄÖ"]}
    put(client, item_id="i30", description="x", price=9, **titled)
    assert {name: item(client, "i30")[name] for name in titled} == titled
    found = post(client, "/conversation", message="an iphone")
    why = post(client, "/conversation", message="why the first one?", state=found["state"])
    assert titled["title"] in why["text"]
    nothing = {"price": None, "categories": None, "image": None, "url": None}
    put(client, item_id="i30", attributes={"colour": None}, **nothing)
    found = item(client, "i30")
    assert {name: found[name] for name in nothing} == {**nothing, "categories": []}
    assert found["attributes"].keys() == {"care", "margin"}
    assert found["title"] == titled["title"]
    assert "i30" not in ids(post(client, "/search", query="", k=100, max_price=1e6))
    put(client, item_id="i30", attributes=None)
    assert item(client, "i30")["attributes"] == {}
    put(client, item_id="i30", attributes={"margin": 5}, price=4)
    assert (item(client, "i30")["attributes"], item(client, "i30")["price"]) == ({"margin": 5.0}, 4)
    for title in (None, " \u3000"):
        refused = client.put("/items", json={"items": [{"item_id": "i30", "title": title}]})
        assert refused.status_code == 422
        assert "a product needs a title" in refused.text


def test_image_url_and_every_declared_attribute_come_back(
    client: httpx.Client, images: str
) -> None:
    care = "Wash cup 40 by hand. " * 12
    for route, body in (
        ("/recommend", {"recent": ["i41"], "k": 100}),
        ("/search", {"query": "cup 40", "k": 100}),
        ("/similar", {"item_ids": ["i41"], "k": 100}),
        ("/rerank", {"item_ids": ["i40"]}),
        ("/conversation", {"message": "tell me about cup 40", "k": 20}),
    ):
        found = next(one for one in post(client, route, **body)["items"] if one["item_id"] == "i40")
        assert (found["image"], found["url"]) == (f"{images}/cup.png", "https://shop.example/cups")
        assert found["attributes"] == {"colour": "red", "care": care, "margin": 40.0}
    assert item(client, "i1")["image"] is None  # of a model's table, javascript:
    for hostile in (
        *("javascript:alert(1)", "data:text/html,x", "//evil.example/", "https://a@evil.example/"),
        *("/\t/evil.example", "vbscript:x", " javascript:alert(1)", "java\nscript:x", "x.png", ""),
    ):
        for name in ("image", "url"):
            answer = client.put("/items", json={"items": [{"item_id": "i40", name: hostile}]})
            assert answer.status_code == 422, hostile
            assert answer.json()["fields"][0]["field"] == f"items.0.{name}"


@pytest.mark.slow
def test_the_shoppers_page_shows_images_of_the_named_sources_alone(
    browser: webdriver.Chrome, client: httpx.Client, images: str
) -> None:
    page = str(client.base_url)
    policy = client.get("/").headers["content-security-policy"]
    assert f"img-src 'self' data: {images};" in policy
    assert images not in client.get("/operator").headers["content-security-policy"]
    other = images.replace("localhost", "127.0.0.1")
    put(client, item_id="i0", image=f"{other}/cup.png", title="Zebra cup")
    put(client, item_id="i1", image=None, url=None, title="RED ZEBRA MUG")
    put(client, item_id="i2", image=f"{images}/missing.png", title="iCup LEGO zebra")
    put(client, item_id="i3", title="Zebra <img src=x>")
    browser.get(page)
    browser.execute_script("sessionStorage.clear()")
    browser.get(page)
    field = WebDriverWait(browser, 20).until(lambda _: browser.find_element(By.ID, "query"))
    field.send_keys("zebra")
    field.submit()
    script = """
        const seen = (li) => [li.querySelector(".tile").tagName,
          li.querySelector(".title").innerText, li.querySelector(".tile").naturalWidth || 0];
        const shown = [...document.querySelectorAll("#results li")];
        return Object.fromEntries(shown.map((li) => [li.dataset.item, seen(li)]));
    """
    wanted = {
        "i0": ["svg", "Zebra cup", 0],
        "i1": ["svg", "Red zebra mug", 0],
        "i2": ["svg", "iCup LEGO zebra", 0],
        "i3": ["IMG", "Zebra <img src=x>", 1],
    }
    WebDriverWait(browser, 20).until(lambda _: browser.execute_script(script) == wanted)
    links = browser.find_elements(By.CSS_SELECTOR, "#results .title a")
    assert {one.get_attribute("href") for one in links} == {"https://shop.example/cups"}
    assert len(links) == 3
