"""Estimates of what rules cost and bring, against the truth of a shop whose purchases are drawn."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from components.data.event_kinds import EventKinds
from components.evaluation.off_policy import Z
from components.settings import Serve, Settings
from serving.events.store import EventStore, open_store
from serving.events.tables import SECOND
from serving.filters.expression import Schema
from serving.merchandising.estimate import RuleEstimator
from serving.merchandising.objective import table_of, write
from serving.merchandising.rulebook import Numbered, Rulebook
from serving.merchandising.rules import Rule, named
from serving.profiles.profiles import BaseProfiles, LiveProfiles, Profiles
from serving.recommend.engine import Engine
from serving.recommend.exploration import draw, drawn_scores
from serving.recommend.pipeline import Pipeline
from serving.recommend.types import Response
from tests.colour_shop import N_ITEMS, colour_hybrid, colour_shop
from tests.postgres import new_database
from tests.serving.recommend.requests import ask_for

SCHEMA = Schema.of({"margin": "number", "colour": "category"}, {})
MARGIN = named("margin")
EXPLORES = {"policy": "epsilon_greedy", "slots": 3, "candidates": 60, "epsilon": 0.8}
DRAWS = {"policy": "thompson", "slots": 3, "candidates": 60, "deviation": 3.0}
BUYS = np.where(np.arange(N_ITEMS) % 2, 0.5, 0.2)
"""Chance that a shown product is bought, the same for every shopper."""


@dataclass
class World:
    """A shop with an event store. profiles: of shoppers without a history."""

    engine: Engine
    store: EventStore
    profiles: Profiles
    settings: Settings

    def estimator(self, pipeline: Pipeline, most: int = 2_000) -> RuleEstimator:
        database = self.store.database
        return RuleEstimator(pipeline, self.profiles, database, self.settings, most)


@pytest.fixture(scope="module")
def engine(settings: Settings) -> Engine:
    """Product i<n> has the margin n, but i59 has none."""
    train, catalogue = colour_shop()
    return Engine(colour_hybrid(train, catalogue, settings, ("popularity", "item_neighbours")), "1")


@contextmanager
def world_of(engine: Engine, settings: Settings, database: Path) -> Iterator[World]:
    with open_store(f"sqlite:///{database}") as store:
        live = LiveProfiles(store, 100, EventKinds.of(settings.preprocess))
        base = BaseProfiles.empty(engine.items, engine.model.trained_until or 0)
        yield World(engine, store, Profiles(base, live, engine.items, 100), settings)


@pytest.fixture
def world(engine: Engine, settings: Settings, tmp_path: Path) -> Iterator[World]:
    with world_of(engine, settings, tmp_path / "events.db") as made:
        yield made


def pipeline(engine: Engine, exploration: dict[str, Any] | None = None) -> Pipeline:
    return Pipeline(engine, Serve.model_validate({"exploration": exploration or {}}))


def books(*weights: float) -> list[Rulebook]:
    found = [Rulebook([], SCHEMA)]
    for weight in weights:
        rule = Rule(name="x", action="objective", by="margin", weight=weight)
        found.append(Rulebook([Numbered("r", 0, rule)], SCHEMA))
    return found


def log(world: World, ranks: Pipeline, n: int, k: int = 3, seed: int = 0) -> None:
    """Show lists to ``n`` shoppers, who buy by chance."""
    random, explorer = np.random.default_rng(seed), ranks.arm(None).explorer
    start = (world.engine.model.trained_until or 0) * SECOND
    (made,) = ranks.run([ask_for(k=k)])
    events = []
    for at in range(n):
        shown: Response = made
        if explorer is not None:
            shown = draw(made, explorer, world.engine.ids, random)
        user, impression = f"s{at % (n // 2)}", f"{at:032x}"
        world.store.log_impression(
            {
                **{"impression_id": impression, "user_id": user, "session_id": None},
                **{"item_ids": shown.ids, "scores": shown.scores, "source": "hybrid"},
                **{"propensities": shown.propensities, "model_version": "1", "surface": "home"},
                "timestamp": start - SECOND + at,
            }
        )
        for code in shown.codes:
            if random.random() < BUYS[code]:
                events.append(bought(user, code, start - 1, impression))
        if at % 400 == 399:
            world.store.flush()
    world.store.submit(events).result()


def bought(user: str, code: int, moment: int, impression: str | None = None) -> dict[str, Any]:
    return {
        **{"event_id": f"{user} {code} {impression}", "user_id": user, "item_id": f"i{code}"},
        **{"event": "purchase", "timestamp": moment, "impression_id": impression},
        "authentication": "shop",
    }


def truth(ranks: Pipeline, book: Rulebook, lists: int, k: int = 3) -> tuple[float, float]:
    """Return margin and purchases of a list of a shopper without a history, the mean of ``lists``
    drawn ones: with 4,000 the margin is wrong by a fifth of an estimate's standard error."""
    steps, explorer = book.steps("home", dict), ranks.arm(None).explorer
    (made,) = ranks.run([ask_for(k=k, steps=steps)])
    assert explorer is not None
    pool, fixed = made.exploration_pool, len(made.codes) - made.n_explored
    assert pool is not None
    scores = np.tile(drawn_scores(pool.scores[fixed:]), (lists, 1))
    drawn, _ = explorer.choose(scores, made.n_explored, np.random.default_rng(1))
    kept = np.tile(np.arange(fixed), (lists, 1))
    codes = np.array(pool.items)[np.hstack([kept, fixed + drawn])]
    margin = np.where(codes == N_ITEMS - 1, 0, codes)
    return (
        float((BUYS[codes] * margin).sum(axis=1).mean()),
        float(BUYS[codes].sum(axis=1).mean()),
    )


def test_histories_count_in_any_store(
    engine: Engine, settings: Settings, tmp_path: Path, postgres: str
) -> None:
    """Nothing is in memory before: PostgreSQL's are read by a thread that may wait."""
    found = []
    start = ((engine.model.trained_until or 0) + 1) * SECOND
    for url in (f"sqlite:///{tmp_path}/events.db", new_database(postgres)):
        with open_store(url) as store:
            live = LiveProfiles(store, 100, EventKinds.of(settings.preprocess))
            base = BaseProfiles.empty(engine.items, engine.model.trained_until or 0)
            here = World(engine, store, Profiles(base, live, engine.items, 100), settings)
            before = [bought(f"s{n}", n, start - 9 * SECOND) for n in range(40)]
            later = [bought(f"s{n}", n + 3, start) for n in range(40)]
            store.submit([*before, *later]).result()
            found.append(here.estimator(pipeline(engine)).compare(books(1.0), MARGIN, "home", 5))
    assert found[0] == found[1]


@pytest.mark.parametrize(
    ("exploration", "logs", "hits", "lists"),
    [(EXPLORES, 4, 3, 100_000), pytest.param(DRAWS, 12, 10, 20_000, marks=pytest.mark.slow)],
)
def test_the_gain_is_the_true_one(
    engine: Engine,
    settings: Settings,
    tmp_path: Path,
    exploration: dict[str, Any],
    logs: int,
    hits: int,
    lists: int,
) -> None:
    """The truth is in nearly all intervals (95 %) of several logs, and within three standard errors
    of the estimates' mean. hits: so many by chance in 98 of 100 cases."""
    ranks = pipeline(engine, exploration)
    plain, changed = books(2.0)
    before, after = truth(ranks, plain, lists), truth(ranks, changed, lists)
    gained = np.subtract(after, before)
    assert gained[0] > 1.5
    found = []
    for seed in range(logs):
        with world_of(engine, settings, tmp_path / f"{seed}.db") as world:
            log(world, ranks, 1_600, seed=seed)
            found.append(world.estimator(ranks).compare([plain, changed], MARGIN, "home", 3))
    for one in found:
        same, outcome = one.outcomes
        assert one.lists == 1_600
        assert same.value.gain is not None
        assert same.value.gain.value == 0  # the rules in force against themselves
        assert (outcome.shown or 0) > (same.shown or 0)
        assert outcome.value.reason.endswith("effective of 1600 decisions")
    for name, true in zip(("value", "purchases"), gained, strict=True):
        for estimate in ("gain", "doubly_robust"):
            each = [getattr(getattr(one.outcomes[1], name), estimate) for one in found]
            assert sum(one.low < true < one.high for one in each) >= hits
            assert all(one.high - one.low < 30 for one in each)
            error = np.mean([one.high - one.low for one in each]) / (2 * Z * np.sqrt(logs))
            assert np.mean([one.value for one in each]) == pytest.approx(true, abs=3 * error)
            if name == "value":  # that the rule gains is seen in every log
                assert all(one.low > 0 for one in each)


def test_without_exploration_there_is_no_estimate_but_a_reason(world: World) -> None:
    ranks = pipeline(world.engine)
    log(world, ranks, 300)
    found = world.estimator(ranks).compare(books(2.0), MARGIN, "home", 3)
    gain = found.outcomes[1].value
    assert gain.gain is None
    assert gain.support < 0.9
    assert "serve lists with exploration (serve.exploration)" in gain.reason
    assert "of what these lists would show" in gain.reason
    same = world.estimator(ranks).compare(books() * 2, MARGIN, "home", 3).outcomes[1].value
    assert same.gain is not None  # all of these lists is in the log
    assert (same.support, same.gain.value) == (1, 0)


def test_too_short_and_empty_logs_are_refused_in_words(world: World) -> None:
    ranks = pipeline(world.engine, EXPLORES)
    none = world.estimator(ranks).compare(books(1.0), MARGIN, "home", 3)
    assert none.outcomes[1].value.reason == "no lists of this surface were logged for shoppers"
    assert none.outcomes[1].ndcg is None
    log(world, ranks, 98)
    few = world.estimator(ranks).compare(books(0.1), MARGIN, "home", 3).outcomes[1].value
    assert few.gain is None
    assert "at least 100 are needed" in few.reason
    with pytest.raises(ValueError, match="depend on what its page shows"):
        world.estimator(ranks).check("bought_together")
    with pytest.raises(ValueError, match="depend on what its page shows"):
        world.estimator(ranks).check("product")


def test_the_price_in_ndcg_is_that_of_purchases_after_the_training(
    world: World, tmp_path: Path
) -> None:
    ranks, until = pipeline(world.engine), world.engine.model.trained_until or 0
    (made,) = ranks.run([ask_for(k=10)])
    best = min(set(made.codes) - {3})  # of the lowest margin
    rows = [bought(f"s{at}", best, (until + 100) * SECOND) for at in range(40)]
    rows += [bought(f"s{at}", 3, (until + 5_000) * SECOND) for at in range(40)]  # later: relevant
    rows += [bought(f"old{at}", 3, (until - 100) * SECOND) for at in range(40)]  # was known
    world.store.submit(rows).result()
    plain, changed = books(10.0)
    found = world.estimator(ranks).compare([plain, changed], MARGIN, "home", 10)
    assert found.shoppers == 40
    assert found.reason == ""
    discount = 1 / np.log2(np.arange(2, 12))
    gained = discount[[at for at, code in enumerate(made.codes) if code in (best, 3)]].sum()
    assert found.outcomes[0].ndcg == pytest.approx(gained / discount[:2].sum())
    price = found.outcomes[1].price
    assert price is not None
    assert price.high < 0
    assert found.outcomes[1].ndcg == pytest.approx((found.outcomes[0].ndcg or 0) + price.value)
    text = table_of("margin", [10.0], found)
    assert f"| {found.outcomes[0].ndcg:.4f} |" in text
    assert "No gain estimated: no lists of this surface were logged" in text
    write(tmp_path / "made", "margin", [10.0], found)
    assert json.loads((tmp_path / "made/estimates.json").read_text())["shoppers"] == 40
    assert "<svg" in (tmp_path / "made/estimates.svg").read_text()
