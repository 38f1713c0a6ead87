"""Two endpoints on one PostgreSQL, each with a folder of its own, as on two machines.

As root each is in a network namespace of its own and reaches PostgreSQL by its socket; else they
are on two ports. ``pytest -s`` prints the log that docs/operations.md shows.
"""

from __future__ import annotations

import itertools
import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
import sqlalchemy as sa

from components.registry import Registry, promote
from components.settings import Settings
from serving.events.history_table import share_histories
from serving.events.store import open_store
from serving.events.tables import EVENTS
from tests.components.registry.conftest import evaluated_shop
from tests.components.registry.registration import change_served_model, register, stored_at
from tests.postgres import Postgres
from tests.processes import end, free_port, wait_until

KEY = {"x-api-key": "the shop's"}
BEGAN = time.monotonic()


def say(text: str) -> None:
    print(f"{time.monotonic() - BEGAN:7.1f} s  {text}", flush=True)


@pytest.fixture
def places() -> Iterator[list[tuple[list[str], str]]]:
    """What a command on each of two machines begins with, and the machine's address."""
    made, found = [], []
    try:
        for number in (1, 2):
            name, net = f"bowerbird{os.getpid()}n{number}", f"10.213.{number}"
            outer, inner = f"bb{os.getpid()}o{number}"[-15:], f"bb{os.getpid()}i{number}"[-15:]
            for command in (
                f"ip netns add {name}",
                f"ip link add {outer} type veth peer name {inner} netns {name}",
                f"ip addr add {net}.1/24 dev {outer}",
                f"ip link set {outer} up",
                f"ip -n {name} addr add {net}.2/24 dev {inner}",
                f"ip -n {name} link set {inner} up",
                f"ip -n {name} link set lo up",
            ):
                subprocess.run(command.split(), check=True, capture_output=True)
                made += [name] if "netns add" in command else []
            found.append((["ip", "netns", "exec", name], f"{net}.2"))
        say("two network namespaces")
    except (OSError, subprocess.CalledProcessError):
        found = [([], "127.0.0.1")] * 2
        say("no network namespaces here: two ports of one machine")
    yield found
    for name in made:  # with its end of the pair
        subprocess.run(["ip", "netns", "del", name], check=False)


@pytest.fixture
def events_url(own_postgres: Postgres) -> str:
    """A database, by the socket that all namespaces have."""
    url = sa.make_url(own_postgres.database())
    query = {"host": str(own_postgres.folder), "port": str(own_postgres.port)}
    return str(url.set(host=None, port=None, query=query))


@pytest.fixture
def trainer(trained: tuple[Path, Settings], tmp_path: Path, own_postgres: Postgres) -> Registry:
    """The machine that trains: version 1 is the champion, version 2 is registered."""
    (tmp_path / "trainer").mkdir()
    root, settings = evaluated_shop(trained, tmp_path / "trainer")
    url = sa.make_url(own_postgres.database())
    query = {"host": str(own_postgres.folder), "port": str(own_postgres.port)}
    uri = str(url.set(host=None, port=None, query=query))
    settings = stored_at(settings, tmp_path / "artifacts", uri)
    register((root, settings))
    change_served_model(root)
    register((root, settings))
    registry = Registry(settings, root)
    if registry.alias("champion") != "1":
        promote(registry, "1", now=True)
    return registry


class Client:
    """Sends a request to the replicas in turn, and to the other one if the first fails."""

    def __init__(self, urls: list[str]) -> None:
        self.clients = [httpx.Client(base_url=url, timeout=10, headers=KEY) for url in urls]
        self.retried = 0
        self._turn = itertools.count()

    def post(self, path: str, body: dict[str, Any]) -> httpx.Response | None:
        first = next(self._turn) % 2
        for attempt, one in enumerate((self.clients[first], self.clients[1 - first])):
            try:
                answer = one.post(path, json=body)
            except httpx.HTTPError:
                answer = None
            if answer is not None and answer.status_code == 200:
                self.retried += attempt
                return answer
        return None


def in_parallel(work: Callable[[int], object], until: threading.Event) -> ThreadPoolExecutor:
    pool = ThreadPoolExecutor(4)

    def go(number: int) -> None:
        for turn in itertools.count():
            if until.is_set():
                return
            work(1_000_000 * number + turn)
            time.sleep(0.01)

    for number in range(4):
        pool.submit(go, number)
    return pool


@pytest.mark.slow
@pytest.mark.timeout(3600)  # minutes; an hour on a machine that others use, too
def test_two_replicas_are_one_endpoint(
    places: list[tuple[list[str], str]],
    events_url: str,
    trainer: Registry,
    trained: tuple[Path, Settings],
    serve: Callable[..., Any],
    tmp_path: Path,
) -> None:
    with open_store(events_url) as store:
        file = trainer.folders.profiles("1")
        users = share_histories(store.database, file, "1", ())
        share_histories(store.database, trainer.folders.profiles("2"), "2", ["1"])
    say(f"histories of {users:,} customers are in the event store")

    servers, urls = [], []
    for name, (prefix, address) in zip("ab", places, strict=True):
        root = tmp_path / name
        root.mkdir()
        shutil.copy(trained[0] / "params.yaml", root)
        server = serve(
            root,
            {
                "BOWERBIRD_API_KEY": KEY["x-api-key"],
                "BOWERBIRD_OPERATOR_KEY": "the owner's",
                "BOWERBIRD_TOKEN_SECRET": "a secret of both replicas, of 32 characters",
                "BOWERBIRD_SERVE__EVENTS_URL": events_url,
                "BOWERBIRD_SERVE__ALLOWED_HOSTS": f'["{address}"]',
                "BOWERBIRD_SERVE__CANARY": "{share: 0.5}",
                "BOWERBIRD_SERVE__FOLLOW_REGISTRY": "1",
                "BOWERBIRD_SERVE__HISTORIES": "store",
                "BOWERBIRD_REGISTER__TRACKING_URI": trainer.uri.replace("+psycopg", ""),
                "BOWERBIRD_REGISTER__ARTIFACTS": str(tmp_path / "artifacts"),
            },
            host=address,
        )
        server._command = [*prefix, *server._command]
        server.url = f"http://{address}:{server.port}"
        servers.append(server.start(wait=False))
        urls.append(server.url)
    for name, server in zip("ab", servers, strict=True):
        server.wait(400)
        ready = httpx.get(f"{server.url}/readyz").json()
        assert ready == {"status": "ready", "problems": {}}, ready
        say(f"replica {name} serves, from an empty folder")
    a, b = (httpx.Client(base_url=url, timeout=30, headers=KEY) for url in urls)

    def recommended(client: httpx.Client, user: str) -> tuple[str, list[str]]:
        answer = client.post("/recommend", json={"user_id": user, "k": 10, "exclude_seen": True})
        assert answer.status_code == 200, answer.text
        found = answer.json()
        return found["model_version"], [one["item_id"] for one in found["items"]]

    # An event sent to one is in the next answer of the other.
    seconds = []
    for number in range(30):
        user = f"new {number}"
        first, second = (a, b) if number % 2 else (b, a)
        item = recommended(second, user)[1][0]
        event = {"user_id": user, "item_id": item, "event": "purchase", "event_id": f"p{number}"}
        assert first.post("/feedback", json=event).status_code == 200
        began = time.perf_counter()
        assert item not in recommended(second, user)[1]
        seconds.append(time.perf_counter() - began)
    median = 1000 * sorted(seconds)[15]
    say(f"30 of 30 events were in the next answer of the other replica, median {median:.0f} ms")

    # One is killed under load: no acknowledged event is lost.
    client, stop, kept, refused = Client(urls), threading.Event(), set(), []

    def buy(number: int) -> None:
        body = {"user_id": f"u{number % 50}", "item_id": f"i{number}", "event": "click"}
        answer = client.post("/feedback", body | {"event_id": f"load{number}"})
        if answer is None:
            refused.append(number)
        else:
            kept.add(f"load{number}")

    pool = in_parallel(buy, stop)
    wait_until(lambda: len(kept) > 100, 120)
    assert servers[0].process is not None
    end(servers[0].process, signal.SIGKILL)
    at_kill = len(kept)
    wait_until(lambda: len(kept) > at_kill + 100, 300)
    stop.set()
    pool.shutdown()
    with open_store(events_url) as store, store.database.connected() as connection:
        stored = set(connection.scalars(sa.select(EVENTS.c.event_id)))
    assert kept <= stored
    say(
        f"kill -9 of replica a: {len(kept):,} events acknowledged, {len(kept - stored)} lost, "
        f"{client.retried} sent again to the other, {len(refused)} refused by both"
    )
    servers[0].start(wait=False).wait(600)
    say("replica a serves again")

    # A promotion reaches both, with one canary.
    promote(trainer, "2")
    users_of = [f"canary {number}" for number in range(30)]

    def versions(one: httpx.Client) -> list[str]:
        return [recommended(one, user)[0] for user in users_of]

    wait_until(lambda: {"1", "2"} == set(versions(a)) == set(versions(b)), 300)
    both = versions(a)
    assert versions(b) == both
    say(f"version 2 is in its canary: {both.count('2')} of 30 shoppers, the same on both")
    promote(trainer, "2", now=True)
    began = time.monotonic()
    wait_until(lambda: {"2"} == set(versions(a)) == set(versions(b)), 300)
    say(f"promoted for all: both serve version 2 to all after {time.monotonic() - began:.1f} s")

    # A rolling restart without a failed request.
    client, stop, failed, done = Client(urls), threading.Event(), [], []

    def look(number: int) -> None:
        answer = client.post("/recommend", {"user_id": f"u{number % 50}", "k": 5})
        (failed if answer is None else done).append(number)

    pool = in_parallel(look, stop)
    for name, server in zip("ab", servers, strict=True):
        server.stop()
        server.start(wait=False).wait(600)
        say(f"replica {name} was restarted")
    stop.set()
    pool.shutdown()
    assert not failed
    say(f"rolling restart: {len(done):,} requests, {client.retried} tried again, none failed")

    # Without the registry a replica serves what it has, and says so.
    gone = f"http://127.0.0.1:{free_port()}"
    servers[1].stop()
    servers[1]._environment["BOWERBIRD_REGISTER__TRACKING_URI"] = gone
    servers[1].start(wait=False).wait(600)
    problem = wait_until(
        lambda: httpx.get(f"{servers[1].url}/readyz").json()["problems"].get("registry"), 300
    )
    assert set(versions(b)) == {"2"}
    say(f"replica b without the registry serves version 2; /readyz: {problem}")
