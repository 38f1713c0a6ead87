"""Features of repeat purchases: there with the model, and none without."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from components.data.dataset import DAY, Catalogue, Histories, Interactions, load_prepared
from components.data.holdout import window_task
from components.recommenders.factory import build
from components.recommenders.models.repeat import RepeatPurchases
from components.recommenders.two_stage.features import feature_names
from components.recommenders.two_stage.hybrid import Hybrid
from components.recommenders.two_stage.repeat_features import NAMES, RepeatFeatures
from components.settings import Repeat, Settings

NOW = 1_600_000_000


@pytest.fixture
def with_features(settings: Settings) -> Settings:
    section = settings.train.repeat.model_copy(update={"ranker_features": True})
    train = settings.train.model_copy(update={"repeat": section})
    return settings.model_copy(update={"train": train})


def test_each_column_holds_what_its_name_says() -> None:
    days = np.array([40, 30, 20, 5, 5])
    items = np.array([2, 2, 2, 0, 1])
    train = Interactions.from_arrays(np.array([0, 0, 0, 0, 1]), items, NOW - days * DAY, 2, 4)
    catalogue = Catalogue(pd.DataFrame({"item_id": list("abcd")}))
    model = RepeatPurchases(Repeat(interval_prior=1e-6, ranker_features=True)).fit(train, catalogue)
    histories = train.histories([0, 1], NOW)
    rows, candidates = np.array([0, 0, 0, 1]), np.array([0, 2, 3, 2], dtype=np.int32)
    found = dict(
        zip(NAMES, RepeatFeatures(model).describe(histories, rows, candidates), strict=True)
    )
    assert found["repeat_days"].tolist() == [1, 3, 0, 0]
    assert found["days_since_bought"] == pytest.approx([5, 20, np.nan, np.nan], nan_ok=True)
    assert found["due_ratio"][1:] == pytest.approx([2, np.nan, np.nan], nan_ok=True)
    assert found["item_repeat_rate"].tolist() == model.repeat_rate[candidates].tolist()


def test_the_ranker_sees_them_where_the_settings_say_so(
    prepared_folder: Path, settings: Settings, with_features: Settings
) -> None:
    prepared = load_prepared(prepared_folder)
    x = prepared.interactions
    before = x.where(x.times < prepared.validation_start)
    task = window_task(prepared, "validation", exclude_seen=False)
    names = ("popularity", "repeat")
    models = {name: build(name, with_features) for name in names}
    models["without"] = build("repeat", settings)
    for one in models.values():
        one.fit(before, prepared.catalogue)
    histories = task.histories.take(slice(0, 50))

    def hybrid(*chosen: str) -> Hybrid:
        model = Hybrid(settings.rank, {name: models[name] for name in chosen})
        return model.fit(before, prepared.catalogue)

    for chosen in (("popularity",), ("popularity", "without")):
        usual = hybrid(*chosen)
        pairs = usual.features.pairs(usual.generator.generate(histories, False))
        assert pairs.features.shape[1] == len(feature_names(chosen))

    model = hybrid(*names)
    model.fit_ranker(task.histories, task.targets, exclude_seen=False)
    assert model.ranker is not None
    assert model.ranker.booster.feature_name() == [*feature_names(names), *NAMES]
    pairs = model.features.pairs(model.generator.generate(histories, False))
    expected = RepeatFeatures(model.repeat_model()).describe(histories, pairs.rows, pairs.items)
    np.testing.assert_array_equal(pairs.features[:, -len(NAMES) :].T, expected)
    ids, _ = model.recommend(histories, 10, exclude_seen=False)
    seen = histories.seen(x.n_items)
    assert np.mean([seen[row, ids[row]].sum() for row in range(50)]) > 3


def test_an_item_added_after_the_training_has_features(
    prepared_folder: Path, with_features: Settings
) -> None:
    prepared = load_prepared(prepared_folder)
    before = prepared.interactions
    models = {
        name: build(name, with_features).fit(before, prepared.catalogue)
        for name in ("popularity", "repeat")
    }
    model = Hybrid(with_features.rank, models).fit(before, prepared.catalogue)
    table = pd.concat([prepared.catalogue.table, prepared.catalogue.table.iloc[:1]])
    more = model.extended(Catalogue(table.reset_index(drop=True)))
    new = len(prepared.catalogue)
    times = NOW - np.array([20, 10]) * DAY
    history = Histories(np.array([new, new], np.int32), times, np.array([0, 2]), np.array([NOW]))
    pairs = more.features.pairs(more.generator.generate(history, False))
    of_new = pairs.features[pairs.items == new]
    assert of_new.shape == (1, len(feature_names(models)) + len(NAMES))
    assert of_new[0, -len(NAMES)] == 2
