"""The hybrid: better than what it is made of, blind to the future, whole in one folder."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from components.data.dataset import Histories, load_prepared
from components.data.holdout import window_task
from components.evaluation.metrics import ndcg
from components.evaluation.protocol import lists
from components.recommenders import rank, train
from components.recommenders.train import load_candidates
from components.recommenders.two_stage import candidates as generation
from components.recommenders.two_stage.forms import LearnedRanking
from components.recommenders.two_stage.hybrid import Hybrid
from components.settings import Rank, Settings


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
    train.run(settings, tmp_path)
    rank.run(settings, tmp_path)
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
    assert kinds <= {".arrow", ".json", ".safetensors", ".txt", ".npy"}
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


def plain_features(model: Hybrid, histories: Histories) -> dict[tuple[int, int], np.ndarray]:
    """Return (row, item) → features, made one history and one item at a time, nothing left out."""
    found: dict[tuple[int, int], list[float]] = {}
    n, unsold = model.settings.candidates_per_model, model.item_statistics[:, 0] == 0
    price = model.catalogue.table["price"].to_numpy(dtype=np.float64, na_value=np.nan)
    main = model.catalogue.table["main_category"].astype(object)
    category = main.where(main.notna(), None).tolist()
    all_scores = [one.score(histories).astype(np.float64) for one in model.candidates.values()]
    for row in range(len(histories)):
        one = histories.take(slice(row, row + 1))
        own = one.items.tolist()
        free = [item for item in range(len(model.catalogue)) if item not in own]
        columns, proposed = [], set()
        for scores in (of_model[row] for of_model in all_scores):
            lowest, lowest_new = min(scores[free]), min(scores[[i for i in free if unsold[i]]])
            said = [item for item in free if scores[item] > lowest]
            best = sorted(said, key=lambda item: (-scores[item], item))
            of_new = [item for item in best if unsold[item] and scores[item] > lowest_new]
            proposed |= {*best[:n], *of_new[: n // 5]}
            place = {item: at for at, item in enumerate(best[:n])}
            columns.append((scores, scores[free].mean(), scores[free].std(), place))
        for item in sorted(proposed):
            features = []
            for scores, mean, spread, place in columns:
                features.append((scores[item] - mean) / spread if spread > 1e-9 else 0.0)
                features.append(1 / (1 + place[item]) if item in place else 0.0)
            usual = np.nanmean(np.log(price[own])) if own else np.nan
            like = np.mean([category[one] == category[item] for one in own]) if own else 0.0
            since = (one.now[0] - one.times[[-1, 0]]) / 86_400 if own else [np.nan, np.nan]
            features += [*model.item_statistics[item], np.log(price[item])]
            features += [np.log(price[item]) - usual, like, own.count(item)]
            features += [np.log1p(len(own)), np.log1p(len(set(own))), *since]
            found[row, item] = np.array(features)
    return found


def test_the_fast_way_is_the_plain_way(model, prepared) -> None:
    """Candidates, features and order, against loops and LightGBM's own prediction."""
    task = window_task(prepared, "test", exclude_seen=True)
    some = task.histories.take(slice(40, 43))
    histories = Histories(
        some.items, some.times, np.append(some.offsets, some.offsets[-1]), np.append(some.now, 0)
    )  # the last one is empty
    plain = plain_features(model, histories)
    pairs = model.features.pairs(model.generator.generate(histories, exclude_seen=True))
    keys = list(zip(pairs.rows.tolist(), pairs.items.tolist(), strict=True))
    assert keys == sorted(plain)
    expected = np.array([plain[key] for key in keys])
    assert pairs.features == pytest.approx(expected, rel=2e-3, abs=2e-3, nan_ok=True)
    ranking = LearnedRanking(model.generator, model.features, model.ranker)  # of the empty one, too
    ids, scores = ranking.recommend(histories, 10)
    ranked = model.ranker.booster.predict(np.ascontiguousarray(pairs.features))
    for row in range(len(histories)):
        of_row = np.flatnonzero(pairs.rows == row)
        order = of_row[np.lexsort((pairs.items[of_row], -ranked[of_row].astype(np.float32)))][:10]
        assert ids[row].tolist() == pairs.items[order].tolist()
        assert scores[row] == pytest.approx(ranked[order])


def test_in_parts_as_at_once(model, prepared, monkeypatch: pytest.MonkeyPatch) -> None:
    histories = window_task(prepared, "test", exclude_seen=True).histories.take(slice(0, 30))
    whole = model.recommend(histories, 5)
    monkeypatch.setattr(generation, "MAX_SCORES", 7 * len(model.candidates) * len(model.catalogue))
    assert (model.recommend(histories, 5)[0] == whole[0]).all()


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


def test_new_users_get_what_is_popular_and_the_others_the_rankers_list(model, prepared) -> None:
    some = Histories.from_lists([[], [3, 1], [], [7], [2, 5, 4]], now=prepared.test_start)
    ids, _ = model.recommend(some, 10)
    by_ranker = LearnedRanking(model.generator, model.features, model.ranker)
    ranked, _ = by_ranker.recommend(some, 10)
    popular, _ = model.candidates["popularity"].recommend(some, 10)
    assert ids[[0, 2]].tolist() == popular[[0, 2]].tolist()
    assert ids[[1, 3, 4]].tolist() == ranked[[1, 3, 4]].tolist()
    assert ranked[0].tolist() != popular[0].tolist()


@pytest.mark.slow
def test_new_products_come_more_often_the_more_their_buyers_count(
    trained: tuple[Path, Settings], prepared
) -> None:
    root, settings = trained
    x = prepared.interactions
    earlier = x.where(x.times < prepared.validation_start)
    candidates = load_candidates(root / "models/candidates/validation", settings.train.candidates)
    task = window_task(prepared, "validation", settings.train.exclude_seen)
    shares = []
    for weight in (1.0, 30.0):
        rank = settings.rank.model_copy(update={"unsold_weight": weight})
        model = Hybrid(rank, candidates, seed=settings.seed).fit(earlier, prepared.catalogue)
        model.fit_ranker(task.histories, task.targets, settings.train.exclude_seen)
        ids, _ = model.recommend(task.histories, 10)
        shares.append((model.item_statistics[ids[ids >= 0], 0] == 0).mean())
    assert shares[1] > shares[0]


def test_without_anything_to_learn_from_it_says_so(model, prepared, settings) -> None:
    task = window_task(prepared, "validation", exclude_seen=True)
    nothing = task.targets * 0
    nothing.eliminate_zeros()
    fresh = Hybrid(settings.rank, model.candidates).fit(prepared.interactions, prepared.catalogue)
    with pytest.raises(ValueError, match="validation_days"):
        fresh.fit_ranker(task.histories, nothing, True)


@pytest.mark.slow
def test_a_handful_of_buyers_teaches(model, prepared, settings) -> None:
    task = window_task(prepared, "validation", exclude_seen=True)
    fresh = Hybrid(settings.rank, model.candidates).fit(prepared.interactions, prepared.catalogue)
    for seed in range(5):
        buyers = np.random.default_rng(seed).choice(task.targets.shape[0], 12, replace=False)
        only = np.zeros(task.targets.shape[0], dtype=np.float32)
        only[buyers] = 1
        few = sp.diags(only) @ task.targets
        few.eliminate_zeros()
        fresh.fit_ranker(task.histories, few.tocsr(), False)
        assert fresh.ranker.booster.num_trees() >= 1


def test_the_ranker_is_fitted_on_a_sample_of_many_users(model, prepared, settings) -> None:
    task = window_task(prepared, "validation", exclude_seen=True)
    n_users, most = len(task.histories), 150
    assert n_users > most

    def trees(rank: Rank, users: np.ndarray) -> str:
        fresh = Hybrid(rank, model.candidates, seed=3).fit(
            prepared.interactions, prepared.catalogue
        )
        fresh.fit_ranker(task.histories.pick(users), task.targets[users], True)
        return fresh.ranker.booster.model_to_string().partition("parameters:")[0]

    every = np.arange(n_users)
    rank = settings.rank.model_copy(update={"trees": 5, "max_users": 0})
    limited = rank.model_copy(update={"max_users": most})
    sample = np.sort(np.random.default_rng(3).choice(n_users, most, replace=False))
    assert trees(limited, every) == trees(rank, sample)  # all users would give others
