"""The hybrid: better than what it is made of, blind to the future, whole in one folder."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from components.data.dataset import Histories, load_prepared
from components.evaluation.metrics import ndcg
from components.evaluation.protocol import lists, ranker_task, window_task
from components.recommenders import hybrid, training
from components.recommenders.hybrid import Hybrid, load_candidates
from components.settings import Settings


@pytest.fixture(scope="module")
def model(trained: tuple[Path, Settings]) -> Hybrid:
    return Hybrid.load(trained[0] / "models/hybrid")


@pytest.fixture(scope="module")
def prepared(trained: tuple[Path, Settings]):
    return load_prepared(trained[0] / "data/prepared", trained[0] / "models/vectors")


def test_it_beats_each_of_its_candidates(trained, model, prepared) -> None:
    task = window_task(prepared, "test", exclude_seen=True)
    ours = ndcg(lists(model, task, 10, True), task.targets).mean()
    for name, candidate in load_candidates(
        trained[0] / "models/candidates/test", list(model.candidates)
    ).items():
        theirs = ndcg(lists(candidate, task, 10, True), task.targets).mean()
        assert ours > theirs, name


def test_nothing_after_the_windows_start_is_learned(
    trained: tuple[Path, Settings], model: Hybrid, tmp_path: Path
) -> None:
    """Other events in the test window: the very same model comes out."""
    root, settings = trained
    shutil.copytree(root / "data/prepared", tmp_path / "data/prepared")
    shutil.copytree(root / "models/vectors", tmp_path / "models/vectors")
    file = tmp_path / "data/prepared/interactions.parquet"
    frame = pd.read_parquet(file)
    start = json.loads((tmp_path / "data/prepared/split.json").read_text())["test_start"]
    later = (frame["timestamp"] >= start).to_numpy()
    assert later.any()
    random = np.random.default_rng(0)
    items = frame["item"].to_numpy().copy()
    items[later] = random.permutation(items[later])
    frame["item"] = items
    frame.to_parquet(file)
    training.run(settings, tmp_path)
    hybrid.run(settings, tmp_path)
    other = Hybrid.load(tmp_path / "models/hybrid")
    task = window_task(load_prepared(root / "data/prepared"), "test", exclude_seen=True)
    assert np.array_equal(other.item_statistics, model.item_statistics, equal_nan=True)
    histories = task.histories.take(slice(0, 200))
    ours, theirs = model.recommend(histories, 10), other.recommend(histories, 10)
    assert (ours[0] == theirs[0]).all()
    assert ours[1] == pytest.approx(theirs[1], abs=1e-6)


def test_the_folder_is_whole_and_holds_no_pickle(trained, tmp_path: Path, prepared) -> None:
    folder = tmp_path / "model"
    shutil.copytree(trained[0] / "models/hybrid", folder)
    kinds = {file.suffix for file in folder.rglob("*") if file.is_file()}
    assert kinds <= {".json", ".safetensors", ".txt", ".parquet", ".npy"}
    task = window_task(prepared, "test", exclude_seen=True)
    histories = task.histories.take(slice(0, 50))
    expected = Hybrid.load(trained[0] / "models/hybrid").recommend(histories, 5)
    found = Hybrid.load(folder).recommend(histories, 5)
    assert (expected[0] == found[0]).all()


def test_excluded_and_unavailable_items_do_not_come(model, prepared) -> None:
    task = window_task(prepared, "test", exclude_seen=True)
    histories = task.histories.take(slice(0, 60))
    n_items = len(prepared.catalogue)
    available = np.arange(n_items) % 3 == 0
    ids, scores = model.recommend(histories, 20, available=available)
    assert (ids[ids >= 0] % 3 == 0).all()
    seen = histories.seen(n_items).toarray() > 0
    rows = np.repeat(np.arange(len(ids)), 20).reshape(ids.shape)
    assert not seen[rows[ids >= 0], ids[ids >= 0]].any()
    listed = np.where(np.isfinite(scores), scores, -1e9)
    assert (np.diff(listed, axis=1) <= 1e-6).all()


def test_a_new_user_and_a_new_item_have_a_place(model, prepared) -> None:
    now = prepared.test_start
    ids, _ = model.recommend(Histories.from_lists([[]], now=now), 10)
    assert (ids >= 0).all()
    unsold = np.flatnonzero(model.item_statistics[:, 0] == 0)
    assert len(unsold)
    x = prepared.interactions
    histories = x.histories(np.arange(40), now)
    scores = model.score(histories)
    assert np.isfinite(scores[:, unsold]).any()  # text proposes what was never sold


def test_new_products_come_more_often_the_more_their_buyers_count(
    trained: tuple[Path, Settings], prepared
) -> None:
    root, settings = trained
    x = prepared.interactions
    earlier = x.where(x.times < prepared.validation_start)
    candidates = load_candidates(root / "models/candidates/validation", settings.train.candidates)
    histories, targets = ranker_task(prepared, "validation", settings.train.exclude_seen)
    shares = []
    for weight in (1.0, 30.0):
        rank = settings.rank.model_copy(update={"unsold_weight": weight})
        model = Hybrid(rank, candidates, seed=settings.seed).fit(earlier, prepared.catalogue)
        model.fit_ranker(histories, targets, settings.train.exclude_seen)
        ids, _ = model.recommend(histories, 10)
        shares.append((model.item_statistics[ids[ids >= 0], 0] == 0).mean())
    assert shares[1] > shares[0]


def test_without_anything_to_learn_from_it_says_so(model, prepared, settings) -> None:
    task = window_task(prepared, "validation", exclude_seen=True)
    nothing = task.targets * 0
    nothing.eliminate_zeros()
    fresh = Hybrid(settings.rank, model.candidates).fit(prepared.interactions, prepared.catalogue)
    with pytest.raises(ValueError, match="validation_days"):
        fresh.fit_ranker(task.histories, nothing, True)
