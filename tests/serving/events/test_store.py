"""The event store, on SQLite and on a real PostgreSQL."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq
import pytest
import sqlalchemy as sa

from components.data import ingest
from components.data.schema import INTERACTIONS
from components.data.sources.files import connect
from components.data.sources.interactions import feedback_of
from components.file_erasure import plain_hash
from components.settings import Ingest, Settings, Source
from serving.events.catalogue_table import put_items
from serving.events.errors import StoreBusy, StoreError
from serving.events.event_erasure import erase, export_profile, read_erasures
from serving.events.export import export_events, export_impressions, export_items
from serving.events.migrations import VERSION_TABLE
from serving.events.store import EventStore
from serving.events.tables import ERASURES, EVENTS
from serving.events.traffic import activity

NOON = 1_795_521_600_000_000


def event(number: int, **other: Any) -> dict[str, Any]:
    return {
        "event_id": f"e{number}",
        "user_id": f"u{number % 3}",
        "item_id": f"i{number}",
        "event": "click",
        "timestamp": NOON + number * 1_000_000,
        **other,
    }


@pytest.fixture
def store(url: str) -> Iterator[EventStore]:
    store = EventStore(url)
    yield store
    store.close()


def test_a_database_of_an_earlier_version_gets_the_new_columns(url: str) -> None:
    with contextlib.closing(EventStore(url)) as store:
        store.submit([event(1)]).result(10)
        with store.database.engine.begin() as connection:
            for name in ("client", "authentication"):
                connection.exec_driver_sql(f"ALTER TABLE events DROP COLUMN {name}")
            connection.exec_driver_sql(f"DROP TABLE {VERSION_TABLE}")
    with contextlib.closing(EventStore(url)) as store:
        assert store.submit([event(2, client="c", authentication="shop")]).result(10) == [True]
        users = ("user:u1", "user:u2")
        kept = [row for user in users for row in export_profile(store.database, user)["events"]]
    assert [(row["item_id"], row["authentication"]) for row in kept] == [
        ("i1", None),
        ("i2", "shop"),
    ]


def test_an_event_is_kept_once(store: EventStore) -> None:
    assert store.submit([event(1), event(2)]).result(10) == [True, True]
    assert store.submit([event(2), event(3), event(3)]).result(10) == [False, True, False]
    assert [row[2] for row in store.history.events_after(0)] == ["i1", "i2", "i3"]


def test_many_senders_at_once_lose_and_double_nothing(url: str) -> None:
    stores = [EventStore(url) for _ in range(2)]  # two workers
    new = []

    def send(part: int) -> None:
        store = stores[part % 2]
        # Every event comes from two senders.
        futures = [store.submit([event(n)]) for n in range(part // 2 * 100, part // 2 * 100 + 100)]
        new.append(sum(future.result(30)[0] for future in futures))

    threads = [threading.Thread(target=send, args=(part,)) for part in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    rows = stores[0].history.events_after(0)
    assert sum(new) == 400
    assert sorted(row[2] for row in rows) == sorted(f"i{n}" for n in range(400))
    for store in stores:
        store.close()


def test_a_reader_that_follows_the_row_ids_misses_nothing(url: str) -> None:
    writers, reader = [EventStore(url) for _ in range(2)], EventStore(url)
    done = threading.Event()
    seen: list[str] = []

    def follow() -> None:
        last = 0
        while True:
            finished = done.is_set()
            rows = reader.history.events_after(last)
            seen.extend(row[2] for row in rows)
            last = rows[-1][0] if rows else last
            if finished and not rows:
                return

    follower = threading.Thread(target=follow)
    follower.start()
    futures = [writers[n % 2].submit([event(n)]) for n in range(600)]
    for future in futures:
        future.result(30)
    done.set()
    follower.join(30)
    assert sorted(seen) == sorted(f"i{n}" for n in range(600))
    for store in (*writers, reader):
        store.close()


def test_late_events_come_in_their_place(store: EventStore) -> None:
    rows = [event(n, user_id="anna", timestamp=NOON + n) for n in (5, 1, 3)]
    store.submit(rows).result(10)
    assert [row[2] for row in store.history.newest_events("user:anna", 10)] == ["i1", "i3", "i5"]
    assert [row[2] for row in store.history.newest_events("user:anna", 2)] == ["i3", "i5"]


def test_a_full_queue_refuses_instead_of_losing(tmp_path: Path) -> None:
    store = EventStore(f"sqlite:///{tmp_path}/events.db", max_pending=5)
    with pytest.raises(StoreBusy):
        store.submit([event(n) for n in range(6)])
    assert store.submit([event(n) for n in range(5)]).result(10) == [True] * 5
    store.close()
    assert len(EventStore(f"sqlite:///{tmp_path}/events.db").history.events_after(0)) == 5


def test_what_cannot_be_written_is_not_acknowledged(store: EventStore) -> None:
    with store.database.engine.begin() as connection:
        connection.execute(sa.text("DROP TABLE events"))
    with pytest.raises(StoreError):
        store.submit([event(1)]).result(10)


def test_closing_writes_what_waits(url: str) -> None:
    store = EventStore(url)
    futures = [store.submit([event(n)]) for n in range(50)]
    store.close()
    assert all(future.result(0) == [True] for future in futures)
    with pytest.raises(StoreError):
        store.submit([event(99)])


def test_hostile_ids_are_only_text(store: EventStore) -> None:
    nasty = "x'); DROP TABLE events; --"
    store.submit([event(1, event_id=nasty, user_id=nasty, item_id=nasty)]).result(10)
    assert store.history.newest_events(f"user:{nasty}", 5)[0][2] == nasty
    assert erase(store, "user:x' OR '1'='1").rows["events"] == 0
    assert len(store.history.events_after(0)) == 1


def test_export_is_what_ingest_reads(store: EventStore, tmp_path: Path, settings: Settings) -> None:
    store.submit(
        [
            event(1, event="purchase", quantity=2.0, price=2.5, impression_id="imp", order_id="o1"),
            event(2, user_id=None, session_id="s9"),
            event(3, event="rating", rating=4.0),
        ]
    ).result(10)
    files = export_events(store.database, tmp_path / "data/feedback")
    assert pq.read_schema(files[0]).equals(INTERACTIONS)
    connection = connect(settings.ingest.timezone)
    table = feedback_of(connection, Path("data/feedback"), tmp_path)[0].execute()
    assert table["user_id"].tolist() == ["u1", "session:s9", "u0"]
    assert table["impression_id"].tolist()[0] == "imp"
    assert table["order_id"].tolist() == ["o1", None, None]
    assert table["timestamp"].iloc[0] == pd.Timestamp(NOON + 1_000_000, unit="us", tz="UTC")
    assert table["rating"].iloc[2] == 4.0


def test_exported_products_keep_the_levels_of_their_categories(
    store: EventStore, tmp_path: Path, settings: Settings
) -> None:
    levels = {"a": ["Food/Drink", "Tea > Green", "x|y"], "b": ["Home"], "c": [], "d": None}
    put_items(
        store.database,
        [
            {"item_id": name, "title": f"title {name}", "categories": levels[name]}
            for name in levels
        ],
    )
    (file,) = export_items(store.database, tmp_path / "data/catalogue")
    names = ("item_id", "title", "brand", "category", "price", "currency", "available")
    columns = {name: name for name in names}
    (tmp_path / "lines.csv").write_text("user,item,time\nu,a,2026-01-01\n")
    lines = {"user_id": "user", "item_id": "item", "timestamp": "time"}
    section = Ingest(
        interactions=[Source(path=Path("lines.csv"), columns=lines)],
        items=[Source(path=file, columns=columns, category_separator=">")],
    )
    ingest.run(settings.model_copy(update={"ingest": section}), tmp_path)
    items = pd.read_parquet(tmp_path / "data/raw/items.parquet").set_index("item_id")
    assert items.index.tolist() == ["a", "b", "c", "d"]
    found = items["categories"].map(list).to_dict()
    assert found == {name: own or [] for name, own in levels.items()}


def test_export_writes_only_what_changed(store: EventStore, tmp_path: Path) -> None:
    store.submit([event(n) for n in range(6)]).result(10)
    with store.database.engine.begin() as connection:  # three of them came yesterday
        yesterday = EVENTS.c.received_at - 86_400_000_000
        connection.execute(
            sa.update(EVENTS).where(EVENTS.c.row_id <= 3).values(received_at=yesterday)
        )
    assert len(export_events(store.database, tmp_path)) == 2
    assert export_events(store.database, tmp_path) == []
    store.submit([event(7)]).result(10)
    assert len(export_events(store.database, tmp_path)) == 1
    assert len(pd.concat(map(pd.read_parquet, tmp_path.glob("*.parquet")))) == 7
    assert not list(tmp_path.glob("*.partial"))


def test_a_damaged_exported_file_is_written_again(store: EventStore, tmp_path: Path) -> None:
    store.submit([event(1), event(2)]).result(10)
    (file,) = export_events(store.database, tmp_path)
    whole = pq.read_table(file)
    file.write_bytes(file.read_bytes()[:-100])
    assert export_events(store.database, tmp_path) == [file]
    assert pq.read_table(file).equals(whole)


def test_a_writer_that_fails_refuses_its_batch_and_goes_on(
    store: EventStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No input is known that makes it fail; should one come, no other event waits for it."""
    commit, failed = store._commit, []

    def fail_once(batch: Any) -> set[str]:
        if not failed:
            failed.append(batch)
            raise ValueError("a defect")
        return commit(batch)

    monkeypatch.setattr(store, "_commit", fail_once)
    with pytest.raises(StoreError, match="see the log"):
        store.submit([event(1)]).result(10)
    assert store.submit([event(2)]).result(10) == [True]


def test_erased_users_leave_store_and_exported_files(store: EventStore, tmp_path: Path) -> None:
    store.submit([event(n) for n in range(9)]).result(10)
    export_events(store.database, tmp_path)
    assert erase(store, "user:u1").rows["events"] == 3
    export_events(store.database, tmp_path)
    left = pd.concat(map(pd.read_parquet, tmp_path.glob("*.parquet")))
    assert sorted(left["user_id"].unique()) == ["u0", "u2"]
    kept = export_profile(store.database, "user:u1")
    assert [name for name, rows in kept.items() if rows] == ["erasures"]
    assert list(read_erasures(store.database).times) == [store.database.profile_hash("user:u1")]
    erase(store, "user:u0")
    erase(store, "user:u2")
    export_events(store.database, tmp_path)
    assert not list(tmp_path.glob("*.parquet"))


def test_hashes_of_an_earlier_version_get_the_key(url: str) -> None:
    with contextlib.closing(EventStore(url)) as store:
        key = store.database.erasure_key
        with store.database.engine.begin() as connection:
            old = {"profile_hash": plain_hash("user:u1"), "erased_at": 5}
            connection.execute(sa.insert(ERASURES), old)
            connection.exec_driver_sql(f"DROP TABLE {VERSION_TABLE}")
    with contextlib.closing(EventStore(url)) as store:
        assert store.database.erasure_key == key
        assert read_erasures(store.database).times == {store.database.profile_hash("user:u1"): 5}
        assert store.database.profile_hash("user:u1") != plain_hash("user:u1")


def test_a_users_sessions_are_erased_and_a_sessions_name_leaves_users_events(
    store: EventStore,
) -> None:
    rows = [
        event(1, user_id="anna", session_id="s1"),
        event(2, user_id=None, session_id="s1"),  # before she said who she is
        event(3, user_id="ben", session_id="s2"),
        event(4, user_id=None, session_id="s2"),
    ]
    store.submit(rows).result(10)
    erased = erase(store, "user:anna")
    assert (erased.profiles, erased.rows["events"]) == (("user:anna", "session:s1"), 2)
    assert erased.user_ids == ("anna", "session:s1")
    erased = erase(store, "session:s2")
    assert (erased.rows["events"], erased.rows["sessions"]) == (1, 1)
    (kept,) = export_profile(store.database, "user:ben")["events"]
    assert (kept["item_id"], kept["session_id"]) == ("i3", None)


def test_what_another_worker_has_queued_is_erased_too(url: str) -> None:
    shown = {"impression_id": "imp", "user_id": "anna", "session_id": None, "item_ids": "[]"}
    shown |= {"scores": "[]", "propensities": "[]", "model_version": "3", "source": "hybrid"}
    with contextlib.closing(EventStore(url)) as here, contextlib.closing(EventStore(url)) as there:
        there.log_impression({**shown, "timestamp": NOON})
        here.log_impression({**shown, "impression_id": "own", "timestamp": NOON})
        assert erase(here, "user:anna").rows["impressions"] == 2
        assert export_profile(here.database, "user:anna")["impressions"] == []


def test_sqlite_keeps_no_byte_of_an_erased_person(tmp_path: Path) -> None:
    with contextlib.closing(EventStore(f"sqlite:///{tmp_path}/events.db")) as store:
        store.submit([event(n, user_id=f"anna-{n % 2}") for n in range(500)]).result(10)
        assert erase(store, "user:anna-1").overwritten
        files = list(tmp_path.glob("events.db*"))
        assert len(files) >= 2
        left = [file for file in files if b"anna-1" in file.read_bytes()]
        assert left == []
        assert len(export_profile(store.database, "user:anna-0")["events"]) == 250


def test_impressions_are_exported_for_the_watch(store: EventStore, tmp_path: Path) -> None:
    shown = {
        "impression_id": "imp",
        "user_id": "u1",
        "session_id": None,
        "item_ids": '["a","b"]',
        "scores": "[2.0,1.0]",
        "propensities": "[1.0,1.0]",
        "model_version": "3",
        "source": "hybrid",
        "timestamp": NOON,
    }
    assert store.log_impression(shown)
    store.submit([event(1)]).result(10)  # the queue is first in, first out
    (file,) = export_impressions(store.database, tmp_path)
    row = pd.read_parquet(file).iloc[0]
    assert (row["impression_id"], row["model_version"]) == ("imp", "3")
    assert row["item_ids"].tolist() == ["a", "b"]
    assert export_profile(store.database, "user:u1")["impressions"][0]["impression_id"] == "imp"


@pytest.mark.parametrize("wrong", ["mysql://x/y", "no url", "sqlite://"])
def test_a_wrong_url_is_named(wrong: str) -> None:
    with pytest.raises(StoreError, match=r"serve\.events_url"):
        EventStore(wrong)


def test_activity_counts_what_was_shown_done_and_followed_by_the_hour(store: EventStore) -> None:
    hour = 3600 * 1_000_000
    since = (time.time_ns() // 1000 // hour - 2) * hour
    shown = {"user_id": "u", "session_id": None, "item_ids": "[]", "scores": "[]"}
    for number, at in enumerate((since + 1, since + 2, since + 2 * hour)):
        row = {"impression_id": f"n{number}", "timestamp": at, "propensities": "[]"}
        assert store.log_impression({**shown, **row, "model_version": "1", "source": "hybrid"})
    events = [event(1, impression_id="n1"), event(2), event(3, event="purchase")]
    assert all(store.submit(events).result(10))
    until = time.monotonic() + 10
    while store.pending and time.monotonic() < until:
        time.sleep(0.02)
    hours = activity(store.database, since, hour)
    assert [one["start"] for one in hours[:3]] == [
        (since + n * hour) // 1_000_000 for n in (0, 1, 2)
    ]
    assert [one["impressions"] for one in hours[:3]] == [2, 0, 1]
    assert hours[0]["events"] == {}
    done = {"click": 0, "purchase": 0}
    for one in hours[2:]:  # the hour may have changed
        for name, count in one["events"].items():
            done[name] += count
    assert done == {"click": 2, "purchase": 1}
    assert sum(one["followed"] for one in hours) == 1


@pytest.mark.parametrize("url", ["postgresql"], indirect=True)
def test_a_reader_whose_connection_was_cut_connects_again(store: EventStore) -> None:
    store.submit([event(1)]).result(10)
    assert len(store.history.events_after(0)) == 1
    cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
    with store.database.engine.connect() as other:
        other.execute(sa.text(f"{cut} AND datname = current_database()"))
    assert len(store.history.events_after(0)) == 1
    assert store.submit([event(2)]).result(10) == [True]
    assert len(store.history.newest_events("user:u2", 10)) == 1


def test_what_cannot_be_read_is_a_store_error(store: EventStore) -> None:
    with store.database.engine.begin() as connection:
        EVENTS.drop(connection)
    with pytest.raises(StoreError, match="try again"):
        store.history.events_after(0)


def test_exported_events_know_the_list_and_the_place_that_led_to_them(
    store: EventStore, tmp_path: Path, settings: Settings
) -> None:
    shown = {"impression_id": "imp", "user_id": "u1", "session_id": None, "timestamp": NOON}
    shown |= {"scores": "[2,1]", "propensities": "[1,1]", "model_version": "3", "source": "hybrid"}
    assert store.log_impression({**shown, "item_ids": '["a","b"]'})
    rows = [
        event(1, item_id="b", impression_id="imp"),
        event(2, item_id="a", impression_id="imp"),
        event(3, item_id="c", impression_id="imp"),  # found on the way
        event(4, item_id="a", impression_id="expired"),
        event(5, item_id="a"),  # organic
    ]
    store.submit(rows).result(10)
    export_events(store.database, tmp_path / "data/feedback")
    connection = connect(settings.ingest.timezone)
    table = feedback_of(connection, Path("data/feedback"), tmp_path)[0].execute()
    assert table["impression_id"].tolist() == ["imp", "imp", "imp", "expired", None]
    assert table["list_source"].tolist() == ["hybrid", "hybrid", "hybrid", None, None]
    assert table["position"].fillna(0).tolist() == [2, 1, 0, 0, 0]
