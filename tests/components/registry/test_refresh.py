"""Refresh: the newest data served as a version, guarded, and never in the way of a comparison."""

from __future__ import annotations

import json
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from components.alerts import ALERTS, read_alerts
from components.data.dataset import Catalogue, Prepared, load_prepared
from components.evaluation.sanity import unusable_candidates
from components.manifest import verify_manifest, write_manifest
from components.recommenders.two_stage.hybrid import Hybrid
from components.registry import Registry, promote, rollback
from components.registry import refresh as refreshing
from components.registry.refresh import run as refresh
from components.settings import Settings
from serving.api.auth import Auth, Keys
from serving.backend import Backend
from tests.components.registry.growth import grow
from tests.components.registry.registration import change_served_model, register
from tests.encoders import write_small_encoder

Shop = tuple[Path, Settings]


@pytest.fixture
def served_shop(shop: Shop) -> Shop:
    """A shop whose version 1 is served, with a language model."""
    write_small_encoder(shop[0] / "models/language/finetuned")
    register(shop)
    return shop


def champion(root: Path) -> str:
    return json.loads((root / "var/serving/champion.json").read_text())["version"]


def lists_with(model: Hybrid, prepared: Prepared, item_id: str) -> int:
    """Return how many of 200 users' lists have the product."""
    x = prepared.interactions
    to_theirs = pd.Index(model.catalogue.ids).get_indexer(prepared.catalogue.ids)
    histories = x.histories(np.flatnonzero(np.diff(x.offsets) > 0)[:200], prepared.end)
    known = to_theirs[histories.items] >= 0
    ids, _ = model.recommend(histories.where(known, to_theirs[histories.items]), 10)
    return int((model.catalogue.ids[ids] == item_id).any(axis=1).sum())


def test_a_product_of_yesterday_is_recommended_after_the_refresh_and_not_before(
    served_shop: Shop,
) -> None:
    root, settings = served_shop
    backend = Backend(settings, root, Auth(Keys(), b"secret").impression_id)
    try:
        backend.load()
        grow(root, "00001", "a kite of paper")
        report = refresh(settings, root)
        assert (report["version"], report["source"], report["new_items"]) == ("2", "1", 1)
        assert json.loads((root / "reports/refresh.json").read_text())["version"] == "2"
        assert champion(root) == "2"
        backend.models.refresh()  # as a running endpoint does each second
        assert backend.models.current().version == "2"
    finally:
        backend.close()

    prepared = load_prepared(root / "data/prepared")
    old, new = (Hybrid.load(root / "var/serving/models" / version) for version in "12")
    assert lists_with(new, prepared, "00001") > 20
    table = prepared.catalogue.table
    with_it = pd.concat([old.catalogue.table, table.iloc[[0]]], ignore_index=True)
    vectors = np.vstack([old.catalogue.vectors, new.catalogue.vectors[0]])
    assert lists_with(old.extended(Catalogue(with_it, vectors)), prepared, "00001") < 5

    folder = root / "var/serving/models/2"
    assert verify_manifest(folder) == {}
    assert new.trained_until == prepared.interactions.times.max()
    assert new.ranker.booster.model_to_string() == old.ranker.booster.model_to_string()
    assert np.linalg.norm(new.catalogue.vectors[0]) == pytest.approx(1, abs=1e-5)
    assert (folder / "metrics.json").read_bytes() == (
        root / "var/serving/models/1/metrics.json"
    ).read_bytes()
    card = (folder / "model_card.md").read_text()
    assert "Version 1, refreshed with the newest data" in card
    assert "those of version 1, from its own evaluation" in card
    assert "NDCG@10" in card
    assert str(report["until"]) in card
    registry = Registry(settings, root)
    listed = {one.version: one for one in registry.versions()}
    assert listed["2"].refreshed_from == "1"
    assert listed["2"].ndcg == listed["1"].ndcg
    assert listed["1"].aliases == ("previous",)
    mlflow.pyfunc.load_model("models:/bowerbird@champion")  # logged as any other
    profiles = pq.read_table(root / "var/serving/profiles/2.parquet")
    assert len(profiles) == len(prepared.interactions)
    tables = [*folder.rglob("*.parquet"), *(root / "var/mlflow").rglob("*.parquet")]
    assert [file for file in tables if "user_id" in pq.read_schema(file).names] == []

    again = refresh(settings, root)
    assert (again["version"], champion(root)) == (None, "2")
    assert "these data already" in again["reason"]
    assert rollback(registry) == champion(root) == "1"


def test_old_refreshed_versions_go_and_the_evaluated_one_stays(served_shop: Shop) -> None:
    root, settings = served_shop
    registry = Registry(settings, root)
    for day, version in enumerate(("2", "3", "4"), 1):
        grow(root, f"0000{9 - day}", "a kite of paper")
        assert refresh(settings, root)["version"] == version
        assert registry.evaluated(version) == "1"
        assert registry.alias("previous") == "1"
    assert [one.version for one in registry.versions()] == ["4", "3", "1"]
    shown = json.loads((root / "var/serving/versions.json").read_text())
    assert [one["refreshed_from"] for one in shown] == ["1", "1", None]
    for place in ("models", "judged"):
        left = {path.name for path in (root / "var/serving" / place).glob("[0-9]*")}
        assert left == ({"4", "3", "1"} if place == "models" else {"1"})
    artifacts = list((root / "var/mlflow/artifacts").rglob("MLmodel"))
    assert len(artifacts) == 3

    again = register(served_shop)  # a training that changed nothing
    assert (again["version"], again["comparison"], champion(root)) == ("1", None, "4")
    # Another one is compared with version 1's evaluated model, which is the same model.
    change_served_model(root)
    found = register(served_shop)
    assert (found["version"], found["alias"]) == ("5", "champion")
    assert found["comparison"]["difference"] == 0
    assert registry.alias("previous") == "4"
    assert registry.alias("baseline") == "1"
    assert [one.version for one in registry.versions()] == ["5", "4", "1"]
    assert rollback(registry) == champion(root) == "4"


def test_a_refresh_that_is_not_good_for_serving_leaves_the_champion(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, settings = shop
    with pytest.raises(ValueError, match="bowerbird run"):
        refresh(settings, root)
    register(shop)
    registry = Registry(settings, root)
    grow(root, "00001", "a kite of paper")
    with pytest.raises(ValueError, match=r"no language model.*1 new product"):
        refresh(settings, root)
    version = registry.folders.served("1")
    write_small_encoder(version / "encoder")
    write_manifest(version)

    limits = settings.register_.guardrails.model_copy(update={"refresh_change": 0.0})
    register_ = settings.register_.model_copy(update={"guardrails": limits})
    strict = settings.model_copy(update={"register_": register_})
    with pytest.raises(ValueError, match=r"register\.guardrails\.refresh_change requires at most"):
        refresh(strict, root)
    alert = read_alerts(root / ALERTS)[-1]
    assert alert["kind"] == "refresh"
    assert "version 1 stays: list_change" in alert["reasons"][0]
    report = json.loads((root / "reports/refresh.json").read_text())
    names = {one["name"] for one in report["guardrails"]}
    assert names == {"coverage", "short_lists", "list_change"}
    assert (report["version"], champion(root)) == (None, "1")

    def killed(*arguments: object) -> None:
        raise KeyboardInterrupt

    for step in ("put_in_place", "promote_refreshed"):
        with monkeypatch.context() as patched:
            patched.setattr(refreshing, step, killed)
            with pytest.raises(KeyboardInterrupt):
                refresh(settings, root)
        assert (champion(root), registry.alias("champion")) == ("1", "1")
        assert verify_manifest(version) == {}

    assert refresh(settings, root)["version"] == "4"  # 2 and 3 were left over by the killed ones
    assert champion(root) == "4"
    assert [one.version for one in registry.versions()] == ["4", "1"]

    file = root / "data/prepared/interactions.parquet"
    frame = pd.read_parquet(file)
    frame[frame["timestamp"] < frame["timestamp"].quantile(0.8)].to_parquet(file)
    with pytest.raises(ValueError, match=r"is a file of ingest missing\?"):
        refresh(settings, root)
    frame.iloc[:-1].to_parquet(file)

    def promoted_meanwhile(*arguments: object) -> object:
        promote(Registry(settings, root), "1")
        return compare_lists(*arguments)

    compare_lists = refreshing.compare_lists
    monkeypatch.setattr(refreshing, "compare_lists", promoted_meanwhile)
    report = refresh(settings, root)
    assert report["version"] is None
    assert "version 1 became the champion" in report["reason"]
    assert champion(root) == "1"


def test_scores_that_are_no_numbers_are_found(trained: Shop) -> None:
    """The ranker would hide them: its trees take NaN as missing."""
    root, _ = trained
    prepared = load_prepared(root / "data/prepared")
    model = Hybrid.load(root / "models/served")
    assert unusable_candidates(model, prepared, 0) == []
    broken = model.candidates["content"].vectors.copy()
    broken[3] = np.nan
    model.candidates["content"].vectors = broken
    assert unusable_candidates(model, prepared, 0) == ["content"]
