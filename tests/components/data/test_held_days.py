"""Days that nothing is learned from: the record, and what the stages do with their rows."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path

import pandas as pd
import pytest

from components.data import ingest, validation
from components.data.held_days import (
    FILE,
    HELD,
    hold_days,
    load_held_days,
    release_days,
)
from components.settings import Settings

A, B, C = (date(2010, 11, day) for day in (3, 4, 8))


def test_days_are_held_until_they_are_released(tmp_path: Path) -> None:
    assert load_held_days(tmp_path).reasons() == {}
    assert hold_days(tmp_path, A, B, "no prices", "monitoring") == [A, B]
    assert hold_days(tmp_path, A, C, "no prices", "monitoring")[0] == date(2010, 11, 5)
    assert len(load_held_days(tmp_path).reasons()) == 6
    assert release_days(tmp_path, A, A, "checked") == [A]
    found = load_held_days(tmp_path)
    assert A not in found.reasons()
    assert found.released() == {A}
    assert found.reasons()[B] == "no prices"
    assert [one.by for one in found.decisions] == ["monitoring", "monitoring", "operator"]


def test_the_monitoring_does_not_hold_what_the_operator_released(tmp_path: Path) -> None:
    assert release_days(tmp_path, A, B, "a sale") == []  # in advance
    assert hold_days(tmp_path, A, C, "prices", "monitoring") == [
        date(2010, 11, day) for day in (5, 6, 7, 8)
    ]
    assert hold_days(tmp_path, A, A, "no, wrong", "operator") == [A]  # the operator may
    assert A in load_held_days(tmp_path).reasons()


def test_a_wrong_range_and_a_damaged_record_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not a range of days"):
        hold_days(tmp_path, B, A, "", "operator")
    with pytest.raises(ValueError, match="at most 3,660"):
        release_days(tmp_path, date(1900, 1, 1), A, "")
    hold_days(tmp_path, A, A, "x", "operator")
    (tmp_path / FILE).write_text((tmp_path / FILE).read_text()[:-10])
    with pytest.raises(ValueError, match=r"days\.json cannot be read .*bowerbird hold"):
        load_held_days(tmp_path)


def valid_rows(root: Path, settings: Settings) -> pd.DataFrame:
    """Return the valid interactions below ``root``."""
    ingest.run(settings, root)
    validation.run(settings, root, pages=False)
    return pd.read_parquet(root / "data/valid/interactions.parquet")


def test_rows_of_held_days_are_quarantined_and_counted(
    small_shop: tuple[Path, Settings], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, settings = small_shop
    section = settings.ingest.model_copy(update={"reviews": []})
    settings = settings.model_copy(update={"ingest": section})
    lines = pd.read_parquet(source / "lines.parquet")
    lines = lines[lines["InvoiceDate"].between("2010-11-01", "2010-11-20")].copy()
    on_held_day = lines["InvoiceDate"].dt.date.isin([A, B])
    # The ids of these days are renamed: no product may come of them.
    lines.loc[on_held_day, "StockCode"] = "RENAMED" + lines.loc[on_held_day, "StockCode"]
    lines.to_parquet(tmp_path / "lines.parquet")
    (tmp_path / "reports").mkdir()
    # Feedback of another day that was received on a held one, and of a held one.
    feedback = tmp_path / settings.ingest.feedback
    feedback.mkdir(parents=True)
    known = pd.read_parquet(source / "data/valid/interactions.parquet")
    known = known[known["timestamp"] >= pd.Timestamp("2010-11-10", tz="UTC")].iloc[:2]
    times = pd.to_datetime(["2010-10-01 10:00", "2010-11-20 10:00"], utc=True)
    sent = known.assign(timestamp=times, authentication="shop", client=None, event="click")
    sent.to_parquet(feedback / f"events-{B}.parquet")
    hold_days(tmp_path, A, B, "ids renamed", "operator")

    valid = valid_rows(tmp_path, settings)
    assert not valid["timestamp"].dt.date.isin([A, B]).any()
    assert not (valid["event"] == "click").any()
    assert len(valid) > 1000
    report = json.loads((tmp_path / "reports/validation.json").read_text())["interactions"]
    assert report["reasons"][HELD] >= on_held_day.sum() * 0.5  # others have reasons of their own
    assert report["feedback"]["reasons"] == {HELD: 2}
    assert f"{report['reasons'][HELD] - 2:,} {HELD}" in capsys.readouterr().out
    items = pd.read_parquet(tmp_path / "data/valid/items.parquet")
    assert not items["item_id"].str.startswith("RENAMED").any()
    assert report["rows"] == report["kept"] + report["quarantined"]

    release_days(tmp_path, A, B, "fine")
    again = valid_rows(tmp_path, settings)
    assert again["timestamp"].dt.date.isin([A, B]).any()
    assert (again["event"] == "click").sum() == 2
