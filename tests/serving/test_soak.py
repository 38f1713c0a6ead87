"""Mixed traffic for half an hour while workers are killed, PostgreSQL stops, models break.

$BOWERBIRD_SOAK_MINUTES: how long (default 30). ``make test-soak``.
"""

from __future__ import annotations

import os
import random
import shutil
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import httpx
import psutil
import pytest
import sqlalchemy as sa

from tests.postgres import Postgres
from tests.processes import command_line
from tests.serving.events.test_durability import point
from tests.serving.test_startup import Endpoint, launch  # noqa: F401 (a fixture)

MINUTES = float(os.environ.get("BOWERBIRD_SOAK_MINUTES", "30"))
KEYS = {"BOWERBIRD_API_KEY": "shop", "BOWERBIRD_OPERATOR_KEY": "operator"}
CALM = 6.0
"""Seconds between two disturbances."""
RECOVERY = 3.0
"""Seconds after the database is back until events must be taken again."""


class Traffic:
    """Clients of an endpoint. acknowledged: ids of events. failures: (time, route, what)."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.over = threading.Event()
        self.acknowledged: list[str] = []
        self.failures: list[tuple[float, str, str]] = []
        self.answers = 0
        self._threads = [
            threading.Thread(target=self._run, args=(one,))
            for one in (self._shop, self._shop, self._session, self._stranger)
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def end(self) -> None:
        self.over.set()
        for thread in self._threads:
            thread.join(60)
            assert not thread.is_alive()

    def _run(self, steps: Callable[[httpx.Client, random.Random], None]) -> None:
        draw = random.Random()
        while not self.over.is_set():
            with httpx.Client(base_url=self.url, timeout=30) as client:
                while not self.over.is_set():
                    try:
                        steps(client, draw)
                    except httpx.TransportError as error:  # the worker of this connection is gone
                        self.failures.append((time.monotonic(), "connection", repr(error)))
                        time.sleep(0.05)
                        break

    def _post(self, client: httpx.Client, route: str, body: object, **headers: str) -> int:
        answer = client.post(route, json=body, headers=headers)
        self.answers += 1
        if answer.status_code >= 500:
            self.failures.append((time.monotonic(), route, f"{answer.status_code} {answer.text}"))
        return answer.status_code

    def _shop(self, client: httpx.Client, draw: random.Random) -> None:
        key = {"x-api-key": "shop"}
        user = f"u{draw.randrange(500)}"
        self._post(client, "/recommend", {"user_id": user, "k": 8}, **key)
        event = {"event_id": uuid.uuid4().hex, "user_id": user, "item_id": "85123A"}
        if self._post(client, "/feedback", {**event, "event": "click"}, **key) == 200:
            self.acknowledged.append(event["event_id"])
        time.sleep(0.01)

    def _session(self, client: httpx.Client, draw: random.Random) -> None:
        self._post(client, "/search", {"query": "red bag", "k": 5})
        self._post(client, "/similar", {"item_ids": ["85123A"], "k": 5})
        self._post(client, "/conversation", {"message": "a gift under 10 pounds"})
        time.sleep(0.05)

    def _stranger(self, client: httpx.Client, draw: random.Random) -> None:
        """Send what is refused: without a key, too long, broken."""
        self._post(client, "/feedback", {"user_id": "x", "item_id": "y", "event": "view"})
        self._post(client, "/recommend", {"k": -1})
        self._post(client, "/recommend", {"recent": ["x" * 300]})
        time.sleep(0.05)


def tree(process: psutil.Process) -> list[psutil.Process]:
    return [process, *process.children(recursive=True)]


def memory(process: psutil.Process) -> float:
    """Return the MB that the processes hold for themselves, mapped files left out."""
    total = 0
    for one in tree(process):
        with suppress(psutil.NoSuchProcess):
            total += one.memory_full_info().uss
    return total / 1e6


@pytest.fixture
def slow_clients() -> Iterator[list[socket.socket]]:
    opened: list[socket.socket] = []
    yield opened
    for one in opened:
        one.close()


@pytest.mark.soak
@pytest.mark.timeout(MINUTES * 60 + 900)
def test_nothing_is_lost_and_nothing_grows(
    launch: Callable[..., Endpoint],  # noqa: F811
    shop_root: Path,
    own_postgres: Postgres,
    slow_clients: list[socket.socket],
) -> None:
    for version in ("1", "2", "9"):
        shutil.copytree(shop_root / "models/hybrid", shop_root / f"var/serving/models/{version}")
    ranker = shop_root / "var/serving/models/9/ranker.txt"
    os.truncate(ranker, ranker.stat().st_size // 2)
    point(shop_root, "1", "var/serving/models/1")
    url = own_postgres.database()
    endpoint = launch(shop_root, "--workers", "2", BOWERBIRD_SERVE__EVENTS_URL=url, **KEYS)
    endpoint.wait()
    process = psutil.Process(endpoint.process.pid)
    address = (endpoint.client.base_url.host, endpoint.client.base_url.port or 0)
    allowed: list[tuple[float, float]] = []  # seconds in which events may be refused

    def running(module: str) -> list[psutil.Process]:
        return [one for one in tree(process) if module in command_line(one)]

    def workers() -> list[psutil.Process]:
        return running("_bentoml_impl.worker.service")

    def kill_worker() -> None:
        random.choice(workers()).kill()

    def kill_ranking() -> None:
        random.choice(running("serving.recommend.worker")).kill()

    def restart_store() -> None:
        begun = time.monotonic()
        own_postgres.stop()
        time.sleep(3)
        own_postgres.start()
        allowed.append((begun - 0.5, time.monotonic() + RECOVERY))

    def promote() -> None:
        version = random.choice("12")
        point(shop_root, version, f"var/serving/models/{version}")

    def bad_model() -> None:
        point(shop_root, "9", "var/serving/models/9")
        time.sleep(3)
        promote()

    def stall() -> None:
        for one in slow_clients:
            one.close()
        slow_clients[:] = [socket.create_connection(address) for _ in range(100)]
        for one in slow_clients:
            one.sendall(b"POST /recommend HTTP/1.1\r\nhost: localhost\r\nx-slow: ")

    disturbances = [kill_worker, kill_ranking, restart_store, promote, bad_model, stall]
    traffic = Traffic(str(endpoint.client.base_url))
    traffic.start()
    time.sleep(20)
    sizes: list[float] = []
    until = time.monotonic() + MINUTES * 60
    while time.monotonic() < until:
        for disturb in random.sample(disturbances, len(disturbances)):
            while len(workers()) < 2:
                time.sleep(0.2)
            disturb()
            time.sleep(CALM)
            assert endpoint.process.poll() is None, endpoint.log.read_text()[-3000:]
        sizes.append(memory(process))
        print(
            f"{traffic.answers:,} answers, {len(traffic.acknowledged):,} events, {sizes[-1]:.0f} MB"
        )
    traffic.end()

    engine = sa.create_engine(sa.make_url(url).set(drivername="postgresql+psycopg"))
    with engine.connect() as connection:
        kept = list(connection.scalars(sa.text("SELECT event_id FROM events")))
    engine.dispose()
    assert len(traffic.acknowledged) > 100
    assert set(traffic.acknowledged) <= set(kept), "an acknowledged event is lost"
    assert len(kept) == len(set(kept))
    outside = [
        failure
        for failure in traffic.failures
        if failure[1] != "connection"  # of the killed worker: the client sends again
        and not any(start <= failure[0] <= end for start, end in allowed)
    ]
    assert not outside, outside[:5]
    half = len(sizes) // 2
    if half >= 3:
        assert max(sizes[half:]) < 1.2 * max(sizes[:half]), sizes
