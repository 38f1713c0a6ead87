"""A recommender in one file and one registration is trained, ranked, evaluated and served."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import pandas as pd
import pytest

from components.data.dataset import Catalogue, Histories, Interactions
from components.evaluation import report
from components.recommenders import factory, rank, refit, train
from components.recommenders.base import Recommender
from components.recommenders.search_space import FLOAT
from components.recommenders.tuning import spaces
from components.recommenders.two_stage.hybrid import Hybrid
from components.settings import ModelSection, Settings, SettingsError, load_settings
from serving.profiles.history import History
from serving.recommend.engine import Engine
from serving.recommend.types import Request


class SameBasketSettings(ModelSection):
    popularity_power: float = 0.5


class SameBasket(Recommender):
    """Items bought by the same users, divided by a power of their popularity."""

    name = "same_basket"
    section = SameBasketSettings
    search_space: ClassVar[dict[str, Any]] = {"popularity_power": (FLOAT, 0.0, 1.0)}
    learned = ("together",)

    def fit(self, train: Interactions, catalogue: Catalogue) -> Self:
        matrix = train.matrix()
        together = (matrix.T @ matrix).toarray()
        np.fill_diagonal(together, 0)
        popularity = np.maximum(np.diff(matrix.tocsc().indptr), 1)
        together /= popularity**self.settings.popularity_power
        self.together = together.astype(np.float32)
        return self

    def score(self, histories: Histories) -> np.ndarray:
        return np.asarray(histories.seen(len(self.together)) @ self.together, dtype=np.float32)

    def score_similar(self, histories: Histories, items: np.ndarray) -> np.ndarray:
        return self.score_at(histories, items)


@pytest.fixture(scope="module")
def registered() -> Iterator[None]:
    factory.register(SameBasket)
    yield
    factory.unregister(SameBasket.name)


@pytest.fixture(scope="module")
def shop(
    registered: None,
    trained: tuple[Path, Settings],
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[Path, Settings]:
    """A root with models by the real stages, the toy recommender among the candidates."""
    source, settings = trained
    root = tmp_path_factory.mktemp("extension")
    for name in ("data/prepared", "models/vectors"):
        shutil.copytree(source / name, root / name)
    section = settings.train.model_dump() | {
        "candidates": ["popularity", "same_basket", "content"],
        "same_basket": {"popularity_power": 0.4},
    }
    chosen = type(settings.train).model_validate(section)
    settings = settings.model_copy(update={"train": chosen})
    for stage in (train, rank, refit, report):
        stage.run(settings, root)
    return root, settings


@pytest.mark.slow
def test_its_section_of_the_settings_reaches_it(shop: tuple[Path, Settings]) -> None:
    root, settings = shop
    model = factory.load_model(root / "models/candidates/test/same_basket")
    assert isinstance(model, SameBasket)
    assert model.settings.popularity_power == 0.4
    assert settings.train.section("same_basket") == model.settings
    assert spaces()["same_basket"] == SameBasket.search_space


def test_the_hybrid_ranks_its_candidates(shop: tuple[Path, Settings]) -> None:
    hybrid = Hybrid.load(shop[0] / "models/served")
    assert list(hybrid.candidates) == ["popularity", "same_basket", "content"]
    assert hybrid.ranker is not None
    used = dict(
        zip(
            hybrid.ranker.booster.feature_name(),
            hybrid.ranker.booster.feature_importance(),
            strict=True,
        )
    )
    assert used["same_basket_score"] + used["same_basket_rank"] > 0


def test_it_is_evaluated_with_the_others(shop: tuple[Path, Settings]) -> None:
    figures = json.loads((shop[0] / "reports/evaluation.json").read_text())
    assert figures["same_basket"]["ndcg@10"] > figures["content"]["ndcg@10"] / 2
    assert {"popularity", "content", "hybrid"} <= figures.keys()


def test_the_engine_serves_it_alone_and_asks_it_for_similar_items(
    shop: tuple[Path, Settings], tmp_path: Path
) -> None:
    hybrid = Hybrid.load(shop[0] / "models/served")
    hybrid.settings = hybrid.settings.model_copy(update={"form": "same_basket"})
    hybrid.save(tmp_path)
    engine = Engine.load(tmp_path, "1")
    code = int(engine.by_popularity[0])
    history = History(np.array([code], np.int32), np.array([0]))
    toy = engine.model.candidates["same_basket"]
    assert isinstance(toy, SameBasket)
    best = np.argsort(-toy.together[code], kind="stable")[:3]
    (answer,) = engine.recommend([Request(history, 3)])
    assert answer.items == best.tolist()
    assert "same_basket" in engine.model.similar_models()
    with_it = engine.similar([code], 20).items
    del engine.model.candidates["same_basket"]
    assert with_it != engine.similar([code], 20).items
    assert set(best.tolist()) <= set(with_it)


def test_new_items_get_its_cold_start_wrapper(shop: tuple[Path, Settings]) -> None:
    hybrid = Hybrid.load(shop[0] / "models/served")
    table, vectors = hybrid.catalogue.table, hybrid.catalogue.vectors
    assert vectors is not None
    new = table.iloc[[0]].assign(item_id="new")
    grown = hybrid.extended(
        Catalogue(pd.concat([table, new], ignore_index=True), np.vstack([vectors, vectors[:1]]))
    )
    assert isinstance(grown.candidates["same_basket"].trained, SameBasket)
    assert "same_basket" in grown.similar_models()
    assert Engine(grown, "1").similar([len(table)], 5).items


def test_params_may_name_it_while_it_is_registered(registered: None, tmp_path: Path) -> None:
    text = Path("params.yaml").read_text()
    text = text.replace("    - popularity\n", "    - popularity\n    - same_basket\n", 1)
    file = tmp_path / "params.yaml"
    file.write_text(text)
    assert load_settings(file).train.section("same_basket").popularity_power == 0.5
    file.write_text(text.replace("train:\n", "train:\n  same_basket: {popularity_power: high}\n"))
    with pytest.raises(SettingsError, match=r"train\.same_basket\.popularity_power: .*number"):
        load_settings(file)
    factory.unregister("same_basket")
    try:
        file.write_text(text)
        with pytest.raises(SettingsError, match=r"no recommender 'same_basket'; there are: popul"):
            load_settings(file)
        file.write_text(
            Path("params.yaml").read_text().replace("train:\n", "train:\n  same_b: {}\n")
        )
        with pytest.raises(SettingsError, match=r"train\.same_b: there is no such key"):
            load_settings(file)
        with pytest.raises(ValueError, match="no recommender 'same_basket'"):
            factory.registered("same_basket")
    finally:
        factory.register(SameBasket)


def test_a_name_is_registered_once(registered: None) -> None:
    class Other(SameBasket):
        pass

    with pytest.raises(ValueError, match="same_basket is the name of SameBasket already"):
        factory.register(Other)
