"""Which verdict raises and resolves which alert."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

from components.alerts import open_alerts
from components.data.held_days import release_days
from monitoring.alerts import update_alerts
from monitoring.broken import Finding
from monitoring.detection import LiftedProduct, StatisticVerdict, Verdict


def verdict(kind: Any = "drift", **changed: Any) -> Verdict:
    one = StatisticVerdict("price", "price", 2.0, 0.1, 0.5, 9.0, kind == "drift")
    found = Verdict(
        kind, kind == "drift", True, 9.0, 2.0, ["price: 2.0"], "2011-01-01T08:00:00+00:00",
        "2011-01-07T08:00:00+00:00", 900, 900, 0, 120, False, "2010-10-01", "2010-12-01", 0.0, 0.05,
        statistics=[one],
    )  # fmt: skip
    return replace(found, **changed)


def broken(day: str, check: str = "missing_price") -> Verdict:
    finding = Finding(check, day, 1.0, 0.1, f"{day}: all prices are missing")
    return verdict("broken", broken=[finding], end=f"{day}T20:00:00+00:00")


def subjects(root: Path) -> list[tuple[str, str, int]]:
    return [(one.kind, one.subject, one.count) for one in open_alerts(root)]


def test_drift_is_open_until_a_watch_without_it(tmp_path: Path) -> None:
    update_alerts(tmp_path, verdict())
    update_alerts(tmp_path, verdict())
    assert subjects(tmp_path) == [("drift", "traffic", 2)]
    (alert,) = open_alerts(tmp_path)
    assert (alert.reason, alert.details["statistics"]) == ("price: 2.0", ["price"])
    update_alerts(tmp_path, verdict("none", enough=False))
    update_alerts(tmp_path, broken("2011-01-07"))  # drift was not judged
    assert ("drift", "traffic", 2) in subjects(tmp_path)
    update_alerts(tmp_path, verdict("none"))
    assert not any(kind == "drift" for kind, *_ in subjects(tmp_path))


def test_broken_data_is_open_until_later_days_are_sound(tmp_path: Path) -> None:
    update_alerts(tmp_path, broken("2011-01-05", "feed_gap"))
    update_alerts(tmp_path, broken("2011-01-06", "feed_gap"))
    assert subjects(tmp_path) == [("broken", "feed_gap", 2)]
    # The days are held, so they are not looked at again: the feed is still not back.
    update_alerts(tmp_path, verdict("none", end="2011-01-04T20:00:00+00:00"))
    assert subjects(tmp_path) == [("broken", "feed_gap", 2)]
    update_alerts(tmp_path, broken("2011-01-07"))  # another check
    assert subjects(tmp_path) == [("broken", "missing_price", 1)]


def test_released_days_resolve_it_too(tmp_path: Path) -> None:
    finding = broken("2011-01-05")
    update_alerts(tmp_path, finding)
    release_days(tmp_path, date(2011, 1, 4), date(2011, 1, 4), "another day")
    assert subjects(tmp_path) == [("broken", "missing_price", 1)]
    release_days(tmp_path, date(2011, 1, 4), date(2011, 1, 6), "no prices any more")
    assert subjects(tmp_path) == []


def test_each_lifted_product_is_an_alert(tmp_path: Path) -> None:
    one = LiftedProduct("P1", "burst", 2.0, 30, 9)
    update_alerts(tmp_path, verdict("attack", products=[one, one]))
    update_alerts(tmp_path, verdict("attack", products=[one, replace(one, item_id="P2")]))
    update_alerts(tmp_path, verdict("none"))  # the hold on promotions lasts
    assert subjects(tmp_path) == [("attack", "P1", 2), ("attack", "P2", 1)]
    assert "product P1 by 9 profiles" in open_alerts(tmp_path)[0].reason
