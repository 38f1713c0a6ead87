"""The shopper's page in other languages, in a real Chromium on a phone: texts, width, titles."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from typing import Any

import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait

from tests.conftest import REPOSITORY
from tests.serving.conftest import with_hostile_title

HOSTILE = "<img src=x onerror=\"document.title='owned'\"><b>bag</b> {name} {title}"
PHONE = {"width": 360, "height": 740, "deviceScaleFactor": 2, "mobile": True}
PICTURE = {**PHONE, "height": 1200, "deviceScaleFactor": 1}
CODES = [
    # Those of the longest words and of another script: a page takes three seconds of Chromium.
    code if code in ("de", "zh") else pytest.param(code, marks=pytest.mark.slow)
    for code in sorted(file.stem for file in (REPOSITORY / "serving/locale").glob("*.po"))
]


@pytest.fixture(scope="module")
def page(trained: Any, tmp_path_factory: pytest.TempPathFactory, in_thread: Any) -> Iterator[str]:
    """The URL of a server whose best-selling product has a hostile title."""
    root = tmp_path_factory.mktemp("languages")
    with_hostile_title(trained[0], root, HOSTILE)
    server = in_thread(root).start()
    yield server.url
    server.stop()


def until(browser: webdriver.Chrome, script: str) -> Any:
    """Return what a script returns once it is true."""
    return WebDriverWait(browser, 20).until(lambda _: browser.execute_script(f"return {script}"))


@pytest.fixture
def phone(browser: webdriver.Chrome) -> Iterator[webdriver.Chrome]:
    """The browser as a phone of 360 px, without what other pages left."""
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", PHONE)
    yield browser
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    agent = browser.execute_script("return navigator.userAgent")
    browser.execute_cdp_cmd(
        "Network.setUserAgentOverride", {"userAgent": agent, "acceptLanguage": "en"}
    )


def visit(browser: webdriver.Chrome, url: str, code: str) -> None:
    """Open a page in a browser of a language."""
    agent = browser.execute_script("return navigator.userAgent")
    accepted = {"userAgent": agent, "acceptLanguage": code}
    browser.execute_cdp_cmd("Network.setUserAgentOverride", accepted)
    browser.get(url)
    browser.execute_script("sessionStorage.clear()")
    browser.get(url)
    assert browser.execute_script("return document.documentElement.lang") == code


EXPECTED = {
    "zh": ("您想找什么？", "查看", "近期热门", "更便宜", "您查看了", "为您找到 4 件商品：candle"),
    "de": (
        "Wonach suchen Sie?",
        "Ansehen",
        "zurzeit beliebt",
        "günstiger",
        "angesehen",
        "Hier sind 4",
    ),
    "fr": (
        "Que cherchez-vous",
        "Voir",
        "populaire en ce moment",
        "moins cher",
        "Vous avez regardé",
        "Voici 4 idées",
    ),
    "es": (
        "¿Qué busca?",
        "Ver",
        "popular últimamente",
        "más barato",
        "Vio ",
        "Aquí van 4 ideas",
    ),
}


@pytest.mark.parametrize("code", CODES)
def test_the_shoppers_page_on_a_phone(phone: webdriver.Chrome, page: str, code: str) -> None:
    visit(phone, page, code)
    until(phone, "document.querySelectorAll('#shelf li').length === 8")
    until(phone, "document.querySelectorAll('#results li').length > 0")
    until(phone, "document.querySelectorAll('#log .chips button').length > 0")
    title, look, popular, cheaper, looked, found = EXPECTED[code]
    assert title in phone.find_element(By.ID, "talk-title").text
    assert look in phone.find_element(By.CSS_SELECTOR, "#shelf .look").text
    text = phone.find_element(By.TAG_NAME, "main").text
    assert popular in text
    phone.find_element(By.CSS_SELECTOR, "#shelf li:nth-child(3) .look").send_keys(Keys.ENTER)
    until(phone, "document.querySelectorAll('#similar li').length === 4")
    assert looked in until(phone, "document.querySelector('#message').textContent")
    phone.find_element(By.ID, "need").send_keys("a candle under £4, no pink", Keys.ENTER)
    items = "#log .answer:last-child .items li"
    until(phone, f"document.querySelectorAll('{items}').length === 4")
    until(phone, "!document.querySelector('#say').classList.contains('busy')")
    said = phone.find_element(By.CSS_SELECTOR, "#log .answer:last-child > p").text
    assert found in said
    assert re.search("£4|4 £", said)
    chips = phone.find_elements(By.CSS_SELECTOR, "#log .answer:last-child > .chips button")
    assert cheaper in [chip.text for chip in chips]
    assert phone.execute_script("return document.documentElement.scrollWidth") <= 360
    if folder := os.environ.get("SCREENSHOTS"):
        until(phone, "document.querySelector('#message').textContent === ''")
        phone.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", PICTURE)
        phone.execute_script("document.activeElement.blur(); scrollTo(0, 0)")
        phone.save_screenshot(f"{folder}/shopper-{code}.png")
        phone.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", PHONE)
    # A chip is sent as the conversation understands it and shown in the page's language.
    chips[-1].send_keys(Keys.ENTER)
    until(phone, "document.querySelectorAll('#log .said').length === 2")
    until(phone, f"document.querySelectorAll('{items}').length > 0")
    until(phone, "!document.querySelector('#say').classList.contains('busy')")
    assert not re.search(r"\{\w+\}", phone.find_element(By.ID, "log").text)
    assert phone.find_elements(By.CSS_SELECTOR, "main img, main b") == []
    assert "onerror" in phone.find_element(By.ID, "browse").text.lower()
    assert phone.execute_script("return document.title") != "owned"
    complaints = [one["message"] for one in phone.get_log("browser") if one["level"] == "SEVERE"]
    assert complaints == []


@pytest.mark.parametrize("code", CODES)
def test_the_operators_page_on_a_phone(phone: webdriver.Chrome, page: str, code: str) -> None:
    visit(phone, f"{page}/operator", code)
    until(phone, "document.querySelectorAll('#model dd').length > 3")
    until(phone, "document.querySelectorAll('#latency tr').length > 0")
    translations = phone.execute_async_script(
        "fetch(`/web/messages/${arguments[0]}.json`).then(a => a.json()).then(arguments[1])", code
    )
    text = phone.find_element(By.TAG_NAME, "main").text
    for english in ("users it knows", "Lists shown today", "Promotions are allowed"):
        assert english not in text
        assert translations[english] in text
    assert not re.search(r"(?<!/)\{\w+\}", text)  # but for templates of routes
    assert phone.execute_script("return document.documentElement.scrollWidth") <= 360
    if folder := os.environ.get("SCREENSHOTS"):
        phone.save_screenshot(f"{folder}/operator-{code}.png")
