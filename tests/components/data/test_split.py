"""Preprocess: dense codes, no event on the wrong side of a boundary, features from the past."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from components.data.dataset import DAY, load_prepared
from components.data.schema import EVENTS, PREPARED_INTERACTIONS, SPLITS
from components.data.split import boundaries, check_windows, run
from components.settings import Preprocess, Settings


def test_codes_are_rows_of_the_vocabularies(small_shop: tuple[Path, Settings]) -> None:
    root, _ = small_shop
    prepared = load_prepared(root / "data/prepared")
    valid = pd.read_parquet(root / "data/valid/interactions.parquet")
    x = prepared.interactions
    coded = pd.DataFrame(
        {
            "user_id": prepared.users["user_id"].to_numpy()[x.users],
            "item_id": prepared.catalogue.ids[x.items],
            "seconds": x.times,
            "quantity": x.quantities,
        }
    )
    seconds = valid["timestamp"].astype("datetime64[s, UTC]").astype("int64")
    merged = (
        valid.assign(seconds=seconds)
        .groupby(["user_id", "item_id", "seconds"], as_index=False)["quantity"]
        .sum()
    )
    keys = ["user_id", "item_id", "seconds"]
    pd.testing.assert_frame_equal(
        coded.sort_values(keys).reset_index(drop=True),
        merged.sort_values(keys).reset_index(drop=True),
        check_dtype=False,
    )
    assert set(x.events) == {EVENTS.index("purchase")}


def test_the_file_is_sorted_and_of_the_contract(prepared_folder: Path) -> None:
    table = pq.read_table(prepared_folder / "interactions.parquet")
    assert table.schema.equals(PREPARED_INTERACTIONS)
    frame = table.to_pandas()
    order = np.lexsort((frame["item"], frame["timestamp"], frame["user"]))
    assert (order == np.arange(len(frame))).all()


def test_nothing_of_the_future_is_in_the_training_data(prepared_folder: Path) -> None:
    prepared = load_prepared(prepared_folder)
    bounds = [0, prepared.validation_start, prepared.test_start, prepared.end]
    assert all(moment % DAY == 0 for moment in bounds)
    for name, low, high in zip(SPLITS, bounds[:-1], bounds[1:], strict=True):
        times = prepared.interactions.split(name).times
        assert len(times) > 0
        assert times.min() >= low
        assert times.max() < high


def test_features_know_the_training_window_only(prepared_folder: Path) -> None:
    prepared = load_prepared(prepared_folder)
    train = prepared.interactions.split("train")
    items, users = prepared.catalogue.table, prepared.users
    popularity = np.bincount(train.items, minlength=len(items))
    assert (items["popularity"] == popularity).all()
    first = pd.Series(train.times).groupby(train.items).min()
    assert (items["first_seen"].dropna().astype("int64") == first.to_numpy()).all()
    newest = pd.Series(train.times).groupby(train.users).max()
    recency = (prepared.validation_start - newest) / DAY
    assert users["recency_days"].dropna().to_numpy() == pytest.approx(recency.to_numpy(), rel=1e-5)
    spend = pd.Series(train.prices * train.quantities).groupby(train.users).sum()
    assert users.loc[spend.index, "spend"].to_numpy() == pytest.approx(spend.to_numpy(), rel=1e-3)
    visits = pd.Series(train.times).groupby(train.users).nunique()
    assert (users.loc[visits.index, "frequency"] == visits).all()


def test_windows_that_leave_nothing_to_train_on_are_refused() -> None:
    with pytest.raises(ValueError, match="validation_days"):
        boundaries(np.arange(30), Preprocess(validation_days=28, test_days=28))


def with_late(
    root: Path, settings: Settings, folder: Path, n: int, event: str = "purchase"
) -> tuple[dict[str, int], pd.DataFrame]:
    """Preprocess the small shop with ``n`` events of today; return split.json and interactions."""
    (folder / "data/valid").mkdir(parents=True)
    for name in ("items", "users"):
        file = f"data/valid/{name}.parquet"
        (folder / file).symlink_to(root / file)
    lines = pd.read_parquet(root / "data/valid/interactions.parquet")
    today = pd.Timestamp("2026-11-28 12:00", tz="UTC") + pd.to_timedelta(np.arange(n), unit="s")
    late = lines.tail(n).assign(timestamp=today.astype(lines["timestamp"].dtype), event=event)
    schema = pq.read_schema(root / "data/valid/interactions.parquet")
    table = pa.Table.from_pandas(pd.concat([lines, late]), schema, preserve_index=False)
    pq.write_table(table, folder / "data/valid/interactions.parquet")
    run(settings, folder)
    times = json.loads((folder / "data/prepared/split.json").read_text())
    return times, pd.read_parquet(folder / "data/prepared/interactions.parquet")


def test_a_click_today_on_the_data_of_a_past_year_is_left_out_in_words(
    small_shop: tuple[Path, Settings], tmp_path: Path, capsys
) -> None:
    """README's own path: a click today on the shop of 2010, then a training."""
    root, settings = small_shop
    with_late(root, settings, tmp_path, 1, "click")
    said = capsys.readouterr().out
    assert "not learned from yet: the events of 2026-11-28 (1); none was in the" in said
    assert json.loads((tmp_path / "reports/preprocess.json").read_text())["note"] in said
    # The same bytes: no later stage runs again for it.
    for file in (root / "data/prepared").iterdir():
        assert (tmp_path / "data/prepared" / file.name).read_bytes() == file.read_bytes()


def test_enough_late_events_are_learned_from_and_no_window_lies_in_the_gap(
    small_shop: tuple[Path, Settings], tmp_path: Path
) -> None:
    root, settings = small_shop
    times, prepared = with_late(root, settings, tmp_path, 300)
    assert "note" not in json.loads((tmp_path / "reports/preprocess.json").read_text())
    assert pd.Timestamp(times["end"], unit="s") == pd.Timestamp("2026-11-29")
    assert pd.Timestamp(times["test_start"], unit="s").year == 2010
    sizes = np.bincount(prepared["split"], minlength=3)
    assert (sizes > 300).all()
    assert prepared["timestamp"].max() < times["end"]


def test_a_window_without_a_success_is_refused_in_words() -> None:
    settings = Preprocess(validation_days=7, test_days=7)
    days = np.arange(60)
    times = boundaries(days, settings)
    check_windows(days, np.ones(60, dtype=np.int64), times, settings)
    with pytest.raises(ValueError, match=r"no purchase or rating is in the validation window"):
        check_windows(days, np.where(days >= 53, 5, 0), times, settings)
    with pytest.raises(ValueError, match=r"in the test window, 1970-02-23 to 1970-03-01"):
        check_windows(days, np.where(days < 53, 5, 0), times, settings)


def test_rare_items_and_users_can_be_left_out(
    small_shop: tuple[Path, Settings], tmp_path: Path
) -> None:
    root, settings = small_shop
    (tmp_path / "data").mkdir()
    (tmp_path / "data/valid").symlink_to(root / "data/valid")
    minima = settings.preprocess.model_copy(update={"min_user_interactions": 20})
    run(settings.model_copy(update={"preprocess": minima}), tmp_path)
    kept = load_prepared(tmp_path / "data/prepared").interactions
    assert np.bincount(kept.users).min() >= 20
    assert kept.n_users < load_prepared(root / "data/prepared").interactions.n_users


def test_events_that_a_list_led_to_can_weigh_less(
    small_shop: tuple[Path, Settings], tmp_path: Path
) -> None:
    root, settings = small_shop
    (tmp_path / "data/valid").mkdir(parents=True)
    for name in ("items", "users"):
        file = f"data/valid/{name}.parquet"
        (tmp_path / file).symlink_to(root / file)
    lines = pq.read_table(root / "data/valid/interactions.parquet")
    led = np.arange(len(lines)) % 3 == 0
    at = lines.schema.get_field_index("impression_id")
    ids = pa.array(np.where(led, "list", None), pa.string())
    pq.write_table(
        lines.set_column(at, lines.schema.field(at), ids),
        tmp_path / "data/valid/interactions.parquet",
    )
    half = settings.preprocess.model_copy(update={"recommended_weight": 0.5})
    run(settings.model_copy(update={"preprocess": half}), tmp_path)
    x = load_prepared(tmp_path / "data/prepared").interactions
    assert x.weights is not None
    assert set(x.weights) == {np.float32(0.5), np.float32(1)}
    # An event of several rows is organic if one of them is.
    assert 0.2 < (x.weights == 0.5).mean() <= 1 / 3
    run(settings, tmp_path)
    assert load_prepared(tmp_path / "data/prepared").interactions.weights is None
