"""The policy earns more than what logged for it, corrects as in the paper, can be left out."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError

from components.data.dataset import Histories, load_prepared
from components.data.impressions import Log
from components.evaluation.simulator import Shop
from components.recommenders import train as training
from components.recommenders.base import TooLittleFeedback
from components.recommenders.exploration import EpsilonGreedy
from components.recommenders.factory import load_model
from components.recommenders.kernels.standardise import standardised
from components.recommenders.models.knn import ItemNeighbours
from components.recommenders.models.off_policy.model import Policy
from components.recommenders.models.off_policy.trainer import explored
from components.recommenders.train import load_candidates
from components.settings import Neighbours, Settings
from components.settings import Policy as PolicySettings
from serving.events.export import export_events, export_impressions
from serving.events.store import EventStore

USERS = np.arange(300)
LOGGING = EpsilonGreedy(0.3)


@pytest.fixture(scope="module")
def shop() -> Shop:
    return Shop.make(len(USERS), 40, seed=5)


@pytest.fixture(scope="module")
def base(shop: Shop) -> ItemNeighbours:
    return ItemNeighbours(Neighbours(weighting="cosine")).fit(shop.past, shop.catalogue)


@pytest.fixture(scope="module")
def log(shop: Shop, base: ItemNeighbours) -> Log:
    random = np.random.default_rng(6)
    users = random.integers(0, len(USERS), 12_000)
    scores = standardised(base.score(shop.histories(USERS)))
    return shop.serve(users, scores[users], LOGGING, random)


def fit(shop: Shop, base: ItemNeighbours, log: Log, **changes: object) -> Policy:
    settings = PolicySettings(base="item_neighbours", k=5, epochs=6).model_copy(update=changes)
    model = Policy(settings, seed=1)
    model.start_from(base, log)
    return model.fit(shop.past, shop.catalogue)


def worth(shop: Shop, scores: np.ndarray, explorer: EpsilonGreedy = EpsilonGreedy(0.0)) -> float:
    return shop.value(USERS, scores, explorer, np.random.default_rng(0), repeats=20)


@pytest.fixture(scope="module")
def fitted(shop: Shop, base: ItemNeighbours, log: Log) -> dict[str, Policy]:
    kinds = ("top_k", "off_policy", "none")
    return {kind: fit(shop, base, log, correction=kind) for kind in kinds}


def test_it_earns_more_than_the_logging_policy_and_than_uncorrected_training(
    shop: Shop, base: ItemNeighbours, fitted: dict[str, Policy]
) -> None:
    histories = shop.histories(USERS)
    earned = {kind: worth(shop, model.score(histories)) for kind, model in fitted.items()}
    start = base.score(histories)
    assert earned["top_k"] > 1.25 * worth(shop, start, LOGGING)
    assert earned["top_k"] > 1.1 * worth(shop, start)  # more than the same list unexplored, too
    assert earned["top_k"] > 1.04 * earned["none"]
    assert earned["top_k"] > earned["off_policy"] > earned["none"]


def test_without_propensities_it_estimates_them(shop: Shop, base: ItemNeighbours, log: Log) -> None:
    blind = Log(log.histories, log.ids, np.full(log.ids.shape, np.nan), log.rewards)
    assert explored(log)
    assert not explored(blind)
    assert not explored(Log(log.histories, log.ids, np.ones(log.ids.shape), log.rewards))
    model = fit(shop, base, blind)
    histories = shop.histories(USERS)
    assert worth(shop, model.score(histories)) > 1.05 * worth(shop, base.score(histories))


def test_before_it_has_learned_it_is_its_base(shop: Shop, base: ItemNeighbours, log: Log) -> None:
    model = fit(shop, base, log, epochs=1, learning_rate=1e-9)
    histories = shop.histories(USERS)
    found, expected = (one.recommend(histories, 5)[0] for one in (model, base))
    assert (found == expected).mean() > 0.99


def test_a_saved_policy_has_the_same_scores_with_its_base(
    shop: Shop, fitted: dict[str, Policy], tmp_path: Path
) -> None:
    fitted["top_k"].save(tmp_path)
    histories = shop.histories(USERS[:20])
    loaded = load_model(tmp_path)
    assert np.array_equal(loaded.score(histories), fitted["top_k"].score(histories))
    newcomers = Histories.from_lists([[], [3]])
    assert np.isfinite(loaded.score(newcomers)).all()


class Never(ItemNeighbours):
    """Forbids one item, as rules do."""

    def score(self, histories: Histories) -> np.ndarray:
        scores = super().score(histories)
        scores[:, 3] = -np.inf
        return scores


def test_what_its_base_forbids_stays_forbidden(shop: Shop, log: Log) -> None:
    base = Never(Neighbours(weighting="cosine")).fit(shop.past, shop.catalogue)
    assert (log.ids == 3).any()
    for behaviour in ("logged", "estimated"):
        model = fit(shop, base, log.pick(np.arange(2000)), behaviour=behaviour, epochs=1)
        scores = model.score(shop.histories(USERS))
        assert np.isneginf(scores[:, 3]).all()
        assert np.isfinite(np.delete(scores, 3, axis=1)).all()


def test_a_log_that_teaches_nothing_is_refused(shop: Shop, base: ItemNeighbours, log: Log) -> None:
    with pytest.raises(TooLittleFeedback, match="export-feedback"):
        fit(shop, base, log.pick(np.arange(10)))
    with pytest.raises(TooLittleFeedback, match="impression_id"):
        fit(shop, base, replace(log, rewards=np.zeros(log.ids.shape)))
    with pytest.raises(TooLittleFeedback, match="no log"):
        Policy(PolicySettings()).fit(shop.past, shop.catalogue)


def test_it_stands_in_the_list_of_models_that_are_fitted_after_their_base(
    settings: Settings,
) -> None:
    wrong = settings.train.model_dump() | {"candidates": ["policy", "cease"]}
    with pytest.raises(ValidationError, match="policy starts from cease: name it in fine_tuned"):
        type(settings.train).model_validate(wrong)


def test_the_stage_leaves_it_out_until_lists_were_served(
    trained: tuple[Path, Settings], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, settings = trained
    for name in ("data/prepared", "models/vectors"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).symlink_to(source / name)
    policy = PolicySettings(base="popularity", min_impressions=200, epochs=30)
    train = settings.train.model_copy(
        update={"candidates": ["popularity"], "fine_tuned": ["policy"], "policy": policy}
    )
    settings = settings.model_copy(update={"train": train})
    training.run(settings, tmp_path)
    assert "0 served lists are logged, at least 200" in capsys.readouterr().out
    names = train.names
    assert list(load_candidates(tmp_path / "models/candidates/test", names)) == ["popularity"]

    # Lists are served and clicked through the shop's own store; everybody clicks one product.
    prepared = load_prepared(tmp_path / "data/prepared")
    store = EventStore(f"sqlite:///{tmp_path}/events.db")
    shop_ids = prepared.catalogue.ids
    star, others = shop_ids[7], shop_ids[20:50]
    events = []
    for number in range(300):
        moment = (prepared.validation_start - 86_400 + number) * 1_000_000
        user = str(prepared.users["user_id"].iloc[number % 100])
        common = {"user_id": user, "session_id": None, "timestamp": moment}
        shown = [others[number % 30], star, others[(number + 1) % 30]]
        store.log_impression(
            {
                "impression_id": f"imp{number}",
                "item_ids": json.dumps(shown),
                "scores": "[3.0, 2.0, 1.0]",
                "propensities": "[0.2, 0.2, 0.2]",
                "model_version": "1",
                "source": "hybrid",
                **common,
            }
        )
        click = {"event_id": f"e{number}", "item_id": star, "event": "click"}
        click["authentication"] = "shop"
        events.append({**click, "impression_id": f"imp{number}", **common})
    store.submit(events).result(10)
    export_impressions(store.database, tmp_path / "data/impressions")
    (exported,) = export_events(store.database, tmp_path / "feedback")
    store.close()
    (tmp_path / "data/valid").mkdir()
    shutil.copy(exported, tmp_path / "data/valid/interactions.parquet")
    training.run(settings, tmp_path)
    found = load_candidates(tmp_path / "models/candidates/validation", names)
    assert list(found) == names
    histories = prepared.interactions.histories(np.arange(50), prepared.validation_start)
    star_code = pd.Index(shop_ids).get_loc(star)
    places = [
        (-found[name].score(histories)).argsort(axis=1).argsort(axis=1)[:, star_code].mean()
        for name in names
    ]
    assert places[1] < places[0], places
