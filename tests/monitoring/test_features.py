"""The feature table: one row for each event that can be judged."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from components.data.dataset import Prepared
from monitoring.features import (
    Vocabulary,
    cap_rows,
    clean_window,
    components_of,
    draw_visits,
    feature_table,
)
from monitoring.reference import read_vocabulary, vocabulary_of, write_vocabulary
from tests.colour_shop import ages, colour_shop

VOCABULARY = Vocabulary(
    pd.Index(["mug", "pot"]),
    np.array(["Cups", None], dtype=object),
    np.array([[1.0, 2.0], [np.nan, np.nan]], dtype=np.float32),
    pd.Series({"anna": "DE"}),
)


def window(*rows: tuple[object, ...]) -> pd.DataFrame:
    """Return (user_id, item_id, event, timestamp, price) as interactions."""
    columns = ["user_id", "item_id", "event", "timestamp", "price"]
    return pd.DataFrame(list(rows), columns=columns)


def test_rows_that_cannot_be_judged_are_left_out_and_the_others_are_in_order_of_time() -> None:
    frame = window(
        ("anna", "pot", "click", "2026-01-02 10:00", 3.0),
        ("anna", "mug", "click", "2026-01-01 10:00", 2.0),
        ("anna", "mug", "click", "2026-01-01 10:00", 2.0),  # repeated
        (None, "mug", "click", "2026-01-01 10:00", 2.0),
        ("anna", None, "click", "2026-01-01 10:00", 2.0),
        ("anna", "mug", "click", None, 2.0),
    )
    found = clean_window(frame)
    assert found["item_id"].tolist() == ["mug", "pot"]
    assert found["quantity"].isna().all()
    with pytest.raises(ValueError, match="no column item_id, event"):
        clean_window(frame.drop(columns=["item_id", "event"]))


def test_each_event_has_its_features() -> None:
    table = feature_table(
        clean_window(
            window(
                ("anna", "mug", "purchase", "2026-01-01 10:00", 2.0),  # a Thursday
                ("anna", "pot", "purchase", "2026-01-01 23:00", -1.0),
                ("ben", "new", "purchase", "2026-01-03 11:00", None),
            )
        ),
        VOCABULARY,
    )
    assert table["visit"].nunique() == 2
    assert table["hour"].tolist() == [10, 23, 11]
    assert table["weekday"].tolist() == [3, 3, 5]
    assert table["country"].fillna("unknown").tolist() == ["DE", "DE", "unknown"]
    assert table["category"].tolist() == ["Cups", None, None]
    np.testing.assert_allclose(table["price"], [np.log(2), np.nan, np.nan])
    np.testing.assert_allclose(table["basket"], [np.log(2), np.nan, 0.0])
    assert components_of(table) == ["text_0", "text_1"]
    assert table["new_text"].tolist() == [False, True, True]  # pot has no vector


def test_a_country_of_the_event_wins_over_the_users() -> None:
    frame = window(
        ("anna", "mug", "click", "2026-01-01", 1.0), ("anna", "pot", "click", "2026-01-02", 1.0)
    ).assign(country=["FR", None])
    assert feature_table(clean_window(frame), VOCABULARY)["country"].tolist() == ["FR", "DE"]


def test_only_whole_visits_are_drawn() -> None:
    table = pd.DataFrame({"visit": np.repeat(np.arange(30), 10)})
    capped = cap_rows(table, 95, seed=0)
    assert len(capped) == 90
    assert capped["visit"].value_counts().eq(10).all()
    assert cap_rows(table, 300, seed=0) is table
    drawn = draw_visits(table, 7, np.random.default_rng(0))
    assert drawn["visit"].nunique() == 7
    assert len(drawn) == 70
    assert draw_visits(table, 30, np.random.default_rng(0)) is table


def test_events_have_the_attributes_of_their_items_and_users(tmp_path: Path) -> None:
    train, catalogue = colour_shop()
    prepared = Prepared(train, catalogue, ages().assign(country=None), 0, 0, 0)
    vocabulary, arrays = vocabulary_of(prepared, 2, seed=0)
    write_vocabulary(vocabulary, arrays, tmp_path)
    rows = [(f"u{one}", f"i{one}", "click", "2026-01-01", 1.0) for one in (0, 1, 59)]
    frame = clean_window(window(*rows, ("new", "new", "click", "2026-01-01", 1.0)))
    for known in (vocabulary, read_vocabulary(tmp_path)):
        table = feature_table(frame, known).set_index("item")
        assert table["item: colour"].to_dict() == {
            "i0": "blue",
            "i1": "red",
            "i59": None,
            "new": None,
        }
        assert table["item: use"]["i1"] == "garden, kitchen"
        assert table["item: margin"]["i0"].startswith("below")
        age = ages().set_index("user_id")["category:age"]
        expected = {"i0": None, "i1": age["u1"], "i59": age["u59"], "new": None}
        assert table["user: age"].where(table["user: age"].notna(), None).to_dict() == expected
