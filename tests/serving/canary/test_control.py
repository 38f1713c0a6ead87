"""A promoted version serves a share of the shoppers first; it takes over or goes by itself."""

from __future__ import annotations

import asyncio
import json
import resource
import shutil
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from components.alerts import open_alerts, read_state
from components.rollout import ROLLED_BACK, ROLLOUT, following, read_rollout, write_rollout
from components.settings import Canary, Uplift
from components.timeline import read_timeline
from serving import metrics
from serving.arms import CONTROL, TREATMENT
from serving.backend import Backend
from serving.canary import control
from serving.canary.evidence import groups, lists_of
from serving.events.exposures import arm_outcomes
from serving.events.tables import profile_of
from serving.recommend.query import RecommendRequest
from serving.recommend.types import Shopper
from tests.serving.models.registered import halve, register

SHOPPERS = 200


@pytest.fixture(autouse=True)
def at_each_step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control, "LOOK_SECONDS", 0.0)
    monkeypatch.setattr(control, "LOOK_SHARE", 1e9)


@pytest.fixture
def start(shop_root: Path, open_backend: Callable[..., Backend]) -> Callable[..., Backend]:
    """Start workers of an endpoint with an API key, half of the shoppers in a canary."""
    register(shop_root, "1")

    def make(**changed: object) -> Backend:
        given = {"canary": Canary(share=0.5), "uplift": Uplift(share=0), **changed}
        backend = open_backend(shop_root, has_api_key=True, **given)
        backend.load()
        return backend

    return make


def recommended(backend: Backend, users: list[str]) -> list[str]:
    """Return the model version of each user's list."""

    async def all_at_once() -> list[bytes]:
        return await asyncio.gather(
            *(
                backend.recommendations.recommend(
                    RecommendRequest(user_id=user, k=3),
                    Shopper(user, None, profile_of(user, None), "client"),
                )
                for user in users
            )
        )

    return [json.loads(one)["model_version"] for one in asyncio.run(all_at_once())]


def names(n: int = SHOPPERS) -> list[str]:
    return [f"u{number}" for number in range(n)]


def clicks(backend: Backend, users: list[str]) -> None:
    now = time.time_ns() // 1000
    row = {"item_id": "x", "event": "click", "timestamp": now}
    rows = [{**row, "event_id": f"click {user}", "user_id": user} for user in users]
    backend.store.submit(rows).result(10)


def test_the_first_version_serves_all_and_the_next_its_share(
    shop_root: Path, start: Callable[..., Backend]
) -> None:
    backend = start()
    assert set(recommended(backend, names(20))) == {"1"}
    register(shop_root, "2", "1")
    backend.follow()
    served = recommended(backend, names())
    assert 0.4 < served.count("2") / SHOPPERS < 0.6
    assert recommended(backend, names()) == served
    assert backend.models.current().version == "1"
    anonymous = Shopper(None, None, None, "client")
    body = backend.recommendations.recommend(RecommendRequest(k=3), anonymous)
    assert json.loads(asyncio.run(body))["model_version"] == "1"

    rollout = read_rollout(shop_root)
    assert rollout is not None
    assert rollout.canary is not None
    outcomes = arm_outcomes(backend.store.database, rollout.canary.name, ["click"], 24)
    assert {one.arm: (one.users, one.versions) for one in outcomes} == {
        CONTROL: (served.count("1"), ("1",)),
        TREATMENT: (served.count("2"), ("2",)),
    }
    second = start()  # after kill -9, or as another worker
    assert recommended(second, names()) == served
    again = read_rollout(shop_root)
    assert again is not None
    assert again.canary == rollout.canary


def test_a_version_that_does_harm_is_rolled_back_with_an_alert(
    shop_root: Path, start: Callable[..., Backend]
) -> None:
    told: list[str] = []
    backend = start(roll_back=told.append)
    other = start()
    register(shop_root, "2", "1")
    backend.follow()
    other.follow()
    served = recommended(backend, names())
    users = dict(zip(names(), served, strict=True))
    clicks(backend, [user for user, version in users.items() if version == "1"])
    before = read_rollout(shop_root)
    assert before is not None
    assert before.canary is not None
    backend.follow()
    assert set(recommended(backend, names())) == {"1"}
    other.follow()
    assert set(recommended(other, names())) == {"1"}
    (alert,) = open_alerts(shop_root)
    assert (alert.kind, alert.subject, alert.count) == ("canary", "version 2", 1)
    assert "version 2 was rolled back: shoppers convert less" in alert.reason
    assert told == ["2"]
    backend.follow()  # the registry's pointer still names it
    assert backend.models.canary is None
    assert told == ["2"]
    rollout = read_rollout(shop_root)
    assert rollout is not None
    assert arm_outcomes(backend.store.database, before.canary.name, ["click"], 24) == []
    assert rollout.decisions[-1]["evidence"]["canary"]["users"] == served.count("2")

    register(shop_root, "1")  # as the registry's job does
    backend.follow()
    rollout = read_rollout(shop_root)
    assert rollout is not None
    assert (rollout.rejected, rollout.stable.version) == (None, "1")
    assert open_alerts(shop_root) == ()
    entries = read_timeline(shop_root)
    assert [one.kind for one in entries] == [
        "canary-started",
        "canary-rolled-back",
        "alert-opened",
        "alert-resolved",
    ]
    assert entries[0].evidence == {"version": "2", "against": "1", "share": 0.5}
    assert entries[1].evidence["evidence"]["canary"]["users"] == served.count("2")


def test_with_little_traffic_it_takes_over_in_the_end_without_loading(
    shop_root: Path, start: Callable[..., Backend]
) -> None:
    backend, other = start(), start()
    register(shop_root, "2", "1")
    backend.follow()
    other.follow()
    canary = backend.models.canary
    rollout = read_rollout(shop_root)
    assert rollout is not None
    assert rollout.canary is not None
    old = replace(rollout.canary, started=rollout.canary.started - 4 * 86_400)
    write_rollout(shop_root, replace(rollout, canary=old))
    backend.follow()
    assert backend.models.champion is canary
    assert backend.models.canary is None
    other.follow()
    assert set(recommended(other, names(20))) == {"2"}
    (message,) = read_state(shop_root).messages
    assert (message.title, message.level) == ("version 2 serves all shoppers", "info")
    assert "taken over: nothing speaks against it after 3 days" in message.text
    assert "0 shoppers are too few" in message.text
    assert open_alerts(shop_root) == ()
    assert [one.kind for one in read_timeline(shop_root)] == [
        "canary-started",
        "canary-taken-over",
    ]


def test_an_alert_that_a_kill_prevented_is_raised_after_the_restart(
    shop_root: Path, start: Callable[..., Backend]
) -> None:
    start()
    register(shop_root, "2", "1")
    rollout = read_rollout(shop_root)
    assert rollout is not None
    second = replace(rollout.stable, version="2", lineage="2")
    done = following(rollout, second, 5.0).decided(ROLLED_BACK, "bad", 9.0)
    write_rollout(shop_root, replace(done, canary=None, rejected=second))
    start()
    start()
    assert [(one.kind, one.count) for one in open_alerts(shop_root)] == [("canary", 1)]
    assert [one.kind for one in read_timeline(shop_root)] == ["canary-rolled-back", "alert-opened"]


def test_a_canary_that_fails_fails_no_request_and_is_rolled_back(
    shop_root: Path, start: Callable[..., Backend], monkeypatch: pytest.MonkeyPatch
) -> None:
    backend = start()
    register(shop_root, "2", "1")
    backend.follow()
    assert backend.models.canary is not None
    # As with a model that cannot rank in this version of a library.
    monkeypatch.setattr(backend.models.canary.engine.model, "recommend", None)
    assert set(recommended(backend, names())) == {"1"}
    backend.follow()
    assert backend.models.canary is None
    (alert,) = open_alerts(shop_root)
    assert "the model fails to make lists" in alert.reason


def test_lists_and_their_seconds_are_counted_by_arm(
    shop_root: Path, start: Callable[..., Backend]
) -> None:
    backend = start()
    register(shop_root, "2", "1")
    backend.follow()
    rollout = read_rollout(shop_root)
    assert rollout is not None
    assert rollout.canary is not None
    served = recommended(backend, names(60))
    recommended(backend, names(60))  # from the cache: nothing is computed
    lists = lists_of(rollout.canary.name)
    for arm, version in ((CONTROL, "1"), (TREATMENT, "2")):
        assert lists[arm].made == sum(lists[arm].seconds) == served.count(version)
        assert lists[arm].failed == 0
        assert 0 < (lists[arm].quantile() or 0) < 5
    control_group, canary_group = groups(
        backend.store.database, rollout.canary.name, Canary(share=0.5)
    )
    assert (control_group.users, canary_group.users) == (served.count("1"), served.count("2"))
    assert b"bowerbird_canary_lists_total" in metrics.exposition()


def test_a_refreshed_version_of_the_one_that_serves_all_starts_no_canary(
    shop_root: Path, start: Callable[..., Backend]
) -> None:
    backend = start()
    register(shop_root, "1")
    pointer = {"version": "2", "folder": "var/serving/models/2", "lineage": "1"}
    (shop_root / "var/serving/champion.json").write_text(json.dumps(pointer))
    backend.follow()
    assert set(recommended(backend, names(20))) == {"2"}
    assert backend.models.canary is None


def test_a_damaged_version_leaves_the_champion_to_all_and_never_takes_over(
    shop_root: Path, start: Callable[..., Backend]
) -> None:
    backend = start()
    register(shop_root, "2", "1")
    halve(shop_root / "var/serving/models/2/ranker.txt")
    for _ in range(3):
        backend.follow()
    assert set(recommended(backend, names(20))) == {"1"}
    assert "canary version" in backend.health.problems
    assert [(one.kind, one.subject) for one in open_alerts(shop_root)] == [("model", "canary")]
    rollout = read_rollout(shop_root)
    assert rollout is not None
    assert rollout.canary is not None
    old = replace(rollout.canary, started=0.0)
    write_rollout(shop_root, replace(rollout, canary=old))
    backend.follow()
    assert set(recommended(backend, names(20))) == {"1"}


def test_a_damaged_state_is_set_aside_and_the_champion_serves_all(
    shop_root: Path, start: Callable[..., Backend]
) -> None:
    start()
    register(shop_root, "2", "1")
    (shop_root / ROLLOUT).write_text("{")
    backend = start()
    assert set(recommended(backend, names(20))) == {"2"}
    assert (shop_root / f"{ROLLOUT}.damaged").exists()


def test_without_an_api_key_or_a_share_a_promoted_version_serves_all(
    shop_root: Path, open_backend: Callable[..., Backend]
) -> None:
    register(shop_root, "1")
    (shop_root / ROLLOUT).write_text("{}")  # of when canaries were on
    without_key = open_backend(shop_root)
    without_share = open_backend(shop_root, has_api_key=True, canary=Canary(share=0))
    for backend in (without_key, without_share):
        backend.load()
    register(shop_root, "2", "1")
    for backend in (without_key, without_share):
        backend.follow()
        assert backend.models.current().version == "2"
    assert not (shop_root / ROLLOUT).exists()


def test_the_first_registered_version_replaces_the_unregistered_model_at_once(
    shop_root: Path, open_backend: Callable[..., Backend]
) -> None:
    backend = open_backend(shop_root, has_api_key=True)
    backend.load()
    assert backend.models.current().version == "unregistered"
    register(shop_root, "1")
    backend.follow()
    assert (backend.models.current().version, backend.models.canary) == ("1", None)


def test_a_state_that_cannot_be_written_changes_nothing_that_is_served(
    shop_root: Path, start: Callable[..., Backend]
) -> None:
    backend = start()
    register(shop_root, "2", "1")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (16, limits[1]))  # as on a full disk, writing fails
    try:
        backend.follow()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert set(recommended(backend, names(20))) == {"1"}
    assert "canary" in backend.health.problems
    assert not list((shop_root / "var/serving").glob(".rollout.json*"))  # no part of it is left
    backend.follow()
    assert backend.models.canary is not None
    assert backend.health.problems == {}


def test_a_version_promoted_during_a_canary_gets_its_own(
    shop_root: Path, start: Callable[..., Backend]
) -> None:
    backend = start()
    register(shop_root, "2", "1")
    backend.follow()
    before = recommended(backend, names())
    shutil.copytree(shop_root / "var/serving/models/2", shop_root / "var/serving/models/3")
    pointer = {"version": "3", "folder": "var/serving/models/3"}
    (shop_root / "var/serving/champion.json").write_text(json.dumps(pointer))
    backend.follow()
    after = recommended(backend, names())
    assert set(before) == {"1", "2"}
    assert set(after) == {"1", "3"}
    tried = [[one != "1" for one in served] for served in (before, after)]
    assert tried[0] != tried[1]  # other shoppers are drawn
    rollout = read_rollout(shop_root)
    assert rollout is not None
    assert rollout.decisions[-1]["reason"] == "version 3 was promoted"
    assert open_alerts(shop_root) == ()
    assert [one.kind for one in read_timeline(shop_root)] == [
        "canary-started",
        "canary-ended",
        "canary-started",
    ]
