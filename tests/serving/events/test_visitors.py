"""What shoppers of each arm bought after their first exposure, in both databases."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

from serving.arms import POPULAR, RECOMMENDED
from serving.events.exposures import record_exposures
from serving.events.store import EventStore
from serving.events.tables import DAY
from serving.events.visitors import Sums, visitors

NOW = time.time_ns() // 1000
HOUR = 3600 * 1_000_000


@pytest.fixture
def store(url: str) -> Iterator[EventStore]:
    opened = EventStore(url)
    yield opened
    opened.close()


def exposed(user: str, arm: str) -> dict[str, Any]:
    row = {"experiment": "~holdout 0", "profile": f"user:{user}", "model_version": "1"}
    return {**row, "arm": arm, "timestamp": NOW}


def event(number: int, user: str, after: int, **more: Any) -> dict[str, Any]:
    row = {"event_id": str(number), "user_id": user, "item_id": "x", "event": "purchase"}
    trusted = {"quantity": 1.0, "price": 10.0, "authentication": "shop", "client": "c"}
    return {**row, **trusted, "timestamp": NOW + after, **more}


def test_purchases_count_from_the_exposure_on_and_activity_before_it(store: EventStore) -> None:
    arms = {"a": RECOMMENDED, "b": RECOMMENDED, "c": RECOMMENDED, "d": POPULAR}
    record_exposures(store.database, [exposed(user, arm) for user, arm in arms.items()])
    rows = [
        event(1, "a", HOUR),
        event(2, "a", 2 * HOUR, price=5.0, quantity=2.0),  # one buyer, more revenue
        event(3, "a", -HOUR),
        event(4, "a", -HOUR, event="click"),
        event(5, "b", HOUR, event="click"),  # no purchase
        event(6, "b", HOUR, authentication="none"),  # counts nowhere
        event(7, "b", -29 * DAY),  # too long ago
        event(8, "c", HOUR, authentication="session"),  # a purchase whose price is not trusted
        event(9, "nobody", HOUR),
        *(event(100 + n, "d", -HOUR, event="view") for n in range(120)),
    ]
    store.submit(rows).result(10)
    popular, recommended = visitors(store.database, "~holdout 0")
    assert (popular.arm, popular.users, popular.purchases) == (POPULAR, 1, 0)
    assert popular.buyers == Sums(1, 0.0, 0.0, 100.0, 10_000.0, 0.0)  # a robot counts as 100
    assert (recommended.users, recommended.purchases) == (3, 2)
    assert recommended.buyers == Sums(3, 2.0, 2.0, 2.0, 4.0, 2.0)
    assert recommended.revenue == Sums(3, 20.0, 400.0, 10.0, 100.0, 200.0)
    assert visitors(store.database, "~holdout 91") == []
