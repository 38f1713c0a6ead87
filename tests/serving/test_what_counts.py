"""What counts, over HTTP: complete exclusion, dislikes, one purchase of two sources, sign-in."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import chdir
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, get_args

import httpx
import numpy as np
import pandas as pd
import pytest
import yaml
from typer.testing import CliRunner

import bowerbird
from components.data import ingest, validation
from components.data.dataset import Catalogue, Prepared
from components.data.event_kinds import EventKinds
from components.data.profiles import write_profiles
from components.settings import Event, Preprocess, Settings, load_settings
from serving.api.schemas import FeedbackEvent
from serving.events.exposures import arm_outcomes, record_exposures
from serving.events.sign_in import move_session
from serving.events.store import EventStore
from serving.profiles.profiles import LiveProfiles
from tests.colour_shop import N_ITEMS, ages, colour_hybrid, colour_shop
from tests.conftest import REPOSITORY

HISTORY = 20
"""``serve.max_history`` of the shop here."""
KEY = {"X-API-Key": "shop-key"}


@pytest.fixture(scope="module")
def root(settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The colour shop, one of whose customers, ``owner``, bought 50 of its 60 products long ago."""
    root = tmp_path_factory.mktemp("counts")
    train, catalogue = colour_shop()
    colour_hybrid(train, catalogue, settings).save(root / "models/hybrid")
    users = ages()
    users.loc[1, "user_id"] = "owner"
    owned = np.arange(50)
    bought = train.where(train.users != 1)
    columns = [
        np.concatenate([bought.users, np.ones(50, dtype=int)]),
        np.concatenate([bought.items, owned]),
        np.concatenate([bought.times, 1_600_000_000 + owned]),
    ]
    more = type(train).from_arrays(*columns, train.n_users, N_ITEMS)
    prepared = Prepared(more, Catalogue(catalogue.table), users, 0, 0, 0, None)
    write_profiles(prepared, root / "models/profiles/profiles.parquet")
    values = yaml.safe_load((REPOSITORY / "params.yaml").read_text())
    names = {"user_id": "u", "item_id": "i", "timestamp": "t", "order_id": "o", "price": "p"}
    lines = {"path": "lines.csv", "columns": names}
    values["ingest"] |= {"interactions": [lines], "items": [], "users": [], "reviews": []}
    values["serve"]["max_history"] = HISTORY
    (root / "params.yaml").write_text(yaml.safe_dump(values))
    table = pd.DataFrame({"u": [f"u{n}" for n in range(9)], "i": "i1", "t": "2024-01-01"})
    table.assign(o=[f"order-{n}" for n in range(9)], p=2).to_csv(root / "lines.csv", index=False)
    return root


@pytest.fixture(scope="module")
def client(root: Path, in_thread: Any) -> Iterator[httpx.Client]:
    with in_thread(root, {"BOWERBIRD_API_KEY": "shop-key"}).serving() as found:
        yield found


def post(client: httpx.Client, route: str, headers: Any = KEY, **body: Any) -> dict[str, Any]:
    answer = client.post(route, json=body, headers=headers)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def shown(client: httpx.Client, user_id: str, k: int = N_ITEMS, **body: Any) -> list[str]:
    answer = post(client, "/recommend", user_id=user_id, k=k, **body)
    return [item["item_id"] for item in answer["items"]]


def act(client: httpx.Client, user_id: str, event: str, *items: int, **more: Any) -> dict[str, Any]:
    events = [{"user_id": user_id, "item_id": f"i{one}", "event": event, **more} for one in items]
    return post(client, "/feedback/batch", events=events)


def test_feedback_has_every_kind_of_event_and_hide() -> None:
    given = get_args(FeedbackEvent.model_fields["event"].annotation)
    assert given == (*get_args(Event), "hide")


def test_what_was_bought_is_excluded_however_long_ago(client: httpx.Client) -> None:
    owned = {f"i{one}" for one in range(50)}
    pages: tuple[dict[str, Any], ...] = (
        {},
        {"recent": ["i55"]},
        {"page": "product", "page_items": ["i55"]},
        {"page": "basket", "page_items": ["i55", "i56"]},
    )
    for page in pages:
        assert not owned & set(shown(client, "owner", k=8, **page)), page
    assert post(client, "/recommend", user_id="owner")["history_length"] == HISTORY
    # The same of events that the endpoint received, in one batch and one by one.
    act(client, "buyer", "purchase", *range(30))
    act(client, "buyer", "rating", 30, rating=5)
    act(client, "buyer", "click", *([45] * 2 * HISTORY), 46)
    excluded = {f"i{one}" for one in range(31)}
    assert not excluded & set(shown(client, "buyer", k=20))
    for item in range(31, 36):
        act(client, "buyer", "purchase", item)
        act(client, "buyer", "click", *([47] * HISTORY))
        assert not {*excluded, f"i{item}"} & set(shown(client, "buyer", k=20))
    assert {"i45", "i46", "i47"} <= set(shown(client, "buyer", k=25))  # clicked, not bought
    assert "i1" in shown(client, "buyer", exclude_seen=False)


@pytest.mark.slow
def test_a_long_history_is_excluded_after_a_restart_too(
    root: Path, in_thread: Any, client: httpx.Client
) -> None:
    act(client, "returning", "purchase", *range(40))
    act(client, "returning", "hide", 41)
    act(client, "returning", "purchase", 42, rating=1)
    act(client, "returning", "view", *([50] * 2 * HISTORY))
    other = in_thread(root, {"BOWERBIRD_API_KEY": "shop-key"}).start()
    try:
        with other.client() as second:
            again = shown(second, "returning", k=15)
            whole = shown(second, "returning", exclude_seen=False)
    finally:
        other.stop()
    assert not {f"i{one}" for one in (*range(40), 41, 42)} & set(again)
    assert not {"i41", "i42"} & set(whole)
    assert {"i0", "i43"} <= set(whole)


@pytest.mark.parametrize(
    "kind", [{"event": "dislike"}, {"event": "hide"}, {"event": "rating", "rating": 1}]
)
def test_a_dislike_pushes_away_the_product_and_says_so(
    client: httpx.Client, kind: dict[str, Any]
) -> None:
    """That what is like it goes down is held by tests/serving/recommend/test_exclusion.py."""
    user = f"critic-{kind['event']}"
    act(client, user, "view", 0, 3)
    assert {"i0", "i3"} <= set(shown(client, user))
    answer = act(client, user, kind["event"], 0, 3, 57, rating=kind.get("rating"))
    assert answer["pushed_away"] == ["i0", "i3", "i57"]
    for exclude_seen in (True, False):
        assert not {"i0", "i3", "i57"} & set(shown(client, user, exclude_seen=exclude_seen))
    act(client, user, "view", 57)
    assert "i57" not in shown(client, user)
    assert act(client, user, "rating", 9, rating=4)["pushed_away"] == []
    kept = client.get(f"/users/{user}/history", headers=KEY).json()["events"]
    assert "hide" not in {one["event"] for one in kept}  # stored as what it means


def test_a_purchase_of_a_file_and_of_feedback_is_one(root: Path, client: httpx.Client) -> None:
    bought = {"user_id": "u3", "item_id": "i1", "event": "purchase", "price": 2}
    yesterday = (datetime.now(UTC) - timedelta(days=1)).isoformat()
    for number, order in enumerate(("order-3", "order-3", "another")):
        event = {**bought, "event_id": f"o{number}", "order_id": order, "timestamp": yesterday}
        post(client, "/feedback", **event)
    with chdir(root), pytest.MonkeyPatch.context() as patch:
        patch.setattr(bowerbird, "ROOT", root)
        patch.setenv("BOWERBIRD_SERVE__EVENTS_URL", f"sqlite:///{root}/var/events/events.db")
        result = CliRunner().invoke(bowerbird.app, ["export-feedback"])
        assert result.exit_code == 0, result.output
    (root / "reports").mkdir(exist_ok=True)
    settings = load_settings(root / "params.yaml")
    ingest.run(settings, root)
    validation.run(settings, root, pages=False)
    table = pd.read_parquet(root / "data/valid/interactions.parquet")
    own = table[(table["user_id"] == "u3") & (table["item_id"] == "i1")]
    assert sorted(own["order_id"]) == ["another", "order-3"]
    assert own.set_index("order_id")["source"]["order-3"] == "lines.csv"


def test_a_sessions_history_becomes_the_customers_at_sign_in(
    root: Path, client: httpx.Client
) -> None:
    visitor = post(client, "/session", headers=None)
    token = {"X-Session-Token": visitor["token"]}
    seen = post(client, "/recommend", headers=token, k=5)
    clicked = seen["items"][0]["item_id"]
    impression = {"impression_id": seen["impression_id"]}
    act_as = {"headers": token, "item_id": clicked, "event": "purchase", **impression}
    post(client, "/feedback", **act_as, event_id="1")
    shown(client, "signed-in")  # in memory before
    body = {"user_id": "signed-in", "session_id": visitor["session_id"]}
    assert client.post("/session", json=body, headers=token).status_code == 401
    only = client.post("/session", json={"session_id": "x"}, headers=KEY)
    assert only.status_code == 422
    signed = post(client, "/session", **body)
    assert (signed["moved_events"], signed["session_id"]) == (1, visitor["session_id"])
    own = {"X-Session-Token": signed["token"]}
    answer = post(client, "/recommend", headers=own, k=N_ITEMS)
    assert answer["history_length"] == 1
    assert clicked not in [item["item_id"] for item in answer["items"]]
    # A list that was shown before may be named after it.
    second = {"item_id": seen["items"][1]["item_id"], "event": "click", **impression}
    assert post(client, "/feedback", headers=own, **second)["accepted"] == 1
    assert post(client, "/recommend", headers=token, k=5)["history_length"] == 0
    assert post(client, "/session", **body)["moved_events"] == 0
    kept = client.get("/users/signed-in/history", headers=KEY).json()["events"]
    assert [one["event"] for one in kept] == ["purchase", "click"]
    with sqlite3.connect(root / "var/events/events.db") as store:
        rows = store.execute(
            "SELECT user_id FROM events WHERE session_id = ?", [body["session_id"]]
        )
        assert {user for (user,) in rows} == {"signed-in"}


def test_moved_events_are_exported_as_the_customers(url: str, tmp_path: Path) -> None:
    from serving.events.export import export_events

    store = EventStore(url)
    try:
        event = {"session_id": "s", "event": "click", "timestamp": 1_700_000_000_000_000}
        rows = [{**event, "event_id": f"e{n}", "item_id": f"i{n}"} for n in range(3)]
        store.submit(rows).result(10)
        (file,) = export_events(store.database, tmp_path)
        assert set(pd.read_parquet(file)["user_id"]) == {"session:s"}
        assert move_session(store, "s", "anna") == 3
        (again,) = export_events(store.database, tmp_path)
        table = pd.read_parquet(again)
        assert (again, set(table["user_id"]), len(table)) == (file, {"anna"}, 3)
        assert store.submit(rows[:1]).result(10) == [False]  # sent again: it is there
        assert [row[2] for row in store.history.newest_events("user:anna", 5)] == ["i0", "i1", "i2"]
        assert store.history.newest_events("session:s", 5) == []
    finally:
        store.close()


def test_what_a_visitor_did_counts_for_the_arm_that_was_seen(url: str) -> None:
    store, shown = EventStore(url), 1_700_000_000_000_000
    try:
        exposure = {"model_version": "1", "timestamp": shown}
        arms = [("new", "session:s", "b"), ("old", "session:s", "b"), ("old", "user:anna", "a")]
        record_exposures(
            store.database,
            [{**exposure, "experiment": x, "profile": who, "arm": arm} for x, who, arm in arms],
        )
        bought = {"session_id": "s", "event": "purchase", "timestamp": shown + 1_000_000}
        store.submit([{**bought, "event_id": "e", "item_id": "i"}]).result(10)
        move_session(store, "s", "anna")
        found = {
            name: [(one.arm, one.users, one.converted) for one in outcomes]
            for name in ("new", "old")
            if (outcomes := arm_outcomes(store.database, name, ["purchase"], 24))
        }
        assert found == {"new": [("b", 1, 1)], "old": [("a", 1, 1)]}
    finally:
        store.close()


def test_another_worker_forgets_the_visitor_of_a_sign_in(url: str) -> None:
    store = EventStore(url)
    try:
        kinds = EventKinds.of(Preprocess())
        workers = [LiveProfiles(store, 10, kinds) for _ in range(2)]
        event = {"session_id": "s", "event": "click", "timestamp": 1_700_000_000_000_000}
        store.submit([{**event, "event_id": "e", "item_id": "i"}]).result(10)
        for live in workers:
            live.refresh()
            assert live.hold("session:s").items == ["i"]
        move_session(store, "s", "anna")
        for live in workers:
            live.refresh()
            assert live.hold("session:s").items == []
            assert live.hold("user:anna").items == ["i"]
    finally:
        store.close()


def test_late_and_invented_events_do_not_pile_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, start = EventStore(f"sqlite:///{tmp_path}/events.db"), 1_700_000_000_000_000
    try:
        monkeypatch.setattr("serving.profiles.profiles.MOST_EXCLUDED", 20)
        live = LiveProfiles(store, 10, EventKinds.of(Preprocess()))
        live.hold("user:anna")

        def add(event: str, numbers: range, time: int) -> list[str]:
            row = {"user_id": "anna", "event": event}
            rows = [
                {**row, "event_id": f"{event}{n}", "item_id": f"i{n}", "timestamp": time + n}
                for n in numbers
            ]
            store.submit(rows).result(10)
            live.refresh()
            return live.hold("user:anna").items

        bought = add("purchase", range(25), start)
        assert len(bought) == 25  # ten newest, and fifteen that are excluded
        assert add("view", range(100, 150), start - 10**9) == bought  # late ones say nothing more
        many = add("purchase", range(25, 60), start)
        assert many == [f"i{n}" for n in range(30, 60)]
        again = LiveProfiles(store, 10, EventKinds.of(Preprocess())).hold("user:anna")
        assert again.items == many  # as a worker reads them
    finally:
        store.close()
