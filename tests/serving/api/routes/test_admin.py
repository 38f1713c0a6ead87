"""Products upserted, lists re-ranked, pages, experiments and exploration, over HTTP."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from components.data.item_table import read_item_table
from serving.api import jobs

Client = httpx.Client


@pytest.fixture(scope="module")
def items(trained: tuple[Path, Any]) -> list[str]:
    table = read_item_table(trained[0] / "models/hybrid")
    return table.sort_values("popularity", ascending=False)["item_id"].tolist()


def ids(answer: httpx.Response) -> list[str]:
    assert answer.status_code == 200, answer.text
    return [item["item_id"] for item in answer.json()["items"]]


def wait_until(true: Callable[[], bool], seconds: float = 30) -> None:
    until = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < until
        time.sleep(0.1)


def test_a_given_list_is_put_in_the_askers_order(served: Client, items: list[str]) -> None:
    given = items[40:60]
    ranked = served.post("/rerank", json={"recent": [items[0]], "item_ids": [*given, "no"]})
    assert sorted(ids(ranked)) == sorted(given)
    assert ranked.json()["unknown_items"] == ["no"]
    scores = [item["score"] for item in ranked.json()["items"]]
    assert scores == sorted(scores, reverse=True)
    orders = {
        tuple(ids(served.post("/rerank", json={"recent": [seed], "item_ids": given})))
        for seed in items[:4]
    }
    assert len(orders) > 1
    # As the ranker itself orders them, where it proposes them.
    asked = {"recent": [items[0]], "k": 8, "exclude_seen": False}
    shown = ids(served.post("/recommend", json=asked))
    body = {"recent": [items[0]], "item_ids": sorted(shown)}
    assert ids(served.post("/rerank", json=body)) == shown
    assert ids(served.post("/rerank", json={"item_ids": ["no", "none"]})) == []


def test_the_page_changes_seeds_and_exclusions(served: Client, items: list[str]) -> None:
    user = {"user_id": uuid.uuid4().hex, "k": 10}
    for item in items[:30]:
        event = {"user_id": user["user_id"], "item_id": item, "event": "view"}
        served.post("/feedback", json=event)
    home = served.post("/recommend", json=user)
    page = {"page": "product", "page_items": [items[100]]}
    product = served.post("/recommend", json={**user, **page})
    assert ids(product) != ids(home)
    assert items[100] not in ids(product)
    assert product.json()["history_length"] == 11
    basket = {"page": "basket", "page_items": ids(product)[:2]}
    assert not set(basket["page_items"]) & set(
        ids(served.post("/recommend", json={**user, **basket, "exclude_seen": False}))
    )
    assert served.post("/recommend", json={"page": "product"}).status_code == 422
    assert served.post("/recommend", json={"page_items": ["x"]}).status_code == 422


def test_a_kept_answer_is_the_answer_and_an_event_renews_it(
    served: Client, items: list[str]
) -> None:
    user = {"user_id": uuid.uuid4().hex}
    answers = [served.post("/recommend", json=user) for _ in range(3)]
    assert len({tuple(ids(answer)) for answer in answers}) == 1
    assert len({answer.json()["impression_id"] for answer in answers}) == 3
    assert ids(served.post("/recommend", json={**user, "k": 3})) == ids(answers[0])[:3]
    first = ids(answers[0])[0]
    served.post("/feedback", json={**user, "item_id": first, "event": "click"})
    assert first not in ids(served.post("/recommend", json=user))
    assert "bowerbird_cached_recommendations_total" in served.get("/metrics").text


@pytest.mark.slow
def test_a_new_product_is_found_at_once_and_stays(
    serve: Callable[..., Any], shop_root: Path, items: list[str]
) -> None:
    server = serve(shop_root, {"BOWERBIRD_SERVE__MAX_K": "1000"}).start()
    table = read_item_table(shop_root / "models/hybrid").set_index("item_id")
    holder = next(item for item in items if "T-LIGHT HOLDER" in table.loc[item, "title"])
    new = {
        "item_id": "NEW 1",
        "title": table.loc[holder, "title"] + " INDIGO",
        "categories": ["Novelty"],
        "price": 2.5,
        "currency": "GBP",
    }
    with server.client() as client:
        client.headers["x-csrf-token"] = client.get("/operator/token").json()["token"]
        kept = client.put("/items", json={"items": [new]})
        assert kept.json() == {"items": 1, "revision": 1, "live": True}
        assert ids(client.post("/search", json={"query": "indigo"})) == ["NEW 1"]
        assert "NEW 1" in ids(client.post("/similar", json={"item_ids": [holder], "k": 20}))
        seeds = {"recent": [holder], "k": 50, "category": "novelty"}
        shown = client.post("/recommend", json=seeds).json()["items"]
        assert [item["item_id"] for item in shown] == ["NEW 1"]
        assert shown[0]["price"] == 2.5
        near = client.post("/recommend", json={"recent": [holder], "k": 1000}).json()["items"]
        assert ("NEW 1", "hybrid") in [(item["item_id"], item["source"]) for item in near]
        # It can be the seed itself, and is learned from as any other.
        event = {"user_id": "u", "item_id": "NEW 1", "event": "click"}
        assert client.post("/feedback", json=event).json()["unknown_items"] == []
        assert client.post("/recommend", json={"user_id": "u"}).json()["history_length"] == 1
        # Changes leave alone what they do not name.
        client.put("/items", json={"items": [{"item_id": "NEW 1", "price": 3.0}]})
        found = client.post("/search", json={"query": "indigo"}).json()["items"][0]
        assert (found["price"], found["title"]) == (3.0, new["title"])
        gone = {"item_id": items[0], "available": False}
        assert client.put("/items", json={"items": [gone]}).json()["live"]
        assert items[0] not in ids(client.post("/recommend", json={"k": 100}))
        refused = client.put("/items", json={"items": [{"item_id": "NEW 2", "price": 1}]})
        assert refused.json()["fields"][0]["field"] == "items.0.title"
    server.stop()
    server.start()  # after a restart, under another model too
    shutil.copytree(shop_root / "models/hybrid", shop_root / "var/serving/models/7")
    pointer = shop_root / "var/serving/champion.json"
    pointer.write_text(json.dumps({"version": "7", "folder": "var/serving/models/7"}))
    with server.client() as client:
        assert ids(client.post("/search", json={"query": "indigo"})) == ["NEW 1"]
        wait_until(lambda: client.get("/model").json()["version"] == "7")
        assert ids(client.post("/search", json={"query": "indigo"})) == ["NEW 1"]
        assert items[0] not in ids(client.post("/recommend", json={"k": 100}))


def test_arms_are_served_exposed_and_judged(
    in_thread: Any, shop_root: Path, items: list[str]
) -> None:
    for version in ("1", "2"):
        shutil.copytree(shop_root / "models/hybrid", shop_root / f"var/serving/models/{version}")
    for alias, version in (("champion", "1"), ("challenger", "2")):
        (shop_root / f"var/serving/{alias}.json").write_text(
            json.dumps({"version": version, "folder": f"var/serving/models/{version}"})
        )
    experiment = {
        "name": "spring",
        "share": 0.5,
        "exploration": {"policy": "epsilon_greedy", "epsilon": 0.5, "slots": 3, "candidates": 20},
    }
    environment = {
        "BOWERBIRD_SERVE__EXPERIMENT": json.dumps(experiment),
        "BOWERBIRD_API_KEY": "shop",
    }
    with in_thread(shop_root, environment).serving() as client:
        client.headers["x-api-key"] = "shop"
        wait_until(
            lambda: client.post("/recommend", json={"user_id": "probe"}).json()["arm"] is not None
        )
        arms: dict[str, list[dict[str, Any]]] = {"control": [], "treatment": []}
        for number in range(40):
            answers = [
                client.post("/recommend", json={"user_id": f"u{number}", "k": 6}).json()
                for _ in range(2)
            ]
            assert answers[0]["arm"] == answers[1]["arm"]
            arms[answers[0]["arm"]] += answers
            if answers[0]["arm"] == "treatment":
                client.post(
                    "/feedback",
                    json={"user_id": f"u{number}", "item_id": items[0], "event": "click"},
                )
        assert {answer["model_version"] for answer in arms["control"]} == {"1"}
        assert {answer["model_version"] for answer in arms["treatment"]} == {"2"}
        assert client.post("/recommend", json={}).json()["arm"] is None
        (found,) = client.get("/experiments").json()["experiments"]
    control, treatment = found["arms"]
    assert control["users"] + treatment["users"] == 41  # and the probe
    assert treatment["converted"] >= 10
    assert control["converted"] == 0
    with sqlite3.connect(shop_root / "var/events/events.db") as connection:
        rows = connection.execute(
            "SELECT impression_id, item_ids, propensities FROM impressions"
        ).fetchall()
    logged = {name: (json.loads(shown), json.loads(p)) for name, shown, p in rows}
    for answer in arms["control"]:
        assert logged[answer["impression_id"]][1] == [1.0] * 6
    # The log says what was shown, with the probability that ε-greedy gave it.
    drawn = 0
    for answer in arms["treatment"]:
        shown, propensities = logged[answer["impression_id"]]
        assert shown == [item["item_id"] for item in answer["items"]]
        assert propensities[:3] == [1.0] * 3
        assert all(0 < p < 1 for p in propensities[3:])
        drawn += propensities[3] < 0.5
    assert 0 < drawn < len(arms["treatment"])


def test_operations_need_the_operator_and_a_registry(in_thread: Any, shop_root: Path) -> None:
    keys = {"BOWERBIRD_API_KEY": "shop", "BOWERBIRD_OPERATOR_KEY": "boss"}
    with in_thread(shop_root, keys).serving() as client:
        assert client.put("/items", json={"items": [{"item_id": "x"}]}).status_code == 401
        assert client.get("/experiments").status_code == 401
        shop = {"x-api-key": "shop"}
        body = {"version": "1"}
        assert client.post("/operator/promote", json=body, headers=shop).status_code == 403
        assert client.post("/operator/rollback", headers=shop).status_code == 403
        boss = {"x-api-key": "boss"}
        wrong = {"version": "--help"}
        assert client.post("/operator/promote", json=wrong, headers=boss).status_code == 422
        none = client.post("/operator/promote", json=body, headers=boss)
        assert (none.status_code, "registry" in none.json()["error"]) == (409, True)

        # With a registry a change is a job: one at a time, with a state to ask for.
        (shop_root / "var/serving").mkdir(parents=True, exist_ok=True)
        (shop_root / "var/serving/versions.json").write_text("[]")
        accepted = client.post("/operator/rollback", json={}, headers=boss)
        job, place = accepted.json(), accepted.headers["location"]
        assert (accepted.status_code, job["state"], job["command"]) == (202, "queued", "rollback")
        assert place == f"/operator/jobs/{job['id']}"
        second = client.post("/operator/promote", json=body, headers=boss)
        assert (second.status_code, job["id"] in second.json()["error"]) == (409, True)
        assert client.get(place).status_code == 401
        assert client.get(f"/operator/jobs/{'0' * 32}", headers=boss).status_code == 404
        assert client.get("/operator/jobs/..%2fchampion", headers=boss).status_code in (404, 422)

        def ended() -> bool:
            return client.get(place, headers=boss).json()["state"] not in ("queued", "running")

        wait_until(ended, 120)  # MLflow is imported and makes its database
        job = client.get(place, headers=boss).json()
        said = "there is no previous champion to go back to"
        assert (job["state"], job["error"]) == ("failed", said)
        assert job["finished"] is not None


def test_a_killed_job_says_so_and_old_ones_go(shop_root: Path) -> None:
    for number in range(jobs.KEPT + 5):
        old = {"id": f"{number:032x}", "command": "rollback", "state": "done", "error": None}
        old |= {"created": f"2026-01-01T00:{number:02}:00+00:00", "finished": None}
        (shop_root / jobs.JOBS).mkdir(parents=True, exist_ok=True)
        (shop_root / jobs.JOBS / f"{number:032x}.json").write_text(json.dumps(old))
    (shop_root / jobs.JOBS / "torn.json").write_text("{")
    job, process = jobs.start(shop_root, "rollback")
    try:
        with pytest.raises(jobs.Busy, match=job["id"]):
            jobs.start(shop_root, "promote", "1")
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    # The registry's own process is a child of the job's, and may end an instant later.
    wait_until(lambda: (jobs.find(shop_root, job["id"]) or {}).get("state") == "failed")
    assert "killed" in str(jobs.find(shop_root, job["id"]))
    kept = {file.stem for file in (shop_root / jobs.JOBS).glob("*.json")} - {"torn", job["id"]}
    assert kept == {f"{number:032x}" for number in range(6, jobs.KEPT + 5)}
