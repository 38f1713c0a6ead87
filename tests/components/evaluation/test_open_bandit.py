"""Off-policy estimates on a real shop's two logs: each policy's value from the other's log."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.off_policy import ITEMS, PLACES, chances, compare, read
from components.evaluation.off_policy import snips


def test_the_logs_are_those_of_the_paper() -> None:
    random, bts = read("random"), read("bts")
    assert (len(random), len(bts)) == (10_000, 10_000)
    assert random["propensity"].round(9).unique().tolist() == [round(1 / ITEMS, 9)]
    assert sorted(random["item"].unique()) == list(range(ITEMS))
    assert sorted(bts["place"].unique()) == list(range(PLACES))
    assert chances(bts).sum(axis=0) == pytest.approx(np.ones(PLACES))


def test_estimates_from_one_log_hold_the_other_ones_click_rate() -> None:
    table = compare()
    assert len(table) == 6
    assert table["judged"].all()
    assert (table["low"] < table["own_high"]).all()
    assert (table["high"] > table["own_low"]).all()
    to_bts = table[table["policy"] == "bts"]
    assert to_bts["holds"].all()


def test_a_short_log_is_not_judged() -> None:
    part = read("bts").iloc[:100]
    found = snips(part["click"], part["propensity"], np.full(100, 1 / ITEMS))
    assert not found.reliable
    assert "at least 100 are needed" in found.reason
