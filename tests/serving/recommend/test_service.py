"""Cached responses, single flight and exploration, without HTTP."""

from __future__ import annotations

import asyncio
import gc
import json
import shutil
import socket
import sqlite3
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from components.credentials import Credential
from components.settings import Exploration, Settings
from serving import metrics
from serving.backend import Backend
from serving.events.catalogue_table import put_items
from serving.events.tables import profile_of
from serving.models.assignment import Assignment
from serving.recommend.query import RecommendRequest
from serving.recommend.types import Shopper


@pytest.fixture
def start(
    trained: tuple[Path, Settings], tmp_path: Path, open_backend: Callable[..., Backend]
) -> Callable[..., Backend]:
    """Start backends with the trained model and changed ``serve`` settings."""
    shutil.copytree(trained[0] / "models/hybrid", tmp_path / "models/hybrid")

    def make(**changed: Any) -> Backend:
        backend = open_backend(tmp_path, **changed)
        backend.models.refresh()
        backend.start()
        return backend

    return make


Asked = tuple[RecommendRequest, Shopper]


def asked(user: str | None, **fields: Any) -> Asked:
    request = RecommendRequest(user_id=user, **fields)
    return request, Shopper(user, None, profile_of(user, None), "client")


def answer(backend: Backend, *requests: Asked) -> list[bytes]:
    async def all_at_once() -> list[bytes]:
        answers = (backend.recommendations.recommend(*request) for request in requests)
        return await asyncio.gather(*answers)

    return asyncio.run(all_at_once())


def cache_hits() -> float:
    return metrics.CACHED._value.get()


def shown(body: bytes) -> list[str]:
    return [item["item_id"] for item in json.loads(body)["items"]]


def test_a_page_is_kept_until_its_shopper_acts(start: Callable[..., Backend]) -> None:
    backend = start()
    question, other = asked("u", k=5), asked("v", k=5)
    before = cache_hits()
    first, second = answer(backend, question, other)
    assert cache_hits() == before
    (again,) = answer(backend, question)
    assert cache_hits() == before + 1
    assert json.loads(again) == {
        **json.loads(first),
        "impression_id": json.loads(again)["impression_id"],
    }
    assert json.loads(again)["impression_id"] != json.loads(first)["impression_id"]
    event = {"event_id": "1", "user_id": "u", "item_id": shown(first)[0], "event": "click"}
    backend.store.submit([{**event, "timestamp": 1_700_000_000_000_000}]).result(10)
    (after,) = answer(backend, question)
    assert cache_hits() == before + 1
    assert shown(first)[0] not in shown(after)
    assert shown(answer(backend, other)[0]) == shown(second)  # not theirs
    assert cache_hits() == before + 2
    answer(backend, asked("u", k=5, max_price=2.0))  # another request is another page
    assert cache_hits() == before + 2


def test_no_page_is_kept_of_a_history_that_is_not_in_memory(
    start: Callable[..., Backend],
) -> None:
    backend = start()
    backend.live.max_profiles = 0  # each goes as soon as it came
    (first,) = answer(backend, asked("u", k=5))
    event = {"event_id": "1", "user_id": "u", "item_id": shown(first)[0], "event": "click"}
    backend.store.submit([{**event, "timestamp": 1_700_000_000_000_000}]).result(10)
    (after,) = answer(backend, asked("u", k=5))
    assert json.loads(after)["history_length"] == 1
    assert shown(first)[0] not in shown(after)


def test_the_same_page_asked_for_at_once_is_ranked_once(start: Callable[..., Backend]) -> None:
    backend = start()
    made = metrics.BATCH._sum.get()

    recommend = backend.recommendations.recommend

    async def at_once() -> list[Any]:
        asking = [asyncio.ensure_future(recommend(*asked("u", k=5))) for _ in range(20)]
        asking.append(asyncio.ensure_future(recommend(*asked("v", k=5))))
        await asyncio.sleep(0)
        asking[0].cancel()  # the client that the others wait with goes away
        return await asyncio.gather(*asking, return_exceptions=True)

    gone, *found = asyncio.run(at_once())
    assert isinstance(gone, asyncio.CancelledError)
    assert metrics.BATCH._sum.get() == made + 2
    assert len({tuple(shown(body)) for body in found[:-1]}) == 1
    assert len({json.loads(body)["impression_id"] for body in found}) == 20
    assert not backend.recommendations._computing


def test_no_page_outlives_its_model_and_their_size_is_bounded(
    start: Callable[..., Backend],
) -> None:
    backend = start(cache_mb=0.05)
    answer(backend, *(asked(f"u{n}") for n in range(30)))
    cache = backend.recommendations.cache
    assert 0 < len(cache._responses) < 30
    assert cache._bytes == sum(one.size for one in cache._responses.values()) <= 50_000
    put_items(backend.store.database, [{"item_id": "n", "title": "new t-light holder"}])
    backend.models.refresh()
    answer(backend, asked("u29"))
    assert {key[0] for key in cache._responses} == {
        one.number for one in backend.models.in_service()
    }
    assert cache._bytes == sum(one.size for one in cache._responses.values())
    off = start(cache_mb=0)
    before = cache_hits()
    answer(off, asked("u"))
    answer(off, asked("u"))
    assert cache_hits() == before


def test_what_a_page_takes_in_memory_is_counted_whatever_its_request_names(
    start: Callable[..., Backend],
) -> None:
    backend = start(cache_mb=20)
    named = [f"{'no such product ' * 10}{n}" for n in range(400)]
    questions = [asked(None, k=1, recent=[f"{n} {one}" for one in named]) for n in range(12)]
    answer(backend, *questions[:2])  # what is made once
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    counted = backend.recommendations.cache._bytes
    answer(backend, *questions[2:])
    del questions
    gc.collect()
    taken = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert len(backend.recommendations.cache._responses) == 12
    assert taken < 1.5 * (backend.recommendations.cache._bytes - counted)


def test_before_the_event_store_was_ever_reached_all_pages_are_made(
    start: Callable[..., Backend],
) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))  # nobody listens
        port = probe.getsockname()[1]
        backend = start(events_url=Credential(f"postgresql://shop@127.0.0.1:{port}/shop"))
        for body in answer(backend, asked(None), asked("13085"), asked("new"), asked("new", k=3)):
            assert json.loads(body)["items"]


def test_exploration_draws_as_often_as_it_says(
    start: Callable[..., Backend], tmp_path: Path
) -> None:
    exploration = Exploration(policy="epsilon_greedy", epsilon=0.4, slots=2, candidates=10)
    backend, n = start(exploration=exploration), 3000
    question = asked(None, k=5, reasons=False)
    pages = [shown(body) for _ in range(n // 300) for body in answer(backend, *[question] * 300)]
    backend.close()
    fourth = pd.Series([page[3] for page in pages]).value_counts() / n
    with sqlite3.connect(tmp_path / "var/events/events.db") as connection:
        logged = connection.execute("SELECT item_ids, propensities FROM impressions").fetchall()
    assert len(logged) == n
    said = {json.loads(ids)[3]: json.loads(propensities)[3] for ids, propensities in logged}
    assert len({tuple(page[:3]) for page in pages}) == 1
    for item, propensity in said.items():
        assert fourth[item] == pytest.approx(propensity, abs=4 * np.sqrt(propensity / n))


def test_on_a_product_page_ratings_are_cut_with_the_history(start: Callable[..., Backend]) -> None:
    backend = start()
    loaded = backend.models.current()
    ids, ratings = loaded.engine.ids[:30], [3.0 + n % 3 for n in range(30)]
    event = {"user_id": "rater", "event": "rating"}
    rows = [
        {**event, "event_id": item, "item_id": item, "rating": rating, "timestamp": second * 10**6}
        for second, (item, rating) in enumerate(zip(ids, ratings, strict=True), 1_700_000_000)
    ]
    backend.store.submit(rows).result(10)
    backend.live.follow("user:rater")
    page = {"page": "product", "page_items": [ids[4], "no such product"]}
    request = backend.recommendations._request(*asked("rater", **page), Assignment(loaded))
    assert request.history.items[-12:].tolist() == [*range(19, 30), 4]
    assert request.history.length == 12
    assert set(request.history.excluded) == set(range(30))
    assert request.history.ratings is not None
    np.testing.assert_array_equal(request.history.ratings[-12:], [*ratings[19:], np.nan])
    assert (request.unknown, request.exclude, request.recent) == (("no such product",), (4,), (4,))
