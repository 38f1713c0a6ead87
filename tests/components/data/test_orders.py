"""Order versions, returns, cancellations, pieces and copies: what a row means for other rows."""

from __future__ import annotations

from collections import defaultdict
from functools import cache
from pathlib import Path
from typing import Any

import duckdb
import ibis
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from components.data import orders
from components.data.schema import RAW
from components.settings import Settings, Validate
from tests.components.data.test_whole_shops import LINE_COLUMNS, lines, quarantined, run

NOON = pd.Timestamp("2024-03-01 12:00", tz="UTC")
GONE = ("returned", "cancelled")
BACK, CANCELS = "line of a return", "line of a cancellation"


ROW_SCHEMA = pa.schema(
    [
        *(RAW["interactions"].field(name) for name in orders.COLUMNS),
        ("row", pa.int64()),
        ("usable", pa.bool_()),
    ]
)


@cache
def database_of_problems(**limits: Any) -> tuple[duckdb.DuckDBPyConnection, str]:
    """Return a database with an empty table ``rows``, and the query of its problems.

    Compiling the query takes a hundred times as long as running it.
    """
    con = ibis.duckdb.connect()
    table = con.create_table("rows", schema=ibis.Schema.from_pyarrow(ROW_SCHEMA))
    return con.con, con.compile(orders.order_problems(table, Validate(**limits)))


def problems(rows: list[dict[str, Any]], **limits: Any) -> dict[int, str]:
    """Return the reasons by row of purchases, one a day."""
    same = {"user_id": "u", "item_id": "i", "event": "purchase", "source": "a.csv"}
    filled = [
        {**same, "timestamp": NOON + pd.Timedelta(days=n), "row": n, "usable": True, **row}
        for n, row in enumerate(rows)
    ]
    con, query = database_of_problems(**limits)
    con.register("filled", pa.Table.from_pylist(filled, schema=ROW_SCHEMA))
    con.execute("DELETE FROM rows; INSERT INTO rows SELECT * FROM filled")
    found = con.execute(query).df()
    assert found["row"].is_unique
    return dict(sorted(found.itertuples(index=False)))


def pieces(n: float, **row: Any) -> dict[str, Any]:
    return {"quantity": n, **row}


@pytest.mark.parametrize(
    ("rows", "wanted"),
    [
        pytest.param([pieces(1), pieces(1), pieces(-1)], {1: "returned", 2: BACK}, id="newest"),
        pytest.param([pieces(2), pieces(-1)], {0: "partly returned", 1: BACK}, id="a part"),
        pytest.param(
            [pieces(-1), pieces(1)], {0: f"{BACK} without an earlier purchase"}, id="bought later"
        ),
        pytest.param(
            [pieces(1), pieces(1, item_id="j"), pieces(1, user_id="v"), pieces(-1)],
            {0: "returned", 3: BACK},
            id="of the same customer and product",
        ),
        pytest.param(
            [pieces(1, order_id="1"), pieces(1, order_id="2"), pieces(-1, order_id="1")],
            {0: "returned", 2: BACK},
            id="of the order it names",
        ),
        pytest.param(
            [pieces(1, order_id="1"), pieces(1, order_id="2"), pieces(-1, order_id="R7")],
            {1: "returned", 2: BACK},
            id="with an order id of its own",
        ),
        pytest.param(
            [pieces(3), pieces(2), pieces(-4), pieces(5), pieces(-1)],
            {0: "partly returned", 1: "returned", 2: BACK, 3: "partly returned", 4: BACK},
            id="over several purchases",
        ),
        pytest.param(
            [pieces(1), pieces(1, event="view"), pieces(-1)], {0: "returned", 2: BACK}, id="no view"
        ),
        pytest.param(
            [pieces(None), pieces(-1)], {0: "returned", 1: BACK}, id="no quantity is one piece"
        ),
        pytest.param(
            [pieces(1), pieces(-1, authentication="session"), pieces(-1, authentication="none")],
            {},
            id="nothing for feedback without the shop's key",
        ),
        pytest.param([pieces(1), pieces(-1, usable=False)], {}, id="nothing for a bad row"),
        pytest.param(
            [pieces(1, usable=False), pieces(-1)],
            {1: f"{BACK} without an earlier purchase"},
            id="of no bad row",
        ),
        pytest.param(
            [pieces(1, order_id="1"), pieces(1, order_id="1", status="cancelled")],
            {0: "cancelled", 1: "cancelled"},
            id="a later state of the order",
        ),
        pytest.param(
            [pieces(1, order_id="1", timestamp=NOON)] * 2
            + [pieces(1, order_id="1", timestamp=NOON, status="returned")],
            {2: "returned"},
            id="a line of the order with another state",
        ),
        pytest.param(
            [
                pieces(1, order_id="1", timestamp=NOON),
                pieces(1, order_id="1", timestamp=NOON, status="returned", source="b.csv"),
            ],
            {0: "returned", 1: "returned"},
            id="the state in a later export",
        ),
        pytest.param(
            [
                pieces(1, order_id="1", timestamp=NOON, status="cancelled"),
                pieces(1, order_id="1", timestamp=NOON, source="b.csv"),
            ],
            {0: "cancelled"},
            id="the state in an earlier export",
        ),
        pytest.param(
            [pieces(1, order_id="1"), pieces(-1, order_id="1", status="returned")],
            {0: "returned", 1: "returned"},
            id="a line of a return with a state",
        ),
        pytest.param(
            [pieces(1), pieces(-1, status="returned", source="b.csv")],
            {0: "returned", 1: "returned"},
            id="a line of a return with a state in another file",
        ),
        pytest.param(
            [pieces(1, timestamp=NOON), pieces(-2, status="cancelled", timestamp=NOON)],
            {0: "cancelled", 1: "cancelled"},
            id="a line of a cancellation with a state",
        ),
        pytest.param(
            [pieces(1, order_id="1"), pieces(-1, order_id="1", status="older version")],
            {1: orders.REPLACED},
            id="nothing for an older version",
        ),
        pytest.param(
            [pieces(2, order_id="1", status="older version"), pieces(-1, order_id="1")],
            {0: orders.REPLACED, 1: f"{BACK} without an earlier purchase"},
            id="of no older version",
        ),
    ],
)
def test_lines_take_purchases_back(rows: list[dict[str, Any]], wanted: dict[int, str]) -> None:
    assert problems(rows) == wanted


def test_a_cancellations_id_may_hold_the_orders() -> None:
    rows = [pieces(1, order_id="1"), pieces(1, order_id="2"), pieces(-1, order_id="C1")]
    assert problems(rows, cancelled_orders=r"C(\d+)") == {0: "cancelled", 2: CANCELS}
    # Without a group the id is one of its own.
    assert problems(rows, cancelled_orders=r"C\d+") == {1: "cancelled", 2: CANCELS}
    other = [*rows[:2], pieces(-1, order_id="C9")]
    assert problems(other, cancelled_orders=r"C(\d+)") == {
        2: f"{CANCELS} without an earlier purchase"
    }
    positive = [*rows[:2], pieces(1, order_id="C1")]
    assert problems(positive, cancelled_orders=r"C(\d+)") == {0: "cancelled", 2: CANCELS}


@pytest.mark.parametrize("quantity", [1, -1])
@pytest.mark.parametrize("status", ["cancelled", "returned"])
def test_a_cancellation_may_have_a_state_too(quantity: int, status: str) -> None:
    rows = [
        pieces(1, order_id="1"),
        pieces(1, order_id="2"),
        pieces(quantity, order_id="C1", status=status, source="b.csv"),
    ]
    assert problems(rows, cancelled_orders=r"C(\d+)") == {0: status, 2: status}


def test_kept_purchases_stay() -> None:
    rows = [pieces(1), pieces(-1), pieces(1, status="cancelled")]
    assert problems(rows, returns="keep") == {2: "cancelled"}


def test_the_shops_file_wins_over_feedback() -> None:
    order = {"order_id": "1", "quantity": 1.0}
    rows = [
        {**order, "authentication": "none"},
        order,
        {**order, "authentication": "shop", "item_id": "j"},
        {**order, "authentication": "none", "item_id": "j", "timestamp": NOON},
        {**order, "authentication": "session", "order_id": None},
        {**order, "authentication": "session", "user_id": "v"},
        {**order, "authentication": "session", "event": "view"},
    ]
    assert problems(rows) == {0: orders.IN_FILES, 3: orders.IN_FEEDBACK}
    assert problems([{**one, "quantity": None} for one in rows]) == problems(rows)


def amount(row: dict[str, Any]) -> float:
    return 1.0 if row["quantity"] is None else row["quantity"]


def one_by_one(rows: list[dict[str, Any]]) -> dict[int, float]:
    """Return what is left of each purchase, taken back line by line."""
    left = {n: amount(row) for n, row in enumerate(rows) if amount(row) > 0 and not row["status"]}
    key = {n: (row["user_id"], row["item_id"]) for n, row in enumerate(rows)}
    of_order = defaultdict(list)
    for n in left:
        if rows[n]["order_id"]:
            of_order[key[n], rows[n]["order_id"]].append(n)
    others = []
    for n, row in enumerate(rows):
        if n in left:
            continue
        named = of_order.get((key[n], row["order_id"]), [])
        is_state = amount(row) > 0
        if is_state and not any(is_later(row, n, rows[m], m) for m in named):
            continue
        take(left, sorted(named, key=lambda m: (rows[m]["timestamp"], m)), abs(amount(row)))
        others += [] if named else [n]
    for n in sorted(others, key=lambda n: (rows[n]["timestamp"], n)):
        earlier = [
            m for m in left if key[m] == key[n] and rows[m]["timestamp"] <= rows[n]["timestamp"]
        ]
        take(left, sorted(earlier, key=lambda m: (rows[m]["timestamp"], m)), -rows[n]["quantity"])
    return left


def is_later(row: dict[str, Any], n: int, other: dict[str, Any], m: int) -> bool:
    """Return whether a row is of a later time or a later file than another one."""
    in_later_file = row["source"] != other["source"] and n > m
    return row["timestamp"] > other["timestamp"] or in_later_file


def take(left: dict[int, float], stack: list[int], n: float) -> None:
    for m in reversed(stack):
        taken = min(n, left[m])
        left[m] -= taken
        n -= taken


ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "user_id": st.sampled_from("uv"),
            "item_id": st.sampled_from("ij"),
            "order_id": st.sampled_from([None, "1", "2", "3"]),
            "quantity": st.sampled_from([1.0, 2.0, 3.0, -1.0, -2.0, 0.5, None]),
            "status": st.sampled_from([None, None, None, "cancelled", "returned"]),
            "timestamp": st.integers(0, 6).map(lambda n: NOON + pd.Timedelta(days=n)),
        }
    ),
    max_size=14,
)


@settings(max_examples=40, suppress_health_check=list(HealthCheck))
@given(ROWS)
def test_no_line_takes_back_more_than_was_bought(rows: list[dict[str, Any]]) -> None:
    files = ["a.csv"] * (len(rows) // 2) + ["b.csv"] * len(rows)
    rows = [{**row, "source": file} for row, file in zip(rows, files, strict=False)]
    found = problems(rows)
    left = one_by_one(rows)
    gone_purchases = {n for n, reason in found.items() if n in left and reason in GONE}
    assert gone_purchases == {n for n in left if left[n] == 0}
    assert {n for n, reason in found.items() if reason == "partly returned"} == {
        n for n in left if 0 < left[n] < amount(rows[n])
    }
    # Every line of a return and every state has a reason.
    assert {n for n in found if n not in left} == {n for n in range(len(rows)) if n not in left}
    for pair in {(row["user_id"], row["item_id"]) for row in rows}:
        own = [n for n, row in enumerate(rows) if (row["user_id"], row["item_id"]) == pair]
        gone = sum(amount(rows[n]) for n in own if n in left and found.get(n) in GONE)
        assert gone <= sum(abs(amount(rows[n])) for n in own if n not in left)


# --- the stages as a whole


ORDERS = {**LINE_COLUMNS, "order_id": "o", "quantity": "q"}


def shop(name: str = "lines.csv", **source: Any) -> dict[str, Any]:
    return {"path": name, "columns": ORDERS, **source}


def bought(n: int = 20, **columns: Any) -> pd.DataFrame:
    """Return n orders of one piece each, of another customer each."""
    return lines(["a"] * n, o=[str(one) for one in range(n)], q=1, **columns)


def valid(root: Path) -> pd.DataFrame:
    return pd.read_parquet(root / "data/valid/interactions.parquet")


@pytest.mark.parametrize("returns", ["keep", "take_back"])
def test_returns(
    settings: Settings, tmp_path: Path, returns: str, capsys: pytest.CaptureFixture[str]
) -> None:
    frame = bought()
    back = frame.head(6).assign(q=-1, o=[f"R{n}" for n in range(6)], t="2024-04-01")
    frame.loc[0, "q"] = 3
    limits = {"returns": returns, "max_bad_share": 0.3 if returns == "keep" else 0.01}
    both = pd.concat([frame, back])
    report = run(settings, tmp_path, both, None, limits, interactions=[shop()])["interactions"]
    raw = pd.read_parquet(tmp_path / "data/raw/interactions.parquet")
    assert report["rows"] == report["kept"] + report["quarantined"] == 26
    if returns == "keep":
        assert report["reasons"] == {"quantity not positive": 6}
        return
    assert report["reasons"] == {BACK: 6, "returned": 5}
    assert report["partly_returned"] == 1
    assert "1 kept whole though partly returned" in capsys.readouterr().out
    assert valid(tmp_path)["quantity"].max() == 3
    unchanged = quarantined(tmp_path).drop(columns="reasons")
    pd.testing.assert_frame_equal(
        unchanged, raw[raw["source_row"].isin(unchanged["source_row"])].reset_index(drop=True)
    )


@pytest.mark.slow
@pytest.mark.parametrize("price", [0, -2])
def test_a_line_of_a_return_takes_back_whatever_its_price(
    settings: Settings, tmp_path: Path, price: int
) -> None:
    frame = bought(10)
    back = frame.head(2).assign(q=-1, t="2024-04-01", p=price)
    gift = frame.tail(1).assign(o="g", p=price)
    limits = {"returns": "take_back", "max_bad_share": 0.1}
    both = pd.concat([frame, back, gift])
    report = run(settings, tmp_path, both, None, limits, interactions=[shop()])["interactions"]
    assert report["reasons"] == {"returned": 2, BACK: 2, "price not positive": 1}


@pytest.mark.slow
def test_equal_lines_of_an_order_are_pieces_where_the_shop_says_so(
    settings: Settings, tmp_path: Path
) -> None:
    frame = pd.concat([bought(10), bought(2)])  # two lines are there twice
    (tmp_path / "in").mkdir()
    frame.to_csv(tmp_path / "in/a.csv", index=False)
    frame.to_csv(tmp_path / "in/again.csv", index=False)
    both = {"limits": {"max_bad_share": 0.9}}
    source = shop("in")
    report = run(settings, tmp_path, frame, **both, interactions=[source])["interactions"]
    assert (report["kept"], report["reasons"]) == (10, {"duplicate": 14})
    source["repeated_lines"] = "pieces"
    report = run(settings, tmp_path, frame, **both, interactions=[source])["interactions"]
    assert (report["kept"], report["reasons"]) == (12, {"duplicate": 12})


@pytest.mark.slow
def test_a_later_file_replaces_orders(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    bought(10).to_csv(tmp_path / "in/2024-01.csv", index=False)
    changed = bought(3).assign(i="b")
    changed.to_csv(tmp_path / "in/2024-02.csv", index=False)
    source = shop("in", later_files="replace")
    report = run(settings, tmp_path, changed, None, {"max_bad_share": 0.01}, interactions=[source])
    assert report["interactions"]["reasons"] == {orders.REPLACED: 3}
    assert valid(tmp_path)["item_id"].value_counts().to_dict() == {"a": 7, "b": 3}


@pytest.mark.slow
def test_sources_that_number_their_orders_from_1_replace_nothing_of_each_other(
    settings: Settings, tmp_path: Path
) -> None:
    for folder, item in (("web", "a"), ("pos", "b")):
        (tmp_path / folder).mkdir()
        bought(5).assign(i=item).to_csv(tmp_path / folder / "1.csv", index=False)
    bought(2).assign(i="c").to_csv(tmp_path / "web/2.csv", index=False)
    sources = [shop(name, later_files="replace") for name in ("web", "pos")]
    report = run(settings, tmp_path, bought(), interactions=sources)["interactions"]
    assert report["reasons"] == {orders.REPLACED: 2}
    assert valid(tmp_path)["item_id"].tolist() == ["a"] * 3 + ["c"] * 2 + ["b"] * 5


@pytest.mark.slow
def test_versions_are_of_whole_orders(settings: Settings, tmp_path: Path) -> None:
    frame = lines(list("aabaa"), o=["1", "1", "1", "2", None], v=[1, 2, 1, 1, 1], q=[1, 0, 1, 1, 1])
    source = shop(columns={**ORDERS, "version": "v"})
    limits = {"max_bad_share": 0.3}
    report = run(settings, tmp_path, frame, None, limits, interactions=[source])["interactions"]
    # An older version does not come back where the newer one is bad.
    assert report["reasons"] == {orders.REPLACED: 2, "quantity not positive": 1}
    assert quarantined(tmp_path)["source_row"].tolist() == [0, 1, 2]
    raw = pd.read_parquet(tmp_path / "data/raw/interactions.parquet")
    assert raw["version"].tolist()[:4] == [1, 2, 1, 1]
    assert raw["source_row"].tolist() == [0, 1, 2, 3, 4]


@pytest.mark.slow
def test_a_newer_version_that_says_the_same_counts(settings: Settings, tmp_path: Path) -> None:
    frame = pd.concat([bought(4, v=1), bought(4, v=2)])
    columns = {**ORDERS, "updated_at": "v"}
    report = run(settings, tmp_path, frame, interactions=[shop(columns=columns)])["interactions"]
    assert (report["kept"], report["reasons"]) == (4, {orders.REPLACED: 4})


@pytest.mark.slow
def test_states_of_orders(settings: Settings, tmp_path: Path) -> None:
    words = ["paid", "Refunded", "VOIDED", "", "wc-completed", "on hold", "canceled", "shipped"]
    frame = bought(8, s=words)
    columns = {**ORDERS, "status": "s"}
    source = shop(columns=columns)
    report = run(settings, tmp_path, frame, interactions=[source])["interactions"]
    assert report["reasons"] == {"cancelled": 2, "returned": 1}
    frame["s"] = "Umtausch"
    with pytest.raises(
        ValueError, match=r"lines\.csv: column 's' \(for status\) has unknown words"
    ):
        run(settings, tmp_path, frame, interactions=[source])
    mapped = {**source, "statuses": {"Umtausch": "kept"}}
    assert run(settings, tmp_path, frame, interactions=[mapped])["interactions"]["kept"] == 8


def test_a_purchase_in_the_file_and_in_feedback_is_one(
    settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    frame = bought(10)
    run(settings, tmp_path, frame, interactions=[shop()])
    sent = valid(tmp_path).head(3).drop(columns=["source", "source_row"])
    sent = sent.assign(
        timestamp=sent["timestamp"] + pd.Timedelta(seconds=7),
        price=None,
        client="c",
        authentication="shop",
    )
    new = sent.assign(order_id=["91", "92", "93"])
    (tmp_path / "data/feedback").mkdir(parents=True)
    for day, events in (("25", [sent, new]), ("26", [new.head(2)])):
        later = pd.concat(events)
        later["timestamp"] += pd.Timedelta(seconds=int(day))
        later.to_parquet(tmp_path / f"data/feedback/events-2026-11-{day}.parquet")
    report = run(settings, tmp_path, frame, interactions=[shop()])["interactions"]
    assert report["rows"] == report["kept"] + report["quarantined"] == 18
    assert report["kept"] == 13
    assert report["feedback"]["reasons"] == {orders.IN_FILES: 3, orders.IN_FEEDBACK: 2}
    assert report["feedback"]["bad_clients"] == 0
    assert valid(tmp_path)["order_id"].is_unique
    assert orders.IN_FILES in capsys.readouterr().out


@pytest.mark.slow
def test_a_purchase_of_the_file_has_the_impression_that_signed_feedback_names(
    settings: Settings, tmp_path: Path
) -> None:
    frame = bought(8)
    run(settings, tmp_path, frame, interactions=[shop()])
    sent = valid(tmp_path).head(5).drop(columns=["source", "source_row"])
    (tmp_path / "data/feedback").mkdir(parents=True)
    sent.assign(
        client="c",
        authentication=["shop", "session", "none", "shop", "shop"],
        impression_id=["i0", "i1", "i2", None, "i4"],
        list_source=["hybrid", "hybrid", "hybrid", None, None],
        position=[1, 2, 3, None, None],
        timestamp=sent["timestamp"] + pd.to_timedelta([7, 7, 7, 7, 0], unit="s"),
    ).to_parquet(tmp_path / "data/feedback/events-2026-11-25.parquet")
    back = frame.head(1).assign(q=-1, t="2024-04-01")
    limits = {"returns": "take_back", "max_bad_share": 0.01}
    both = pd.concat([frame, back])
    report = run(settings, tmp_path, both, None, limits, interactions=[shop()])["interactions"]
    # The feedback of order 4 equals the file's row but for its sender.
    assert report["feedback"]["reasons"] == {orders.IN_FILES: 4, "duplicate": 1}
    found = valid(tmp_path).set_index("order_id")
    # That of order 0 was returned.
    assert found["impression_id"].dropna().to_dict() == {"1": "i1", "4": "i4"}
    assert found["list_source"].dropna().to_dict() == {"1": "hybrid"}
    assert found["position"].dropna().to_dict() == {"1": 2}
    of_files = quarantined(tmp_path)["authentication"].isna()
    assert quarantined(tmp_path).loc[of_files, "impression_id"].isna().all()
