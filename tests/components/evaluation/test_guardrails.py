"""Guardrails: each refuses for what it names and for nothing else, on real models."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmarks.promotion import busy_processes
from components.data.dataset import DAY, Prepared, load_prepared
from components.data.holdout import window_task
from components.evaluation.compare import compare
from components.evaluation.guardrails import (
    Behaviour,
    K,
    guardrails,
    latencies,
    list_change,
    megabytes,
    new_products,
)
from components.manifest import write_manifest
from components.recommenders.base import MISSING
from components.recommenders.two_stage.hybrid import Hybrid
from components.settings import Guardrails, Settings

Change = Callable[[Behaviour, np.ndarray], Behaviour]


@pytest.fixture(scope="module")
def prepared(trained: tuple[Path, Settings]) -> Prepared:
    root = trained[0]
    return load_prepared(root / "data/prepared", root / "models/vectors")


@pytest.fixture(scope="module")
def new(prepared: Prepared) -> np.ndarray:
    """The products whose first event is of the last eight weeks before the window."""
    return new_products(prepared, 56)


@pytest.fixture(scope="module")
def champion(trained: tuple[Path, Settings], prepared: Prepared) -> Behaviour:
    """A real hybrid's lists for all users of the window."""
    folder = trained[0] / "models/hybrid"
    task = window_task(prepared, "test", True)
    ids, _ = Hybrid.load(folder).recommend(task.histories, K)
    return Behaviour(ids, 10.0, megabytes(folder))


def test_new_products_are_those_first_seen_in_the_days_before_the_window(
    prepared: Prepared, new: np.ndarray
) -> None:
    x, start = prepared.interactions, prepared.test_start
    events = pd.Series(x.times).groupby(x.items).min()
    expected = events.index[(events >= start - 56 * DAY) & (events < start)]
    assert np.flatnonzero(new).tolist() == expected.tolist()
    assert 0 < new.sum() < len(new) / 2


def one_list_for_all(one: Behaviour, _: np.ndarray) -> Behaviour:
    return replace(one, lists=np.broadcast_to(one.lists[:1], one.lists.shape))


def without_new_products(one: Behaviour, new: np.ndarray) -> Behaviour:
    """Replace each new product by another, different ones so that coverage stays."""
    lists = one.lists.copy()
    shown = new[lists]
    lists[shown] = np.resize(np.flatnonzero(~new), shown.sum())
    return replace(one, lists=lists)


def short_for_some(one: Behaviour, _: np.ndarray) -> Behaviour:
    lists = one.lists.copy()
    lists[: len(lists) // 20, -1] = MISSING
    return replace(one, lists=lists)


def other_products(one: Behaviour, new: np.ndarray) -> Behaviour:
    """Exchange each product for its neighbour of the same kind, so that only the lists change."""
    successor = np.arange(len(new))
    for kind in (new, ~new):
        codes = np.flatnonzero(kind)
        successor[codes] = np.roll(codes, 1)
    return replace(one, lists=successor[one.lists])


@pytest.mark.parametrize(
    ("change", "refused", "limits"),
    [
        (one_list_for_all, "coverage", {"new_products_fall": 1.0}),
        (without_new_products, "new_products", {}),
        (short_for_some, "short_lists", {}),
        (lambda one, _: replace(one, milliseconds=15.1), "latency_growth_ms", {}),
        (lambda one, _: replace(one, milliseconds=14.0), "latency_ms", {"latency_ms": 12.0}),
        (lambda one, _: replace(one, megabytes=2.1 * one.megabytes), "size_mb", {}),
        (other_products, "list_change", {"list_change": 0.5}),
    ],
)
def test_each_refuses_for_what_it_names_and_for_nothing_else(
    champion: Behaviour, new: np.ndarray, change: Change, refused: str, limits: dict[str, float]
) -> None:
    need, n_items = Guardrails(**limits), len(new)
    same = guardrails(champion, champion, n_items, new, need)
    assert all(one.passed for one in same)
    assert {one.name: one.challenger for one in same} | {"list_change": 0.0} == {
        one.name: one.champion for one in same
    }
    found = guardrails(champion, change(champion, new), n_items, new, need)
    (one,) = [one for one in found if not one.passed]
    assert one.name == refused
    assert one.setting in Guardrails.model_fields
    direction = "at least" if refused in ("coverage", "new_products") else "at most"
    assert f"{one.setting} requires {direction} {one.limit:.3f}" in one.refusal("champion")


def test_a_challenger_at_the_limit_or_no_worse_than_the_champion_passes(
    champion: Behaviour, new: np.ndarray
) -> None:
    slow = replace(champion, milliseconds=200.0)
    short = short_for_some(slow, new)
    for old, other in (
        (slow, short),  # short lists are refused, the rest passes
        (short, short),
        (champion, replace(champion, milliseconds=15.0, megabytes=2 * champion.megabytes)),
        (replace(champion, milliseconds=0.2), replace(champion, milliseconds=2.1)),
    ):
        failed = [
            one.name
            for one in guardrails(old, other, len(new), new, Guardrails())
            if not one.passed
        ]
        assert failed == (["short_lists"] if old is slow else [])


def test_a_shop_without_new_products_or_users_is_not_refused(champion: Behaviour) -> None:
    nobody = replace(champion, lists=champion.lists[:0])
    none = np.zeros(4, dtype=bool)
    assert all(one.passed for one in guardrails(nobody, nobody, 4, none, Guardrails()))
    assert list_change(nobody.lists, nobody.lists) == 0


@pytest.mark.parametrize("busy", [0, 2])
def test_noise_of_the_machine_does_not_refuse_a_model_as_fast(
    trained: tuple[Path, Settings], prepared: Prepared, busy: int
) -> None:
    model = Hybrid.load(trained[0] / "models/hybrid")
    histories = window_task(prepared, "test", True).histories
    with busy_processes(busy):
        for _ in range(3):
            old, new = latencies([model, model], [histories, histories], True)
            assert 0 < old < 1000
            assert max(old, new) / min(old, new) < 1.4


def changed(trained: tuple[Path, Settings], folder: Path, **settings: object) -> Path:
    """Copy the real model, with other values in its ``rank`` section."""
    shutil.copytree(trained[0] / "models/hybrid", folder)
    file = folder / "model.json"
    content = json.loads(file.read_text())
    content["settings"] |= settings
    file.write_text(json.dumps(content))
    write_manifest(folder)
    return folder


def test_compare_names_the_guardrails_that_refuse(
    trained: tuple[Path, Settings], prepared: Prepared, tmp_path: Path
) -> None:
    root, settings = trained
    need = settings.register_.model_copy(update={"min_users": 20, "margin": 0.99})
    asked = settings.model_copy(update={"register_": need})
    folder = root / "models/hybrid"
    # The most popular products for everybody: a large margin lets NDCG pass.
    popular = changed(trained, tmp_path / "popular", form="popularity")
    found = compare(folder, popular, prepared, asked)
    assert not found.better
    assert found.bound > found.required
    assert "coverage_fall" in found.reason
    assert not found.guardrails["coverage"]["passed"]
    assert json.loads(json.dumps(found.as_dict(), allow_nan=False)) == found.as_dict()


def test_compare_measures_latency_and_size(
    trained: tuple[Path, Settings], prepared: Prepared, tmp_path: Path
) -> None:
    root, settings = trained
    strict = Guardrails(latency_ms=0.001)
    need = settings.register_.model_copy(update={"min_users": 20, "guardrails": strict})
    asked = settings.model_copy(update={"register_": need})
    slow = changed(trained, tmp_path / "slow", candidates_per_model=len(prepared.catalogue))
    (slow / "padding").write_bytes(b" " * int(1.5e6 * megabytes(slow)))
    write_manifest(slow)
    found = compare(root / "models/hybrid", slow, prepared, asked)
    assert not found.better
    for name, setting in (("latency_ms", "latency_ms"), ("size_mb", "size_ratio")):
        one = found.guardrails[name]
        assert one["challenger"] > one["champion"] > 0
        assert not one["passed"]
        assert f"register.guardrails.{setting} requires at most" in found.reason
    back = compare(slow, root / "models/hybrid", prepared, asked)
    assert all(back.guardrails[name]["passed"] for name in ("latency_ms", "size_mb"))


def test_a_challenger_must_not_be_worse_than_the_baseline_either(
    trained: tuple[Path, Settings], prepared: Prepared, tmp_path: Path
) -> None:
    root, settings = trained
    off = Guardrails(coverage_fall=1, new_products_fall=1, latency_ratio=1000, latency_ms=1e6)
    need = settings.register_.model_copy(update={"min_users": 20, "guardrails": off})
    asked = settings.model_copy(update={"register_": need})
    popular = changed(trained, tmp_path / "popular", form="popularity")
    same = changed(trained, tmp_path / "same", form="popularity", truncation=31)
    alone = compare(popular, same, prepared, asked)
    assert alone.better, alone.reason
    assert alone.baseline is None
    found = compare(popular, same, prepared, asked, baseline=root / "models/hybrid")
    assert not found.better
    assert found.difference == alone.difference == 0
    assert "over the baseline" in found.reason
    assert found.baseline is not None
    assert found.baseline["bound"] < found.baseline["required"] < 0
    assert found.baseline["other"] > found.champion
