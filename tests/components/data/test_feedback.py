"""The limits of feedback: nobody counts for more than they allow, and nothing is lost."""

from __future__ import annotations

from functools import cache

import ibis
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.data.feedback import (
    BAD_CLIENT,
    CLIENT_DAY,
    CLIENT_ITEM_DAY,
    USER_ITEM_DAY,
    over_limits,
    without_untrusted_values,
)
from components.data.schema import AUTHENTICATIONS, EVENTS
from components.data.whole_table import gates_of_interactions, with_gate
from components.settings import Validate

LIMITS = Validate(
    max_user_item_day=5,
    max_client_item_day=3,
    max_client_day=8,
    max_client_quantity=10,
    min_client_rows=4,
    max_bad_share=0.4,
)
START = pd.Timestamp("2026-11-01", tz="UTC")
PRODUCTS = pd.Index(["i0", "i1", "i2"])


def rows(n: int, **columns: object) -> pd.DataFrame:
    """Return n purchases, one a minute, of one client without a key, changed by ``columns``."""
    same = {
        "user_id": [f"u{one}" for one in range(n)],
        "item_id": "i0",
        "event": "purchase",
        "quantity": 1.0,
        "price": 2.0,
        "timestamp": START + pd.to_timedelta(np.arange(n), unit="min"),
        "client": "c",
        "authentication": "none",
        "source": "data/feedback/some.parquet",
    }
    return pd.DataFrame({**same, **columns}, index=range(n))


def kept(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.drop(index=over_limits(frame, LIMITS).index)


def test_a_client_counts_three_times_a_day_on_one_product_whatever_users_it_names() -> None:
    found = over_limits(rows(80), LIMITS)
    assert len(found) == 77
    assert set(found) == {CLIENT_ITEM_DAY}
    sessions = rows(80, user_id=[f"session:{n}" for n in range(80)], authentication="session")
    assert len(kept(pd.concat([rows(80), sessions], ignore_index=True))) == 3
    nobody = rows(80, client=[None, "x"] * 40)  # all without a client are one
    assert kept(nobody)["client"].isna().sum() == 3


def test_a_client_has_a_limit_over_all_products() -> None:
    found = over_limits(rows(80, item_id=[f"i{n}" for n in range(80)]), LIMITS)
    assert len(found) == 72
    assert set(found) == {CLIENT_DAY}


def test_dating_events_back_does_not_make_more_of_them_count() -> None:
    days = START - pd.to_timedelta(np.arange(80), unit="D")
    exported = rows(80, timestamp=days, source="data/feedback/events-2026-11-01.parquet")
    assert len(kept(exported)) == 3
    next_day = exported.assign(source="data/feedback/events-2026-11-02.parquet")
    assert len(kept(pd.concat([exported, next_day], ignore_index=True))) == 6


def test_a_user_counts_five_times_with_the_shops_key_and_the_key_has_no_limit_of_its_own() -> None:
    one = rows(80, user_id="u", authentication="shop")
    assert set(over_limits(one, LIMITS)) == {USER_ITEM_DAY}
    assert len(kept(one)) == 5
    assert len(kept(rows(80, authentication="shop"))) == 80


def test_the_shops_own_files_are_not_limited() -> None:
    assert len(over_limits(rows(80, user_id="u", authentication=None), LIMITS)) == 0


def test_what_says_most_and_is_signed_is_kept_first() -> None:
    events = rows(8, user_id="u", event=["view"] * 6 + ["purchase", "click"])
    assert kept(events)["event"].tolist() == ["view", "purchase", "click"]
    mixed = rows(10, user_id="u", authentication=["none"] * 5 + ["shop"] * 5)
    assert kept(mixed)["authentication"].tolist() == ["shop"] * 5


def test_only_the_shops_key_sets_a_price() -> None:
    who = [None, "shop", "session", "none"]
    told = without_untrusted_values(rows(4, price=0.01, quantity=1e6, authentication=who), LIMITS)
    assert told["price"].isna().tolist() == [False, False, True, True]
    assert told["quantity"].tolist() == [1e6, 1e6, 10, 10]


TEXTS = ["user_id", "item_id", "event", "client", "authentication", "source"]


@cache
def database() -> tuple[ibis.BaseBackend, list[str]]:
    """Return a database with empty tables of interactions and reasons, and the gates' statements.

    They are compiled once, since that takes longer than to run them.
    """
    con = ibis.duckdb.connect()
    con.raw_sql("SET TimeZone = 'UTC'")
    columns = {**dict.fromkeys(TEXTS, "string"), "timestamp": "timestamp('UTC')", "row": "int64"}
    rows = con.create_table("rows", schema=columns)
    reasons = con.create_table("reasons", schema={"row": "int64", "reasons": "array<string>"})
    products = con.create_table("products", pd.DataFrame({"item_id": PRODUCTS}))
    others = con.create_table("others", schema={"item_id": "string", "why": "string"})
    gates = gates_of_interactions(LIMITS, products, others)
    found = [con.compile(with_gate(rows, reasons, gate)) for gate in gates]
    return con, [f"CREATE OR REPLACE TABLE reasons AS {one}" for one in found]


def problems(frame: pd.DataFrame, reasons: pd.Series) -> pd.Series:
    """Return why interactions that met every expectation are still bad.

    frame: its index counts from 0. reasons: lists of what they found in others, by row.
    """
    con, statements = database()
    for table in ("rows", "reasons"):
        con.raw_sql(f"DELETE FROM {table}")
    texts = frame[TEXTS].astype(object).where(frame[TEXTS].notna(), None)
    con.insert("rows", texts.assign(timestamp=frame["timestamp"], row=frame.index))
    if len(reasons):
        found = pd.DataFrame({"row": reasons.index, "reasons": reasons.to_numpy()})
        con.insert("reasons", found)
    for statement in statements:
        con.raw_sql(statement)
    lists = con.table("reasons").order_by("row").execute().set_index("row")["reasons"].map(list)
    return lists[~lists.index.isin(reasons.index)]


@pytest.mark.parametrize("bad", [3, 2])
def test_a_client_with_mostly_bad_rows_is_left_out_whole(bad: int) -> None:
    frame = rows(5, item_id=[f"i{n % 3}" for n in range(5)])
    other = rows(5, item_id=[f"i{n % 3}" for n in range(5)], client="d")
    frame = pd.concat([frame, other], ignore_index=True)
    reasons = pd.Series([["price not positive"]] * bad, index=range(bad))
    found = problems(frame, reasons)
    expected = {3: [3, 4], 2: []}[bad]  # 60 % and 40 % of five
    assert found.index.tolist() == expected
    assert all(why == [BAD_CLIENT] for why in found)


def test_what_was_sent_twice_says_nothing_against_its_client() -> None:
    frame = rows(5, item_id=[f"i{n % 3}" for n in range(5)])
    reasons = pd.Series([["duplicate"]] * 4, index=range(4))
    assert problems(frame, reasons).empty


def _pick(values: list[object]) -> st.SearchStrategy:
    return st.sampled_from(values)


EVENT = st.fixed_dictionaries(
    {
        "user_id": _pick(["u0", "u1"]),
        "item_id": _pick(["i0", "i1", "elsewhere"]),
        "event": _pick(list(EVENTS)),
        "timestamp": st.integers(0, 4 * 86_400).map(lambda s: START + pd.Timedelta(seconds=s)),
        "client": _pick(["c0", "c1", None]),
        "authentication": _pick([*AUTHENTICATIONS, "none", None]),
        "source": _pick(
            ["lines.csv", "f/events-2026-11-01.parquet", "f/events-2026-11-02.parquet"]
        ),
        "bad": st.booleans(),
    }
)


@given(st.lists(EVENT, max_size=120))
def test_for_any_feedback_no_limit_is_passed_and_no_row_is_lost(events: list[dict]) -> None:
    columns = ["user_id", "item_id", "event", "timestamp", "client", "authentication", "source"]
    frame = pd.DataFrame(events, columns=[*columns, "bad"])
    frame["timestamp"] = pd.to_datetime(frame["timestamp"], utc=True)
    wrong = frame.index[frame["bad"].astype(bool)]
    reasons = pd.Series([["no customer"]] * len(wrong), index=wrong, dtype=object)
    found = problems(frame, reasons)
    assert found.index.is_unique
    assert not found.index.isin(wrong).any()
    good = frame.drop(index=wrong.union(found.index))
    assert len(good) + len(wrong) + len(found) == len(frame)
    own = good["authentication"].isna()
    known = frame["item_id"].isin(PRODUCTS)
    assert own.sum() == (frame["authentication"].isna() & ~frame["bad"].astype(bool) & known).sum()
    feedback = good[~own].assign(day=lambda f: f["timestamp"].dt.floor("D"))
    feedback["client"] = feedback["client"].fillna("")
    free = feedback[feedback["authentication"] != "shop"]
    for part, keys, most in (
        (feedback, ["user_id", "item_id", "day"], LIMITS.max_user_item_day),
        (free, ["client", "item_id", "day"], LIMITS.max_client_item_day),
        (free, ["client", "day"], LIMITS.max_client_day),
    ):
        assert part.groupby(keys).size().max() <= most or part.empty
