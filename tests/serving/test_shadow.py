"""The challenger makes lists that no shopper sees, and never holds up an answer."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from components.settings import Shadow
from serving import shadow
from serving.backend import Backend
from serving.events.tables import profile_of
from serving.recommend.query import RecommendRequest
from serving.recommend.types import Shopper
from serving.shadow import shadow_status
from tests.serving.models.registered import halve, register


@pytest.fixture
def start(shop_root: Path, open_backend: Callable[..., Backend]) -> Callable[[], Backend]:
    """Start a worker with champion 1 and challenger 2, which makes every list too."""
    register(shop_root, "1")
    pointer = {"version": "2", "folder": "var/serving/models/2"}
    (shop_root / "var/serving/challenger.json").write_text(json.dumps(pointer))

    def make() -> Backend:
        backend = open_backend(shop_root, shadow=Shadow(share=1))
        backend.load()
        backend.shadow.refresh()
        return backend

    return make


def served(backend: Backend, users: list[str]) -> list[dict]:
    """Return the users' lists, after the challenger made what it could."""

    async def all_at_once() -> list[bytes]:
        answers = await asyncio.gather(
            *(
                backend.recommendations.recommend(
                    RecommendRequest(user_id=user, k=5),
                    Shopper(user, None, profile_of(user, None), "client"),
                )
                for user in users
            )
        )
        waiting = backend.shadow._waiting
        while waiting:
            await asyncio.wait(waiting)
        return answers

    return [json.loads(one) for one in asyncio.run(all_at_once())]


def test_the_challenger_makes_the_same_lists_unseen(start: Callable[[], Backend]) -> None:
    backend = start()
    before = shadow_status("2")
    users = [f"shadow {n}" for n in range(40)]
    answers = served(backend, users)
    assert {one["model_version"] for one in answers} == {"1"}
    found = shadow_status("2")
    made = found["made"] - before["made"]
    # Those that came while it was busy were dropped: of one batch or, on a slow machine, of more.
    assert shadow.MOST_WAITING <= made < 20
    assert found["dropped"] - before["dropped"] == 40 - made
    assert found["failed"] == before["failed"]
    assert found["overlap"] == 1  # version 2 is a copy of version 1
    assert found["p95_seconds"]["challenger"] > 0
    assert found["p95_seconds"]["served"] > 0
    served(backend, users)  # from the cache: nothing is computed
    assert shadow_status("2") == found


def test_a_challenger_that_cannot_be_loaded_or_has_ended_disturbs_nobody(
    start: Callable[[], Backend], shop_root: Path
) -> None:
    backend = start()
    backend.shadow.close()
    before = shadow_status("2")["failed"]
    assert len(served(backend, ["a", "b"])) == 2
    assert shadow_status("2")["failed"] == before + 2
    assert "shadow lists" in backend.health.problems

    halve(shop_root / "var/serving/models/2/ranker.txt")
    broken = start()
    assert broken.shadow.challenger is None
    assert "shadow" in broken.health.problems
    assert [one["model_version"] for one in served(broken, ["c"])] == ["1"]


def test_it_is_off_by_default(shop_root: Path, open_backend: Callable[..., Backend]) -> None:
    register(shop_root, "1")
    pointer = {"version": "2", "folder": "var/serving/models/2"}
    (shop_root / "var/serving/challenger.json").write_text(json.dumps(pointer))
    backend = open_backend(shop_root)
    backend.load()
    backend.shadow.refresh()
    assert backend.shadow.challenger is None
