"""The export goes on where the last one ended: no event twice, none lost, whoever writes when."""

from __future__ import annotations

import contextlib
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import sqlalchemy as sa

from serving.events import export
from serving.events.event_erasure import erase
from serving.events.export import export_events, export_impressions
from serving.events.sign_in import move_session
from serving.events.store import EventStore
from serving.events.tables import DAY, EVENTS
from tests.processes import wait_until


@pytest.fixture
def store(url: str) -> Iterator[EventStore]:
    with contextlib.closing(EventStore(url)) as made:
        yield made


def event(event_id: str, **changed: Any) -> dict[str, Any]:
    now = time.time_ns() // 1000
    row = {"event_id": event_id, "item_id": "i", "event": "click", "timestamp": now}
    return {**row, "user_id": "u", **changed}


def impression(number: int) -> dict[str, Any]:
    same = {"session_id": None, "model_version": "1", "source": "model"}
    lists = {"item_ids": '["i"]', "scores": "[1.0]", "propensities": "[1.0]"}
    row = {"impression_id": f"imp{number}", "user_id": f"u{number % 3}"}
    return {**row, **same, **lists, "timestamp": time.time_ns() // 1000}


def exported(folder: Path) -> Counter[int]:
    """Return how often each row of the store is in the files."""
    found: Counter[int] = Counter()
    for file in folder.glob("*.parquet"):
        found.update(pq.read_table(file, columns=["source_row"])["source_row"].to_pylist())
    return found


def stored(store: EventStore) -> set[int]:
    with store.database.connected() as connection:
        return set(connection.scalars(sa.select(EVENTS.c.row_id)))


def spread_over_days(store: EventStore, days: int) -> None:
    """Have the events received on different days."""
    with store.database.writing() as connection:
        earlier = EVENTS.c.received_at - (EVENTS.c.row_id % days) * DAY
        connection.execute(sa.update(EVENTS).values(received_at=earlier))


def statements(store: EventStore, folder: Path) -> list[str]:
    """Return the statements of an export."""
    seen: list[str] = []

    def note(_: Any, __: Any, statement: str, *___: Any) -> None:
        seen.append(statement)

    sa.event.listen(store.database.engine, "before_cursor_execute", note)
    export_events(store.database, folder)
    sa.event.remove(store.database.engine, "before_cursor_execute", note)
    return seen


def test_only_days_with_new_or_removed_rows_are_read_again(
    store: EventStore, tmp_path: Path
) -> None:
    rows = [event(f"e{n}", user_id=f"u{n % 10}") for n in range(60)]
    store.submit([*rows, event("s", user_id=None, session_id="s")]).result(10)
    spread_over_days(store, 6)
    assert len(export_events(store.database, tmp_path)) == 6
    assert export_events(store.database, tmp_path) == []
    scans = [one for one in statements(store, tmp_path) if "count(" in one]
    assert scans == []
    store.submit([event("new")]).result(10)
    assert len(export_events(store.database, tmp_path)) == 1
    assert exported(tmp_path) == Counter(stored(store))
    erase(store, "user:u3")  # on three of the days
    assert len(export_events(store.database, tmp_path)) == 3
    assert exported(tmp_path) == Counter(stored(store))
    move_session(store, "s", "u4")  # a new row of an old day
    assert len(export_events(store.database, tmp_path)) == 1
    assert exported(tmp_path) == Counter(stored(store))


@pytest.mark.parametrize("how", ["gone", "damaged", "of another database", "a file is gone"])
def test_without_a_position_all_days_are_counted(
    how: str, store: EventStore, tmp_path: Path
) -> None:
    store.submit([event(f"e{n}") for n in range(30)]).result(10)
    spread_over_days(store, 3)
    files = export_events(store.database, tmp_path)
    position = tmp_path / ".events.position.json"
    with store.database.writing() as connection:  # which leaves no trace for the next export
        connection.execute(sa.delete(EVENTS).where(EVENTS.c.row_id == 1))
    if how == "gone":
        position.unlink()
    elif how == "damaged":
        position.write_text('{"row_id": "x"')
    elif how == "of another database":
        position.write_text(position.read_text().replace('"key": "e29"', '"key": "other"'))
    else:
        files[1].unlink()
        assert export_events(store.database, tmp_path) == [files[1]]
        return
    assert len(export_events(store.database, tmp_path)) == 1
    assert exported(tmp_path) == Counter(stored(store))


def test_erased_people_leave_files_of_impressions_too(store: EventStore, tmp_path: Path) -> None:
    for number in range(6):
        store.log_impression(impression(number))
    store.flush()
    export_impressions(store.database, tmp_path)
    erase(store, "user:u1")
    (file,) = export_impressions(store.database, tmp_path)
    assert set(pq.read_table(file)["user_id"].to_pylist()) == {"u0", "u2"}


@pytest.mark.parametrize("after", range(4))
def test_an_export_that_is_killed_is_completed_by_the_next(
    after: int, store: EventStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.submit([event(f"e{n}") for n in range(12)]).result(10)
    spread_over_days(store, 3)
    export_events(store.database, tmp_path)
    store.submit([event(f"f{n}") for n in range(12)]).result(10)
    with store.database.writing() as connection:
        connection.execute(
            sa.update(EVENTS)
            .where(EVENTS.c.row_id > 12)
            .values(received_at=EVENTS.c.received_at - (EVENTS.c.row_id % 3) * DAY)
        )
    write, written = export._write_day, []

    def stop(*arguments: Any) -> None:
        if len(written) == after:
            raise KeyboardInterrupt
        written.append(arguments)
        write(*arguments)

    monkeypatch.setattr(export, "_write_day", stop)
    if after < 3:
        with pytest.raises(KeyboardInterrupt):
            export_events(store.database, tmp_path)
    monkeypatch.setattr(export, "_write_day", write)
    assert len(export_events(store.database, tmp_path)) == 3 - min(after, 3) + 3 * (after == 3)
    assert exported(tmp_path) == Counter(stored(store))


WRITE = """
import random, sys, time
from serving.events.store import EventStore
store = EventStore(sys.argv[1])
name, n = sys.argv[2], 0
print("ready", flush=True)
while True:
    rows = [
        {"event_id": f"{name}-{n + one}", "item_id": "i", "event": "click", "user_id": f"u{one}",
         "timestamp": time.time_ns() // 1000}
        for one in range(random.randrange(1, 40))
    ]
    n += len(rows)
    store.submit(rows).result(30)
    print(*(row["event_id"] for row in rows), flush=True)
"""


def test_nothing_is_lost_or_twice_while_others_write_sign_in_and_erase(
    url: str, store: EventStore, tmp_path: Path
) -> None:
    """Each export has all that was acknowledged before it, once; two writers are killed."""
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", WRITE, url, f"w{number}"], stdout=subprocess.PIPE, text=True
        )
        for number in range(2)
    ]
    acknowledged: set[str] = set()

    def listen(writer: subprocess.Popen[str]) -> None:
        assert writer.stdout is not None
        for line in writer.stdout:
            acknowledged.update(line.split())

    listeners = [threading.Thread(target=listen, args=(one,)) for one in writers]
    for one in listeners:
        one.start()
    draw = random.Random(0)
    try:
        wait_until(lambda: len(acknowledged) > 100, 60)
        for turn in range(12):
            if turn == 8:
                writers[0].send_signal(signal.SIGKILL)
            session = f"s{turn}"
            store.submit([event(session, user_id=None, session_id=session)]).result(30)
            spread = [event(f"own{turn}-{n}", user_id=f"v{n}") for n in range(5)]
            store.submit(spread).result(30)
            if draw.random() < 0.7:
                move_session(store, session, "anna")
            if draw.random() < 0.3:
                erase(store, f"user:v{draw.randrange(5)}")
            before = acknowledged - {"ready"}
            export_events(store.database, tmp_path)
            found = exported(tmp_path)
            assert set(found.values()) == {1}
            with store.database.connected() as connection:
                of_row = dict(
                    iter(connection.execute(sa.select(EVENTS.c.row_id, EVENTS.c.event_id)))
                )
            assert before <= {of_row[row] for row in found}
    finally:
        for writer in writers:
            writer.kill()
            writer.wait()
        for one in listeners:
            one.join()
    export_events(store.database, tmp_path)
    assert exported(tmp_path) == Counter(stored(store))


def test_a_transaction_that_commits_late_holds_back_later_rows(
    store: EventStore, tmp_path: Path
) -> None:
    """Its row has the lower id: rows of other writers are not visible before it."""
    store.submit([event("first")]).result(10)
    with contextlib.closing(EventStore(str(_url(store)))) as other:
        with store.database.transaction(None) as connection:
            late = {**event("late"), "profile": "user:u", "received_at": time.time_ns() // 1000}
            connection.execute(sa.insert(EVENTS).values(quantity=1.0, **late))
            pending = other.submit([event("other")])
            time.sleep(0.3)
            assert not pending.done()
            export_events(other.database, tmp_path)
            assert len(exported(tmp_path)) == 1
        assert pending.result(30) == [True]
        export_events(other.database, tmp_path)
        assert exported(tmp_path) == Counter(stored(store))
        assert len(exported(tmp_path)) == 3


def _url(store: EventStore) -> str:
    url = store.database.engine.url
    if not store.database.is_postgres:
        return f"sqlite:///{url.database}"
    return url.set(drivername="postgresql").render_as_string(hide_password=False)
