"""Histories read by customer from the event store are those that a worker would hold."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import sqlalchemy as sa

from components.data.attribute_codes import Vocabulary
from components.data.event_kinds import EventKinds
from components.data.profiles import attributes_file
from components.settings import Settings
from serving.backend import Backend
from serving.events import history_table
from serving.events.event_erasure import erase
from serving.events.history_table import share_histories, shared_versions
from serving.events.store import EventStore
from serving.events.tables import HISTORIES
from serving.profiles.profiles import BaseProfiles, LiveProfiles, Profiles
from serving.profiles.shared import SharedHistories, SharedProfiles
from serving.recommend.engine import Engine
from serving.recommend.query import RecommendRequest
from serving.recommend.types import Shopper
from tests.serving.models.registered import register

VOCABULARY = Vocabulary({"number:age": (30.0, 50.0), "set:likes": ("tea", "toys")})


@pytest.fixture
def store(url: str) -> Iterator[EventStore]:
    with contextlib.closing(EventStore(url)) as made:
        yield made


def profiles_of(
    store: EventStore, engine: Engine, settings: Settings, version: str = "7", most: int = 1000
) -> Profiles:
    shared = SharedHistories(store, most)
    live = LiveProfiles(store, 500, EventKinds.of(settings.preprocess), past=shared)
    past = SharedProfiles(shared, version, VOCABULARY, 5)
    return Profiles(past, live, engine.items, 500)


def rows(store: EventStore) -> int:
    with store.database.connected() as connection:
        return connection.scalar(sa.select(sa.func.count()).select_from(HISTORIES)) or 0


@pytest.fixture
def file(trained: tuple[Path, Settings], tmp_path: Path) -> Path:
    """The small shop's histories, with ratings, strengths and attributes."""
    frame = pd.read_parquet(trained[0] / "models/profiles/profiles.parquet")
    draw = np.random.default_rng(0)
    frame["rating"] = np.where(draw.random(len(frame)) < 0.1, 4.5, np.nan).astype(np.float32)
    frame["strength"] = draw.choice([0.3, 1.0, -1.0], len(frame)).astype(np.float32)
    frame["excluding"] = draw.random(len(frame)) < 0.5
    frame.loc[frame.index[:3], "item_id"] = "an item that the model does not know"
    made = tmp_path / "7.parquet"
    frame.to_parquet(made)
    users = frame["user_id"].unique()
    attributes = pd.DataFrame(
        {
            "user_id": [*users[:3], "new"],
            "number:age": np.array([25, np.nan, 60, 40], dtype=np.float32),
            "set:likes": [["tea"], ["toys", "tea"], None, ["cats"]],
        }
    )
    attributes.to_parquet(attributes_file(made))
    return made


def test_each_history_is_as_one_in_memory(
    file: Path, store: EventStore, engine: Engine, settings: Settings
) -> None:
    base = BaseProfiles.load(file, engine.items, None, VOCABULARY)
    assert share_histories(store.database, file, "7", ()) > 100
    profiles = profiles_of(store, engine, settings)
    whole = Profiles(base, profiles.live, engine.items, 500)
    assert profiles.base.end == base.end
    users = [*pd.read_parquet(file)["user_id"].unique()[:200], "new", "nobody"]
    recent = np.array([1, 2], dtype=np.int32)
    for user_id in users:
        profiles.live.hold(f"user:{user_id}")
        found = profiles.history(user_id, f"user:{user_id}", recent)
        wanted = whole.history(user_id, f"user:{user_id}", recent)
        assert found.now == wanted.now
        np.testing.assert_array_equal(found.items, wanted.items)
        np.testing.assert_array_equal(found.times, wanted.times)
        for name in ("ratings", "strengths", "excluding"):
            np.testing.assert_array_equal(found.whole(name), wanted.whole(name), name)
        np.testing.assert_array_equal(np.sort(found.attributes), np.sort(wanted.attributes))
    assert not len(profiles.past("nobody").items)


def test_events_since_the_training_are_added(
    file: Path, store: EventStore, engine: Engine, settings: Settings
) -> None:
    share_histories(store.database, file, "7", ())
    profiles = profiles_of(store, engine, settings)
    user = pd.read_parquet(file)["user_id"].iloc[-1]
    profiles.live.hold(f"user:{user}")
    before = len(profiles.history(user, f"user:{user}").items)
    now = 2_000_000_000 * 1_000_000
    with contextlib.closing(EventStore(str(_url(store)))) as other:  # of another replica
        click = {"event_id": "e", "user_id": user, "item_id": engine.items[0], "event": "click"}
        other.submit([{**click, "timestamp": now}]).result(10)
    profiles.live.follow(f"user:{user}")
    history = profiles.history(user, f"user:{user}")
    assert len(history.items) == before + 1
    assert history.items[-1] == 0


def test_an_erased_customer_is_in_no_row_and_in_no_memory(
    file: Path, store: EventStore, engine: Engine, settings: Settings
) -> None:
    frame = pd.read_parquet(file)
    first, second, third = frame["user_id"].unique()[:3]
    erase(store, f"user:{first}")  # before the rows are written
    share_histories(store.database, file, "7", ())
    profiles = profiles_of(store, engine, settings)
    for user in (first, second, third):
        profiles.live.hold(f"user:{user}")
    assert not len(profiles.past(first).items)
    assert len(profiles.past(second).items)
    erased = erase(store, f"user:{second}")
    assert erased.rows["histories"] == 1
    assert profiles.live.refresh_erasures()
    profiles.live.hold(f"user:{second}")
    assert not len(profiles.past(second).items)
    profiles.live.hold(f"user:{third}")
    assert len(profiles.past(third).items)


def test_who_is_erased_while_the_rows_are_written_is_in_none(
    file: Path, store: EventStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    user = pd.read_parquet(file)["user_id"].iloc[0]
    monkeypatch.setattr(history_table, "ROWS_PER_COMMIT", 50)
    done: list[int] = []

    def written(users: int) -> None:
        if not done:
            erase(store, f"user:{user}")
        done.append(users)

    share_histories(store.database, file, "7", (), written)
    assert len(done) > 1
    assert not store.history.trained(str(user))


def test_a_run_that_was_killed_begins_again_and_old_versions_go(
    file: Path, store: EventStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history_table, "ROWS_PER_COMMIT", 50)

    def stop(users: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        share_histories(store.database, file, "7", (), stop)
    assert rows(store) == 50
    assert shared_versions(store.database) == {}
    users = share_histories(store.database, file, "7", ())
    assert rows(store) == users
    assert share_histories(store.database, file, "7", (), stop) == users  # they are there
    share_histories(store.database, file, "8", ["7"])
    assert rows(store) == 2 * users
    share_histories(store.database, file, "9", ["8"])
    assert shared_versions(store.database).keys() == {"8", "9"}
    assert rows(store) == 2 * users


def test_a_version_that_comes_later_is_taken_in_and_memory_is_bounded(
    file: Path, store: EventStore, engine: Engine, settings: Settings
) -> None:
    profiles = profiles_of(store, engine, settings, most=10)
    shared = profiles.live.past
    assert isinstance(shared, SharedHistories)
    users = [str(one) for one in pd.read_parquet(file)["user_id"].unique()[:30]]
    profiles.live.hold(f"user:{users[0]}")
    assert not len(profiles.past(users[0]).items)
    assert (len(profiles.base), profiles.base.end) == (0, 5)
    share_histories(store.database, file, "7", ())
    shared.watch()
    for user in users:
        profiles.live.hold(f"user:{user}")
        assert len(profiles.past(user).items) or user == users[0]
    assert len(shared._held) == 10
    assert len(profiles.base) > 100


def test_an_endpoint_answers_the_same_from_the_store_and_without_its_file(
    shop_root: Path,
    trained: tuple[Path, Settings],
    open_backend: Callable[..., Backend],
    url: str,
    tmp_path: Path,
) -> None:
    from components.credentials import Credential

    register(shop_root, "1")
    file = shop_root / "var/serving/profiles/1.parquet"
    file.parent.mkdir()
    frame = pd.read_parquet(trained[0] / "models/profiles/profiles.parquet")
    frame.to_parquet(file)
    users = [str(one) for one in frame["user_id"].unique()[:20]]

    def lists(**changed: object) -> list[list[str]]:
        backend = open_backend(shop_root, events_url=Credential(url), **changed)
        backend.load()

        async def ask(user: str) -> list[str]:
            shopper = Shopper(user, None, f"user:{user}", "client")
            body = await backend.recommendations.recommend(RecommendRequest(k=5), shopper)
            return [item["item_id"] for item in json.loads(body)["items"]]

        async def each() -> list[list[str]]:
            for user in users:  # no request waits longer than STORE_SECONDS, also on a busy machine
                backend.live.hold(f"user:{user}")
            return [await ask(user) for user in users]

        found = asyncio.run(each())
        backend._watch_histories()
        assert backend.health.problems == {}
        return found

    wanted = lists()
    assert lists(histories="store") == wanted  # this folder's file is written to the store first
    file.unlink()
    (shop_root / "models/profiles/profiles.parquet").unlink()
    assert lists(histories="store") == wanted
    assert len({tuple(one) for one in wanted}) > 5


def _url(store: EventStore) -> str:
    url = store.database.engine.url
    if not store.database.is_postgres:
        return f"sqlite:///{url.database}"
    return url.set(drivername="postgresql").render_as_string(hide_password=False)
