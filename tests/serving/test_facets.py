"""Facets over a real server and in a real Chromium: counts, filters, hostile values, a phone."""

from __future__ import annotations

import json
import shutil
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pandas as pd
import pytest
import yaml
from pydantic import ValidationError
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait

from components.data.item_table import read_item_table, write_item_table
from components.manifest import write_manifest
from components.settings import Settings, load_settings
from serving.fields import LONGEST_VALUE, MOST_VALUES
from serving.filters.conditions import Not
from serving.profiles.history import History
from serving.recommend.attribute_index import AttributeIndex, ValueIndex
from serving.recommend.engine import MASKS, Engine
from serving.recommend.facets import MAX_FACET_VALUES, MAX_FACETS, Facets
from serving.recommend.masks import Masks
from serving.recommend.query import Filtered
from serving.recommend.types import Filters
from tests.colour_shop import N_ITEMS, colour_hybrid, colour_shop
from tests.conftest import REPOSITORY

HOSTILE = "<img src=x onerror=\"document.title='owned'\"><b>oak</b>"
HIDDEN = {"bought_for": "number", "batch": "category", "supplier": "text"}
TYPES = {
    "colour": "category",
    "use": "set",
    "margin": "number",
    "maker": "category",
    "launched": "date",
    "care": "text",
}
SECRET = {"bought_for": 123.25, "batch": "lot 1", "supplier": "Quixotex"}
"""A value of each hidden attribute."""
KEY = {"X-API-Key": "shop-key"}
FEW = ("popularity", "item_neighbours")


@pytest.fixture(scope="module")
def root(settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root with the colour shop and further attributes, three of them hidden, one hostile."""
    root = tmp_path_factory.mktemp("facets")
    train, catalogue = colour_shop()
    catalogue.table["category:batch"] = [f"lot {n % 3}" for n in range(N_ITEMS)]  # as the colours
    colour_hybrid(train, catalogue, settings, FEW).save(root / "models/hybrid")
    folder = root / "models/hybrid"
    table = read_item_table(folder)
    table["category:maker"] = [f"maker {n % 40:02}" for n in range(N_ITEMS)]
    table.loc[[7, 8, 9], "category:maker"] = HOSTILE
    table.loc[3, "category:colour"] = "BLUE"
    days = pd.to_datetime("2026-01-01", utc=True) + pd.to_timedelta(np.arange(N_ITEMS), unit="D")
    table["date:launched"] = days + pd.Timedelta(hours=12)
    table["number:bought_for"] = np.float32(SECRET["bought_for"])
    table["text:care"] = "wash by hand"
    table["text:supplier"] = SECRET["supplier"]
    table.loc[:4, "available"] = False
    write_item_table(table, folder)
    write_manifest(folder)
    values = yaml.safe_load((REPOSITORY / "params.yaml").read_text())
    items = {"path": "i.csv", "columns": {"item_id": "i", "title": "t"}}
    values["ingest"]["items"] = [items | {"attributes": HIDDEN | TYPES}]
    values["serve"]["hidden_attributes"] = list(HIDDEN)
    (root / "params.yaml").write_text(yaml.safe_dump(values, sort_keys=False))
    return root


@pytest.fixture(scope="module")
def table(root: Path) -> pd.DataFrame:
    """The catalogue of that root."""
    return read_item_table(root / "models/hybrid")


@pytest.fixture(scope="module")
def client(root: Path, in_thread: Any) -> Iterator[httpx.Client]:
    with in_thread(root, {"BOWERBIRD_API_KEY": "shop-key"}).serving() as found:
        yield found


@pytest.fixture(scope="module")
def undeclared(
    root: Path, tmp_path_factory: pytest.TempPathFactory, in_thread: Any
) -> Iterator[httpx.Client]:
    """The same model, after the hidden attributes were removed from params.yaml."""
    own = tmp_path_factory.mktemp("undeclared")
    shutil.copytree(root / "models", own / "models")
    values = yaml.safe_load((root / "params.yaml").read_text())
    values["ingest"]["items"][0]["attributes"] = TYPES
    values["serve"]["hidden_attributes"] = []
    (own / "params.yaml").write_text(yaml.safe_dump(values, sort_keys=False))
    with in_thread(own, {"BOWERBIRD_API_KEY": "shop-key"}).serving() as found:
        yield found


def secrets_in(answer: httpx.Response) -> set[str]:
    """Return the names and values of hidden attributes that an answer has."""
    told = answer.text.casefold()
    return {text for pair in SECRET.items() for text in map(str, pair) if text.casefold() in told}


def facets(client: httpx.Client, **body: Any) -> dict[str, Any]:
    answer = client.post("/facets", json=body)
    assert answer.status_code == 200, answer.text
    found = answer.json()
    return found | {"facets": {one["name"]: one for one in found["facets"]}}


def counts(facet: dict[str, Any]) -> dict[str, int]:
    return {one["value"]: one["items"] for one in facet["values"]}


def found_items(client: httpx.Client, **body: Any) -> set[str]:
    answer = client.post("/search", json={"k": 100, **body})
    assert answer.status_code == 200, answer.text
    return {item["item_id"] for item in answer.json()["items"]}


def test_counts_are_those_of_the_available_products(
    client: httpx.Client, table: pd.DataFrame
) -> None:
    found = facets(client)
    there = table[table["available"]]
    assert found["total"] == len(there) == 55
    assert list(found["facets"]) == ["colour", "use", "margin", "maker", "launched"]
    assert counts(found["facets"]["colour"]) == there["category:colour"].value_counts().to_dict()
    assert counts(found["facets"]["use"]) == there["set:use"].explode().value_counts().to_dict()
    assert found["facets"]["margin"]["min"] == 5
    assert found["facets"]["margin"]["max"] == 58
    launched = found["facets"]["launched"]
    assert (launched["min"], launched["max"]) == ("2026-01-06", "2026-03-01")
    maker = found["facets"]["maker"]
    assert len(maker["values"]) == MAX_FACET_VALUES
    assert maker["values"][0] == {"value": HOSTILE, "items": 3}
    assert maker["left_out"] == there["category:maker"].nunique() - MAX_FACET_VALUES
    everything = facets(client, available_only=False)
    assert counts(everything["facets"]["colour"])["blue"] == 20  # BLUE is another spelling


def test_an_attributes_own_filter_does_not_narrow_its_facet(client: httpx.Client) -> None:
    chosen = {"colour": ["red"], "margin": {"min": 30}}
    found = facets(client, attributes=chosen)
    assert found["total"] == len(found_items(client, attributes=chosen))
    for colour, items in counts(found["facets"]["colour"]).items():
        assert items == len(found_items(client, attributes={**chosen, "colour": [colour]}))
    for use, items in counts(found["facets"]["use"]).items():
        assert items == len(found_items(client, attributes={**chosen, "use": [use]}))
    assert found["facets"]["margin"]["min"] == 7  # of the red ones
    rare = facets(client, attributes={"maker": ["maker 39"], "margin": {"max": 20}})
    assert counts(rare["facets"]["maker"])["maker 39"] == 0  # chosen, so still in the list


def test_dates_are_filtered_by_whole_days(client: httpx.Client) -> None:
    january = {"launched": {"min": "2026-01-10", "max": "2026-01-12"}}
    assert found_items(client, attributes=january) == {"i9", "i10", "i11"}
    until_noon = {"launched": {"max": "2026-01-07T12:00:00Z"}}
    assert found_items(client, attributes=until_noon) == {"i5", "i6"}
    assert facets(client, attributes=january)["total"] == 3
    for bounds, problem in (
        ({"min": 3}, "no number of that name is declared"),
        ({"min": "soon"}, "must be a number, or a date of ISO 8601"),
        ({"min": "2026-01-10", "max": 3}, "both bounds as numbers, or both as dates"),
    ):
        answer = client.post("/facets", json={"attributes": {"launched": bounds}})
        assert answer.status_code == 422
        assert problem in answer.text


@pytest.mark.parametrize("server", ["client", "undeclared"])
def test_a_hidden_attribute_is_nowhere(server: str, request: pytest.FixtureRequest) -> None:
    client = request.getfixturevalue(server)
    secret = SECRET if server == "client" else {}
    product = {"item_id": "put", "title": "Beaker", "attributes": {"colour": "red", **secret}}
    put = client.put("/items", json={"items": [product]}, headers=KEY)
    assert put.status_code == 200, put.text
    assert put.json()["live"]
    often_red = {"recent": ["i7", "i10", "i13"], "k": 60}
    asked = [
        ("/search", {"k": 100}),
        ("/recommend", {"k": 60}),
        ("/recommend", often_red),
        ("/similar", {"item_ids": ["i9"]}),
        ("/rerank", {"item_ids": ["i9", "put"]}),
        ("/conversation", {"message": "a cup", "k": 5}),
        ("/conversation", {"message": "a beaker", "k": 5}),
    ]
    try:
        answers = [client.post(route, json=body) for route, body in asked]
        for answer in [*answers, client.get("/similar/i9")]:
            assert answer.status_code == 200, answer.text
            found = answer.json()["items"]
            known = {name for item in found for name in item["attributes"]}
            assert "colour" in known
            assert known <= TYPES.keys()
            assert secrets_in(answer) == set()
        reasons = {item["reason"] for item in answers[2].json()["items"]}
        assert "because you often choose colour red" in reasons  # each batch has one colour
        assert secrets_in(client.post("/facets", json={})) == set()
    finally:
        gone = {"item_id": "put", "available": False}
        client.put("/items", json={"items": [gone]}, headers=KEY)


@pytest.mark.parametrize("server", ["client", "undeclared"])
def test_no_word_of_a_hidden_text_finds_a_product(
    server: str, request: pytest.FixtureRequest
) -> None:
    client = request.getfixturevalue(server)
    assert client.post("/search", json={"query": SECRET["supplier"]}).json()["items"] == []
    assert client.post("/search", json={"query": "wash"}).json()["total"] > 0  # of a shown text


def test_only_the_shop_filters_by_a_hidden_attribute(
    client: httpx.Client, undeclared: httpx.Client
) -> None:
    for wanted in ({"bought_for": {"min": 0.4}}, {"batch": [SECRET["batch"]]}):
        for route, body in (
            ("/search", {}),
            ("/facets", {}),
            ("/recommend", {}),
            ("/similar", {"item_ids": ["i9"]}),
        ):
            body = {**body, "attributes": wanted}
            refused = client.post(route, json=body)
            assert refused.status_code == 422
            for name in HIDDEN.keys() - wanted.keys():
                assert name not in refused.text
            assert client.post(route, json=body, headers=KEY).status_code == 200
            # Not declared any more: nobody does.
            assert undeclared.post(route, json=body, headers=KEY).status_code == 422


@pytest.mark.parametrize("digits", [400, 4000, 5000])
def test_a_bound_of_many_digits_is_refused(client: httpx.Client, digits: int) -> None:
    for sign in ("", "-"):
        for bound in ("min", "max"):
            number = f"{sign}1{'0' * digits}"
            filters = f'"attributes": {{"margin": {{"{bound}": {number}}}}}'
            for route, body in (
                ("/search", f"{{{filters}}}"),
                ("/facets", f"{{{filters}}}"),
                ("/recommend", f"{{{filters}}}"),
                ("/similar", f'{{"item_ids": ["i9"], {filters}}}'),
            ):
                answer = client.post(
                    route, content=body, headers={"content-type": "application/json"}
                )
                assert answer.status_code in ((422,) if digits < 4300 else (400, 422)), answer.text


def test_bounds_beyond_the_numbers_of_a_column(client: httpx.Client) -> None:
    everything = found_items(client, attributes={"margin": {"min": 0}})
    assert found_items(client, attributes={"margin": {"min": -1e300, "max": 1e300}}) == everything
    assert found_items(client, attributes={"margin": {"min": 1e300}}) == set()
    numbers = AttributeIndex(pd.DataFrame({"number:margin": np.float32([1, np.inf, np.nan])}))
    with warnings.catch_warnings(action="error"):
        assert numbers.items_within(["number:margin"], -1e300, 1e300).tolist() == [0]
        assert numbers.items_within(["number:margin"], 1e300, None).tolist() == []


def test_hidden_attributes_must_be_declared(root: Path) -> None:
    settings = load_settings(root / "params.yaml")
    values = settings.model_dump(by_alias=True)
    values["serve"]["hidden_attributes"] = ["costs"]
    with pytest.raises(ValidationError, match=r"no source of ingest\.items declares costs"):
        Settings.model_validate(values)


def test_answers_show_attributes(client: httpx.Client) -> None:
    answer = client.post("/search", json={"query": "Cup 7"}).json()
    (cup,) = (item for item in answer["items"] if item["item_id"] == "i7")
    assert cup["attributes"] == {
        "colour": "red",
        "maker": HOSTILE,
        "launched": "2026-01-08T12:00:00+00:00",
        "margin": 7,
        "use": ["kitchen", "garden"],
        "care": "wash by hand",
    }


def test_products_of_put_items_are_counted(client: httpx.Client) -> None:
    before = counts(facets(client)["facets"]["colour"])
    changes = [
        {"item_id": "fresh", "title": "Cup", "attributes": {"colour": "mauve", "use": ["tea"]}},
        {"item_id": "i10", "attributes": {"colour": "mauve"}},  # it was red
    ]
    put = client.put("/items", json={"items": changes}, headers=KEY)
    assert put.status_code == 200, put.text
    assert put.json()["live"]
    try:
        found = facets(client)
        assert counts(found["facets"]["colour"]) == {**before, "red": before["red"] - 1, "mauve": 2}
        assert counts(found["facets"]["use"])["tea"] == 1
        assert found_items(client, attributes={"colour": ["mauve"]}) == {"fresh", "i10"}
    finally:
        back = [
            {"item_id": "fresh", "available": False},
            {"item_id": "i10", "attributes": {"colour": "red"}},
        ]
        client.put("/items", json={"items": back}, headers=KEY)
    assert counts(facets(client)["facets"]["colour"]) == before


def test_a_shop_without_attributes_has_no_facets(served: httpx.Client) -> None:
    answer = served.post("/facets", json={}).json()
    assert answer["facets"] == []
    assert answer["total"] > 0
    assert served.post("/search", json={"k": 1}).json()["items"][0]["attributes"] == {}


def test_the_number_of_facets_is_bounded(settings: Settings) -> None:
    train, catalogue = colour_shop()
    columns = tuple(f"category:a{n:02}" for n in range(MAX_FACETS + 3))
    for column in columns:
        catalogue.table[column] = "x" * 300 if column == columns[0] else "one"
    engine = Engine(colour_hybrid(train, catalogue, settings, FEW), "1", shown=columns)

    def names(filters: Filters) -> list[str]:
        answer = json.loads(Facets(engine).json(filters))
        assert answer["left_out"] == 2  # the first has no value that is short enough
        return [one["name"] for one in answer["facets"]]

    assert names(Filters()) == [f"a{n:02}" for n in range(1, 11)]
    chosen = tuple((name, ("one",), None, None) for name in ("a11", "a12"))
    assert names(Filters(attributes=chosen)) == [*(f"a{n:02}" for n in range(1, 9)), "a11", "a12"]


def test_facets_evict_no_mask_of_recommendations(engine: Engine) -> None:
    """So many that they would evict every mask that is kept."""
    facets, wanted = Facets(engine), Filters(max_price=3.0)
    mask = engine.mask(wanted)
    for n in range(MASKS + 1):
        facets.json(Filters(max_price=4 + n))
    assert engine.mask(wanted) is mask


def test_values_of_items_are_bounded(settings: Settings) -> None:
    train, catalogue = colour_shop()
    table = catalogue.table
    table["category:maker"] = ["x" * (LONGEST_VALUE + n) for n in range(N_ITEMS)]
    table["set:tags"] = [[f"t{n}" for n in range(100)]] * N_ITEMS
    table.at[1, "set:tags"] = ["y" * 999, "tea"]
    table.at[2, "set:tags"] = ["y" * 999]
    columns = ("category:maker", "set:tags")
    engine = Engine(colour_hybrid(train, catalogue, settings, FEW), "1", shown=columns)
    assert [engine.describe(code)["attributes"] for code in (0, 1, 2)] == [
        {"maker": "x" * LONGEST_VALUE, "tags": [f"t{n}" for n in range(MOST_VALUES)]},
        {"tags": ["tea"]},
        {},
    ]


def test_an_index_of_changes_equals_one_of_the_whole_table() -> None:
    random = np.random.default_rng(3)
    words = np.array(["Oak", "oak", "ash", "ELM", "pine", "fir"])

    def cells(n: int) -> list[list[str] | None]:
        return [
            None if random.random() < 0.1 else random.choice(words, random.integers(0, 4)).tolist()
            for _ in range(n)
        ]

    old = pd.DataFrame({"set:wood": cells(300)})
    new = pd.DataFrame({"set:wood": [*old["set:wood"], *cells(20)]})
    codes = np.r_[5, 17, 200:260, 300:320]
    for code in codes[:-20]:
        new.at[code, "set:wood"] = cells(1)[0]
    index = AttributeIndex(new, AttributeIndex(old), codes).values("set:wood")
    expected = ValueIndex.of(new["set:wood"])
    assert [one.casefold() for one in index.labels] == [one.casefold() for one in expected.labels]
    for value in words:
        assert index.items_of(value).tolist() == expected.items_of(value).tolist()
        has = new["set:wood"].map(lambda cell, v=value: cell and v.lower() in map(str.lower, cell))
        assert index.items_of(value).tolist() == np.flatnonzero(has.fillna(False)).tolist()


def test_an_attribute_without_values_meets_nothing() -> None:
    table = pd.DataFrame({"set:wood": [None, []], "date:cut": pd.to_datetime([None] * 2, utc=True)})
    index = AttributeIndex(table)
    assert index.values("set:wood").labels == []
    long_ago = Filtered.model_validate(
        {"attributes": {"wood": "oak", "cut": {"min": "0001-01-01T00:00:00+14:00"}}}
    ).filters()
    masks = Masks(pd.Index(["a", "b"]), index, {}, np.full(2, np.nan), {})
    for condition in long_ago.conditions():
        assert not masks.of(condition).any()
        assert masks.of(Not(condition)).all()


def test_no_reason_names_a_hidden_attribute(settings: Settings) -> None:
    train, catalogue = colour_shop()
    model = colour_hybrid(train, catalogue, settings, FEW)
    history = History(np.array([1, 4, 7], np.int32), np.zeros(3, np.int64))
    reasons = [
        Engine(model, "1", shown=shown).explanations.attributes.reasons([10], history)
        for shown in (("category:colour", "set:use"), ("set:use",))
    ]
    assert reasons == [
        ["because you often choose colour red"],
        ["because you often choose use garden"],
    ]


# --- in a browser ---


@pytest.fixture(scope="module")
def page(root: Path, tmp_path_factory: pytest.TempPathFactory, in_thread: Any) -> Iterator[str]:
    """The URL of a server without keys."""
    own = tmp_path_factory.mktemp("page")
    shutil.copytree(root / "models", own / "models")
    shutil.copy(root / "params.yaml", own / "params.yaml")
    server = in_thread(own).start()
    yield server.url
    server.stop()


def until(browser: webdriver.Chrome, script: str, *arguments: Any) -> Any:
    """Return what a script returns in the page once it is true."""
    return WebDriverWait(browser, 20).until(
        lambda _: browser.execute_script(f"return {script}", *arguments)
    )


def visit(browser: webdriver.Chrome, page: str) -> None:
    browser.get_log("browser")
    browser.get(page)
    browser.execute_script("sessionStorage.clear()")
    browser.get(page)
    until(browser, "document.querySelectorAll('#shelf li').length === 8")
    until(browser, "document.querySelectorAll('#facets fieldset').length === 5")


def items(browser: webdriver.Chrome, where: str) -> set[str]:
    script = "return [...document.querySelectorAll(arguments[0])].map(li => li.dataset.item)"
    return set(browser.execute_script(script, f"#{where} > li"))


def box(browser: webdriver.Chrome, key: str) -> Any:
    return browser.execute_script(
        "return [...document.querySelectorAll('[data-key]')]"
        ".find(one => one.dataset.key === arguments[0])",
        key,
    )


def total_is(browser: webdriver.Chrome, total: int) -> None:
    for place in ("facets-note", "found"):
        shown = f"document.getElementById('{place}').textContent.split(' ')[0] === arguments[0]"
        until(browser, shown, str(total))


def complaints(browser: webdriver.Chrome) -> list[str]:
    return [entry["message"] for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]


def expected(table: pd.DataFrame, colours: set[str], use: str | None = None) -> set[str]:
    there = table[table["available"] & table["category:colour"].isin(colours)]
    if use is not None:
        there = there[there["set:use"].map(lambda cell: use in cell)]
    return set(there["item_id"])


def test_chosen_values_filter_the_shelf_and_the_results(
    browser: webdriver.Chrome, page: str, table: pd.DataFrame
) -> None:
    visit(browser, page)
    rows = browser.execute_script(
        "return [...document.querySelectorAll('[data-facet=colour] .value')].map(row => "
        "['.name', '.count'].map(part => row.querySelector(part).textContent))"
    )
    there = table[table["available"]]["category:colour"].value_counts()
    assert dict(rows) == {colour: f"{count} products" for colour, count in there.items()}

    box(browser, "colour=red").click()
    total_is(browser, len(expected(table, {"red"})))
    assert items(browser, "shelf") <= expected(table, {"red"})
    assert items(browser, "results") <= expected(table, {"red"})
    box(browser, "colour=green").click()
    total_is(browser, len(expected(table, {"red", "green"})))
    box(browser, "use=garden").click()
    both = expected(table, {"red", "green"}, "garden")
    total_is(browser, len(both))
    assert len(items(browser, "shelf")) == 8
    assert items(browser, "shelf") | items(browser, "results") <= both
    chips = [one.text for one in browser.find_elements(By.CSS_SELECTOR, "#chosen button")]
    assert chips == ["colour: red ×", "colour: green ×", "use: garden ×", "Clear all"]

    chip = box(browser, "chip colour: red")
    assert chip.accessible_name == "Remove the filter colour: red"
    chip.send_keys(Keys.ENTER)
    total_is(browser, len(expected(table, {"green"}, "garden")))
    browser.find_element(By.CSS_SELECTOR, "#chosen .clear").click()
    total_is(browser, 55)
    assert not browser.find_element(By.ID, "chosen").is_displayed()
    assert complaints(browser) == []


def test_numbers_and_dates_are_ranges(browser: webdriver.Chrome, page: str) -> None:
    visit(browser, page)
    assert "5 to 58" in browser.find_element(By.CSS_SELECTOR, "[data-facet=margin]").text
    box(browser, "margin:min").send_keys("50", Keys.ENTER)
    total_is(browser, 9)
    box(browser, "margin:max").send_keys("52.5", Keys.ENTER)
    total_is(browser, 3)
    assert items(browser, "shelf") == items(browser, "results") == {"i50", "i51", "i52"}
    script = "arguments[0].value = '2026-02-21'; arguments[0].dispatchEvent(new Event('change'))"
    browser.execute_script(script, box(browser, "launched:min"))
    total_is(browser, 2)
    assert items(browser, "results") == {"i51", "i52"}
    box(browser, "chip margin: 50 to 52.5").send_keys(Keys.ENTER)
    total_is(browser, 9)
    assert complaints(browser) == []


def test_a_hostile_value_is_text_and_filters(browser: webdriver.Chrome, page: str) -> None:
    visit(browser, page)
    facet = browser.find_element(By.CSS_SELECTOR, "[data-facet=maker]")
    assert HOSTILE in facet.text
    facet.find_element(By.CSS_SELECTOR, ".value input").send_keys(Keys.SPACE)
    total_is(browser, 3)
    assert items(browser, "results") == {"i7", "i8", "i9"}
    tiles = [one.text for one in browser.find_elements(By.CSS_SELECTOR, "#results .facts")]
    assert len(tiles) == 3
    assert all(f"maker: {HOSTILE}" in one for one in tiles)
    assert HOSTILE in browser.find_element(By.ID, "chosen").text
    assert browser.switch_to.active_element.get_attribute("data-key") == f"maker={HOSTILE}"
    assert browser.find_elements(By.CSS_SELECTOR, "main img, main b") == []
    assert browser.title == "Bowerbird: the shop"
    assert "bought for" not in browser.find_element(By.TAG_NAME, "main").text
    assert complaints(browser) == []


def test_facets_have_names_and_fold_on_a_phone(browser: webdriver.Chrome, page: str) -> None:
    metrics = {"width": 360, "height": 740, "deviceScaleFactor": 2, "mobile": True}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    try:
        visit(browser, page)
        summary = browser.find_element(By.CSS_SELECTOR, "#facets-fold summary")
        assert not browser.find_element(By.ID, "facets").is_displayed()
        summary.send_keys(Keys.ENTER)
        until(browser, "document.getElementById('facets-fold').open")
        browser.find_element(By.CSS_SELECTOR, "[data-facet=maker] .more").click()
        until(browser, "document.querySelectorAll('[data-facet=maker] .value').length === 30")
        for field in browser.find_elements(By.CSS_SELECTOR, "#facets input, #facets button"):
            assert field.accessible_name
        group = browser.find_element(By.CSS_SELECTOR, "[data-facet=colour]")
        assert (group.aria_role, group.accessible_name) == ("group", "colour")
        box(browser, f"maker={HOSTILE}").click()
        total_is(browser, 3)
        assert browser.execute_script("return document.documentElement.scrollWidth") <= 360
    finally:
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_a_shop_without_attributes_shows_no_facets(
    browser: webdriver.Chrome, served: httpx.Client
) -> None:
    browser.get(str(served.base_url))
    until(browser, "document.querySelectorAll('#results li').length > 0")
    until(browser, "document.querySelectorAll('#shelf li').length === 8")
    assert not browser.find_element(By.ID, "facets-part").is_displayed()
    assert browser.find_elements(By.CSS_SELECTOR, ".facts") == []
