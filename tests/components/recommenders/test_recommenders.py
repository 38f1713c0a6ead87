"""Every candidate model: one face, what it learns, what it saves, and what it must not know."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from components.data.dataset import DAY, Catalogue, Histories, Interactions, load_prepared
from components.data.holdout import window_task
from components.evaluation.metrics import ndcg
from components.evaluation.protocol import lists
from components.recommenders.base import MISSING
from components.recommenders.factory import MODELS, build, load_model
from components.settings import Settings
from tests.encoders import write_small_encoder

N_GROUPS, PER_GROUP, N_USERS = 6, 8, 240
N_ITEMS = N_GROUPS * PER_GROUP
OWN_TESTS = {"rules", "policy", "rating_factorisation"}
LEARNED = sorted(set(MODELS) - OWN_TESTS)


@pytest.fixture(scope="module")
def quick(settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """The repository's settings with a small sequence model and a small cross-encoder."""
    sequential = settings.train.sequential.model_copy(
        update={"epochs": 12, "dimensions": 32, "max_length": 20, "learning_rate": 3e-3}
    )
    encoder = write_small_encoder(tmp_path_factory.mktemp("encoder"), positions=0.01)
    small = {"encoder": str(encoder), "max_length": 24, "purchases": 192, "distilled": 192}
    cross_encoder = settings.train.cross_encoder.model_copy(
        update={**small, "learning_rate": 2e-3, "batch_size": 8, "steps": 100}
    )
    train = settings.train.model_copy(
        update={"sequential": sequential, "cross_encoder": cross_encoder}
    )
    return settings.model_copy(update={"train": train})


@pytest.fixture(scope="module")
def world() -> tuple[Interactions, Catalogue]:
    """Users who each buy within one of six groups of items; titles tell the group too."""
    random = np.random.default_rng(3)
    taste = np.arange(N_USERS) % N_GROUPS
    count = random.integers(3, PER_GROUP, N_USERS)
    items = [
        group * PER_GROUP + random.permutation(PER_GROUP)[:n]
        for group, n in zip(taste, count, strict=True)
    ]
    users = np.repeat(np.arange(N_USERS), count)
    times = 1_600_000_000 + random.integers(0, 200 * DAY, count.sum())
    train = Interactions.from_arrays(users, np.concatenate(items), times, N_USERS, N_ITEMS)
    group = np.arange(N_ITEMS) // PER_GROUP
    vectors = np.eye(N_GROUPS)[group] + 0.15 * random.standard_normal((N_ITEMS, N_GROUPS))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    words = ["lamp", "mug", "clock", "scarf", "candle", "kite"]
    titles = [f"{words[code // PER_GROUP]} number {code}" for code in range(N_ITEMS)]
    ids = [f"i{code}" for code in range(N_ITEMS)]
    table = pd.DataFrame({"item_id": ids, "title": titles, "price": 1.0, "brand": None})
    table = table.assign(description=None, categories=[[]] * N_ITEMS, categories_inferred=False)
    return train, Catalogue(table, vectors.astype(np.float32))


@pytest.fixture(scope="module")
def fitted(world, quick) -> dict:
    train, catalogue = world
    return {name: build(name, quick).fit(train, catalogue) for name in LEARNED}


def of_group(group: int, n: int) -> list[int]:
    return list(range(group * PER_GROUP, group * PER_GROUP + n))


# demographic, repeat: not by other products of the history
PERSONAL = sorted(set(LEARNED) - {"popularity", "demographic", "repeat"})


@pytest.mark.parametrize("name", PERSONAL)
def test_recommends_from_the_taste_a_history_shows(fitted, name) -> None:
    histories = Histories.from_lists(
        [of_group(group, 3) for group in range(N_GROUPS)], now=1_600_000_000 + 200 * DAY
    )
    ids, _ = fitted[name].recommend(histories, k=4)
    right = ids // PER_GROUP == np.arange(N_GROUPS)[:, None]
    assert right.mean() > 0.9, ids


@pytest.mark.parametrize("name", LEARNED)
def test_the_face(fitted, name) -> None:
    model = fitted[name]
    now = 1_600_000_000 + 200 * DAY
    histories = Histories.from_lists([of_group(0, 5), [], of_group(2, 1)], now=now)
    scores = model.score(histories)
    assert scores.shape == (3, N_ITEMS)
    assert scores.dtype == np.float32
    assert np.isfinite(scores).all()
    ids, best = model.recommend(histories, k=6)
    assert ids.shape == best.shape == (3, 6)
    assert not np.isin(ids[0], of_group(0, 5)).any()  # seen
    assert (np.diff(best, axis=1) <= 0).all()
    with_seen, _ = model.recommend(histories, k=N_ITEMS, exclude_seen=False)
    assert sorted(with_seen[0]) == list(range(N_ITEMS))
    available = np.zeros(N_ITEMS, dtype=bool)
    available[[7, 9]] = True
    few, _ = model.recommend(histories, k=4, available=available)
    assert set(few[1]) == {7, 9, MISSING}


@pytest.mark.parametrize("name", LEARNED)
def test_some_items_score_as_among_all(fitted, name) -> None:
    histories = Histories.from_lists([[3, 17, 3], [], [40]], now=10**9)
    items = np.array([2, 3, 17, 41])
    found = fitted[name].score_at(histories, items)
    assert found == pytest.approx(fitted[name].score(histories)[:, items], abs=1e-5)


@pytest.mark.parametrize("name", LEARNED)
def test_a_batch_answers_as_each_alone(fitted, name) -> None:
    now = 1_600_000_000 + 200 * DAY
    each = [of_group(1, 4), of_group(3, 2), [0, 9, 18]]
    together = fitted[name].score(Histories.from_lists(each, now=now))
    alone = [fitted[name].score(Histories.from_lists([one], now=now))[0] for one in each]
    assert together == pytest.approx(np.stack(alone), abs=1e-4)


@pytest.mark.parametrize("name", LEARNED)
def test_saved_and_loaded_it_answers_the_same(fitted, name, tmp_path: Path) -> None:
    fitted[name].save(tmp_path)
    assert {file.suffix for file in tmp_path.iterdir()} == {".json", ".safetensors"}
    histories = Histories.from_lists([of_group(4, 3), []], now=1_600_000_000 + 200 * DAY)
    loaded = load_model(tmp_path)
    assert type(loaded) is type(fitted[name])
    assert loaded.score(histories) == pytest.approx(fitted[name].score(histories), abs=1e-5)
    other = next(model for model in MODELS.values() if model is not type(loaded))
    with pytest.raises(ValueError, match=name):
        other.load(tmp_path)


@pytest.mark.parametrize("name", LEARNED)
def test_the_same_seed_gives_the_same_model(world, quick, fitted, name) -> None:
    again = build(name, quick).fit(*world)
    histories = Histories.from_lists([of_group(5, 2)], now=1_600_000_000 + 200 * DAY)
    assert again.score(histories) == pytest.approx(fitted[name].score(histories), abs=1e-5)


@pytest.mark.parametrize("name", ["content", "tfidf", "sequential", "cross_encoder"])
def test_text_finds_an_item_that_nobody_bought(world, quick, name) -> None:
    train, catalogue = world
    hidden = 2 * PER_GROUP + 7
    without = train.where(train.items != hidden)
    model = build(name, quick).fit(without, catalogue)
    scores = model.score(Histories.from_lists([of_group(2, 4)], now=1_600_000_000 + 200 * DAY))[0]
    others = [code for code in range(N_ITEMS) if code // PER_GROUP != 2]
    assert scores[hidden] > np.quantile(scores[others], 0.9)


@pytest.mark.parametrize(
    "name", ["item_neighbours", "ease", "content", "tfidf", "matrix_factorisation"]
)
def test_recent_events_count_more(world, quick, name) -> None:
    train, catalogue = world
    section = getattr(quick.train, name)
    faded = section.model_copy(update={"decay": 0.5})
    train_settings = quick.train.model_copy(update={name: faded})
    quick = quick.model_copy(update={"train": train_settings})
    model = build(name, quick).fit(train, catalogue)
    old, new = of_group(0, 3), of_group(1, 3)
    ids, _ = model.recommend(Histories.from_lists([old + new], now=1_600_000_000), k=5)
    assert (ids // PER_GROUP == 1).sum() > (ids // PER_GROUP == 0).sum()


def test_popularity_of_the_last_days_counts_more(world, quick) -> None:
    train, catalogue = world
    newest = train.times.max()
    model = build("popularity", quick).fit(
        Interactions.from_arrays(
            np.arange(30) % 5,
            np.array([1] * 20 + [2] * 10),
            np.array([newest - 90 * DAY] * 20 + [newest] * 10),
            5,
            N_ITEMS,
        ),
        catalogue,
    )
    ids, _ = model.recommend(Histories.from_lists([[]], now=int(newest)), k=2)
    assert ids[0].tolist() == [2, 1]


@pytest.mark.parametrize("name", ["content", "sequential", "cross_encoder"])
def test_without_text_vectors_it_says_what_to_run(world, quick, name) -> None:
    train, catalogue = world
    with pytest.raises(ValueError, match="bowerbird encode"):
        build(name, quick).fit(train, replace(catalogue, vectors=None))


def test_on_real_data_personal_models_beat_chance_by_far(prepared_folder, quick) -> None:
    """Every seventh customer of the real shop: small, but what is bought together shows."""
    prepared = load_prepared(prepared_folder)
    x = prepared.interactions
    before = x.where(x.times < prepared.test_start)
    task = window_task(prepared, "test", exclude_seen=True)
    chance = 10 * task.targets.nnz / len(task.users) / len(prepared.catalogue) / 10
    for name in ("popularity", "item_neighbours", "matrix_factorisation", "ease"):
        model = build(name, quick).fit(before, prepared.catalogue)
        found = ndcg(lists(model, task, 10, True), task.targets).mean()
        assert found > 3 * chance, (name, found, chance)
