"""Champion against challenger: who is judged, on what, and from where on a gain is believed."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from components.data.dataset import Prepared, load_prepared
from components.data.holdout import window_task
from components.data.item_table import read_item_table, write_item_table
from components.evaluation.compare import compare, eligible
from components.manifest import write_manifest
from components.settings import Settings


@pytest.fixture
def prepared(trained: tuple[Path, Settings]) -> Prepared:
    root = trained[0]
    return load_prepared(root / "data/prepared", root / "models/vectors")


def test_in_the_shops_own_files_everybody_is_judged(prepared: Prepared) -> None:
    assert prepared.users["verified"].all()
    assert prepared.interactions.authenticated is not None
    assert len(eligible(prepared).interactions) == len(prepared.interactions)


def test_users_of_unsigned_feedback_are_not_judged_and_its_events_are_no_targets(
    prepared: Prepared,
) -> None:
    task = window_task(prepared, "test", True)
    strangers, known = task.users[:5], task.users[5]
    x = prepared.interactions
    in_window = x.times >= prepared.test_start
    of_known = np.flatnonzero(in_window & (x.users == known))
    signed = np.ones(len(x), dtype=bool)
    signed[of_known[0]] = False
    verified = ~prepared.users.index.isin(strangers)
    changed = replace(
        prepared,
        interactions=replace(x, authenticated=signed),
        users=prepared.users.assign(verified=verified),
    )
    found = window_task(eligible(changed), "test", True)
    assert not np.isin(strangers, found.users).any()
    others = task.users[6:]
    assert np.isin(others, found.users).all()
    targets = eligible(changed).interactions
    assert (targets.users == known).sum() == (x.users == known).sum() - 1
    # Events before the window are history, whatever their sender.
    assert (targets.times < prepared.test_start).sum() == (x.times < prepared.test_start).sum()


def test_with_nobody_to_judge_nothing_is_promoted(
    trained: tuple[Path, Settings], prepared: Prepared
) -> None:
    root, settings = trained
    nobody = replace(prepared, users=prepared.users.assign(verified=False))
    folder = root / "models/hybrid"
    found = compare(folder, folder, nobody, settings)
    assert (found.users, found.difference, found.better) == (0, 0.0, False)
    assert "0 users" in found.reason


def test_a_gain_of_few_users_is_not_enough(
    trained: tuple[Path, Settings], prepared: Prepared, tmp_path: Path
) -> None:
    """The champion knows no product: any model is better, by far more than chance."""
    root, settings = trained
    shutil.copytree(root / "models/hybrid", tmp_path / "old")
    table = read_item_table(tmp_path / "old")
    table["item_id"] = [f"unknown {code}" for code in range(len(table))]
    write_item_table(table, tmp_path / "old")
    write_manifest(tmp_path / "old")
    found = compare(tmp_path / "old", root / "models/hybrid", prepared, settings)
    assert found.low > 0
    few = settings.register_.model_copy(update={"min_users": found.users + 1})
    asked = settings.model_copy(update={"register_": few})
    assert not compare(tmp_path / "old", root / "models/hybrid", prepared, asked).better
    enough = settings.register_.model_copy(update={"min_users": found.users})
    asked = settings.model_copy(update={"register_": enough})
    assert compare(tmp_path / "old", root / "models/hybrid", prepared, asked).better
