"""Languages over HTTP: pages, reasons, conversations by Accept-Language; caches do not mix them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import httpx
import pytest

from serving.languages import languages

CODES = sorted(languages())
POPULAR = {
    "en": "popular lately",
    "de": "zurzeit beliebt",
    "zh": "近期热门",
    "es": "popular últimamente",
}


def accept(code: str) -> dict[str, str]:
    return {"Accept-Language": code}


def test_a_page_is_in_the_language_of_the_browser(served: httpx.Client) -> None:
    for path in ("/", "/operator"):
        pages = {}
        for code in CODES:
            answer = served.get(path, headers=accept(f"{code}-XX,xx;q=0.5"))
            assert answer.headers["content-language"] == code
            assert answer.headers["vary"] == "Accept-Language"
            assert answer.headers["content-type"] == "text/html; charset=utf-8"
            assert (
                "script-src 'self'; style-src 'self'" in answer.headers["content-security-policy"]
            )
            assert f'<html lang="{code}" dir="ltr">' in answer.text
            pages[code] = answer
        assert len({page.text for page in pages.values()}) == len(CODES)
        german = pages["de"].headers["etag"]
        again = served.get(path, headers={**accept("de"), "If-None-Match": german})
        assert (again.status_code, again.content) == (304, b"")
        # A cache that asks with another language's ETag gets its own page.
        other = served.get(path, headers={**accept("fr"), "If-None-Match": german})
        assert (other.status_code, other.text) == (200, pages["fr"].text)


def test_scripts_get_the_translations_with_an_etag(served: httpx.Client) -> None:
    answer = served.get("/web/messages/de.json")
    assert answer.json()["Buy"] == "Kaufen"
    assert answer.headers["content-language"] == "de"
    known = {"If-None-Match": answer.headers["etag"]}
    assert served.get("/web/messages/de.json", headers=known).status_code == 304
    assert served.get("/web/messages/fr.json", headers=known).status_code == 200
    assert served.get("/web/messages/en.json").json() == {}
    for unknown in ("xx.json", "..%2f..%2flocale%2fde.json", "de.po"):
        assert served.get(f"/web/messages/{unknown}").status_code == 404


def test_the_cache_does_not_mix_languages(served: httpx.Client) -> None:
    def answer(code: str | None, **body: Any) -> tuple[str, list[str | None], list[str]]:
        headers = accept(code) if code else {}
        found = served.post("/recommend", json={"k": 5, **body}, headers=headers)
        assert found.headers["vary"] == "Accept-Language"
        items = found.json()["items"]
        reasons = [item["reason"] for item in items]
        return found.headers["content-language"], reasons, [item["item_id"] for item in items]

    first = {code: answer(code) for code in CODES}
    for code, popular in POPULAR.items():
        assert first[code][0] == code
        assert popular in first[code][1]
    assert len({tuple(reasons) for _, reasons, _ in first.values()}) == len(CODES)
    assert len({tuple(items) for _, _, items in first.values()}) == 1
    cached = served.get("/metrics").text
    assert {code: answer(code) for code in CODES} == first
    assert answer(None) == first["en"]
    assert count(served.get("/metrics").text) - count(cached) == len(CODES) + 1
    # Without reasons a page is the same in all languages, and is cached once.
    plain = answer("de", reasons=False)
    before = count(served.get("/metrics").text)
    assert answer("zh", reasons=False)[1:] == plain[1:]
    assert count(served.get("/metrics").text) - before == 1


def count(metrics: str) -> float:
    """Return how many responses came from the cache."""
    (line,) = [
        one
        for one in metrics.splitlines()
        if one.startswith("bowerbird_cached_recommendations_total")
    ]
    return float(line.rpartition(" ")[2])


def test_a_conversation_is_in_the_language_of_the_request(served: httpx.Client) -> None:
    body = {"message": "a mug under £5, no plastic", "k": 3}
    english = served.post("/conversation", json=body)
    assert english.headers["content-language"] == "en"
    assert "labels" not in english.json()
    assert english.json()["text"].startswith("Here are 3 ideas: mug")
    german = served.post("/conversation", json=body, headers=accept("de"))
    assert german.headers["content-language"] == "de"
    answer = german.json()
    assert answer["text"].startswith("Hier sind 3 Vorschläge: mug, bis 5\xa0£, ohne plastic.")
    assert answer["understood"] == ["mug", "bis 5\xa0£", "ohne plastic"]
    assert "liegt im Rahmen von 5\xa0£" in answer["items"][0]["reason"]
    # What a click sends is as the conversation understands it; the label is the language's.
    assert answer["options"] == english.json()["options"]
    labels = dict(zip(answer["options"], answer["labels"], strict=True))
    assert labels["cheaper"] == "günstiger"
    cheaper = {"message": "cheaper", "state": answer["state"], "k": 3}
    then = served.post("/conversation", json=cheaper, headers=accept("de")).json()
    assert "günstigere" in then["text"] or "Günstiger" in then["text"]
    with served.stream(
        "POST", "/conversation", json={**body, "stream": True}, headers=accept("zh")
    ) as streamed:
        assert streamed.headers["content-language"] == "zh"
        assert streamed.headers["vary"] == "Accept-Language"
        lines = [line for line in streamed.iter_lines() if line.startswith("data: ")]
    assert json.loads(lines[-1].removeprefix("data: "))["text"].startswith("为您找到 3 件商品：mug")


def test_openapi_names_the_header(served: httpx.Client) -> None:
    paths = served.get("/openapi.json").json()["paths"]
    for path in ("/recommend", "/conversation"):
        operation = paths[path]["post"]
        named = [one["name"] for one in operation["parameters"] if one["in"] == "header"]
        assert named == ["Accept-Language"]
        assert "Content-Language" in operation["responses"]["200"]["headers"]


@pytest.mark.parametrize("header", ["x" * 5000, "de;q=1;q=2,,;", "\xff\xfe", "*;q=0.001"])
def test_whatever_the_header_holds_there_is_an_answer(served: httpx.Client, header: str) -> None:
    raw = {"Accept-Language": header.encode("latin-1")}
    answer = served.post("/recommend", json={"k": 1}, headers=raw)
    assert answer.status_code == 200
    assert answer.headers["content-language"] in CODES


@pytest.mark.slow
def test_serve_language_fixes_the_language(trained: Any, tmp_path: Path, make_server: Any) -> None:
    shutil.copytree(trained[0] / "models/hybrid", tmp_path / "models/hybrid")
    shutil.copy(trained[0] / "params.yaml", tmp_path / "params.yaml")
    server = make_server(tmp_path, {"BOWERBIRD_SERVE__LANGUAGE": "zh"}).start()
    try:
        with server.client() as client:
            answer = client.post("/recommend", json={"k": 5}, headers=accept("de"))
            assert answer.headers["content-language"] == "zh"
            assert "近期热门" in [item["reason"] for item in answer.json()["items"]]
            assert 'lang="zh"' in client.get("/", headers=accept("de")).text
    finally:
        server.stop()
