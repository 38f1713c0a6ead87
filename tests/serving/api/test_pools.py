"""Slow work of one kind never holds up another kind, and does not queue without end."""

from __future__ import annotations

import asyncio
import concurrent.futures
import random
import threading
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from serving.api.pools import Pool
from serving.recommend.batching import TooManyWaiting


def test_a_full_pool_refuses_and_is_free_when_its_work_is_done() -> None:
    release = threading.Event()

    async def scenario() -> None:
        pool, other = Pool("one", 1, 2), Pool("other", 1, 1)
        first = asyncio.ensure_future(pool.run(release.wait))
        second = asyncio.ensure_future(pool.run(int, "2"))
        await asyncio.sleep(0.05)
        with pytest.raises(TooManyWaiting, match="one"):
            await pool.run(int, "3")
        assert await other.run(int, "4") == 4
        first.cancel()  # its client went away, its thread is still busy
        await asyncio.sleep(0.05)
        with pytest.raises(TooManyWaiting):
            await pool.run(int, "5")
        release.set()
        assert await second == 2
        await asyncio.sleep(0.05)
        assert await pool.run(int, "6") == 6

    asyncio.run(scenario())


def catalogue(number: int) -> dict[str, Any]:
    """Return the body of a large PUT /items."""
    draw = random.Random(number)
    words = [f"word{one}" for one in range(5000)]
    items = [
        {
            "item_id": f"{number}-{one}",
            "title": " ".join(draw.choices(words, k=12)),
            "description": " ".join(draw.choices(words, k=60)),
        }
        for one in range(1000)
    ]
    return {"items": items}


@pytest.mark.slow
def test_metrics_and_status_answer_while_products_are_written(
    trained: tuple[Path, Any], shop_root: Path, serve: Any
) -> None:
    keys = {"BOWERBIRD_API_KEY": "shop", "BOWERBIRD_OPERATOR_KEY": "operator"}
    server = serve(shop_root, {"BOWERBIRD_SERVE__MAX_BODY": "20000000", **keys}).start()
    key = {"x-api-key": "shop"}
    seconds = []
    with concurrent.futures.ThreadPoolExecutor(8) as threads, server.client() as client:
        bodies = [catalogue(number) for number in range(8)]
        puts = [
            threads.submit(httpx.put, f"{server.url}/items", json=body, headers=key, timeout=300)
            for body in bodies
        ]
        while not all(put.done() for put in puts):
            for path in ("/metrics", "/status"):
                began = time.perf_counter()
                assert client.get(path, headers=key).status_code == 200
                seconds.append(time.perf_counter() - began)
    assert {put.result().status_code for put in puts} == {200}
    # With shared threads it was as long as the writing.
    assert max(seconds) < 1, sorted(seconds)[-5:]
