"""Each kind of change is called by its name, and an ordinary week by none."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from components.settings import Settings
from monitoring.broken import limits_of, measure_days
from monitoring.detection import Traffic, Verdict, judge
from monitoring.features import clean_window
from monitoring.reference import Reference
from monitoring.run import newest_traffic
from tests.monitoring.weeks import DAY, END, purchases, reference_of, training

FIRST = END + 5 * DAY
"""The first day with a fault; the window is END to END + 7 days."""


@pytest.fixture(scope="module")
def reference() -> Reference:
    return reference_of(training())


@pytest.fixture(scope="module")
def week() -> pd.DataFrame:
    return purchases(END, 7, seed=1)


def changed(week: pd.DataFrame, change: Callable[[pd.DataFrame], pd.DataFrame]) -> pd.DataFrame:
    """Return the week with a change of its last two days."""
    late = week["timestamp"] >= FIRST
    return pd.concat([week[~late], change(week[late])], ignore_index=True)


def verdict(reference: Reference, window: pd.DataFrame, **facts: object) -> Verdict:
    return judge(Traffic(window, **facts), reference)[0]  # type: ignore[arg-type]


def failed(found: Verdict) -> dict[str, set[str]]:
    """Return check → days."""
    checks: dict[str, set[str]] = {}
    for one in found.broken:
        checks.setdefault(one.check, set()).add(one.day)
    return checks


LAST_DAYS = {str(FIRST.date()), str((FIRST + DAY).date())}


@pytest.mark.parametrize("age", [0, 1, 2, 5])
def test_ordinary_weeks_raise_no_alarm(reference: Reference, age: int) -> None:
    for seed in range(10, 13):
        found = verdict(reference, purchases(END + 7 * age * DAY, 7, seed))
        assert found.kind == "none", (seed, found.reasons)
        assert found.age == pytest.approx(age)


@pytest.mark.parametrize(
    ("check", "change"),
    [
        ("missing_price", lambda f: f.assign(price=np.nan)),
        ("missing_price", lambda f: f.assign(price=0.0)),
        ("missing_item", lambda f: f.assign(item_id=f["item_id"].where(f.index % 2 == 0))),
        ("missing_user", lambda f: f.assign(user_id=None)),
        ("price_scale", lambda f: f.assign(price=f["price"] * 1.2)),
        ("price_scale", lambda f: f.assign(price=f["price"] / 100)),
        ("strange_items", lambda f: f.assign(item_id="SKU-" + f["item_id"])),
        ("unknown_items", lambda f: f.assign(item_id="P9" + f["item_id"].str[1:])),
        ("unknown_users", lambda f: f.assign(user_id="77" + f["user_id"])),
        ("one_instant", lambda f: f.assign(timestamp=f["timestamp"].dt.floor("D"))),
        ("clock_shift", lambda f: f.assign(timestamp=f["timestamp"] + pd.Timedelta(hours=5))),
        ("feed_low", lambda f: f[f.groupby(f["timestamp"].dt.date).cumcount() < 12]),
    ],
)
def test_broken_data_is_named_with_its_days(
    reference: Reference, week: pd.DataFrame, check: str, change: Callable[..., pd.DataFrame]
) -> None:
    found = verdict(reference, changed(week, change))
    assert found.kind == "broken", found.reasons
    assert not found.drifted
    assert failed(found)[check] == LAST_DAYS
    assert set().union(*failed(found).values()) == LAST_DAYS
    assert found.enough
    good = clean_window(week[week["timestamp"] < FIRST])
    assert found.rows == len(good)


@pytest.mark.parametrize("hour", [9, 10, 13, 16, 23])
def test_a_run_at_any_hour_takes_no_part_of_a_day_for_a_fault(
    reference: Reference, hour: int, settings: Settings, tmp_path: Path
) -> None:
    """The newest seven days end now, so that the first and the last of them are parts."""
    events = purchases(END, 8, seed=4).assign(
        rating=np.nan, client=None, authentication="shop", impression_id=None
    )
    now = END + 7 * DAY + pd.Timedelta(hours=hour)
    events = events[events["timestamp"] < now]
    for day, part in events.groupby(events["timestamp"].dt.date):
        part.to_parquet(tmp_path / f"events-{day}.parquet", index=False)
    traffic = newest_traffic(tmp_path, 7, settings.validate_, now)
    found, _ = judge(traffic, reference)
    assert found.kind == "none", found.reasons
    if hour in (9, 16):  # such parts do look broken where they are taken for days
        whole, _ = judge(replace(traffic, partial=()), reference)
        assert whole.kind == "broken"


def test_a_stopped_feed_is_found_after_the_longest_ordinary_gap(
    reference: Reference, week: pd.DataFrame
) -> None:
    silent = pd.date_range(END + 7 * DAY, periods=2, freq="D")
    assert reference.limits["feed_gap"] == 1
    assert verdict(reference, week, silent=silent[:1]).kind == "none"
    found = verdict(reference, week, silent=silent)
    assert failed(found) == {"feed_gap": {str(silent[1].date())}}


def test_a_holiday_that_returns_is_no_gap(reference: Reference, week: pd.DataFrame) -> None:
    silent = pd.date_range(END + 7 * DAY, periods=3, freq="D")
    closed = pd.date_range(silent[0] - 380 * DAY, silent[-1] - 340 * DAY, freq="D")
    history = pd.Series(40.0, index=closed)
    history[silent - 364 * DAY] = 0.0
    visits = pd.concat([history, reference.visits[reference.visits.index > closed[-1]]])
    assert verdict(replace(reference, visits=visits), week, silent=silent).kind == "none"


def test_a_wrong_clock_is_found_by_the_day_of_receipt(
    reference: Reference, week: pd.DataFrame
) -> None:
    received = week["timestamp"].dt.floor("D")
    slow = week["timestamp"].mask(received >= FIRST, week["timestamp"] - 365 * DAY)
    arrival = pd.DataFrame({"timestamp": slow, "received": received})
    in_time = week[received < FIRST]
    found = verdict(reference, in_time, received=arrival)
    assert failed(found) == {"wrong_clock": LAST_DAYS}
    imported = arrival[received >= FIRST]  # a feed's first day: old events are imported
    assert verdict(reference, in_time, received=imported[imported["received"] == FIRST]).kind == (
        "none"
    )


def test_a_day_that_the_operator_released_is_not_called_broken(
    reference: Reference, week: pd.DataFrame
) -> None:
    cheap = changed(week, lambda f: f.assign(price=f["price"] * 0.8))
    assert verdict(reference, cheap).kind == "broken"
    assert verdict(reference, cheap, skip=[FIRST, FIRST + DAY]).kind != "broken"


def test_one_address_of_the_shops_server_is_no_attack_and_of_another_client_is(
    reference: Reference, week: pd.DataFrame
) -> None:
    window = week.assign(client="10.0.0.7")
    shop = verdict(reference, window.assign(authentication="shop"))
    assert shop.kind == "none", shop.reasons
    assert verdict(reference, window.assign(authentication="none")).kind == "attack"


def test_what_a_client_may_not_set_is_not_missing(reference: Reference, week: pd.DataFrame) -> None:
    sessions = week.assign(price=np.nan, authentication="none")
    assert "missing_price" not in failed(verdict(reference, sessions))


def test_a_window_without_prices_is_broken_also_with_few_events_a_day(
    reference: Reference, week: pd.DataFrame
) -> None:
    few = week.groupby(week["timestamp"].dt.date).sample(15, random_state=0)
    assert "missing_price" not in failed(verdict(reference, few))
    assert len(failed(verdict(reference, few.assign(price=np.nan)))["missing_price"]) == 7


def test_a_shop_that_misses_many_prices_notices_when_all_are_missing(
    reference: Reference, week: pd.DataFrame
) -> None:
    half = week.assign(price=week["price"].mask(week.index % 5 < 3))
    days = measure_days(half, reference.baseline(reference.known_users()))
    none = pd.Series([], index=pd.DatetimeIndex([], tz="UTC"), dtype=float)
    own = replace(reference, limits=limits_of(days, none, none))
    assert "missing_price" not in failed(verdict(own, half))
    assert "missing_price" in failed(verdict(own, week.assign(price=np.nan)))


def test_what_cannot_be_compared_is_named(reference: Reference, week: pd.DataFrame) -> None:
    """A browser sends no prices, so that none is broken data; their drift is not seen either."""
    sessions = week.assign(authentication="session", price=np.nan, client="c")
    found = verdict(reference, sessions)
    assert "missing_price" not in failed(found)
    assert found.reasons[-1] == "not compared, because of fewer than 30 known values: unit price"
    assert not any("not compared" in reason for reason in verdict(reference, week).reasons)


def test_other_taste_and_a_new_range_are_drift(reference: Reference, week: pd.DataFrame) -> None:
    rng = np.random.default_rng(0)
    rare = [f"P{code}" for code in rng.integers(100, 150, len(week))]
    price = [2.0 + (int(one[1:]) % 7) for one in rare]
    taste = verdict(reference, week.assign(item_id=rare, price=price))
    assert taste.kind == "drift"
    assert taste.drifted
    assert "item" in {one.name for one in taste.statistics if one.drifted}
    new = week["item_id"].mask(rng.random(len(week)) < 0.3, "P9" + week["item_id"].str[1:])
    found = verdict(reference, week.assign(item_id=new))
    assert found.kind == "drift", found.reasons
    assert "new_texts" in {one.name for one in found.statistics if one.drifted}


def attack_of(week: pd.DataFrame, users: list[str], seed: int = 0) -> pd.DataFrame:
    """Return the week with ``users`` who each buy P149 once."""
    times = END + pd.to_timedelta(
        np.random.default_rng(seed).integers(8 * 3600, 150 * 3600, len(users)), unit="s"
    )
    made = pd.DataFrame(
        {
            "user_id": users,
            "item_id": "P149",
            "event": "purchase",
            "timestamp": times,
            "price": 2.0 + 149 % 7,
            "quantity": 1.0,
        }
    )
    return pd.concat([week, made], ignore_index=True)


def test_made_up_profiles_are_an_attack_and_are_named(
    reference: Reference, week: pd.DataFrame
) -> None:
    users = [f"made-up-{n}" for n in range(14)]
    window = attack_of(week[week["item_id"] != "P149"], users)
    found, attack = judge(Traffic(window), reference)
    assert found.kind == "attack", found.reasons
    assert {one.item_id for one in found.products} == {"P149"}
    assert set(attack.profiles["user_id"]) == set(users)
    assert not any(user in found.to_json() for user in users)  # personal data
    # The same purchases by customers who were there before are none.
    known = [f"1{n}" for n in range(14)]
    assert verdict(reference, attack_of(week[week["item_id"] != "P149"], known)).kind == "none"
    assert verdict(reference, window, earlier=users).kind == "none"
    sessions = [f"session:{n}" for n in range(14)]  # new by nature
    found = verdict(reference, attack_of(week[week["item_id"] != "P149"], sessions))
    assert found.kind == "none", found.reasons


def test_few_profiles_that_repeat_one_product_are_an_attack(
    reference: Reference, week: pd.DataFrame
) -> None:
    users = [f"1{n % 3}" for n in range(240)]
    found, attack = judge(Traffic(attack_of(week, users)), reference)
    assert found.kind == "attack", found.reasons
    assert {"P149"} == {one.item_id for one in found.products}
    assert {"10", "11", "12"} <= set(attack.profiles["user_id"])
    # Also where the limits of validate leave the events out.
    above = attack_of(week.iloc[:0], users)
    assert verdict(reference, week, above_limits=above).kind == "attack"


def test_broken_data_explains_the_rest_away(reference: Reference, week: pd.DataFrame) -> None:
    users = [f"19{n}9" for n in range(14)]
    both = changed(attack_of(week, users), lambda f: f.assign(price=np.nan))
    assert verdict(reference, both).kind == "broken"
