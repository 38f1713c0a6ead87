"""What recommendations earn, with an interval that holds however often one looks."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sqlalchemy as sa

from components.file_lock import file_lock
from components.settings import Experiment, Uplift
from serving.arms import (
    DAY,
    POPULAR,
    RECOMMENDED,
    draw,
    holdout_name,
    holdout_of,
)
from serving.backend import Backend
from serving.events.exposures import experiment_names, record_exposures
from serving.events.store import EventStore
from serving.events.tables import EXPOSURES, IMPRESSIONS, profile_of
from serving.events.visitors import Sums
from serving.recommend.query import RecommendRequest, RerankRequest
from serving.recommend.types import Shopper
from serving.uplift import LOCK, UPLIFT, UpliftMeasurement, gain


def sums(y: np.ndarray, x: np.ndarray) -> Sums:
    return Sums(len(y), *(float(part.sum()) for part in (y, y * y, x, x * x, x * y)))


def shop(seed: int, n: int, effect: float) -> tuple[Sums, Sums]:
    """Return popular and recommended: revenue after, which follows what was spent before."""
    random = np.random.default_rng(seed)
    before = random.gamma(0.5, 20.0, 2 * n)
    after = random.gamma(0.5, 10.0, 2 * n) + 0.8 * before
    after[n:] += effect
    return sums(after[:n], before[:n]), sums(after[n:], before[n:])


def test_the_adjustment_is_that_of_a_regression_and_narrows_the_interval() -> None:
    popular, recommended = shop(0, 2000, 1.0)
    found = gain(popular, recommended, 0.05)
    assert found.variance_kept < 0.5
    plain = gain(*(Sums(one.n, one.y, one.yy, 0, 0, 0) for one in (popular, recommended)), 0.05)
    assert plain.difference == pytest.approx(found.recommended - found.popular)
    assert plain.variance_kept == 1
    assert found.high - found.low < 0.75 * (plain.high - plain.low)


def test_the_interval_holds_the_truth_at_every_look() -> None:
    missed = called = 0
    for seed in range(100):
        random = np.random.default_rng(seed)
        before = random.gamma(0.5, 20.0, (2, 4000))
        after = random.gamma(0.5, 10.0, (2, 4000)) + 0.8 * before
        after[1] += 1.0
        found = [
            gain(*(sums(after[arm, :n], before[arm, :n]) for arm in (0, 1)), 0.05)
            for n in range(100, 4001, 100)
        ]
        missed += any(not one.low <= 1.0 <= one.high for one in found)
        called += found[-1].low > 0
    assert missed <= 5
    assert called > 90


def test_what_cannot_be_relied_on_is_not_called() -> None:
    popular, recommended = shop(0, 2000, 1.0)
    assert not gain(popular, recommended, 0.05, enough=False).enough
    same = Sums(60, 60.0, 60.0, 0.0, 0.0, 0.0)  # everyone bought: no variance, no interval
    assert not gain(same, same, 0.05).enough


def test_the_holdout_is_small_sticky_redrawn_and_independent() -> None:
    settings = Uplift(share=0.02, redraw_days=91)
    profiles = [f"user:{n}" for n in range(20_000)]
    arms = [holdout_of(settings, one).arm for one in profiles]
    assert arms == [holdout_of(settings, one).arm for one in profiles]
    assert arms.count(POPULAR) / len(arms) == pytest.approx(0.02, abs=0.004)
    first, second = (holdout_name(settings, now * DAY) for now in (91 * 200, 91 * 201))
    assert first == holdout_name(settings, (91 * 200 + 90) * DAY)
    held = [{one for one in profiles if draw(name, 0.02, one).arm == "treatment"} for name in
            (first, second)]  # fmt: skip
    assert len(held[0] & held[1]) < 40  # expected: 8 of 20,000
    canary = {one for one in profiles if draw("~canary 2 5", 0.1, one).arm == "treatment"}
    now = {one for one, arm in zip(profiles, arms, strict=True) if arm == POPULAR}
    assert len(now & canary) / len(now) == pytest.approx(0.1, abs=0.06)


def test_it_measures_now_and_then_and_keeps_the_period_before(tmp_path: Path) -> None:
    store = EventStore("sqlite:///events.db", tmp_path)
    settings = Uplift(redraw_days=3650)  # the period began long ago
    name = holdout_name(settings)
    random = np.random.default_rng(1)
    now = time.time_ns() // 1000
    rows, events = [], []
    for number in range(800):
        arm = POPULAR if number % 4 == 0 else RECOMMENDED
        row = {"experiment": name, "profile": f"user:{number}", "model_version": "1"}
        rows.append({**row, "arm": arm, "timestamp": now - 10})
        if random.random() < (0.2 if arm == POPULAR else 0.5):
            bought = {"event_id": str(number), "user_id": str(number), "item_id": "x"}
            sent = {"event": "purchase", "price": 4.0, "quantity": 1.0, "authentication": "shop"}
            events.append({**bought, **sent, "timestamp": now})
    old = {"experiment": "~holdout 7", "profile": "user:0", "model_version": "1", "arm": POPULAR}
    record_exposures(store.database, [*rows, {**old, "timestamp": now}])
    store.submit(events).result(10)

    measurement = UpliftMeasurement(settings, tmp_path, store.database, has_api_key=True)
    assert measurement.latest() is None
    measurement.step()
    found = measurement.latest()
    assert found is not None
    assert found["visitors"] == {POPULAR: 200, RECOMMENDED: 600}
    assert 0.1 < found["conversion"]["low"] < 0.3 < found["conversion"]["high"]
    assert found["revenue"]["difference"] == pytest.approx(4 * found["conversion"]["difference"])
    assert experiment_names(store.database, "~holdout") == [name]

    measurement.step()  # not due
    assert measurement.latest() == found
    (tmp_path / UPLIFT).write_text(json.dumps({**found, "period": "~holdout 7", "at": 0.0}))
    measurement.step()
    again = measurement.latest()
    assert again is not None
    assert (again["period"], again["previous"]["period"]) == (name, "~holdout 7")
    store.close()


def test_the_period_before_is_kept_for_a_day(tmp_path: Path) -> None:
    """A worker that is slow may still write to it, and a clock may be ahead for a moment."""
    store = EventStore("sqlite:///events.db", tmp_path)
    settings = Uplift(redraw_days=1)  # the period began today
    yesterday = holdout_name(settings, time.time() - DAY)
    row = {"profile": "user:0", "model_version": "1", "arm": POPULAR, "timestamp": 1}
    record_exposures(store.database, [{**row, "experiment": yesterday}])
    UpliftMeasurement(settings, tmp_path, store.database, has_api_key=True).step()
    assert experiment_names(store.database, "~holdout") == [yesterday]
    store.close()


def test_one_worker_measures_and_the_file_is_never_torn(tmp_path: Path) -> None:
    store = EventStore("sqlite:///events.db", tmp_path)
    workers = [
        UpliftMeasurement(Uplift(), tmp_path, store.database, has_api_key=True) for _ in range(4)
    ]
    with ThreadPoolExecutor(4) as pool:
        for _ in range(10):
            (tmp_path / UPLIFT).unlink(missing_ok=True)  # all become due at once
            for done in [pool.submit(one.step) for one in workers]:
                done.result(10)
            found = workers[0].latest()
            assert found is not None
            assert found["previous"] is None
    with file_lock(tmp_path / LOCK):
        (tmp_path / UPLIFT).unlink()
        workers[0].step()  # another worker measures
        assert workers[0].latest() is None
    store.close()


def test_without_a_share_or_a_key_nothing_is_measured(tmp_path: Path) -> None:
    store = EventStore("sqlite:///events.db", tmp_path)
    for settings, has_key in ((Uplift(share=0), True), (Uplift(), False)):
        measurement = UpliftMeasurement(settings, tmp_path, store.database, has_key)
        measurement.step()
        assert measurement.latest() is None
    assert not (tmp_path / UPLIFT).exists()
    store.close()


def test_the_holdout_gets_popular_products_and_no_other_arm(
    shop_root: Path, open_backend: Callable[..., Backend]
) -> None:
    spring = Experiment(name="spring", model="champion")
    backend = open_backend(shop_root, has_api_key=True, uplift=Uplift(share=1), experiment=spring)
    backend.load()
    engine = backend.models.current().engine
    popular = [engine.ids[code] for code in engine.by_popularity]

    def answer(user: str | None, **fields: Any) -> dict[str, Any]:
        shopper = Shopper(user, None, profile_of(user, None), "client")
        request = RecommendRequest(user_id=user, k=5, **fields)
        return json.loads(asyncio.run(backend.recommendations.recommend(request, shopper)))

    def ids(shown: dict[str, Any]) -> list[str]:
        return [item["item_id"] for item in shown["items"]]

    first = answer("anna", recent=[popular[0]])
    assert ids(first) == popular[1:6]  # what was seen is left out
    assert (first["source"], first["arm"]) == ("holdout", None)
    assert ids(answer("ben")) == popular[:5]
    cheap = answer("anna", max_price=1.0)
    assert all(item["price"] <= 1 for item in cheap["items"])
    assert answer(None)["source"] == "hybrid"  # an anonymous request is in no arm

    shopper = Shopper("anna", None, "user:anna", "client")
    body = RerankRequest(user_id="anna", item_ids=popular[4::-1])
    assert ids(json.loads(backend.recommendations.rerank(body, shopper))) == popular[:5]

    backend.store.flush()
    with backend.store.database.connected() as connection:
        exposures = connection.execute(sa.select(EXPOSURES)).all()
        sources = set(
            connection.scalars(
                sa.select(IMPRESSIONS.c.source).where(IMPRESSIONS.c.profile == "user:ben")
            )
        )
    assert {(one.experiment, one.profile, one.arm) for one in exposures} == {
        (holdout_name(Uplift()), "user:anna", POPULAR),
        (holdout_name(Uplift()), "user:ben", POPULAR),
    }
    assert sources == {"holdout"}
