"""What retention removes is counted first, and what is full drops impressions, never purchases."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import sqlalchemy as sa

from components.settings import Retention as Settings
from serving.events.errors import StoreError
from serving.events.event_erasure import erase, export_profile
from serving.events.export import export_impressions
from serving.events.retention import BATCH, Retention, used_bytes
from serving.events.store import EventStore
from serving.events.tables import DAY, HOUR, IMPRESSIONS
from serving.events.traffic import activity, count_events, count_impressions, removed_impressions
from tests.conftest import absent
from tests.postgres import new_database
from tests.processes import wait_until


def now() -> int:
    return time.time_ns() // 1000


def impression(number: int, timestamp: int, **other: Any) -> dict[str, Any]:
    return {
        "impression_id": f"imp{number}",
        "user_id": f"u{number % 5}",
        "session_id": None,
        "item_ids": '["a","b","c"]',
        "scores": "[3.0,2.0,1.0]",
        "propensities": "[1.0,1.0,1.0]",
        "model_version": "3",
        "source": "hybrid",
        "timestamp": timestamp,
        **other,
    }


def event(number: int, **other: Any) -> dict[str, Any]:
    row = {"event_id": f"e{number}", "user_id": "u", "item_id": "a", "event": "click"}
    return {**row, "timestamp": now(), **other}


def logged(store: EventStore) -> int:
    with store.database.connected() as connection:
        return connection.scalar(sa.select(sa.func.count()).select_from(IMPRESSIONS)) or 0


def fill(store: EventStore, rows: list[dict[str, Any]]) -> None:
    assert all(store.log_impression(row) for row in rows)
    wait_until(lambda: not store.pending)


def test_old_impressions_are_counted_by_the_hour_and_removed(url: str) -> None:
    old = (now() // DAY - 100) * DAY + 5 * HOUR
    rows = [impression(n, old + n, source="rerank" if n % 4 == 0 else "hybrid") for n in range(600)]
    fresh = [impression(1_000 + n, now()) for n in range(3)]
    with contextlib.closing(EventStore(url)) as before:
        fill(before, rows + fresh)
        before.submit([event(n, impression_id=f"imp{n}") for n in range(8)]).result(10)
        since = old // DAY * DAY
        shown = count_impressions(before.database, since)
        hours = activity(before.database, since, HOUR)
    with contextlib.closing(EventStore(url, retention=Retention(Settings()))) as store:
        wait_until(lambda: logged(store) == 3)
        assert removed_impressions(store.database) == [
            {
                "hour": old // HOUR,
                "model_version": "3",
                "source": source,
                "impressions": impressions,
                "items": 3 * impressions,
                "followed": followed,
            }
            for source, impressions, followed in (("hybrid", 450, 6), ("rerank", 150, 2))
        ]
        # What the operator sees is the same as before.
        assert count_impressions(store.database, since) == shown == 603
        same = slice(0, len(hours))
        assert activity(store.database, since, HOUR)[same] == hours
        assert len(export_profile(store.database, "user:u1")["impressions"]) == 1


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
def test_a_flood_stays_below_the_size_limit_and_purchases_are_kept(url: str) -> None:
    limit = Settings(max_store_mb=2)
    with contextlib.closing(EventStore(url, retention=Retention(limit))) as store:
        file = Path(store.database.location)
        largest = 0
        for part in range(6):
            wide = json.dumps(["x" * 100] * 10)
            for n in range(1_000):
                store.log_impression(impression(part * 1_000 + n, now(), item_ids=wide))
            bought = store.submit([event(part, event="purchase")])
            assert bought.result(10) == [True]
            store._retention_at = 0.0  # as if the five seconds to the next look were over
            time.sleep(0.5)
            largest = max(largest, file.stat().st_size)
        assert store.retention is not None
        wait_until(lambda: (store.retention.used if store.retention else 0) <= 2e6)
        # Pages are used again: 6,000 impressions of 1.4 kB do not make a file of 9 MB.
        assert largest < 5e6
        counted = sum(one["impressions"] for one in removed_impressions(store.database))
        dropped = store.dropped["store full"]
        assert counted > 0
        wait_until(lambda: logged(store) + _counted(store) + store.impressions_dropped == 6_000)
        assert dropped == store.impressions_dropped
        assert sum(count_events(store.database).values()) == 6


def _counted(store: EventStore) -> int:
    return sum(one["impressions"] for one in removed_impressions(store.database))


@pytest.mark.parametrize("url", ["postgresql"], indirect=True)
def test_the_size_limit_holds_in_postgresql(url: str) -> None:
    wide = json.dumps(["x" * 100] * 10)
    with contextlib.closing(EventStore(url)) as store:
        fill(store, [impression(n, now(), item_ids=wide) for n in range(4_000)])
        with store.database.connected() as connection:
            size = sa.text("SELECT pg_total_relation_size('impressions')")
            real = connection.scalar(size)
    retention = Retention(Settings(max_store_mb=2))
    with contextlib.closing(EventStore(url, retention=retention)) as store:
        wait_until(lambda: retention.used > 0)
        assert 0.5 < retention.used / real < 2 or retention.removed
        wait_until(lambda: 0 < retention.used <= 2e6 and not retention.is_full)
        assert logged(store) + _counted(store) == 4_000
        assert store.log_impression(impression(9_999, now()))


def test_events_that_are_sent_again_do_not_fill_postgresql(postgres: str) -> None:
    with contextlib.closing(EventStore(new_database(postgres))) as store:
        for _ in range(30):
            store.submit([event(number) for number in range(300)]).result(10)

        def used() -> int:
            with store.database.connected() as connection:
                return used_bytes(connection, is_postgres=True)

        with store.database.connected() as connection:
            rows = "SELECT sum(pg_column_size(events)) FROM events"
            real = connection.exec_driver_sql(rows).scalar_one()
        assert real < used() < 6 * real  # with its indexes; thirty times as much by row ids


def test_a_disk_that_is_nearly_full_drops_impressions_and_keeps_events(tmp_path: Path) -> None:
    retention = Retention(Settings(min_free_mb=1e9))
    url = f"sqlite:///{tmp_path}/events.db"
    with contextlib.closing(EventStore(url, retention=retention)) as store:
        wait_until(lambda: retention.is_full)
        assert not store.log_impression(impression(1, now()))
        assert store.submit([event(1, event="purchase")]).result(10) == [True]
        assert dict(store.dropped) == {"store full": 1}
        assert "disk" in retention.why


@pytest.fixture
def small_disk() -> Iterator[Path]:
    """A file system of 32 MB."""
    folder = Path(tempfile.mkdtemp(prefix="bowerbird-disk-"))
    mount = ["mount", "-t", "tmpfs", "-o", "size=32m", "tmpfs", str(folder)]
    if os.getuid() or subprocess.run(mount, capture_output=True, check=False).returncode:
        folder.rmdir()
        absent("mounting a small file system needs root")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)
    folder.rmdir()


def test_on_a_full_disk_purchases_take_the_place_of_impressions(small_disk: Path) -> None:
    retention = Retention(Settings(min_free_mb=0))
    url = f"sqlite:///{small_disk}/events.db"
    with contextlib.closing(EventStore(url, retention=retention)) as store:
        fill(store, [impression(n, now()) for n in range(3_000)])
        wait_until(lambda: Path(f"{store.database.location}-reserve").exists())
        with contextlib.suppress(OSError), (small_disk / "rubbish").open("wb", 0) as rubbish:
            while True:
                rubbish.write(bytes(4096))
        assert shutil.disk_usage(small_disk).free == 0
        acknowledged = 0
        for number in range(150):
            store.log_impression(impression(10_000 + number, now()))
            rows = [event(number * 100 + n, event="purchase", item_id="x" * 200) for n in range(20)]
            with contextlib.suppress(StoreError):
                acknowledged += sum(store.submit(rows).result(10))
        assert acknowledged == 3_000
        assert count_events(store.database) == {"purchase": 3_000}
        assert store.dropped["store full"] > 0
        assert retention.is_full
        assert retention.removed > 0
        wait_until(lambda: store.pending == 0)


CRASH = """
import sys, time
from components.settings import Retention as Settings
from serving.events import retention
from serving.events.store import EventStore
retention.BATCH_PAUSE = 0.02  # a third of a second for all
store = EventStore(sys.argv[1], retention=retention.Retention(Settings()))
print("ready", flush=True)
time.sleep(60)
"""


@pytest.mark.slow
@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
def test_a_kill_amid_removing_counts_nothing_twice_and_loses_nothing(url: str) -> None:
    old = (now() // DAY - 100) * DAY
    with contextlib.closing(EventStore(url)) as store:
        fill(store, [impression(n, old + n) for n in range(8_000)])
        for _ in range(2):
            already = _counted(store)
            command = [sys.executable, "-c", CRASH, url]
            with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
                assert process.stdout is not None
                assert process.stdout.readline() == b"ready\n"
                while _counted(store) <= already:
                    assert process.poll() is None
                    time.sleep(0.001)
                process.send_signal(signal.SIGKILL)
            assert logged(store) + _counted(store) == 8_000


def test_what_expired_stays_in_the_exported_files_and_what_was_erased_leaves_them(
    url: str, tmp_path: Path
) -> None:
    first, second = ((now() // DAY - days) * DAY for days in (100, 99))
    rows = [impression(n, first + n) for n in range(10)]
    rows += [impression(10 + n, second + n) for n in range(10)]
    rows += [impression(100 + n, now()) for n in range(5)]
    folder = tmp_path / "exported"

    def exported() -> pd.DataFrame:
        return pd.concat(map(pd.read_parquet, folder.glob("*.parquet")))

    with contextlib.closing(EventStore(url)) as store:
        fill(store, rows)
        assert len(export_impressions(store.database, folder)) == 3
        # One day whole, the other in part.
        assert Retention(Settings()).remove_oldest(store.database, second + 5) == 15
        export_impressions(store.database, folder)
        assert sorted(exported()["impression_id"]) == sorted(row["impression_id"] for row in rows)
        assert export_impressions(store.database, folder) == []
        erase(store, "user:u1")
        assert len(export_impressions(store.database, folder)) == 3
        left = exported()
        assert sorted(left["user_id"].unique()) == ["u0", "u2", "u3", "u4"]
        assert len(left) == 20
        for user in ("u0", "u2", "u3", "u4"):
            erase(store, f"user:{user}")
        export_impressions(store.database, folder)
        assert not list(folder.glob("*"))
        # A returning user is known by the events after the erasure.
        fill(store, [impression(200, now(), user_id="u1")])
        export_impressions(store.database, folder)
        assert exported()["user_id"].tolist() == ["u1"]


def test_events_wait_for_one_batch_at_most(url: str) -> None:
    old = (now() // DAY - 100) * DAY
    with contextlib.closing(EventStore(url)) as store:
        fill(store, [impression(n, old + n) for n in range(4 * BATCH)])
    with contextlib.closing(EventStore(url, retention=Retention(Settings()))) as store:
        slowest = 0.0
        for number in range(30):
            started = time.perf_counter()
            assert store.submit([event(number)]).result(10) == [True]
            slowest = max(slowest, time.perf_counter() - started)
        wait_until(lambda: logged(store) == 0)
        assert slowest < 2.0  # of a machine that others use too; about 0.03 by itself
