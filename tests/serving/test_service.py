"""The endpoint over HTTP: a real ``bentoml serve`` process."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import httpx
import pandas as pd
import psutil
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as budget
from hypothesis import strategies as st

from components.data.item_table import read_item_table
from tests.serving.conftest import served_root

Client = httpx.Client


@pytest.fixture(scope="module")
def process(
    trained: tuple[Path, Any], tmp_path_factory: pytest.TempPathFactory, make_server: Any
) -> Iterator[Any]:
    """One running process without keys."""
    server = make_server(served_root(trained[0], tmp_path_factory)).start()
    yield server
    server.stop()


@pytest.fixture(scope="module")
def served(process: Any) -> Iterator[Client]:
    """A client of it, in place of the application in a thread."""
    with process.client() as client:
        yield client


@pytest.fixture(scope="module")
def items(trained: tuple[Path, Any]) -> list[str]:
    table = read_item_table(trained[0] / "models/hybrid")
    return table.sort_values("popularity", ascending=False)["item_id"].tolist()


@pytest.fixture(scope="module")
def known_user(trained: tuple[Path, Any]) -> str:
    profiles = pd.read_parquet(trained[0] / "models/profiles/profiles.parquet")
    return profiles["user_id"].value_counts().index[0]


def recommended(client: Client, **body: Any) -> dict[str, Any]:
    answer = client.post("/recommend", json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


def ids(answer: dict[str, Any]) -> list[str]:
    return [item["item_id"] for item in answer["items"]]


def test_known_new_and_anonymous_get_answers(
    served: Client, known_user: str, items: list[str]
) -> None:
    known = recommended(served, user_id=known_user, k=7)
    assert len(ids(known)) == 7
    assert known["history_length"] > 0
    assert known["model_version"] == "unregistered"
    assert all(item["title"] and item["reason"] for item in known["items"])
    new = recommended(served, user_id="nobody before", k=7)
    assert len(ids(new)) == 7
    assert new["history_length"] == 0
    anonymous = recommended(served, recent=[items[0], "unheard of"], k=7)
    assert len(ids(anonymous)) == 7
    assert anonymous["unknown_items"] == ["unheard of"]
    assert items[0] not in ids(anonymous)
    assert len({tuple(ids(answer)) for answer in (known, new, anonymous)}) == 3


def test_a_click_changes_the_very_next_answer(served: Client, items: list[str]) -> None:
    for who in ({"user_id": uuid.uuid4().hex}, {"session_id": uuid.uuid4().hex}):
        before = recommended(served, **who)
        for step, item in enumerate(items[5:8]):
            kept = served.post("/feedback", json={**who, "item_id": item, "event": "click"})
            assert kept.status_code == 200
            after = recommended(served, **who)
            assert after["history_length"] == step + 1
            assert item not in ids(after)
            assert ids(after) != ids(before)
            before = after


def test_a_repeated_event_is_kept_once(served: Client, items: list[str]) -> None:
    moment = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=1)
    event = {
        "event_id": uuid.uuid4().hex,
        "user_id": uuid.uuid4().hex,
        "item_id": items[0],
        "event": "purchase",
        "timestamp": moment.astimezone(timezone(timedelta(hours=1))).isoformat(),
    }
    answers = [served.post("/feedback", json=event).json() for _ in range(3)]
    assert [answer["accepted"] for answer in answers] == [1, 0, 0]
    assert [answer["duplicates"] for answer in answers] == [0, 1, 1]
    events = served.get(f"/users/{event['user_id']}/history").json()["events"]
    assert [datetime.fromisoformat(found["timestamp"]) for found in events] == [moment]


def test_a_purchase_keeps_the_id_of_its_order(served: Client, items: list[str]) -> None:
    user = uuid.uuid4().hex
    event = {"user_id": user, "item_id": items[0], "event": "purchase", "order_id": "R-1042"}
    assert served.post("/feedback", json=event).json()["accepted"] == 1
    batch = {"events": [{**event, "item_id": items[1]}, {**event, "order_id": None}]}
    assert served.post("/feedback/batch", json=batch).json()["accepted"] == 2
    kept = served.get(f"/users/{user}/export").json()["events"]
    assert [one["order_id"] for one in kept] == ["R-1042", "R-1042", None]
    assert served.post("/feedback", json={**event, "order_id": "x" * 201}).status_code == 422


def test_a_batch_is_kept_whole_or_not_at_all(served: Client, items: list[str]) -> None:
    user = uuid.uuid4().hex
    good = {"user_id": user, "item_id": items[0], "event": "view"}
    mixed = [good, {**good, "event": "wink"}]
    refused = served.post("/feedback/batch", json={"events": mixed})
    assert refused.status_code == 422
    assert refused.json()["fields"][0]["field"] == "events.1.event"
    assert served.get(f"/users/{user}/history").json()["events"] == []
    rows = [{**good, "event_id": f"{user}{n}"} for n in range(3)] + [
        {**good, "item_id": "brand new", "event_id": f"{user}0"},
        {**good, "item_id": "brand new"},
    ]
    kept = served.post("/feedback/batch", json={"events": rows}).json()
    assert (kept["accepted"], kept["duplicates"]) == (4, 1)
    assert kept["unknown_items"] == ["BRAND NEW"]  # as ingest spells it


def test_filters_and_exclusions(served: Client, items: list[str], known_user: str) -> None:
    plain = recommended(served, user_id=known_user, k=5)
    answer = recommended(
        served, user_id=known_user, k=5, max_price=2.0, exclude=[*ids(plain)[:2], "nonsense"]
    )
    assert all(item["price"] <= 2.0 for item in answer["items"])
    assert not set(ids(plain)[:2]) & set(ids(answer))
    assert answer["unknown_items"] == ["nonsense"]
    names = served.get("/categories").json()["categories"]
    narrow = recommended(served, category=names[0]["name"], k=5)
    assert len(narrow["items"]) == min(5, names[0]["items"])
    again = recommended(served, user_id=known_user, k=50, exclude_seen=False, reasons=False)
    assert again["items"][0]["reason"] is None


def test_a_category_that_is_exhausted_returns_nothing_seen_where_that_is_asked(
    served: Client,
) -> None:
    categories = served.get("/categories").json()["categories"]
    smallest = min(categories, key=lambda one: one["items"])
    query = {"user_id": "has it all", "category": smallest["name"], "k": 50}
    owned = ids(recommended(served, **query))
    assert len(owned) == smallest["items"]
    rows = [{"user_id": "has it all", "item_id": item, "event": "purchase"} for item in owned]
    assert served.post("/feedback/batch", json={"events": rows}).json()["accepted"] == len(owned)

    def shown() -> int:
        return len(served.get("/users/has it all/export").json()["impressions"])

    assert ids(recommended(served, **query)), "by default the history rather than nothing"
    before = shown()
    assert recommended(served, **query, exclude_seen=True)["items"] == []
    assert served.post("/rerank", json={"user_id": "has it all", "item_ids": ["x"]}).is_success
    assert shown() == before, "an empty list is no impression"


def test_similar_items(served: Client, items: list[str]) -> None:
    one = served.get(f"/similar/{items[0]}", params={"k": 4}).json()
    assert len(ids(one)) == 4
    basket = served.post("/similar", json={"item_ids": [items[0], items[1], "no"], "k": 4}).json()
    assert len(ids(basket)) == 4
    assert not {items[0], items[1]} & set(ids(basket))
    assert basket["unknown_items"] == ["no"]
    assert served.get("/similar/no").status_code == 404


def test_a_user_can_see_and_erase_everything(served: Client, known_user: str) -> None:
    events = served.get(f"/users/{known_user}/history").json()["events"]
    assert events
    assert all(event["event"] is None for event in events)  # from the training data
    recommended(served, user_id=known_user)
    served.post("/feedback", json={"user_id": known_user, "item_id": "x", "event": "view"})
    kept = served.get(f"/users/{known_user}/export").json()
    assert len(kept["events"]) == 1
    assert kept["impressions"]
    page = {"x-csrf-token": served.get("/operator/token").json()["token"]}
    erased = served.delete(f"/users/{known_user}", headers=page)
    assert erased.json()["erased_events"] == 1
    assert served.get(f"/users/{known_user}/history").json()["events"] == []
    assert recommended(served, user_id=known_user)["history_length"] == 0


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        ("/recommend", {"k": 0}, "k"),
        ("/recommend", {"k": 101}, "k"),
        ("/recommend", {"k": 10**9}, "k"),
        ("/recommend", {"recent": ["x"] * 501}, "recent"),
        ("/recommend", {"recent": [5]}, "recent.0"),
        ("/recommend", {"user_id": ""}, "user_id"),
        ("/recommend", {"user_id": "nul\x00"}, "user_id"),
        ("/recommend", {"max_price": -1}, "max_price"),
        ("/recommend", {"colour": "red"}, "colour"),
        ("/recommend", [], "body"),
        ("/similar", {"item_ids": []}, "item_ids"),
        ("/feedback", {"item_id": "x", "event": "view"}, "body"),
        ("/feedback", {"user_id": "u", "item_id": " \u200b", "event": "view"}, "item_id"),
        ("/feedback", {"user_id": "\u00a0", "item_id": "x", "event": "view"}, "user_id"),
        ("/feedback", {"user_id": "u", "item_id": "x", "event": "rating"}, "body"),
        (
            "/feedback",
            {"user_id": "u", "item_id": "x", "event": "view", "timestamp": "2200-01-01T00:00:00Z"},
            "timestamp",
        ),
        (
            "/feedback",
            {"user_id": "u", "item_id": "x", "event": "view", "timestamp": "2026-01-01"},
            "timestamp",
        ),
    ],
)
def test_errors_name_the_field(served: Client, path: str, body: Any, field: str) -> None:
    answer = served.post(path, json=body)
    assert answer.status_code == 422, answer.text
    assert [problem["field"] for problem in answer.json()["fields"]] == [field]


def test_refusals_say_little_and_are_json(served: Client) -> None:
    assert served.post("/recommend", content=b"{nope").status_code == 422
    assert served.get("/recommend").status_code == 405
    assert served.get("/no/such").status_code == 404
    large = served.post("/feedback", content=b"x" * 1_000_001)
    assert large.status_code == 413

    def chunks() -> Any:
        for _ in range(20):
            yield b"x" * 100_000

    assert served.post("/recommend", content=chunks()).status_code == 413
    assert "Traceback" not in large.text
    headers = served.get("/model").headers
    assert headers["x-content-type-options"] == "nosniff"
    assert "default-src 'none'" in headers["content-security-policy"]


def test_openapi_describes_what_is_there(served: Client) -> None:
    document = served.get("/openapi.json").json()
    assert {"/recommend", "/similar", "/feedback", "/feedback/batch", "/model"} <= set(
        document["paths"]
    )
    schemas = document["components"]["schemas"]
    for example in schemas["RecommendRequest"]["examples"]:
        recommended(served, **example)
    for example in schemas["FeedbackEvent"]["examples"]:
        assert served.post("/feedback", json=example).status_code == 200
    for operation in document["paths"]["/recommend"].values():
        assert {"200", "422", "503"} <= set(operation["responses"])


def test_metrics_tell_of_recommendations_and_hold_no_ids(served: Client) -> None:
    user = f"private-{uuid.uuid4().hex}"
    recommended(served, user_id=user)
    served.get(f"/users/{user}/history")
    text = served.get("/metrics").text
    for series in (
        "bowerbird_recommendations_total",
        'bowerbird_stage_seconds_count{stage="rank"}',
        "bowerbird_cold_recommendations_total",
        "bowerbird_events_total",
        'route="/recommend"',
    ):
        assert series in text
    assert user not in text


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4)
    ),
    max_leaves=8,
)
_FIELDS = {
    "/recommend": ("user_id", "session_id", "recent", "k", "category", "max_price", "exclude"),
    "/similar": ("item_ids", "k", "category", "min_price"),
    "/feedback": ("event_id", "user_id", "item_id", "event", "rating", "timestamp", "quantity"),
    "/feedback/batch": ("events",),
}


@pytest.mark.parametrize("path", list(_FIELDS))
def test_no_body_breaks_the_server(served: Client, path: str) -> None:
    valid = st.fixed_dictionaries(
        {},
        optional={
            "user_id": st.text(max_size=30),
            "item_id": st.text(max_size=30),
            "event": st.sampled_from(["view", "click", "rating", "x"]),
            "recent": st.lists(st.text(max_size=8), max_size=5),
            "item_ids": st.lists(st.text(max_size=8), max_size=5),
            "k": st.integers(-5, 120),
            "timestamp": st.datetimes().map(lambda moment: moment.isoformat() + "Z"),
        },
    )
    fuzzed = st.dictionaries(st.sampled_from(_FIELDS[path]), _json, max_size=5)

    @budget(max_examples=80, suppress_health_check=list(HealthCheck))
    @given(_json | fuzzed | valid)
    def check(body: Any) -> None:
        try:
            answer = served.post(path, json=body)
        except (ValueError, UnicodeEncodeError):  # httpx will not send it
            return
        assert answer.status_code < 500, answer.text

    check()
    assert served.get("/livez").status_code == 200


def test_keys_and_rate(in_thread: Any, shop_root: Path) -> None:
    variables = {
        "BOWERBIRD_API_KEY": "shop-key",
        "BOWERBIRD_OPERATOR_KEY": "operator-key",
        "BOWERBIRD_SERVE__MAX_RATE": "20",
    }
    event = {"user_id": "secret-user", "item_id": "x", "event": "view"}
    with in_thread(shop_root, variables).serving() as client:
        assert client.post("/feedback", json=event).status_code == 401
        wrong = {"x-api-key": "shop-keyy"}
        assert client.post("/feedback", json=event, headers=wrong).status_code == 401
        right = {"x-api-key": "shop-key"}
        assert client.post("/feedback", json=event, headers=right).status_code == 200
        bearer = {"authorization": "Bearer shop-key"}
        assert client.post("/feedback", json=event, headers=bearer).status_code == 200
        assert client.get("/users/secret-user/history").status_code == 401
        assert client.delete("/users/secret-user", headers=right).status_code == 403
        operator = {"x-api-key": "operator-key"}
        assert client.delete("/users/secret-user", headers=operator).status_code == 200
        statuses = [client.get("/model").status_code for _ in range(150)]
        assert 429 in statuses


def test_the_log_holds_no_ids(process: Any, served: Client) -> None:
    event = {"user_id": "secret-user", "item_id": "x", "event": "view"}
    assert served.post("/feedback", json=event).status_code == 200
    assert served.post("/feedback", json={**event, "event": "no kind"}).status_code == 422
    assert served.get("/users/secret-user/history").status_code == 200
    assert served.delete("/users/secret-user").status_code == 403
    log = process.log.read_text()
    assert "bowerbird" in log
    assert "secret-user" not in log


def test_without_a_language_model_no_process_loads_pytorch(process: Any, served: Client) -> None:
    assert served.post("/recommend", json={"k": 3}).status_code == 200
    supervisor = psutil.Process(process.process.pid)
    for one in [supervisor, *supervisor.children(recursive=True)]:
        assert [file.path for file in one.memory_maps() if "libtorch" in file.path] == []


def test_a_restart_keeps_the_profile(in_thread: Any, shop_root: Path, items: list[str]) -> None:
    with in_thread(shop_root).serving() as client:
        client.post("/feedback", json={"user_id": "u", "item_id": items[3], "event": "click"})
        before = recommended(client, user_id="u")
    with in_thread(shop_root).serving() as client:
        after = recommended(client, user_id="u")
    assert after["history_length"] == 1
    assert ids(after) == ids(before)


@pytest.mark.slow
def test_two_workers_on_postgresql_see_each_others_events(
    serve: Callable[..., Any], shop_root: Path, items: list[str], postgres: str
) -> None:
    environment = {"BOWERBIRD_SERVE__EVENTS_URL": postgres, "BOWERBIRD_WORKERS": "2"}
    server = serve(shop_root, environment).start()
    user = uuid.uuid4().hex
    for step in range(12):  # a new connection each: any worker may answer
        with server.client() as client:
            event = {"user_id": user, "item_id": items[step], "event": "click"}
            assert client.post("/feedback", json=event).status_code == 200
        with server.client() as client:
            for _ in range(150):
                answer = client.post("/recommend", json={"user_id": user})
                if answer.status_code != 503:
                    break
                time.sleep(0.2)  # the other worker may still be loading
            assert answer.json()["history_length"] == step + 1
