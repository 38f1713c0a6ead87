"""Kept pages and exploration, without HTTP in between."""

from __future__ import annotations

import asyncio
import gc
import json
import shutil
import socket
import sqlite3
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from components.credentials import Credential
from components.settings import Exploration, Settings
from serving import metrics
from serving.api.auth import Auth, Keys
from serving.api.schemas import RecommendRequest
from serving.events.catalogue_table import put_items
from serving.events.tables import profile_of
from serving.models.store import Shop
from serving.recommend.responses import Answers, Question


@pytest.fixture
def open_shop(trained: tuple[Path, Settings], tmp_path: Path) -> Iterator[Callable[..., Answers]]:
    """Make the answers of a shop with the trained model and changed ``serve`` settings."""
    root, settings = trained
    shutil.copytree(root / "models/hybrid", tmp_path / "models/hybrid")
    shops: list[Shop] = []

    def make(**changed: Any) -> Answers:
        serve = settings.serve.model_copy(update={"ranking": "thread", **changed})
        shop = Shop(settings.model_copy(update={"serve": serve}), tmp_path, Auth(Keys(), b"secret"))
        shop.look()
        shop.start()
        shops.append(shop)
        return Answers(shop)

    yield make
    for shop in shops:
        shop.close()


def asked(user: str | None, **fields: Any) -> Question:
    request = RecommendRequest(user_id=user, **fields)
    return Question(request, profile_of(user, None), "client")


def answer(answers: Answers, *questions: Question) -> list[bytes]:
    async def all_at_once() -> list[bytes]:
        return await asyncio.gather(*(answers.answer(question) for question in questions))

    return asyncio.run(all_at_once())


def kept() -> float:
    """Return how many pages were at hand so far."""
    return metrics.CACHED._value.get()


def shown(body: bytes) -> list[str]:
    return [item["item_id"] for item in json.loads(body)["items"]]


def test_a_page_is_kept_until_its_shopper_acts(open_shop: Callable[..., Answers]) -> None:
    answers = open_shop()
    question, other = asked("u", k=5), asked("v", k=5)
    before = kept()
    first, second = answer(answers, question, other)
    assert kept() == before
    (again,) = answer(answers, question)
    assert kept() == before + 1
    assert json.loads(again) == {
        **json.loads(first),
        "impression_id": json.loads(again)["impression_id"],
    }
    assert json.loads(again)["impression_id"] != json.loads(first)["impression_id"]
    event = {"event_id": "1", "user_id": "u", "item_id": shown(first)[0], "event": "click"}
    answers.shop.store.submit([{**event, "timestamp": 1_700_000_000_000_000}]).result(10)
    (after,) = answer(answers, question)
    assert kept() == before + 1
    assert shown(first)[0] not in shown(after)
    assert shown(answer(answers, other)[0]) == shown(second)  # not theirs
    assert kept() == before + 2
    answer(answers, asked("u", k=5, max_price=2.0))  # another request is another page
    assert kept() == before + 2


def test_no_page_is_kept_of_a_history_that_is_not_in_memory(
    open_shop: Callable[..., Answers],
) -> None:
    answers = open_shop()
    answers.shop.live.max_profiles = 0  # each goes as soon as it came
    (first,) = answer(answers, asked("u", k=5))
    event = {"event_id": "1", "user_id": "u", "item_id": shown(first)[0], "event": "click"}
    answers.shop.store.submit([{**event, "timestamp": 1_700_000_000_000_000}]).result(10)
    (after,) = answer(answers, asked("u", k=5))
    assert json.loads(after)["history_length"] == 1
    assert shown(first)[0] not in shown(after)


def test_the_same_page_asked_for_at_once_is_ranked_once(open_shop: Callable[..., Answers]) -> None:
    answers = open_shop()
    made = metrics.BATCH._sum.get()

    async def at_once() -> list[Any]:
        asking = [asyncio.ensure_future(answers.answer(asked("u", k=5))) for _ in range(20)]
        asking.append(asyncio.ensure_future(answers.answer(asked("v", k=5))))
        await asyncio.sleep(0)
        asking[0].cancel()  # whom the others wait with goes away
        return await asyncio.gather(*asking, return_exceptions=True)

    gone, *found = asyncio.run(at_once())
    assert isinstance(gone, asyncio.CancelledError)
    assert metrics.BATCH._sum.get() == made + 2
    assert len({tuple(shown(body)) for body in found[:-1]}) == 1
    assert len({json.loads(body)["impression_id"] for body in found}) == 20
    assert not answers._making


def test_no_page_outlives_its_model_and_their_size_is_bounded(
    open_shop: Callable[..., Answers],
) -> None:
    answers = open_shop(cache_mb=0.05)
    answer(answers, *(asked(f"u{n}") for n in range(30)))
    pages = answers.pages
    assert 0 < len(pages._pages) < 30
    assert pages._bytes == sum(page.size for page in pages._pages.values()) <= 50_000
    put_items(answers.shop.store.database, [{"item_id": "n", "title": "new t-light holder"}])
    answers.shop.look()
    answer(answers, asked("u29"))
    assert {key[0] for key in pages._pages} == {one.number for one in answers.shop.in_service()}
    assert pages._bytes == sum(page.size for page in pages._pages.values())
    off = open_shop(cache_mb=0)
    before = kept()
    answer(off, asked("u"))
    answer(off, asked("u"))
    assert kept() == before


def test_what_a_page_takes_in_memory_is_counted_whatever_its_request_names(
    open_shop: Callable[..., Answers],
) -> None:
    answers = open_shop(cache_mb=20)
    named = [f"{'no such product ' * 10}{n}" for n in range(400)]
    questions = [asked(None, k=1, recent=[f"{n} {one}" for one in named]) for n in range(12)]
    answer(answers, *questions[:2])  # what is made once
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    counted = answers.pages._bytes
    answer(answers, *questions[2:])
    del questions
    gc.collect()
    taken = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert len(answers.pages._pages) == 12
    assert taken < 1.5 * (answers.pages._bytes - counted)


def test_before_the_event_store_was_ever_reached_all_pages_are_made(
    open_shop: Callable[..., Answers],
) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))  # nobody listens
        port = probe.getsockname()[1]
        answers = open_shop(events_url=Credential(f"postgresql://shop@127.0.0.1:{port}/shop"))
        for body in answer(answers, asked(None), asked("13085"), asked("new"), asked("new", k=3)):
            assert json.loads(body)["items"]


def test_exploration_draws_as_often_as_it_says(
    open_shop: Callable[..., Answers], tmp_path: Path
) -> None:
    exploration = Exploration(policy="epsilon_greedy", epsilon=0.4, slots=2, candidates=10)
    answers, n = open_shop(exploration=exploration), 3000
    question = asked(None, k=5, reasons=False)
    pages = [shown(body) for _ in range(n // 300) for body in answer(answers, *[question] * 300)]
    answers.shop.close()
    fourth = pd.Series([page[3] for page in pages]).value_counts() / n
    with sqlite3.connect(tmp_path / "var/events/events.db") as connection:
        logged = connection.execute("SELECT item_ids, propensities FROM impressions").fetchall()
    assert len(logged) == n
    said = {json.loads(ids)[3]: json.loads(propensities)[3] for ids, propensities in logged}
    assert len({tuple(page[:3]) for page in pages}) == 1
    for item, propensity in said.items():
        assert fourth[item] == pytest.approx(propensity, abs=4 * np.sqrt(propensity / n))
