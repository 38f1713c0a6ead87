"""Interactions of the shop's files and of the exported feedback."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from components.data.sources.files import connect
from components.data.sources.interactions import feedback_of
from components.settings import Settings
from tests.components.data.shop_files import COLUMNS, LINES, ingest


def test_a_folder_of_files_and_the_feedback_are_one_table(
    settings: Settings, tmp_path: Path
) -> None:
    (tmp_path / "in").mkdir()
    LINES.to_parquet(tmp_path / "in/a.parquet")
    LINES.to_csv(tmp_path / "in/b.csv", index=False)
    source = {"path": "in", "columns": COLUMNS}
    first = ingest(settings, tmp_path, interactions=[source])["interactions"]
    assert len(first) == 6
    (tmp_path / "data/feedback").mkdir(parents=True)
    clicks = first.head(1).assign(event="click", impression_id="rec-1")
    clicks.drop(columns=["source", "source_row"]).to_parquet(tmp_path / "data/feedback/d.parquet")
    again = ingest(settings, tmp_path, interactions=[source])["interactions"]
    assert len(again) == 7
    clicked = again[again["event"] == "click"]
    assert clicked["impression_id"].tolist() == ["rec-1"]
    assert clicked["source"].tolist() == ["data/feedback/d.parquet"]


def test_a_feedback_file_without_a_needed_column_is_named(tmp_path: Path) -> None:
    (tmp_path / "data/feedback").mkdir(parents=True)
    pd.DataFrame({"user_id": ["u"], "item_id": ["i"]}).to_parquet(
        tmp_path / "data/feedback/x.parquet"
    )
    with pytest.raises(ValueError, match=r"data/feedback/x\.parquet lacks event, .*timestamp"):
        feedback_of(connect("UTC"), Path("data/feedback"), tmp_path)


def test_a_damaged_feedback_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "data/feedback").mkdir(parents=True)
    (tmp_path / "data/feedback/x.parquet").write_bytes(b"PAR1 cut off")
    with pytest.raises(ValueError, match=r"^data/feedback/x\.parquet cannot be read .*export"):
        feedback_of(connect("UTC"), Path("data/feedback"), tmp_path)


def test_an_empty_quantity_is_one_unit(settings: Settings, tmp_path: Path) -> None:
    LINES.assign(Pieces=["2", "", "many"]).to_csv(tmp_path / "lines.csv", index=False)
    source = {"path": "lines.csv", "columns": {**COLUMNS, "quantity": "Pieces"}}
    found = ingest(settings, tmp_path, interactions=[source])["interactions"]
    assert found["quantity"].tolist()[:2] == [2, 1]
    assert found["unreadable"].tolist()[2] == "timestamp: 'never'; quantity: 'many'"


def test_an_event_column_wins_over_the_events_name(settings: Settings, tmp_path: Path) -> None:
    LINES.assign(Kind=["View", "CART", "purchase"]).to_csv(tmp_path / "lines.csv", index=False)
    source = {"path": "lines.csv", "columns": {**COLUMNS, "event": "Kind"}, "event": "click"}
    found = ingest(settings, tmp_path, interactions=[source])["interactions"]
    assert found["event"].tolist() == ["view", "cart", "purchase"]
    assert found["quantity"].tolist() == [1.0, 1.0, 1.0]  # one unit where the shop names none
    assert found["authentication"].isna().all()
