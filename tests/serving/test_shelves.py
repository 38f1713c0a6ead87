"""The script for a shop's own pages, on the pages of its recipe, in a real Chromium."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By
from sqlalchemy import create_engine, text

from serving.api.routes.pages import WEB
from tests.conftest import REPOSITORY
from tests.serving.conftest import Server, static_pages, with_hostile_title
from tests.serving.test_web import complaints, until

RECIPE = REPOSITORY / "docs/recipes/add-shelves-to-your-shop.md"
BLOCK = re.compile(r'```\w+ title="([\w.]+)"\n(.*?)```', re.DOTALL)
HOSTILE = "<img src=x onerror=\"document.title='owned'\"><b>bag</b>"
KEYS = {"BOWERBIRD_API_KEY": "the shop's key", "BOWERBIRD_OPERATOR_KEY": "the owner's"}


class Shop:
    """The recipe's static pages on an origin of their own, and the endpoint they call."""

    def __init__(self, root: Path, server: Server, origin: str) -> None:
        self.server, self.origin = server, origin
        self._database = create_engine(f"sqlite:///{root}/var/events/events.db")

    def rows(self, table: str) -> list[dict[str, Any]]:
        with self._database.connect() as connection:
            return [
                dict(row) for row in connection.execute(text(f"SELECT * FROM {table}")).mappings()
            ]

    def events(self) -> list[dict[str, Any]]:
        return [row for row in self.rows("events") if row["authentication"] == "session"]


@pytest.fixture(scope="module")
def shop(trained: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    root, pages = tmp_path_factory.mktemp("endpoint"), tmp_path_factory.mktemp("pages")
    with_hostile_title(trained[0], root, HOSTILE)
    with static_pages(pages) as origin:
        server = Server(root, {**KEYS, "BOWERBIRD_SERVE__ALLOWED_ORIGINS": f"[{origin}]"}).start()
        blocks = BLOCK.findall(RECIPE.read_text())
        assert [name for name, _ in blocks] == ["index.html", "product.html", "shop.js", "shop.css"]
        for name, content in blocks:
            (pages / name).write_text(content.replace("http://localhost:3000", server.url))
        (pages / "favicon.ico").touch()
        yield Shop(root, server, origin)
        server.stop()


def ids(browser: webdriver.Chrome, shelf: str) -> list[str]:
    script = (
        "return [...document.querySelectorAll(arguments[0] + ' .bowerbird-link')]"
        ".map(link => new URL(link.href).searchParams.get('id'))"
    )
    return browser.execute_script(script, shelf)


FIRST, SECOND = "section:nth-of-type(1)", "section:nth-of-type(2)"


def arrive(browser: webdriver.Chrome, shop: Shop, consent: bool) -> list[str]:
    """Open the home page as a new visitor; return the items of the first shelf."""
    browser.get(f"{shop.origin}/index.html")
    browser.execute_script("localStorage.clear()")
    if consent:
        browser.execute_script("localStorage.setItem('consent', 'yes')")
    browser.get(f"{shop.origin}/index.html")
    until(browser, lambda: len(ids(browser, FIRST)) == 6)
    return ids(browser, FIRST)


def kept_by_browser(browser: webdriver.Chrome) -> list[str]:
    script = "return Object.keys(localStorage).filter(key => key.startsWith('bowerbird'))"
    return browser.execute_script(script)


def test_without_consent_nothing_is_kept_or_sent(browser: webdriver.Chrome, shop: Shop) -> None:
    popular = arrive(browser, shop, consent=False)
    before = len(shop.events())
    browser.find_element(By.CSS_SELECTOR, f"{FIRST} .bowerbird-link").click()
    until(browser, lambda: len(ids(browser, "#similar")) == 4)
    browser.find_element(By.ID, "buy").click()
    browser.get(f"{shop.origin}/index.html")
    until(browser, lambda: ids(browser, FIRST) == popular)
    assert len(shop.events()) == before
    assert kept_by_browser(browser) == []
    assert complaints(browser) == []


def test_a_click_and_a_purchase_on_another_page_name_the_list(
    browser: webdriver.Chrome, shop: Shop
) -> None:
    shown = arrive(browser, shop, consent=True)
    (browser.find_elements(By.CSS_SELECTOR, f"{FIRST} .bowerbird-link"))[2].click()
    until(browser, lambda: len(ids(browser, "#similar")) == 4)
    browser.find_element(By.ID, "buy").click()
    until(browser, lambda: [row["event"] for row in shop.events()][-1:] == ["purchase"])
    click, view, bought = shop.events()[-3:]
    assert [row["event"] for row in (click, view, bought)] == ["click", "view", "purchase"]
    assert {row["item_id"] for row in (click, view, bought)} == {shown[2]}
    lists = {row["impression_id"] for row in shop.rows("impressions")}
    assert click["impression_id"] in lists
    assert bought["impression_id"] == click["impression_id"]
    assert len({row["session_id"] for row in (click, view, bought)}) == 1
    browser.get(f"{shop.origin}/index.html")
    until(browser, lambda: len(ids(browser, FIRST)) == 6)
    assert shown[2] not in ids(browser, FIRST)
    assert not browser.find_element(By.ID, "consent").is_displayed()
    if folder := os.environ.get("SCREENSHOTS"):
        browser.set_window_size(1000, 760)
        browser.save_screenshot(str(Path(folder) / "shelves.png"))
    assert complaints(browser) == []


def test_a_list_counts_as_shown_when_its_place_is_seen(
    browser: webdriver.Chrome, shop: Shop
) -> None:
    arrive(browser, shop, consent=True)
    time.sleep(1)
    before = len(shop.rows("impressions"))
    assert ids(browser, SECOND) == []
    browser.execute_script("document.querySelector(arguments[0]).scrollIntoView()", SECOND)
    until(browser, lambda: ids(browser, SECOND))
    until(browser, lambda: len(shop.rows("impressions")) == before + 1)


@pytest.mark.slow
def test_an_event_waits_for_the_endpoint_and_counts_once(
    browser: webdriver.Chrome, shop: Shop
) -> None:
    shown = arrive(browser, shop, consent=True)
    before = len(shop.events())
    shop.server.stop()
    browser.execute_script("bowerbird.purchase(arguments[0], {order_id: '7'})", shown[0])
    waiting = (
        "return JSON.parse(localStorage.getItem('bowerbird.pending')).map(one => one.order_id)"
    )
    until(browser, lambda: complaints(browser))  # the refused connection
    assert browser.execute_script(waiting) == ["7"]
    assert len(shop.events()) == before
    shop.server.start()
    for _ in range(2):
        browser.get(f"{shop.origin}/index.html")
        until(browser, lambda: browser.execute_script(waiting) == [])
    (event,) = shop.events()[before:]
    assert (event["item_id"], event["order_id"]) == (shown[0], "7")


LOSE = """
const real = window.fetch;
window.fetch = async (...given) => {
  const answer = await real(...given);
  if (String(given[0]).endsWith("feedback")) throw new TypeError("lost");
  return answer;
};
"""


def test_an_event_whose_answer_was_lost_counts_once_and_stays_its_shoppers(
    browser: webdriver.Chrome, shop: Shop
) -> None:
    shown = arrive(browser, shop, consent=True)
    before = len(shop.events())
    browser.execute_script(LOSE)
    browser.execute_script("bowerbird.purchase(arguments[0])", shown[1])
    until(browser, lambda: len(shop.events()) == before + 1)
    # Another shopper has the browser since.
    browser.execute_script("localStorage.removeItem('bowerbird.session')")
    browser.get(f"{shop.origin}/index.html")
    pending = "return JSON.parse(localStorage['bowerbird.pending']).length"
    until(browser, lambda: browser.execute_script(pending) == 0)
    assert len(shop.events()) == before + 1


def test_a_customer_who_signs_in_keeps_what_the_visitor_did(
    browser: webdriver.Chrome, shop: Shop
) -> None:
    shown = arrive(browser, shop, consent=True)
    before = len(shop.events())
    browser.execute_script("bowerbird.purchase(arguments[0])", shown[4])
    until(browser, lambda: len(shop.events()) == before + 1)
    visitor = browser.execute_script("return bowerbird.session()")
    with shop.server.client() as backend:
        body = {"user_id": "ann", "session_id": visitor}
        key = {"X-API-Key": KEYS["BOWERBIRD_API_KEY"]}
        signed = backend.post("/session", json=body, headers=key).json()
    browser.execute_script("bowerbird.signIn(arguments[0])", signed["token"])
    until(browser, lambda: shown[4] not in ids(browser, FIRST) and len(ids(browser, FIRST)) == 6)
    browser.execute_script("bowerbird.cart(arguments[0])", shown[0])
    until(browser, lambda: shop.rows("events")[-1]["event"] == "cart")
    ann = [row["event"] for row in shop.rows("events") if row["user_id"] == "ann"]
    assert ann == ["purchase", "cart"]
    assert browser.execute_script("return bowerbird.session()") is None


def test_without_storage_events_are_sent_all_the_same(
    browser: webdriver.Chrome, shop: Shop
) -> None:
    shown = arrive(browser, shop, consent=True)
    before = len(shop.events())
    browser.execute_script("Storage.prototype.setItem = () => { throw new Error('full'); }")
    browser.execute_script(
        "localStorage.clear(); bowerbird.cart(arguments[0]); bowerbird.cart(arguments[1])",
        *shown[:2],
    )
    until(browser, lambda: len(shop.events()) == before + 2)
    assert len({row["session_id"] for row in shop.events()[before:]}) == 1


def test_a_shelf_that_was_empty_comes_back(browser: webdriver.Chrome, shop: Shop) -> None:
    arrive(browser, shop, consent=False)
    draw = "bowerbird.shelf(document.querySelector(arguments[0]), {category: arguments[1], k: 3})"
    browser.execute_script(draw, FIRST, "no such category")
    until(browser, lambda: not browser.find_element(By.CSS_SELECTOR, FIRST).is_displayed())
    browser.execute_script(draw.replace("category: arguments[1], ", ""), FIRST)
    until(browser, lambda: len(ids(browser, FIRST)) == 3)
    complaints(browser)


def test_shelves_of_a_page_share_no_product(browser: webdriver.Chrome, shop: Shop) -> None:
    first = arrive(browser, shop, consent=False)
    both = (
        "for (const place of document.querySelectorAll('section')) bowerbird.shelf(place, {k: 6})"
    )
    browser.execute_script("document.querySelector('.story').remove()")  # both are in sight
    for _ in range(2):  # drawn again, a shelf is not kept from its own products
        browser.execute_script(both)
        until(browser, lambda: len(ids(browser, SECOND)) == 6)
        assert ids(browser, FIRST) == first
        assert set(ids(browser, SECOND)).isdisjoint(first)
        browser.execute_script("document.querySelector(arguments[0] + ' ul').remove()", SECOND)
    assert complaints(browser) == []


def test_a_list_of_another_session_is_left_out(browser: webdriver.Chrome, shop: Shop) -> None:
    shown = arrive(browser, shop, consent=True)
    before = len(shop.events())
    browser.find_element(By.CSS_SELECTOR, f"{FIRST} .bowerbird-link").click()
    until(browser, lambda: len(shop.events()) == before + 2)  # a click and a view
    browser.execute_script(
        "localStorage.removeItem('bowerbird.session'); bowerbird.purchase(arguments[0])", shown[0]
    )
    until(browser, lambda: len(shop.events()) == before + 3)
    click, _, bought = shop.events()[before:]
    assert click["impression_id"]
    assert (bought["event"], bought["impression_id"]) == ("purchase", None)
    complaints(browser)  # the refused request


def test_withdrawn_consent_forgets_the_session(browser: webdriver.Chrome, shop: Shop) -> None:
    arrive(browser, shop, consent=True)
    assert kept_by_browser(browser)
    browser.execute_script("bowerbird.consent(false)")
    assert kept_by_browser(browser) == []
    before = len(shop.events())
    browser.execute_script("bowerbird.cart('85123A')")
    time.sleep(0.5)
    assert (len(shop.events()), kept_by_browser(browser)) == (before, [])


def test_consent_withdrawn_elsewhere_forgets_what_earlier_pages_kept(
    browser: webdriver.Chrome, shop: Shop
) -> None:
    arrive(browser, shop, consent=True)
    assert kept_by_browser(browser)
    browser.execute_script("localStorage.removeItem('consent')")
    browser.get(f"{shop.origin}/index.html")
    until(browser, lambda: len(ids(browser, FIRST)) == 6)
    assert kept_by_browser(browser) == []


def test_titles_are_text_and_the_file_is_small(browser: webdriver.Chrome, shop: Shop) -> None:
    arrive(browser, shop, consent=False)
    titles = [one.text for one in browser.find_elements(By.CSS_SELECTOR, ".bowerbird-title")]
    assert HOSTILE in titles
    assert browser.find_elements(By.CSS_SELECTOR, "section img, section b") == []
    assert browser.title == "My shop"
    assert (WEB / "bowerbird.js").stat().st_size < 10_240


def test_an_event_without_a_product_is_not_sent(browser: webdriver.Chrome, shop: Shop) -> None:
    arrive(browser, shop, consent=True)
    browser.get_log("browser")
    before = len(shop.events())
    browser.execute_script("bowerbird.view(undefined); bowerbird.purchase(null); bowerbird.cart(0)")
    until(browser, lambda: len(shop.events()) == before + 1)
    assert shop.events()[-1]["item_id"] == "0"  # a number may be an id
    console = str([entry["message"] for entry in browser.get_log("browser")])
    assert "bowerbird: view(undefined)" in console
    assert "bowerbird: purchase(null)" in console
