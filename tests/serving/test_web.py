"""The pages in a real Chromium: clicks change the shelf, text stays text, keyboard and phone."""

from __future__ import annotations

import json
import os
import shutil
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from selenium import webdriver
from selenium.common.exceptions import NoSuchElementException, StaleElementReferenceException
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait

from components import registry
from components.alerts import raise_alert
from components.data.held_days import load_held_days
from components.evaluation import report
from components.evaluation.promotion_hold import read_promotion_hold
from components.manifest import write_manifest
from components.rollout import ROLLED_BACK, Release, Rollout, following, write_rollout
from components.settings import Canary, Uplift
from components.timeline import read_timeline, record
from serving.arms import holdout_name
from serving.canary.decision import SECONDS, Evidence, Group, Lists
from serving.events.visitors import Sums
from serving.uplift import UPLIFT, gain
from tests.serving.conftest import with_hostile_title
from tests.serving.models.registered import register

HOSTILE = "<img src=x onerror=\"document.title='owned'\"><b>bag</b>"


@pytest.fixture(scope="module")
def page(trained: Any, tmp_path_factory: pytest.TempPathFactory, in_thread: Any) -> Iterator[str]:
    """The URL of a server whose best-selling product has a hostile title, with a drift report."""
    root = tmp_path_factory.mktemp("pages")
    with_hostile_title(trained[0], root, HOSTILE)
    report = root / "reports/monitoring/2026-01-02"
    report.mkdir(parents=True)
    (report / "index.html").write_text("<title>drift</title><p>all is well</p>")
    verdict = {"drifted": True, "enough": True, "reasons": [HOSTILE], "rows": 5}
    times = {"start": "2026-01-01T00:00:00Z", "end": "2026-01-02T00:00:00Z"}
    (report / "verdict.json").write_text(json.dumps(verdict | times))
    reasons = {"no customer": 3}
    tables = {"interactions": {"rows": 9, "kept": 6, "quarantined": 3, "reasons": reasons}}
    (root / "reports/validation.json").write_text(json.dumps(tables))
    raise_alert(root, "attack", {HOSTILE: f"signs of an attack on {HOSTILE}"}, "monitoring")
    facts = {"evidence": {"canary": {"users": 1000, "rate": 0.0104}}, "reasons": [HOSTILE]}
    record(root, "canary-rolled-back", f"version 3 was rolled back: {HOSTILE}", "endpoint", facts)
    versions = [
        {"version": "2", "aliases": ["challenger"], "created": times["end"], "ndcg": 0.07},
        {"version": "1", "aliases": ["champion"], "created": times["start"], "ndcg": 0.06},
    ]
    (root / "var/serving").mkdir(parents=True)
    (root / "var/serving/versions.json").write_text(json.dumps(versions))
    pointer = {"version": "1", "folder": "models/hybrid"}
    (root / "var/serving/champion.json").write_text(json.dumps(pointer))
    environment = {
        "BOWERBIRD_SERVE__EXPERIMENT": "{name: more trees, model: champion}",
        "BOWERBIRD_OPERATOR_KEY": "the owner's",
    }
    server = in_thread(root, environment).start()
    yield server.url
    server.stop()


def shelf(browser: webdriver.Chrome) -> list[str]:
    # In one step: between two the page may have drawn the shelf again.
    script = "return [...document.querySelectorAll('#shelf li')].map(li => li.dataset.item)"
    return browser.execute_script(script)


def until(browser: webdriver.Chrome, condition: Any) -> Any:
    """Return what ``condition`` returns once it is true; the page may be drawn again before."""
    patient = WebDriverWait(
        browser, 20, ignored_exceptions=[NoSuchElementException, StaleElementReferenceException]
    )
    return patient.until(lambda _: condition())


def complaints(browser: webdriver.Chrome) -> list[str]:
    return [entry["message"] for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]


def visit(browser: webdriver.Chrome, page: str) -> None:
    browser.get("about:blank")  # ends the requests of the page before
    browser.get_log("browser")
    browser.get(page)
    browser.execute_script("sessionStorage.clear()")
    browser.get(page)
    until(browser, lambda: len(shelf(browser)) == 8)
    until(browser, lambda: browser.find_elements(By.CSS_SELECTOR, "#results li"))


def test_a_click_changes_the_shelf(browser: webdriver.Chrome, page: str) -> None:
    visit(browser, page)
    before = shelf(browser)
    browser.find_element(By.CSS_SELECTOR, "#shelf li:nth-child(3) .look").click()
    until(browser, lambda: shelf(browser) != before)
    assert before[2] not in shelf(browser)
    assert len(shelf(browser)) == 8
    until(browser, lambda: len(browser.find_elements(By.CSS_SELECTOR, "#similar li")) == 4)
    assert "looked at" in browser.find_element(By.ID, "trail").text.lower()
    assert browser.find_elements(By.CSS_SELECTOR, "#shelf li.new")
    assert "From one thing" in browser.find_element(By.ID, "shelf-note").text
    assert not browser.find_element(By.ID, "key").is_displayed()  # no key is needed here
    assert complaints(browser) == []


@pytest.fixture
def below(page: str) -> Iterator[str]:
    """The URL of a proxy that serves the pages below a path."""

    class Proxy(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def forward(self) -> None:
            assert self.path.startswith("/reco/"), self.path
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            path = page + self.path.removeprefix("/reco")
            answer = httpx.request(
                self.command, path, content=body, headers=dict(self.headers), timeout=30
            )
            self.send_response(answer.status_code)
            for name in ("content-type", "content-security-policy", "content-language"):
                if name in answer.headers:
                    self.send_header(name, answer.headers[name])
            self.send_header("content-length", str(len(answer.content)))
            self.end_headers()
            self.wfile.write(answer.content)

        do_GET = do_POST = forward

    with ThreadingHTTPServer(("127.0.0.1", 0), Proxy) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/reco"
        server.shutdown()


def test_the_pages_work_below_a_path_of_a_proxy(browser: webdriver.Chrome, below: str) -> None:
    visit(browser, f"{below}/")
    until(browser, lambda: browser.find_elements(By.CSS_SELECTOR, "#log .chips button"))
    browser.find_element(By.CSS_SELECTOR, "nav a[href=operator]").click()
    until(browser, lambda: browser.find_elements(By.CSS_SELECTOR, "#model dd"))
    links = [one.get_attribute("href") for one in browser.find_elements(By.TAG_NAME, "a")]
    assert all(link.startswith(below) for link in links), links
    missing = [entry for entry in complaints(browser) if "404" in entry and "favicon" not in entry]
    assert missing == []  # what needs the operator's key is refused


def test_text_from_the_catalogue_stays_text(browser: webdriver.Chrome, page: str) -> None:
    visit(browser, page)
    titles = [found.text for found in browser.find_elements(By.CSS_SELECTOR, "#results .title")]
    assert any("onerror" in title.lower() for title in titles)
    assert browser.find_elements(By.CSS_SELECTOR, "main img, main b") == []
    assert browser.title == "Bowerbird: the shop"


def test_search_by_keyboard(browser: webdriver.Chrome, page: str) -> None:
    visit(browser, page)
    browser.find_element(By.TAG_NAME, "body").send_keys(Keys.TAB)
    assert browser.switch_to.active_element.get_attribute("class") == "skip"
    query = browser.find_element(By.ID, "query")
    query.send_keys("t-light holder", Keys.ENTER)
    until(
        browser,
        lambda: "holder" in browser.find_element(By.CSS_SELECTOR, "#results .title").text.lower(),
    )
    before = shelf(browser)
    browser.find_element(By.CSS_SELECTOR, "#results li .buy").send_keys(Keys.ENTER)
    until(browser, lambda: shelf(browser) != before)


def test_a_need_is_said_refined_and_bought(browser: webdriver.Chrome, page: str) -> None:
    visit(browser, page)
    until(browser, lambda: browser.find_elements(By.CSS_SELECTOR, "#log .chips button"))
    browser.find_element(By.ID, "need").send_keys("a candle under £4, no pink", Keys.ENTER)
    items = "#log .answer:last-child .items li"
    until(browser, lambda: len(browser.find_elements(By.CSS_SELECTOR, items)) == 4)
    texts = [found.text.lower() for found in browser.find_elements(By.CSS_SELECTOR, items)]
    assert all("candle" in text and "is within £4" in text for text in texts)
    tags = [found.text for found in browser.find_elements(By.CSS_SELECTOR, "#log .tags li")]
    assert tags == ["candle", "up to £4", "no pink"]
    script = "return [...document.querySelectorAll(arguments[0])].map(li => li.dataset.item)"
    first = browser.execute_script(script, items)
    browser.find_element(By.XPATH, "//button[text()='show more']").send_keys(Keys.ENTER)
    until(browser, lambda: len(browser.find_elements(By.CSS_SELECTOR, "#log .said")) == 2)
    until(browser, lambda: len(browser.find_elements(By.CSS_SELECTOR, items)) == 4)
    assert not set(first) & set(browser.execute_script(script, items))
    before = shelf(browser)
    browser.find_element(By.CSS_SELECTOR, f"{items} .buy").send_keys(Keys.ENTER)
    until(browser, lambda: shelf(browser) != before)
    assert "bought" in browser.find_element(By.ID, "trail").text
    assert complaints(browser) == []


def test_what_is_said_stays_text(browser: webdriver.Chrome, page: str) -> None:
    visit(browser, page)
    browser.find_element(By.ID, "need").send_keys(HOSTILE, Keys.ENTER)
    until(browser, lambda: browser.find_elements(By.CSS_SELECTOR, "#log .answer:last-child .tags"))
    assert HOSTILE in browser.find_element(By.CSS_SELECTOR, "#log .said").text
    assert browser.find_elements(By.CSS_SELECTOR, "main img, main b") == []
    assert browser.title == "Bowerbird: the shop"


def test_every_field_has_a_name_and_dark_is_dark(browser: webdriver.Chrome, page: str) -> None:
    for path in ("/", "/operator"):
        browser.get(page + path)
        until(browser, lambda: browser.find_elements(By.CSS_SELECTOR, "#shelf li, #model dd"))
        fields = browser.find_elements(By.CSS_SELECTOR, "input, select, button, [role=img]")
        assert len(fields) > 4
        shown = [field for field in fields if field.is_displayed()]
        assert all(field.accessible_name for field in shown)
    dark = {"features": [{"name": "prefers-color-scheme", "value": "dark"}]}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", dark)
    try:
        colour = "return getComputedStyle(document.body).backgroundColor"
        red, *_ = browser.execute_script(colour).removeprefix("rgb(").split(",")
        assert int(red) < 60
    finally:
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})


def test_nothing_is_wider_than_a_phone(browser: webdriver.Chrome, page: str) -> None:
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": 360, "height": 740, "deviceScaleFactor": 2, "mobile": True},
    )
    try:
        for path in ("/", "/operator"):
            browser.get(page + path)
            until(browser, lambda: browser.find_elements(By.CSS_SELECTOR, "#shelf li, #model dd"))
            width = browser.execute_script("return document.documentElement.scrollWidth")
            assert width <= 360
    finally:
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_the_operator_promotes_only_after_a_yes(browser: webdriver.Chrome, page: str) -> None:
    browser.get(f"{page}/operator")
    button = until(browser, lambda: browser.find_element(By.XPATH, "//button[text()='Promote']"))
    rows = browser.find_elements(By.CSS_SELECTOR, "#versions tr")
    assert ["challenger" in rows[0].text, "champion" in rows[1].text] == [True, True]
    assert rows[1].find_elements(By.TAG_NAME, "button") == []
    assert "more trees" in browser.find_element(By.ID, "experiments").text
    button.click()
    dialog = browser.find_element(By.ID, "confirm")
    assert "version 2" in dialog.text
    dialog.find_element(By.CSS_SELECTOR, "button[value=no]").click()
    until(browser, lambda: not dialog.is_displayed())
    message = browser.find_element(By.ID, "message")
    assert "as of" in message.text  # nothing was asked of the server
    browser.find_element(By.ID, "rollback").click()
    browser.find_element(By.ID, "operator-key").send_keys("a guess")
    dialog.find_element(By.CSS_SELECTOR, "button.main").click()
    until(browser, lambda: "operator key" in message.text)
    assert browser.execute_script("return sessionStorage.getItem('key')") is None
    browser.get_log("browser")  # the refusal is one of its complaints


def operate(browser: webdriver.Chrome, url: str) -> None:
    """Open the operator's page with the operator's key."""
    browser.get(f"{url}/operator")
    browser.execute_script("sessionStorage.setItem('key', \"the owner's\")")
    browser.get(f"{url}/operator")
    until(browser, lambda: browser.find_elements(By.CSS_SELECTOR, "#timeline li"))


def test_the_timeline_shows_its_evidence_as_text_by_keyboard(
    browser: webdriver.Chrome, page: str
) -> None:
    browser.get(f"{page}/operator")
    button = browser.find_element(By.ID, "enter-key")
    until(browser, button.is_displayed)  # nothing is shown without the operator's key
    assert browser.find_elements(By.CSS_SELECTOR, "#timeline li") == []
    assert "attack" in browser.find_element(By.ID, "alerts").text
    button.send_keys(Keys.ENTER)
    browser.find_element(By.ID, "api-key").send_keys("the owner's", Keys.ENTER)
    until(browser, lambda: len(browser.find_elements(By.CSS_SELECTOR, "#timeline li")) == 2)
    browser.get_log("browser")  # the refusal is one of its complaints
    newest = browser.find_element(By.CSS_SELECTOR, "#timeline li")
    assert "canary rolled back" in newest.text
    assert "onerror" in newest.text
    facts = newest.find_element(By.TAG_NAME, "dl")
    assert not facts.is_displayed()
    newest.find_element(By.TAG_NAME, "summary").send_keys(Keys.ENTER)
    assert "evidence · canary · rate\n0.0104" in facts.text
    time.sleep(6)  # the page was read again
    assert facts.is_displayed()
    assert browser.find_elements(By.CSS_SELECTOR, "main img, main b") == []
    assert browser.title == "Bowerbird: operator"
    assert complaints(browser) == []
    browser.execute_script("sessionStorage.clear()")


def test_the_operator_sees_model_traffic_latency_drift_and_quality(
    browser: webdriver.Chrome, page: str
) -> None:
    shown = httpx.post(f"{page}/recommend", json={"k": 3}).json()
    event = {"session_id": "s", "item_id": shown["items"][0]["item_id"], "event": "click"}
    httpx.post(f"{page}/feedback", json={**event, "impression_id": shown["impression_id"]})
    operate(browser, page)
    browser.get_log("browser")  # the first visit had no key
    until(browser, lambda: "item_neighbours" in browser.find_element(By.ID, "model").text)
    text = browser.find_element(By.TAG_NAME, "main").text
    for expected in ("item_neighbours", "/recommend", "Drift", "no customer: 3", "onerror"):
        assert expected in text
    assert browser.find_elements(By.CSS_SELECTOR, "main img") == []
    for chart, least in (("#traffic-chart rect", 24), ("#outcome-chart circle", 1)):
        assert len(browser.find_elements(By.CSS_SELECTOR, chart)) >= least
    httpx.post(f"{page}/recommend", json={"k": 3})
    until(browser, lambda: browser.find_elements(By.CSS_SELECTOR, "#latency-chart circle"))
    assert complaints(browser) == []
    browser.find_element(By.LINK_TEXT, "Open the report").click()
    until(browser, lambda: browser.title == "drift")
    for escape in ("..%2f..%2fparams.yaml", "%2e%2e/params.yaml", "/etc/passwd"):
        assert httpx.get(f"{page}/reports/{escape}").status_code == 404


@pytest.mark.slow
def test_the_operator_promotes_and_rolls_back_in_a_real_registry(
    browser: webdriver.Chrome, trained: Any, tmp_path: Path, serve: Any
) -> None:
    source, settings = trained
    for name in ("data", "models"):
        shutil.copytree(source / name, tmp_path / name)
    shutil.copy(source / "params.yaml", tmp_path / "params.yaml")
    (tmp_path / "reports").mkdir()
    evaluate = settings.evaluate.model_copy(update={"bootstrap_samples": 20})
    superior = settings.register_.model_copy(update={"rule": "superior"})
    settings = settings.model_copy(update={"evaluate": evaluate, "register_": superior})
    report.run(settings, tmp_path)
    registry.run(settings, tmp_path)
    statistics = tmp_path / "models/served/model.json"
    statistics.write_text(json.dumps(json.loads(statistics.read_text()) | {"seed": 7}))
    write_manifest(statistics.parent)
    registry.run(settings, tmp_path)
    aliases = {one.version: one.aliases for one in registry.Registry(settings, tmp_path).versions()}
    assert aliases == {"2": ("challenger",), "1": ("champion",)}

    server = serve(tmp_path, {"BOWERBIRD_OPERATOR_KEY": "the owner's"}).start()
    browser.get(f"{server.url}/operator")
    browser.execute_script("sessionStorage.clear()")
    browser.get(f"{server.url}/operator")

    patient = WebDriverWait(browser, 90)  # MLflow is imported in a process of its own

    def agree() -> None:
        key = browser.find_element(By.ID, "operator-key")
        key.clear()
        key.send_keys("the owner's", Keys.ENTER)

    def says(where: str, text: str) -> None:
        shown = f"return document.getElementById('{where}').innerText"
        patient.until(lambda _: text in browser.execute_script(shown))

    def said_yes(button: Any, version: str, done: str) -> None:
        button.click()
        agree()
        patient.until(lambda _: httpx.get(f"{server.url}/model").json()["version"] == version)
        shown = "document.querySelector('#model dd')?.textContent"  # may be drawn again
        patient.until(lambda _: browser.execute_script(f"return {shown}") == version)
        says("message", f"done: {done}")  # one job at a time

    promote = until(browser, lambda: browser.find_element(By.XPATH, "//button[text()='Promote']"))
    said_yes(promote, "2", "promote 2")
    kept = registry.Registry(settings, tmp_path)
    assert (kept.alias("champion"), kept.alias("previous")) == ("2", "1")
    said_yes(browser.find_element(By.ID, "rollback"), "1", "rollback")
    assert registry.Registry(settings, tmp_path).alias("champion") == "1"

    browser.find_element(By.ID, "pause-reason").send_keys("the sale", Keys.ENTER)
    agree()
    says("message", "done: hold --promotion")
    says("pause-state", "Promotions are paused since")
    hold = read_promotion_hold(tmp_path)
    assert hold is not None
    assert hold.reason == "the sale"
    browser.find_element(By.ID, "resume").send_keys(Keys.ENTER)
    agree()
    says("message", "done: release --promotion")
    says("pause-state", "Promotions are allowed")
    assert read_promotion_hold(tmp_path) is None

    first, last = (
        browser.find_element(By.ID, "days-first"),
        browser.find_element(By.ID, "days-last"),
    )
    first.send_keys("03012026")
    browser.execute_script("arguments[0].value = '2026-03-03'", last)
    browser.find_element(By.ID, "days-reason").send_keys("--promotion", Keys.ENTER)
    assert "2026-03-01 to 2026-03-03" in browser.find_element(By.ID, "confirm-text").text
    agree()
    says("message", "done: hold 2026-03-01")
    says("held", "2026-03-01 to 2026-03-03 --promotion by the operator")
    assert len(load_held_days(tmp_path).reasons()) == 3
    browser.find_element(By.CSS_SELECTOR, "#held button").send_keys(Keys.ENTER)
    agree()
    says("message", "done: release 2026-03-01 2026-03-03")
    assert load_held_days(tmp_path).reasons() == {}
    happened = [one.kind for one in read_timeline(tmp_path) if one.by == "operator"]
    assert happened == [
        "promotion",
        "rollback",
        "promotions-held",
        "promotions-released",
        "days-held",
        "days-released",
    ]
    assert "days released" in browser.find_element(By.ID, "timeline").text
    if folder := os.environ.get("SCREENSHOTS"):
        browser.set_window_size(1200, 2600)
        browser.find_element(By.CSS_SELECTOR, "#timeline summary").click()
        browser.save_screenshot(f"{folder}/timeline.png")
        browser.set_window_size(1200, 900)
    # The timeline was asked for once before the operator's key was entered.
    asked = (
        "/operator/timeline?limit=25 - Failed to load resource: the server responded with a status"
    )
    (refused,) = complaints(browser)
    assert f"{asked} of 403" in refused


@pytest.mark.slow
def test_the_operator_sees_the_canary_and_the_uplift(
    browser: webdriver.Chrome, shop_root: Path, serve: Any
) -> None:
    register(shop_root, "2", "1")
    now = time.time()
    one, two, three = (Release(v, f"var/serving/models/{v}", v) for v in ("1", "2", "3"))
    old = following(Rollout(one), three, now - 90_000)
    old = old.decided(ROLLED_BACK, "shoppers convert less: 40 of 1,000 shoppers", now - 80_000)
    rollout = following(replace(old, canary=None), two, now - 7_200)
    lists = Lists(900, 2, tuple(np.histogram([0.002] * 900, [0, *SECONDS, np.inf])[0].tolist()))
    evidence = Evidence(2.0, Group(9_000, 905, lists), Group(1_000, 104, lists), True)
    seen = {**evidence.facts(Canary()), "at": now, "took": 1e6, "state": "no harm seen"}
    write_rollout(shop_root, replace(rollout, evidence=seen))
    popular = Sums(4_000, 400, 400, 0, 0, 0)
    recommended = Sums(196_000, 27_440, 27_440, 0, 0, 0)
    measured = {
        **{"period": holdout_name(Uplift()), "share": 0.02, "alpha": 0.05, "at": now, "took": 1e6},
        "visitors": {"popular": 4_000, "recommended": 196_000},
        "conversion": asdict(gain(popular, recommended, 0.05)),
        "revenue": None,
        "previous": None,
    }
    (shop_root / UPLIFT).write_text(json.dumps(measured))
    keys = {"BOWERBIRD_API_KEY": "the shop's", "BOWERBIRD_OPERATOR_KEY": "the owner's"}
    server = serve(shop_root, {**keys, "BOWERBIRD_SERVE__UPLIFT": "{share: 0.02}"}).start()
    browser.get(f"{server.url}/operator")
    browser.execute_script("sessionStorage.setItem('key', \"the owner's\")")
    browser.get(f"{server.url}/operator")
    browser.get_log("browser")  # the first visit had no key
    canary = until(browser, lambda: browser.find_element(By.ID, "canary-card"))
    until(browser, lambda: "Version 2 serves 10 % of the shoppers" in canary.text)
    for expected in ("10.40 %", "10.06 %", "1,000", "version 3 was rolled back", "convert less"):
        assert expected in canary.text
    uplift = browser.find_element(By.ID, "uplift-card").text
    for expected in ("14.00 %", "10.00 %", "4,000 visitors got popular products", "+40 %"):
        assert expected in uplift
    assert "+40 %" in browser.find_element(By.ID, "tiles").text
    assert "1, canary 2" in browser.find_element(By.ID, "tiles").text
    if folder := os.environ.get("SCREENSHOTS"):
        browser.set_window_size(1200, 2600)
        browser.save_screenshot(f"{folder}/operator.png")
        browser.set_window_size(1200, 900)
    browser.find_element(By.ID, "serve-all").click()
    assert "version 2 to all shoppers now" in browser.find_element(By.ID, "confirm").text
    browser.find_element(By.CSS_SELECTOR, "#confirm button[value=no]").click()
    assert complaints(browser) == []
