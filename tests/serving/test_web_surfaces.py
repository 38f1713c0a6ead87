"""The shopper's page in a real Chromium: the shelves of the surfaces, on a phone and a desktop."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pandas as pd
import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By

from tests.serving.test_web import complaints, until


@pytest.fixture(scope="module")
def page(trained: Any, tmp_path_factory: pytest.TempPathFactory, in_thread: Any) -> Iterator[str]:
    root = tmp_path_factory.mktemp("pages")
    for name in ("hybrid", "profiles"):
        shutil.copytree(trained[0] / "models" / name, root / "models" / name)
    shutil.copy(trained[0] / "params.yaml", root / "params.yaml")
    server = in_thread(root).start()
    yield server.url
    server.stop()


def shelves(browser: webdriver.Chrome) -> dict[str, list[str]]:
    """The products of each shelf, by its surface."""
    script = (
        "return Object.fromEntries([...document.querySelectorAll('#shelves section')].map(one => "
        "[one.dataset.surface, [...one.querySelectorAll('li')].map(li => li.dataset.item)]))"
    )
    found: dict[str, list[str]] = browser.execute_script(script)
    return found


def headings(browser: webdriver.Chrome) -> list[str]:
    return [one.text for one in browser.find_elements(By.CSS_SELECTOR, "#shelves h2")]


@pytest.mark.parametrize("width", [360, 1200])
def test_each_surface_is_a_shelf_without_a_product_twice(
    width: int, page: str, browser: webdriver.Chrome, trained: Any
) -> None:
    profiles = pd.read_parquet(trained[0] / "models/profiles/profiles.parquet")
    # Another one for each width: what the first did is in the history.
    user = profiles["user_id"].value_counts().index[width // 360]
    browser.set_window_size(width, 900)
    browser.get(page)
    browser.execute_script("sessionStorage.clear()")
    browser.get(page)
    until(browser, lambda: {"trending", "new_for_you"} <= shelves(browser).keys())
    assert "buy_again" not in shelves(browser)  # nothing is known of a visitor

    browser.find_element(By.ID, "user").send_keys(user)
    browser.find_element(By.CSS_SELECTOR, "#who button").click()
    until(browser, lambda: "buy_again" in shelves(browser))
    assert "Buy again" in headings(browser)
    browser.find_element(By.CSS_SELECTOR, "#shelf .look").click()
    until(browser, lambda: "bought_together" in shelves(browser))
    # What was just looked at is the page's product: it is not also the one recently viewed.
    assert "recently_viewed" not in shelves(browser)
    old = "document.querySelectorAll('#shelves section').forEach(one => one.classList.add('old'))"
    browser.execute_script(old)
    browser.find_element(By.CSS_SELECTOR, "#shelf .buy").click()
    until(browser, lambda: not browser.find_elements(By.CSS_SELECTOR, "#shelves .old"))
    found = shelves(browser)
    # A basket with nothing of its own would be the list above it again.
    assert set(found) - {"recently_viewed", "basket"} == {
        *("bought_together", "goes_with", "buy_again", "trending", "new_for_you"),
    }
    titles = [one.text for one in browser.find_elements(By.CSS_SELECTOR, ".lists h2")]
    assert len(titles) == len(set(titles))
    every = [item for items in found.values() for item in items]
    assert len(every) == len(set(every))
    assert "Buy again" in headings(browser)
    overflow = "return document.documentElement.scrollWidth > document.documentElement.clientWidth"
    assert not browser.execute_script(overflow)
    if folder := os.environ.get("SCREENSHOTS"):
        height = browser.execute_script("return document.documentElement.scrollHeight")
        browser.set_window_size(width, min(int(height), 6000))
        browser.save_screenshot(str(Path(folder) / f"surfaces-{width}.png"))
    assert complaints(browser) == []


def test_titles_in_the_browsers_language(page: str) -> None:
    body = {"shelves": [{"surface": "home"}, {"surface": "new_for_you"}]}
    answer = httpx.post(f"{page}/page", json=body, headers={"Accept-Language": "de"}, timeout=30)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-language"] == "de"
    assert answer.json()["shelves"][0]["title"] == "Für Sie ausgesucht"


def test_events_on_a_shelf_name_its_list(page: str, browser: webdriver.Chrome) -> None:
    """A click on a shelf leads to events of its surface, which the status then counts."""
    browser.get(page)
    until(browser, lambda: "trending" in shelves(browser))
    browser.find_element(By.CSS_SELECTOR, "[data-surface=trending] .look").click()
    until(browser, lambda: "bought_together" in shelves(browser))

    def counted() -> bool:
        found = httpx.get(f"{page}/status", timeout=30).json()["surfaces"]
        trending = next((one for one in found if one["surface"] == "trending"), None)
        return trending is not None and trending["followed"] >= 1 <= trending["impressions"]

    until(browser, counted)
