"""The forms without a ranker: each does what its name says, and is served as the hybrid is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp

from components.data.dataset import Histories, load_prepared
from components.data.holdout import window_task
from components.evaluation.metrics import ndcg
from components.evaluation.protocol import lists
from components.recommenders.kernels.standardise import standardised
from components.recommenders.models.rules import RuleBased, Rules
from components.recommenders.train import load_candidates
from components.recommenders.two_stage.blending import (
    Cascade,
    Switching,
    Weighted,
    fit_weights,
)
from components.recommenders.two_stage.forms import blends
from components.recommenders.two_stage.hybrid import Hybrid
from components.settings import Cascade as CascadeSettings
from components.settings import Switch
from serving.profiles.history import History
from serving.recommend.engine import Engine
from serving.recommend.types import Request


@pytest.fixture(scope="module")
def shop(trained):
    root, settings = trained
    prepared = load_prepared(root / "data/prepared", root / "models/vectors")
    names = settings.train.candidates
    fitted = {
        window: load_candidates(root / "models/candidates" / window, names)
        for window in ("validation", "test")
    }
    tasks = {window: window_task(prepared, window, True) for window in fitted}
    return fitted, tasks


@pytest.fixture(scope="module")
def candidates(shop):
    return shop[0]["test"]


@pytest.fixture(scope="module")
def histories(shop) -> Histories:
    """Some users, the ones without a history among them."""
    everybody = shop[1]["test"].histories
    assert (everybody.lengths() == 0).any()
    return everybody.take(slice(0, 60))


def test_weighted_adds_z_scores_by_weight(candidates, histories) -> None:
    model = Weighted({"popularity": 0.5, "content": 2.0}, candidates)
    expected = 0.0
    for name, weight in model.settings.items():
        found = candidates[name].score(histories).astype(np.float64)
        spread = found.std(axis=1, keepdims=True)
        z = (found - found.mean(axis=1, keepdims=True)) / np.where(spread > 0, spread, np.inf)
        expected = expected + weight * z
    assert model.score(histories) == pytest.approx(expected, abs=1e-2)


def test_switching_answers_with_the_model_of_the_historys_length(candidates, histories) -> None:
    model = Switching({0: "popularity", 3: "content", 20: "item_neighbours"}, candidates)
    ids, _ = model.recommend(histories, 10)
    lengths = histories.lengths()
    for name, rows in {
        "popularity": lengths < 3,
        "content": (lengths >= 3) & (lengths < 20),
        "item_neighbours": lengths >= 20,
    }.items():
        assert rows.any()
        alone, _ = candidates[name].recommend(histories, 10)
        # Rounding may swap neighbours of almost the same score.
        assert (ids[rows] == alone[rows]).mean() > 0.95, name


def test_cascade_orders_what_the_first_proposed(candidates, histories) -> None:
    model = Cascade(CascadeSettings(models=["item_neighbours", "content"], keep=8), candidates)
    ids, _ = model.recommend(histories, 20, exclude_seen=False)
    proposed, _ = candidates["item_neighbours"].recommend(histories, 20, exclude_seen=False)
    content = candidates["content"].score(histories)
    for row in np.flatnonzero(histories.lengths() > 0):
        assert set(ids[row, :8]) == set(proposed[row, :8])
        assert (np.diff(content[row, ids[row, :8]]) <= 1e-3).all()
        assert (ids[row, 8:] == proposed[row, 8:]).all()


def test_where_the_next_model_knows_nothing_the_order_stays(candidates) -> None:
    model = Cascade(CascadeSettings(models=["popularity", "content"], keep=20), candidates)
    nobody = Histories.from_lists([[]])
    expected, _ = candidates["popularity"].recommend(nobody, 10)
    assert (model.recommend(nobody, 10)[0] == expected).all()


def test_fitted_weights_beat_each_model_alone_on_later_weeks(shop) -> None:
    fitted, tasks = shop
    learnt = tasks["validation"]
    weights = fit_weights(fitted["validation"], learnt.histories, learnt.targets, True)
    task = tasks["test"]
    blend = Weighted(weights, fitted["test"])
    ours = ndcg(lists(blend, task, 10, True), task.targets).mean()
    for name, model in fitted["test"].items():
        assert ours > ndcg(lists(model, task, 10, True), task.targets).mean(), name


class Fixed:
    """Says the same as an array of scores for each user, whatever the history."""

    vetoes = False

    def __init__(self, scores: np.ndarray) -> None:
        self.scores = scores

    def score(self, histories: Histories) -> np.ndarray:
        return self.scores[histories.now]


def test_weights_are_those_the_choices_were_drawn_with() -> None:
    """Choices from a known conditional logit; noise and a model that is wrong get nothing."""
    random = np.random.default_rng(0)
    n, items = 4000, 40
    scores = random.standard_normal((2, n, items)).astype(np.float32)
    z = standardised(scores[0])
    utility = 1.5 * z + random.gumbel(size=z.shape)
    targets = sp.csr_matrix((np.ones(n), (np.arange(n), utility.argmax(axis=1))), (n, items))
    people = Histories(
        np.empty(0, np.int32), np.empty(0, np.int64), np.zeros(n + 1, np.int64), np.arange(n)
    )
    models = {"true": Fixed(scores[0]), "noise": Fixed(scores[1])}
    weights = fit_weights(models, people, targets, False)
    assert weights["true"] == pytest.approx(1.5, abs=0.1)
    assert weights["noise"] < 0.1
    wrong = fit_weights({"wrong": Fixed(-scores[0])}, people, targets, False)
    assert wrong["wrong"] == 0
    with pytest.raises(ValueError, match="no weights to learn"):
        fit_weights(models, people, targets * 0, False)


def test_a_rule_against_an_item_binds_every_form(candidates, trained, histories) -> None:
    whole = Hybrid.load(trained[0] / "models/hybrid")
    rules = Rules.model_validate(
        {"goes_with": [{"name": "no", "having": {}, "never": {"words": ["heart"]}}]}
    )
    rule_based = RuleBased(rules).fit(None, whole.catalogue)  # type: ignore[arg-type]
    table = whole.catalogue.table
    banned = table["title"].str.lower().str.contains(r"\bhearts?\b", na=False).to_numpy()
    rank = trained[1].rank.model_copy(
        update={"cascade": CascadeSettings(models=["popularity", "content"])}
    )
    known = histories.lengths() > 0
    weights = {"popularity": 1.0, "content": 1.0}
    for name, form in blends(rank, {**candidates, "rules": rule_based}, weights).items():
        shown = form.recommend(histories, 50)[0][known]
        assert not banned[shown[shown >= 0]].any(), name


@pytest.mark.parametrize("name", ["weighted", "switching", "cascade"])
def test_saved_and_loaded_it_answers_the_same(candidates, histories, tmp_path, name) -> None:
    model = {
        "weighted": Weighted({"popularity": 1.0, "content": 0.5}, candidates),
        "switching": Switching({0: "popularity", 2: "content"}, candidates),
        "cascade": Cascade(CascadeSettings(models=["popularity", "content"]), candidates),
    }[name]
    model.save(tmp_path)
    kinds = {file.suffix for file in tmp_path.rglob("*") if file.is_file()}
    assert kinds <= {".json", ".safetensors"}
    loaded = type(model).load(tmp_path)
    assert np.array_equal(loaded.score(histories), model.score(histories))


@pytest.mark.parametrize("form", ["weighted", "switching", "cascade", "item_neighbours"])
def test_the_model_folder_answers_in_the_form_of_the_settings(
    trained, histories, tmp_path: Path, form: str
) -> None:
    whole = Hybrid.load(trained[0] / "models/hybrid")
    assert whole.weights.keys() == whole.candidates.keys()  # the stage fitted them
    ranked, _ = whole.recommend(histories, 10)
    whole.settings = whole.settings.model_copy(
        update={
            "form": form,
            "switching": [Switch(events=0, model="popularity"), Switch(events=1, model="content")],
            "cascade": CascadeSettings(models=["popularity", "content"]),
        }
    )
    expected, _ = whole.forms()[form].recommend(histories, 10)
    whole.save(tmp_path)
    engine = Engine.load(tmp_path, "1")
    row = int(np.argmax(histories.lengths()))
    one = histories.take(slice(row, row + 1))
    asked = History(one.items, one.times, now=int(one.now[0]))
    available = engine.available
    answer = engine.recommend([Request(asked, 10)])[0]
    assert set(answer.sources) == {"hybrid"}
    assert answer.items == [item for item in expected[row].tolist() if available[item]]
    assert answer.items != ranked[row].tolist()


def test_a_form_of_models_that_are_not_there_is_named(trained, histories) -> None:
    whole = Hybrid.load(trained[0] / "models/hybrid")
    whole.settings = whole.settings.model_copy(update={"form": "ease"})
    with pytest.raises(ValueError, match=r"rank\.form is ease.*popularity"):
        whole.recommend(histories, 5)
