"""The feature table: one row for each event that can be judged."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from monitoring.features import (
    Vocabulary,
    cap_rows,
    clean_window,
    components_of,
    draw_visits,
    feature_table,
)

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
