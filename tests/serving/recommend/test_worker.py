"""The ranking process: the same pages as in a thread, and no page lost when it is."""

from __future__ import annotations

import asyncio
import gc
import os
import pickle
import shutil
import signal
import time
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.settings import Settings
from serving.api.auth import Auth, Keys
from serving.events.catalogue_table import put_items
from serving.models.store import Shop
from serving.profiles.history import History
from serving.recommend import worker
from serving.recommend.batching import TooManyWaiting
from serving.recommend.engine import Engine, Filters
from serving.recommend.pipeline import Choices, PageMaker, Shown, Wish
from serving.recommend.worker import Frames, Gone, Ranking, RankingProcess

NOTHING = dict.fromkeys(
    ("title", "description", "brand", "categories", "price", "currency", "available")
)


@pytest.fixture(scope="module")
def folder(trained: tuple[Path, Settings]) -> Path:
    return trained[0] / "models/hybrid"


@pytest.fixture
def process(trained: tuple[Path, Settings]) -> Iterator[RankingProcess]:
    process = RankingProcess(trained[1].serve)
    yield process
    process.close()


def wish(*items: int, **more: Any) -> Wish:
    codes = np.array(items, dtype=np.int32)
    times = np.arange(len(codes), dtype=np.int64) + 1_290_000_000
    return Wish(History(codes, times, 1_290_000_100, {}), more.pop("k", 5), **more)


def test_it_makes_the_pages_that_a_thread_makes(
    process: RankingProcess, engine: Engine, folder: Path, trained: tuple[Path, Settings]
) -> None:
    asked = [
        wish(3, 5, 9),
        wish(),
        wish(8, k=12, reasons=False, exclude=(1, 2), unknown=("zz",)),
        wish(4, 4, filters=Filters(max_price=2.0)),
    ]
    expected = PageMaker(Engine.load(folder, "7"), trained[1].serve).pages(asked)
    assert not process.has(1)
    process.load(1, folder, "7").result(120)
    assert process.has(1)

    async def all_at_once() -> list[Any]:
        return await asyncio.gather(*(process.page(1, one) for one in asked))

    for found, other in zip(asyncio.run(all_at_once()), expected, strict=True):
        assert isinstance(found.shown, Shown)
        assert isinstance(other.shown, Shown)
        assert found.shown.ids == other.shown.ids
        assert found.shown.codes == other.shown.codes
        assert found.end == other.end
        assert found.cold == other.cold


def test_of_many_half_are_answered_while_the_others_are_ranked(
    process: RankingProcess, folder: Path
) -> None:
    process.load(1, folder, "7").result(120)

    async def first_answered() -> int:
        asking = [asyncio.ensure_future(process.page(1, wish(n))) for n in range(16)]
        done, _ = await asyncio.wait(asking, return_when=asyncio.FIRST_COMPLETED)
        await asyncio.gather(*asking)
        return len(done)

    assert asyncio.run(first_answered()) == 8


def test_further_products_are_ranked_there_too(
    process: RankingProcess, engine: Engine, folder: Path
) -> None:
    vectors = engine.vectors
    assert vectors is not None
    process.load(1, folder, "7").result(120)
    rows = [{**NOTHING, "item_id": "NEW", "title": "new lantern", "price": 3.0}]
    process.overlay(2, 1, rows, np.asarray(vectors[:1])).result(60)
    only_new = wish(0, filters=Filters(min_price=3.0, max_price=3.0))

    async def before_and_after_the_other_is_freed() -> list[Any]:
        page = await process.page(2, only_new)
        process.keep_only({2})
        return [page, await process.page(2, only_new)]

    page, again = asyncio.run(before_and_after_the_other_is_freed())
    assert isinstance(page.shown, Shown)
    assert engine.n_items in page.shown.codes
    assert b'"new lantern"' in page.shown.items
    assert not process.has(1)
    assert again.shown.ids == page.shown.ids
    with pytest.raises(RuntimeError, match="FileNotFoundError"):
        process.load(3, folder / "no", "8").result(60)
    assert not process.has(3)


def test_where_places_are_drawn_the_candidates_come_back(
    folder: Path, trained: tuple[Path, Settings]
) -> None:
    serve = trained[1].serve.model_copy(
        update={
            "exploration": trained[1].serve.exploration.model_copy(
                update={"policy": "epsilon_greedy", "slots": 2, "candidates": 6}
            )
        }
    )
    process = RankingProcess(serve)
    try:
        process.load(1, folder, "7").result(120)
        page = asyncio.run(process.page(1, wish(3)))
    finally:
        process.close()
    assert isinstance(page.shown, Choices)
    assert (page.shown.fixed, page.shown.shown, len(page.shown.ids)) == (3, 5, 9)


def test_who_waits_when_it_ends_is_told_and_too_many_are_refused(
    process: RankingProcess, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    process.load(1, folder, "7").result(120)
    os.kill(process._process.pid, signal.SIGSTOP)

    async def ask() -> list[Any]:
        waiting = [asyncio.ensure_future(process.page(1, wish(n))) for n in range(3)]
        await asyncio.sleep(0.1)
        monkeypatch.setattr(worker, "MOST_WAITING", 3)
        with pytest.raises(TooManyWaiting):
            await process.page(1, wish(9))
        os.kill(process._process.pid, signal.SIGKILL)
        told = await asyncio.gather(*waiting, return_exceptions=True)
        with pytest.raises(Gone):
            await process.page(1, wish(1))
        return told

    assert [type(answer) for answer in asyncio.run(ask())] == [Gone] * 3
    until = time.monotonic() + 10
    while process.has(1) and time.monotonic() < until:
        time.sleep(0.01)
    assert not process.has(1)
    with pytest.raises(Gone):
        process.load(2, folder, "8").result(10)


def test_a_thread_stands_in_until_the_process_is_back(
    engine: Engine,
    folder: Path,
    trained: tuple[Path, Settings],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(worker, "RESTART_AFTER", 0.0)
    ranks = Ranking(trained[1].serve)
    maker = PageMaker(engine, trained[1].serve)

    def shown() -> str:
        return asyncio.run(ranks.page(1, maker, wish(3, 5))).shown.ids  # type: ignore[return-value]

    try:
        assert ranks.load(1, folder, "test") is None  # before there is a process
        expected = shown()
        ranks.watch()
        first = ranks._process
        assert first is not None
        until = time.monotonic() + 60
        while not first.has(1) and time.monotonic() < until:
            time.sleep(0.05)
        assert first.has(1)
        assert shown() == expected
        os.kill(first._process.pid, signal.SIGKILL)
        first._process.wait(10)
        assert shown() == expected
        ranks.watch()
        second = ranks._process
        assert second is not None
        assert second is not first
        while not second.has(1) and time.monotonic() < until:
            time.sleep(0.05)
        assert second.has(1)  # it loaded what the first had
        assert shown() == expected
    finally:
        ranks.close()


def test_a_replaced_model_is_freed_at_once(trained: tuple[Path, Settings], tmp_path: Path) -> None:
    """By counting references alone: nobody looks for circles in a frozen heap."""
    shutil.copytree(trained[0] / "models/hybrid", tmp_path / "models/hybrid")
    settings = trained[1].model_copy(
        update={"serve": trained[1].serve.model_copy(update={"ranking": "thread"})}
    )
    shop = Shop(settings, tmp_path, Auth(Keys(), b"secret"))
    gc.collect()
    gc.disable()
    try:
        shop.look()
        assert shop.loaded is not None
        shop.loaded.maker.pages([wish(3, 4)])
        shop.loaded.search.find("heart", np.ones(shop.loaded.engine.n_items, dtype=bool))
        put_items(shop.store.database, [{"item_id": "a", "title": "a lamp"}])
        shop.look()
        overlaid = weakref.ref(shop.loaded.engine)
        trained_engine = weakref.ref(shop.loaded.trained)
        os.utime(tmp_path / "models/hybrid/manifest.json")
        shop.look()
        assert shop.loaded.engine is not overlaid()
        assert overlaid() is None
        assert trained_engine() is None
    finally:
        gc.enable()
        gc.unfreeze()
        shop.close()


@given(
    st.lists(st.lists(st.integers() | st.text(max_size=20) | st.binary(max_size=20)), max_size=6),
    st.data(),
)
def test_frames_are_read_however_they_are_cut(contents: list[Any], data: st.DataObject) -> None:
    stream = b"".join(Frames.of(content) for content in contents)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    frames, found = Frames(), []
    for start, stop in pairwise([0, *cuts, len(stream)]):
        found += frames.read(stream[start:stop])
    assert found == contents


def test_a_wish_is_the_same_on_the_other_side() -> None:
    one = wish(
        3, 1, exclude=(4,), just=(1,), unknown=("zz",), filters=Filters("toys", 1.0), arm="b"
    )
    other = pickle.loads(pickle.dumps(one))
    for name in ("items", "times"):
        assert getattr(other.history, name).tolist() == getattr(one.history, name).tolist()
        assert getattr(other.history, name).dtype == getattr(one.history, name).dtype
    assert replace(other, history=one.history) == one
    assert (other.history.now, other.history.events) == (one.history.now, one.history.events)


def test_killed_under_load_no_request_fails(serve: Callable[..., Any], shop_root: Path) -> None:
    server = serve(shop_root).start()

    def ranker() -> psutil.Process | None:
        for child in psutil.Process(server.process.pid).children(recursive=True):
            if "serving.recommend.worker" in child.cmdline():
                return child
        return None

    first = ranker()
    assert first is not None
    stop = time.monotonic() + 8

    def ask(number: int) -> list[int]:
        codes, step = [], 0
        with server.client() as client:
            while time.monotonic() < stop:
                step += 1
                body = {"user_id": f"u{number}-{step}", "k": 5}
                codes.append(client.post("/recommend", json=body).status_code)
        return codes

    with ThreadPoolExecutor(4) as pool:
        asked = [pool.submit(ask, number) for number in range(4)]
        time.sleep(2)
        first.kill()
        answers = [code for one in asked for code in one.result()]
    assert len(answers) > 100
    assert set(answers) == {200}
    until = time.monotonic() + 60
    while (ranker() is None or ranker() == first) and time.monotonic() < until:
        time.sleep(0.2)
    again = ranker()
    assert again is not None
    server.stop(kill=True)  # as a crash: nobody tells the ranking process
    assert again.wait(10) is not None or not again.is_running()
