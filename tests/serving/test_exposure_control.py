"""The controller of exposure rules: shares end within their bounds, counted in the event store."""

from __future__ import annotations

import itertools
import time
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest

from components.settings import Serve, Settings
from serving.events.store import EventStore, open_store
from serving.events.tables import SECOND
from serving.filters.expression import Schema
from serving.merchandising.exposure_control import (
    LARGEST,
    STRONGEST,
    ExposureControl,
    aims,
    place_weights,
)
from serving.merchandising.rulebook import Numbered, Rulebook
from serving.merchandising.rules import Rule
from serving.recommend.engine import Engine
from serving.recommend.pipeline import Pipeline
from tests.colour_shop import N_ITEMS, colour_hybrid, colour_shop
from tests.serving.recommend.requests import ask_for

SCHEMA = Schema.of({"colour": "category"}, {})
MOMENTS = itertools.count()
"""A list a second."""
RED = {"action": "exposure", "where": "colour = 'red'", "at_least": 0.4}


@pytest.fixture(scope="module")
def engine(settings: Settings) -> Engine:
    """Of the colour shop: product i<n> is blue, red or green by n % 3."""
    train, catalogue = colour_shop()
    return Engine(colour_hybrid(train, catalogue, settings, ("popularity", "item_neighbours")), "1")


@pytest.fixture
def store(tmp_path: Path) -> Any:
    with open_store(f"sqlite:///{tmp_path}/events.db") as opened:
        yield opened


def numbered(revision: int = 1, **rule: Any) -> Numbered:
    made = Rule.model_validate({"name": "x", **rule})
    made.check(SCHEMA)
    return Numbered("r", revision, made)


def control(store: EventStore | None = None, delay: int = 10) -> ExposureControl:
    return ExposureControl(store and store.database, SCHEMA, delay)  # type: ignore[arg-type]


def shown(*items: int, rules: list[int] | None = None) -> dict[str, Any]:
    named = orjson.dumps({"rules": rules or [1], "placed": []}).decode()
    ids = orjson.dumps([f"i{one}" for one in items]).decode()
    return {"item_ids": ids, "rules": named, "timestamp": next(MOMENTS) * SECOND}


def many(n: int, *items: int) -> list[dict[str, Any]]:
    return [shown(*items) for _ in range(n)]


def reds(codes: list[int]) -> float:
    weights = place_weights(len(codes))
    return float(weights[[code % 3 == 1 and code < 59 for code in codes]].sum())


@pytest.mark.parametrize(
    ("bounds", "low", "high"),
    [
        ({"at_least": 0.5}, 0.5, 1.0),
        ({"at_most": 0.1}, 0.0, 0.1),
        ({"at_least": 0.3, "at_most": 0.4}, 0.3, 0.4),
    ],
)
def test_shares_end_within_their_bounds(
    engine: Engine, bounds: dict[str, float], low: float, high: float
) -> None:
    rule = numbered(action="exposure", where="colour = 'red'", **bounds)
    found, pipeline = control(), Pipeline(engine, Serve())
    rules, random = Rulebook([rule], SCHEMA, found.offsets), np.random.default_rng(0)
    shares = []
    for _ in range(80):  # ten lists between two readings, as with traffic
        steps, lists = rules.steps("home", dict), []
        requests = [
            ask_for(*random.choice(N_ITEMS, 3, replace=False).tolist(), k=6, steps=steps)
            for _ in range(10)
        ]
        for response in pipeline.run(requests):
            moment = next(MOMENTS) * SECOND
            one = {"item_ids": response.ids, "rules": response.rules, "timestamp": moment}
            lists.append(one)
            shares.append(reds(response.codes))
        found.count(lists, [rule], engine)
    late = float(np.mean(shares[300:]))
    assert low <= late <= high, late
    (measured,) = found.shares()
    assert measured.share == pytest.approx(np.mean(shares), abs=1e-6)
    assert measured.lists == len(shares)


def test_no_value_of_an_attribute_gets_more_than_the_most(engine: Engine) -> None:
    rule = numbered(action="exposure", by="colour", at_most=0.4)
    found = control()
    found.count(many(30, 1, 4, 7) + many(5, 0, 3, 6), [rule], engine)
    offsets = dict(found.offsets(1))
    assert offsets["red"] < 0
    assert "blue" not in offsets
    shares = {one.group: one.share for one in found.shares()}
    assert shares == pytest.approx({"red": 30 / 35, "blue": 5 / 35})
    found.count(many(300, 0, 2, 3), [rule], engine)
    assert "red" not in dict(found.offsets(1))  # it is within the bound again


def test_a_bound_that_cannot_be_met_does_not_wind_up(engine: Engine) -> None:
    rule = numbered(**RED)
    found = control()
    found.count(many(5_000, 0, 3), [rule], engine)
    assert found.offsets(1) == (("", STRONGEST),)
    found.count(many(200, 1, 4), [rule], engine)
    assert found.offsets(1) == ()  # not only after 5,000 lists


def test_an_earlier_surplus_does_not_allow_a_later_lack(engine: Engine) -> None:
    rule = numbered(**RED)
    found = control()
    found.count(many(1_000, 1, 4), [rule], engine)
    found.count(many(40, 0, 3), [rule], engine)
    assert dict(found.offsets(1))[""] > 0.5


def test_all_workers_read_the_same_shares_from_the_store(engine: Engine, store: EventStore) -> None:
    def log(n: int, *items: int, rules: list[int] | None) -> None:
        now = time.time_ns() // 1000
        for _ in range(n):
            row = shown(*items, rules=rules)
            store.log_impression(
                {
                    "impression_id": f"{time.time_ns()}{np.random.default_rng().integers(1 << 40)}",
                    **dict.fromkeys(("user_id", "session_id")),
                    **dict.fromkeys(("scores", "propensities"), "[]"),
                    **{"model_version": "1", "source": "hybrid", "timestamp": now},
                    "item_ids": row["item_ids"],
                    "rules": None if rules is None else row["rules"],
                }
            )
        store.flush()

    rule = numbered(3, **RED)
    one, other = control(store), control(store)
    one.step([rule], engine)
    log(30, 0, 3, rules=[3])
    log(30, 1, 4, rules=[2])  # of another rule
    log(30, 1, 4, rules=None)
    one.step([rule], engine)
    other.step([rule], engine)  # it starts later
    assert one.offsets(3) == other.offsets(3) != ()
    log(10, 1, 4, rules=[3, 2])
    for found in (one, other):
        found.step([rule], engine)
        (share,) = found.shares()
        assert (share.lists, share.share, share.recent) == (40, 0.25, 0.25)
    # A changed rule is counted from its change on.
    one.step([numbered(4, **RED)], engine)
    assert one.offsets(4) == ()
    one.step([], engine)
    assert one.shares() == []


def test_of_many_groups_the_largest_are_reported(engine: Engine) -> None:
    found = control()
    table = engine.model.catalogue.table
    sellers = [f"S{n}" for n in range(N_ITEMS)]
    with pytest.MonkeyPatch.context() as changed:
        changed.setitem(table, "category:seller", sellers)
        rule = Numbered("r", 1, Rule(name="x", action="exposure", by="seller", at_most=0.05))
        lists = [shown(n, (n * 7) % 30) for n in range(N_ITEMS)] + many(20, 3)
        found.count(lists, [rule], engine)
    shares = found.shares()
    assert len(shares) == LARGEST
    assert [one.share for one in shares] == sorted((one.share for one in shares), reverse=True)
    assert shares[0].group == "S3"
    assert [one.group for one in shares if one.offset] == ["S3"]


def test_bounds_that_are_close_are_aimed_at_their_middle() -> None:
    assert aims(0.48, 0.5) == (0.49, 0.49)
    assert place_weights(3).sum() == pytest.approx(1)
    assert place_weights(0).tolist() == []
