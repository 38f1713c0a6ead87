"""Drift detection: no alert on ordinary weeks, one on injected drift, none on too little data."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from monitoring.detection import detect
from monitoring.reference import load_reference


def verdict(referenced, frame: pd.DataFrame):
    return detect(frame, load_reference(referenced[0] / "models/reference"))


def named(found) -> set[str]:
    return {one.name for one in found.statistics if one.drifted}


def test_an_ordinary_fortnight_is_no_drift(referenced, newest) -> None:
    found = verdict(referenced, newest)
    assert found.enough
    assert not found.drifted, found.reasons
    assert found.reasons == ["every statistic is within the range of ordinary weeks"]


def test_the_real_shops_prices_at_once_are_broken_and_other_products_are_drift(
    referenced, newest
) -> None:
    found = verdict(referenced, newest.assign(price=newest["price"] * 1.2))
    assert found.kind == "broken"
    assert {one.check for one in found.broken} == {"price_scale"}
    items = newest["item_id"].value_counts()
    cheap = newest.groupby("item_id")["price"].median().nsmallest(40).index
    ids = np.random.default_rng(0).choice(items.index[items.index.isin(cheap)], len(newest))
    price = pd.Series(ids).map(newest.groupby("item_id")["price"].median()).to_numpy()
    found = verdict(referenced, newest.assign(item_id=ids, price=price))
    assert found.kind == "drift"
    assert {"price", "item"} <= named(found)
    assert any("price" in reason for reason in found.reasons)


def test_renamed_products_are_broken_and_new_ones_are_drift(referenced, newest) -> None:
    other = newest.assign(item_id=[f"NEW-{n % 200}" for n in range(len(newest))])
    assert "strange_items" in {one.check for one in verdict(referenced, other).broken}
    new = newest["item_id"].where(np.arange(len(newest)) % 5 < 3, "99" + newest["item_id"].str[2:])
    found = verdict(referenced, newest.assign(item_id=new))
    assert found.kind == "drift", found.reasons
    assert "unseen_items" in named(found)


def test_one_category_alone_is_drift_in_the_mix(referenced, newest) -> None:
    items = pd.read_parquet(referenced[0] / "data/prepared/items.parquet")
    common = items["main_category"].value_counts().index[0]
    ids = items.loc[items["main_category"] == common, "item_id"].to_numpy()
    drawn = np.random.default_rng(0).choice(ids, len(newest))
    found = verdict(referenced, newest.assign(item_id=drawn))
    assert {"category", "item"} <= named(found)
    assert (found.score or 0) > (found.threshold or 0)


def test_too_little_to_judge_is_said_and_is_no_alarm(referenced, newest) -> None:
    few = newest[newest["user_id"].isin(newest["user_id"].unique()[:5])]
    found = verdict(referenced, few)
    assert not found.enough
    assert not found.drifted
    assert "not enough data" in found.reasons[0]
    empty = verdict(referenced, newest.iloc[:0])
    assert not empty.enough
    json.loads(empty.to_json())


def test_a_missing_column_is_named(referenced, newest) -> None:
    with pytest.raises(ValueError, match="item_id"):
        verdict(referenced, newest.drop(columns="item_id"))


def test_large_windows_are_sampled_and_say_so(referenced, newest) -> None:
    reference = load_reference(referenced[0] / "models/reference")
    small = replace(reference, sample_rows=500)
    found = detect(newest, small)
    assert found.sampled
    assert found.rows_used <= 500 < found.rows


def test_before_training_it_says_what_to_do(tmp_path, newest) -> None:
    with pytest.raises(FileNotFoundError, match="bowerbird reference"):
        detect(newest, tmp_path / "models/reference")
