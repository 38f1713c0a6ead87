"""The database stops, hangs, is damaged or refuses: answers go on, and it is said once."""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import sqlalchemy as sa

from components.data.event_kinds import EventKinds
from components.settings import Preprocess, Settings
from serving.columns import Ids
from serving.events.catalogue_table import put_items
from serving.events.errors import StoreDown, StoreError
from serving.events.event_erasure import erase
from serving.events.store import EventStore, check_store
from serving.events.traffic import count_events
from serving.profiles.profiles import BaseProfiles, LiveProfiles, Profiles
from tests.conftest import REPOSITORY
from tests.postgres import Postgres
from tests.processes import wait_until

ITEMS = Ids.of(["a", "b", "c", "d"])
KINDS = EventKinds.of(Preprocess())
NOON = 1_795_521_600_000_000
SLOW = 2.5
"""Seconds that no request may take: 0.2 and what two busy cores add."""


def event(number: int, **other: Any) -> dict[str, Any]:
    row = {"event_id": f"e{number}", "user_id": "anna", "item_id": "a", "event": "click"}
    return {**row, "timestamp": NOON + number * 1_000_000, **other}


def shown(number: int) -> dict[str, Any]:
    lists = dict.fromkeys(("item_ids", "scores", "propensities"), "[]")
    row = {"impression_id": f"i{number}", "user_id": "u", "session_id": None, "source": "hybrid"}
    return {**row, **lists, "model_version": "1", "timestamp": NOON}


def profiles_of(store: EventStore) -> Profiles:
    frame = pd.DataFrame({"user_id": ["ben"], "item_id": ["b"], "timestamp": [pd.Timestamp(0)]})
    base = BaseProfiles(frame, ITEMS)
    return Profiles(base, LiveProfiles(store, 100, KINDS), ITEMS, 100)


@contextlib.contextmanager
def away(server: Postgres, how: str) -> Iterator[None]:
    """The server is away for a block: ended as by a crash, or all its processes stopped."""
    (server.stop if how == "stopped" else server.pause)()
    try:
        yield
    finally:
        (server.start if how == "stopped" else server.resume)()


@pytest.mark.parametrize("how", ["stopped", "paused"])
def test_while_postgresql_is_away_nothing_waits_and_after_it_all_is_there(
    own_postgres: Postgres, how: str
) -> None:
    url = own_postgres.database()
    with (
        contextlib.closing(EventStore(url)) as store,
        contextlib.closing(EventStore(url)) as other,
    ):
        profiles = profiles_of(store)
        store.submit([event(1)]).result(10)
        profiles.live.follow("user:anna")
        with away(own_postgres, how):
            started = time.monotonic()
            profiles.live.follow("user:ben")  # the first request finds it
            wait_until(lambda: store.database.is_down)
            assert time.monotonic() - started < SLOW
            started = time.monotonic()
            with pytest.raises(StoreDown, match="could not be written"):
                store.submit([event(2)]).result(10)  # a moment's absence is waited for
            assert time.monotonic() - started < SLOW
            started = time.monotonic()
            for number in range(400):
                profiles.live.follow("user:anna")
                profiles.live.follow(f"user:n{number}")
                assert not store.log_impression(shown(number))
                with pytest.raises(StoreDown, match="could not be read"):
                    store.history.events_after(0)
                with pytest.raises(StoreDown, match="could not be read"):
                    count_events(store.database)
                with pytest.raises(StoreDown, match="could not be written"):
                    put_items(store.database, [])
            assert time.monotonic() - started < SLOW
            assert store.dropped["store down"] == 400
            assert profiles.history("anna", "user:anna").items.tolist() == [0]
            assert profiles.history("ben", "user:ben").items.tolist() == [1]
            wait_until(lambda: store.database.breaker.open_for() > 1)
            with pytest.raises(StoreDown, match="could not be written"):
                store.submit([event(2)])
        wait_until(lambda: not store.database.is_down)
        assert store.submit([event(2, item_id="c")]).result(10) == [True]
        wait_until(lambda: not other.database.is_down)
        assert other.submit([event(3, item_id="d")]).result(10) == [True]
        profiles.live.follow("user:anna")
        profiles.live.follow("user:ben")
        assert profiles.history("anna", "user:anna").items.tolist() == [0, 2, 3]
        assert store.log_impression(shown(5_000))


def test_a_worker_that_starts_while_postgresql_is_away_serves_and_catches_up(
    own_postgres: Postgres,
) -> None:
    url = own_postgres.database()
    with contextlib.closing(EventStore(url)) as before:
        before.submit([event(1), event(2, user_id="ben")]).result(10)
        erase(before, "user:ben")
    with away(own_postgres, "stopped"):
        with pytest.raises(StoreError, match="start it"):
            EventStore(url)
        store = EventStore(url, start_without_database=True)
        profiles = profiles_of(store)
        profiles.live.follow("user:anna")
        # Whether ben was erased is not known now, so what the model knows of him is not used.
        assert not len(profiles.history("ben", "user:ben").items)
        assert not len(profiles.history("anna", "user:anna").items)
    with contextlib.closing(store):
        wait_until(lambda: not store.database.is_down)
        profiles.live.refresh_erasures()
        profiles.live.follow("user:anna")
        assert profiles.history("anna", "user:anna").items.tolist() == [0]
        assert not len(profiles.history("ben", "user:ben").items)
        assert store.submit([event(3)]).result(10) == [True]


def test_a_statement_without_an_answer_does_not_keep_the_writer(own_postgres: Postgres) -> None:
    """The lock is held by another that does nothing: events are refused, then kept again."""
    with contextlib.closing(EventStore(own_postgres.database())) as store:
        with store.database.engine.begin() as other:
            store.database.lock(other)
            started = time.monotonic()
            with pytest.raises(StoreError, match="could not be written"):
                store.submit([event(1)]).result(10)
            assert time.monotonic() - started < 2 * SLOW
        wait_until(lambda: not store.database.is_down)
        assert all(store.submit([event(2)]).result(10))
        assert sorted(row[2] for row in store.history.events_after(0)) == ["a"]


def damage(file: Path) -> None:
    """Overwrite the database and its log, as a broken disk does."""
    for part in file.parent.glob(f"{file.name}*"):
        if part.suffix != ".db-shm":
            size = part.stat().st_size
            with part.open("r+b") as opened:
                opened.write(os.urandom(size))


def test_damage_of_a_running_store_is_logged_once_and_answers_go_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "events.db"
    with contextlib.closing(EventStore(f"sqlite:///{file}")) as store:
        profiles = profiles_of(store)
        store.submit([event(n, item_id="c") for n in range(2_000)]).result(10)
        profiles.live.follow("user:anna")
        damage(file)
        with caplog.at_level(logging.INFO, "bentoml.bowerbird"):
            for number in range(200):
                profiles.live.follow(f"user:n{number}")
                profiles.live.refresh_erasures()
                with contextlib.suppress(StoreError):
                    store.submit([event(10_000 + number)]).result(10)
        assert store.database.is_down
        assert len(caplog.records) <= 2
        assert "damaged" in caplog.text
        assert len(profiles.history("anna", "user:anna").items)


def test_a_file_that_was_moved_away_is_noticed_and_a_new_one_taken(tmp_path: Path) -> None:
    from components.settings import Retention as Limits
    from serving.events.retention import Retention

    file = tmp_path / "events.db"
    with contextlib.closing(
        EventStore(f"sqlite:///{file}", retention=Retention(Limits()))
    ) as store:
        store.submit([event(1), event(2), event(4)]).result(10)
        profiles = profiles_of(store)
        profiles.live.follow("user:anna")
        assert profiles.history("anna", "user:anna").items.tolist() == [0, 0, 0]
        for part in tmp_path.glob("events.db*"):
            part.rename(part.with_name(f"old-{part.name}"))
        store._retention_at = 0.0  # as if the five seconds to the next look were over
        with contextlib.suppress(StoreError):
            store.submit([event(5)]).result(10)
        wait_until(lambda: file.exists() and not store.database.is_down)
        assert store.submit([event(3, item_id="b")]).result(10) == [True]
        profiles.live.follow("user:anna")
        assert profiles.history("anna", "user:anna").items.tolist() == [1]
        with contextlib.closing(EventStore(f"sqlite:///{file}")) as again:
            assert [row[2] for row in again.history.events_after(0)] == ["b"]


def other_table(file: Path) -> None:
    with contextlib.closing(sqlite3.connect(file)) as connection:
        connection.execute("CREATE TABLE events (id INTEGER PRIMARY KEY, name TEXT NOT NULL)")


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda file: file.write_bytes(b"no database " * 500), "not a database.*backup"),
        (other_table, "no event store.*table events has no column.*serve.events_url"),
        (lambda file: file.mkdir(), "unable to open"),
        (lambda file: file.parent.rmdir() or file.parent.write_text(""), "folder"),
    ],
)
def test_a_store_that_cannot_be_used_is_named_in_one_line(
    tmp_path: Path, make: Callable[[Path], None], said: str
) -> None:
    file = tmp_path / "var/events.db"
    file.parent.mkdir()
    make(file)
    with pytest.raises(StoreError, match=said) as raised:
        check_store("sqlite:///var/events.db", tmp_path)
    assert "\n" not in str(raised.value)
    assert str(file.parent) in str(raised.value)


@pytest.mark.parametrize("what", ["file", "folder"])
def test_a_read_only_store_is_named_in_one_line(what: str) -> None:
    folder = Path(tempfile.mkdtemp())
    try:
        file = folder / "events.db"
        EventStore(f"sqlite:///{file}").close()
        folder.chmod(0o755 if what == "folder" else 0o777)
        file.chmod(0o666 if what == "folder" else 0o444)
        user = os.geteuid()
        if user == 0:  # root may write everywhere
            os.seteuid(65534)
        try:
            with pytest.raises(StoreError, match="writable for this user") as raised:
                check_store(f"sqlite:///{file}")
        finally:
            os.seteuid(user)
        assert "\n" not in str(raised.value)
    finally:
        shutil.rmtree(folder)


def test_a_refused_password_is_named_in_one_line_and_not_said(own_postgres: Postgres) -> None:
    url = str(sa.make_url(own_postgres.url).set(username="stranger").render_as_string(False))
    wrong = url.replace("stranger@", "stranger:secret77@")
    with pytest.raises(StoreError, match="password authentication failed") as raised:
        check_store(wrong)
    assert "\n" not in str(raised.value)
    assert "secret77" not in str(raised.value)
    with pytest.raises(StoreError, match="password authentication failed"):
        EventStore(wrong, start_without_database=True)  # it would never come


@pytest.mark.parametrize("command", [["serve", "--port", "1"], ["export-feedback"]])
def test_the_command_line_says_it_in_one_line_and_ends(shop_root: Path, command: list[str]) -> None:
    file = shop_root / "var/events/events.db"
    file.parent.mkdir(parents=True)
    file.write_bytes(b"no database " * 500)
    done = subprocess.run(
        [sys.executable, "-m", "bowerbird", *command],
        cwd=shop_root,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 1
    (line,) = [one for one in done.stderr.splitlines() if one]
    assert line.startswith("error: cannot open the event store")
    assert done.stdout == ""


@pytest.fixture(scope="module")
def with_postgres(
    trained: tuple[Path, Settings],
    tmp_path_factory: pytest.TempPathFactory,
    own_postgres: Postgres,
    make_server: Any,
) -> Iterator[Any]:
    """A running endpoint whose events lie in PostgreSQL."""
    root = tmp_path_factory.mktemp("with_postgres")
    shutil.copytree(trained[0] / "models/hybrid", root / "models/hybrid")
    shutil.copy(trained[0] / "params.yaml", root / "params.yaml")
    variables = {
        "BOWERBIRD_SERVE__EVENTS_URL": own_postgres.database(),
        "BOWERBIRD_SERVE__EXPERIMENT": "{name: outage, model: champion}",
        "BOWERBIRD_SERVE__MAX_IMPRESSIONS": "150",
    }
    server = make_server(root, variables).start()
    yield server
    server.stop()


@pytest.mark.parametrize("how", ["stopped", "paused"])
def test_the_endpoint_answers_while_postgresql_is_away(
    with_postgres: Any, own_postgres: Postgres, how: str
) -> None:
    took: list[float] = []
    with with_postgres.client() as client:

        def ask(method: str, path: str, status: int = 200, **options: Any) -> Any:
            started = time.monotonic()
            answer = client.request(method, path, **options)
            took.append(time.monotonic() - started)
            assert answer.status_code == status, answer.text
            return answer.json()

        def recommend(user: str, k: int = 5) -> list[str]:
            answer = ask("POST", "/recommend", json={"user_id": user, "k": k})
            assert len(answer["items"]) == k
            return [item["item_id"] for item in answer["items"]]

        def buy(item: str, status: int = 200) -> Any:
            body = {"user_id": "anna", "item_id": item, "event": "purchase"}
            return ask("POST", "/feedback", status, json=body)

        item = recommend("anna")[0]
        buy(item)
        recommend("anna")
        before = ask("GET", "/status")
        ask("GET", "/experiments")
        # The first of each kind takes longer, whatever the store does.
        ask("POST", "/rerank", json={"user_id": "anna", "item_ids": [item]})
        ask("POST", "/conversation", json={"user_id": "first", "message": "a mug"})
        took.clear()
        with away(own_postgres, how):
            for number in range(6):
                # What anna did lately is in memory and goes on counting.
                assert item not in recommend("anna", 5 + number)
                recommend(f"new{how}{number}")
                ask("POST", "/rerank", json={"user_id": "anna", "item_ids": [item]})
                ask("POST", "/conversation", json={"user_id": f"x{number}", "message": "a mug"})
                time.sleep(0.3)
            assert "could not be written" in buy(item, 503)["error"]
            status = ask("GET", "/status")
            assert status["events_today"] == before["events_today"]
            assert not status["store"]["reachable"]
            assert "last read" in status["store"]["note"]
            assert status["store"]["problem"].startswith("event store unreachable since 20")
            assert status["store"]["dropped"]["store down"] > 5
            assert "last read" in ask("GET", "/experiments")["note"]
            ready = ask("GET", "/readyz")["problems"]["event store"]
            assert ready == status["store"]["problem"] == status["problems"]["event store"]
            error = ask("GET", "/users/anna/history", 503)["error"]
            assert "could not be read" in error
            metrics = client.get("/metrics").text
            assert "bowerbird_answers_without_store_total" in metrics
        assert max(took) < SLOW

        def is_back() -> bool:
            return bool(ask("GET", "/status")["store"]["reachable"])

        wait_until(is_back)
        buy(item)
        recommend("anna")
        assert ask("GET", "/status")["store"]["note"] is None
    text = with_postgres.log.read_text()
    assert "Traceback" not in text
    assert len([line for line in text.splitlines() if "event store" in line]) <= 8


@pytest.mark.slow
def test_the_endpoint_answers_robots_and_floods_and_logs_little_of_it(with_postgres: Any) -> None:
    with with_postgres.client() as client:
        before = client.get("/status").json()
        robot = {"user-agent": "Mozilla/5.0 (compatible; Googlebot/2.1)"}
        for _ in range(20):
            answer = client.post("/recommend", json={"user_id": "anna"}, headers=robot)
            assert answer.json()["impression_id"]
        for number in range(350):
            body = {"session_id": f"invented-{number}", "k": 3}
            assert len(client.post("/recommend", json=body).json()["items"]) == 3
        after = client.get("/status").json()
    assert after["store"]["dropped"]["robot"] == 20
    # The minute may have turned once, so 300 of them at most were logged.
    assert after["store"]["dropped"]["quota"] >= 50
    assert after["impressions_today"] - before["impressions_today"] <= 300
    assert after["impressions_dropped"] == sum(after["store"]["dropped"].values())
