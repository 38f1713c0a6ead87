"""Strategies of training, each a function of the weeks and the verdicts on drift.

A strategy decides in which weeks it trains, whether it refreshes in between, and which model of a
training it serves. The promotion rule, the data and the clock are the same for all.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.replay import training
from benchmarks.replay.judging import InService, in_service, judge
from benchmarks.replay.shop import Shop
from benchmarks.replay.work import NotComputed, Record
from components.recommenders.models.popularity import Popularity

MONTH = 4
ALARM, PROMOTED, REFUSED = "alarm", "promoted", "refused"


@dataclass(frozen=True)
class Strategy:
    """When to train and what to serve.

    every: weeks between two trainings; 0: none after the first. drift: train after an alarm.
    refresh: refresh the served model each week. kind: the model of a training that is served.
    trains: false for popularity alone.
    """

    title: str
    every: int = 0
    drift: bool = False
    refresh: bool = False
    kind: str = training.SERVED
    trains: bool = True

    @property
    def closed(self) -> bool:
        """Whether the loop is closed: it learns from what came in, and serves the newest."""
        return (bool(self.every) or self.drift) and self.kind == training.SERVED


def strategies(every: int) -> dict[str, Strategy]:
    """Return the strategies by name; every: weeks between two trainings of the most frequent."""
    often = "every week" if every == 1 else f"every {every} weeks"
    return {
        "frozen": Strategy("never again"),
        "popularity": Strategy("popularity of the last days", trains=False),
        "old": Strategy("every 4 weeks, fitted 28 days back", MONTH, kind=training.JUDGED),
        "monthly": Strategy("every 4 weeks", MONTH),
        "monthly-refresh": Strategy("every 4 weeks, refreshed weekly", MONTH, refresh=True),
        "drift": Strategy("on drift only", drift=True),
        "often": Strategy(often, every),
        "often-refresh": Strategy(f"{often}, refreshed weekly", every, refresh=True),
        "refresh": Strategy("never again, refreshed weekly", refresh=True),
    }


@dataclass
class Life:
    """What became of a strategy, week by week.

    champion: week of the training that serves. baseline: see ``registry.promotion``. latest: week
    of the last training. judged: of each week, see ``judging.judge``. events: of each week, what
    happened. cpu: processor seconds of each week.
    """

    name: str
    strategy: Strategy
    champion: int = 0
    baseline: int | None = None
    latest: int = 0
    alarmed: bool = False
    judged: list[Record] = field(default_factory=list)
    events: list[dict[str, Any]] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)

    def note(self, week: int, what: str, why: str = "") -> None:
        self.events.append({"week": week, "what": what, "why": why})


def live(shop: Shop, life: Life, weeks: int, every: int) -> Iterator[None]:
    """Live through the weeks; yield after each. End early where a record is not computed.

    every: trainings after an alarm begin in weeks that are multiples of it.
    """
    for week in range(weeks):
        try:
            spent = _train_and_promote(shop, life, week, every) if life.strategy.trains else 0.0
            found = _serve(shop, life, week)
        except NotComputed:
            return
        life.judged.append(found)
        life.cpu.append(spent + found["refresh_cpu"])
        yield


def _train_and_promote(shop: Shop, life: Life, week: int, every: int) -> float:
    """Watch, train and promote at the start of a week; return processor seconds."""
    spent, strategy = 0.0, life.strategy
    if strategy.drift and week:
        verdict = training.drift(shop, week, life.latest)
        spent += verdict["cpu"]
        if verdict["drifted"]:
            life.alarmed = True
            # The names of the statistics, without their values.
            names = (reason.partition(":")[0] for reason in verdict["reasons"])
            life.note(week, ALARM, ", ".join(names))
    due = strategy.every > 0 and week % strategy.every == 0
    if not (due or week == 0 or (life.alarmed and week % every == 0)):
        return spent
    spent += training.train(shop, week)["cpu"]
    if week:
        spent += _promote(shop, life, week)
    if strategy.drift:
        spent += training.watch(shop, week)["cpu"]
    life.latest, life.alarmed = week, False
    return spent


def _promote(shop: Shop, life: Life, week: int) -> float:
    """Promote the training of ``week`` if the rule allows it; return processor seconds.

    The baseline is kept as in ``registry.promotion``.
    """
    found = training.promotion(shop, week, life.champion, life.baseline)
    life.note(week, PROMOTED if found["better"] else REFUSED, found["reason"])
    if found["better"]:
        of_baseline = found if found["baseline"] is None else found["baseline"]
        if of_baseline["low"] > 0:
            life.baseline = None
        elif life.baseline is None:
            life.baseline = life.champion
        life.champion = week
    return float(found["cpu"])


def _serve(shop: Shop, life: Life, week: int) -> Record:
    """Return what the lists of the model in service are worth in ``week``."""
    strategy, champion = life.strategy, life.champion
    if not strategy.trains:
        name = "popularity"
    elif strategy.refresh and champion < week:
        name = f"refreshed-{champion:02}"
    else:
        name = f"{Path(strategy.kind).name}-{champion:02}"
    return shop.work.once(
        f"weeks/{week:02}/judged-{name}", lambda: _judged(shop, strategy, champion, week)
    )


def _judged(shop: Shop, strategy: Strategy, champion: int, week: int) -> Record:
    """Judge the model of a training in ``week``; refresh_cpu: of tables and refresh."""
    data, prepared = shop.tables(week)["cpu"], shop.prepared(week)
    shop.prepared(week + 1)
    began, cpu = time.process_time(), 0.0
    if not strategy.trains:
        model = Popularity(shop.settings.train.popularity)
        x = prepared.interactions
        model.fit(x, prepared.catalogue)
        served = InService(model, prepared.catalogue, int(x.times.max()))
    elif strategy.refresh and champion < week:
        served = in_service(training.refreshed(shop, champion, week), prepared)
        cpu = data + time.process_time() - began
    else:
        served = in_service(training.model_of(shop, champion, strategy.kind), prepared)
    return {"refresh_cpu": cpu, **judge(shop, week, served)}
