"""Refresh: the newest data served as a version, guarded, and never in the way of a comparison."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from components.alerts import open_alerts, resolve_alerts
from components.data.dataset import Catalogue, Prepared, load_prepared
from components.evaluation.promotion_hold import SUSPECTS, hold_promotions, release_promotions
from components.evaluation.sanity import unusable_candidates
from components.manifest import verify_manifest
from components.recommenders.two_stage.hybrid import Hybrid
from components.registry import Registry, RegistryError, promote, rollback
from components.registry import refresh as refreshing
from components.registry.refresh import run as refresh
from components.rollout import ROLLOUT
from components.settings import Settings
from components.timeline import read_timeline
from serving.api.auth import Auth, Keys
from serving.backend import Backend
from tests.components.registry.conftest import evaluated_shop
from tests.components.registry.growth import attack, grow
from tests.components.registry.registration import change_served_model, register
from tests.encoders import write_small_encoder

Shop = tuple[Path, Settings]


@pytest.fixture(scope="module")
def served_shop(trained: Shop, tmp_path_factory: pytest.TempPathFactory) -> Shop:
    """A shop with version 1, which has a language model. Each test begins with it as champion."""
    shop = evaluated_shop(trained, tmp_path_factory.mktemp("refreshed"))
    write_small_encoder(shop[0] / "models/language/finetuned")
    register(shop)
    return shop


def champion(root: Path) -> str:
    return json.loads((root / "var/serving/champion.json").read_text())["version"]


def with_limits(settings: Settings, **changes: object) -> Settings:
    """Return the settings with other guardrails."""
    limits = settings.register_.guardrails.model_copy(update=changes)
    register_ = settings.register_.model_copy(update={"guardrails": limits})
    return settings.model_copy(update={"register_": register_})


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
    registry = Registry(settings, root)
    promote(registry, "1")
    backend = Backend(settings, root, Auth(Keys(), b"secret").impression_id)
    try:
        backend.load()
        item = grow(root, "a kite of paper")
        report = refresh(settings, root)
        assert (report["source"], report["new_items"]) == ("1", 1)
        assert json.loads((root / "reports/refresh.json").read_text()) == report
        version = report["version"]
        assert version == champion(root) != "1"
        pointer = json.loads((root / "var/serving/champion.json").read_text())
        assert pointer["lineage"] == "1"  # by which the endpoint starts no canary for it
        backend.models.refresh()  # as a running endpoint does each second
        assert backend.models.current().version == version
    finally:
        backend.close()

    prepared = load_prepared(root / "data/prepared")
    folder = root / "var/serving/models" / version
    old, new = Hybrid.load(folder.with_name("1")), Hybrid.load(folder)
    assert lists_with(new, prepared, item) > 20
    row = np.flatnonzero(new.catalogue.ids == item)
    table = pd.concat([old.catalogue.table, new.catalogue.table.iloc[row]], ignore_index=True)
    vectors = np.vstack([old.catalogue.vectors, new.catalogue.vectors[row]])
    assert lists_with(old.extended(Catalogue(table, vectors)), prepared, item) < 5

    assert verify_manifest(folder) == {}
    assert new.trained_until == prepared.interactions.times.max()
    assert new.ranker.booster.model_to_string() == old.ranker.booster.model_to_string()
    assert np.linalg.norm(new.catalogue.vectors[row]) == pytest.approx(1, abs=1e-5)
    for name in ("metrics.json", "encoder/model.safetensors"):
        assert (folder / name).read_bytes() == (folder.with_name("1") / name).read_bytes()
    card = (folder / "model_card.md").read_text()
    assert "Version 1, refreshed with the newest data" in card
    assert "those of version 1, from its own evaluation" in card
    assert "NDCG@10" in card
    assert report["until"] in card
    listed = {one.version: one for one in registry.versions()}
    assert listed[version].refreshed_from == "1"
    assert listed[version].ndcg == listed["1"].ndcg
    assert listed["1"].aliases == ("previous",)
    mlflow.pyfunc.load_model("models:/bowerbird@champion")  # logged as any other
    profiles = pq.read_table(root / f"var/serving/profiles/{version}.parquet")
    assert len(profiles) == len(prepared.interactions)
    tables = [*folder.rglob("*.parquet"), *(root / "var/mlflow").rglob("*.parquet")]
    assert [file for file in tables if "user_id" in pq.read_schema(file).names] == []

    again = refresh(settings, root)
    assert (again["version"], champion(root)) == (None, version)
    assert "these data already" in again["reason"]
    assert rollback(registry) == champion(root) == "1"


@pytest.mark.slow
def test_old_refreshed_versions_go_and_the_evaluated_one_is_compared(served_shop: Shop) -> None:
    root, settings = served_shop
    registry = Registry(settings, root)
    promote(registry, "1")
    made = []
    for _ in range(3):
        grow(root, "a kite of paper")
        made.append(refresh(settings, root)["version"])
        assert registry.evaluated(made[-1]) == "1"
        assert registry.alias("previous") == "1"
    kept = [made[2], made[1], "1"]
    assert [one.version for one in registry.versions()] == kept
    shown = json.loads((root / "var/serving/versions.json").read_text())
    assert [one["refreshed_from"] for one in shown] == ["1", "1", None]
    folders = root / "var/serving/models", root / "var/serving/judged"
    left = [{path.name for path in folder.glob("[0-9]*")} for folder in folders]
    assert left == [set(kept), {"1"}]
    assert len(list((root / "var/mlflow/artifacts").rglob("MLmodel"))) == 3

    again = register(served_shop)  # a training that changed nothing
    assert (again["version"], again["comparison"], champion(root)) == ("1", None, made[2])
    # Another one is compared with version 1's evaluated model, which is the same model.
    change_served_model(root)
    found = register(served_shop)
    assert (found["version"], found["alias"]) == (champion(root), "champion")
    assert found["comparison"]["difference"] == 0
    assert registry.alias("previous") == made[2]
    assert registry.alias("baseline") == "1"
    assert [one.version for one in registry.versions()] == [found["version"], made[2], "1"]
    assert rollback(registry) == champion(root) == made[2]


def test_a_refresh_that_must_not_be_served_leaves_the_champion(
    served_shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, settings = served_shop
    registry = Registry(settings, root)
    promote(registry, "1")
    grow(root, "a kite of paper")
    strict = with_limits(settings, refresh_change=0.0)
    with pytest.raises(ValueError, match=r"register\.guardrails\.refresh_change requires at most"):
        refresh(strict, root)
    (alert,) = open_alerts(root)
    assert (alert.kind, alert.subject) == ("refresh", "champion")
    assert "version 1 stays: list_change" in alert.reason
    (refused,) = (one for one in read_timeline(root) if one.kind == "refusal")
    assert refused.evidence["guardrails"]
    report = json.loads((root / "reports/refresh.json").read_text())
    names = {one["name"] for one in report["guardrails"]}
    assert names == {"coverage", "short_lists", "list_change"}
    assert (report["version"], champion(root)) == (None, "1")

    def killed(*arguments: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(refreshing, "promote_refreshed", killed)
        with pytest.raises(KeyboardInterrupt):
            refresh(settings, root)
    left = registry.versions()[0].version
    assert (champion(root), registry.alias("champion")) == ("1", "1")
    assert verify_manifest(root / "var/serving/models/1") == {}
    version = refresh(settings, root)["version"]
    assert version == champion(root)
    assert left not in [one.version for one in registry.versions()]
    assert open_alerts(root) == ()
    published = read_timeline(root)[-2]
    assert (published.kind, published.evidence["version"]) == ("refresh", version)

    file = root / "data/prepared/interactions.parquet"
    frame = pd.read_parquet(file)
    frame[frame["timestamp"] < frame["timestamp"].quantile(0.8)].to_parquet(file)
    with pytest.raises(ValueError, match=r"is a file of ingest missing\?"):
        refresh(settings, root)
    frame.drop(index=frame.index[0]).to_parquet(file)

    def promoted_during_the_comparison(*arguments: object) -> object:
        promote(registry, "1")
        return compare_lists(*arguments)

    compare_lists = refreshing.compare_lists
    monkeypatch.setattr(refreshing, "compare_lists", promoted_during_the_comparison)
    report = refresh(settings, root)
    assert report["version"] is None
    assert "version 1 became the champion" in report["reason"]
    assert champion(root) == "1"


def test_a_failure_after_the_promotion_is_no_refusal(served_shop: Shop) -> None:
    root, settings = served_shop
    promote(Registry(settings, root), "1")
    grow(root, "a boat of paper")
    (root / ROLLOUT).write_text("{")  # which versions are served is not known: nothing is removed
    with pytest.raises(RegistryError, match=r"rollout\.json is damaged"):
        refresh(settings, root)
    (root / ROLLOUT).unlink()
    report = json.loads((root / "reports/refresh.json").read_text())
    assert report["version"] == champion(root) != "1"
    (alert,) = open_alerts(root)
    assert f"version {champion(root)}, refreshed until" in alert.reason
    assert "is the champion, but then: " in alert.reason
    resolve_alerts(root, "refresh", "test", "test")


def test_while_promotions_are_held_nothing_is_published(served_shop: Shop) -> None:
    root, settings = served_shop
    before = champion(root)
    grow(root, "a kite of paper")
    hold_promotions(root, "signs of an attack on 85123A by 3 profiles", ("85123A",))
    report = refresh(settings, root)
    release_promotions(root)
    assert (report["version"], champion(root)) == (None, before)
    assert "signs of an attack on 85123A" in report["reason"]


@pytest.mark.slow
def test_a_refresh_that_new_profiles_lift_a_product_in_is_held(
    served_shop: Shop, tmp_path: Path
) -> None:
    root, settings = served_shop
    promote(Registry(settings, root), "1")
    shutil.copytree(root / "data/prepared", tmp_path / "clean")
    item, product = rare_item(root)
    profiles = attack(root, 15, item, "false")

    report = refresh(settings, root)
    assert (report["version"], champion(root)) == (None, "1")
    assert product in report["reason"]
    (found,) = report["exposure"]
    assert (found["item_id"], found["profiles"]) == (product, 15)
    assert found["after"] > 2 * found["before"] + 0.01
    (alert,) = open_alerts(root)
    assert (alert.kind, alert.subject) == ("attack", product)
    assert "15 new profiles have it" in alert.reason
    kinds = [one.kind for one in read_timeline(root)[-3:]]
    assert kinds == ["promotions-held", "alert-opened", "refusal"]
    suspects = pd.read_parquet(root / SUSPECTS)
    assert set(suspects["user_id"]) == set(profiles)
    evidence = json.dumps([one.evidence for one in read_timeline(root)])
    assert profiles[0] not in evidence + json.dumps(report)
    assert "promotions are held since" in refresh(settings, root)["reason"]  # not tried again

    # The operator accepts the product: a campaign. It is published, and stays accepted.
    release_promotions(root)
    assert open_alerts(root) == ()
    campaign = refresh(with_limits(settings, exposure_accepted=[product]), root)["version"]
    assert campaign == champion(root) != "1"

    # The next refresh is compared with version 1, so that small gains of a refresh each add up.
    grow(root, "a kite of paper")
    report = refresh(settings, root)
    release_promotions(root)
    assert (report["source"], report["version"], champion(root)) == (campaign, None, campaign)
    assert [one["item_id"] for one in report["exposure"]] == [product]

    shutil.rmtree(root / "data/prepared")
    shutil.copytree(tmp_path / "clean", root / "data/prepared")
    grow(root, "a kite of paper")
    assert refresh(settings, root)["version"] == champion(root) != campaign


def rare_item(root: Path) -> tuple[int, str]:
    """Return the code and the id of a product with eight purchases."""
    prepared = load_prepared(root / "data/prepared")
    sold = np.bincount(prepared.interactions.items, minlength=len(prepared.catalogue))
    item = int(np.flatnonzero(sold == 8)[0])
    return item, str(prepared.catalogue.ids[item])


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


def test_without_a_champion_or_a_language_model_it_says_what_to_do(
    tmp_path: Path, settings: Settings
) -> None:
    with pytest.raises(RegistryError, match="bowerbird run"):
        refresh(settings, tmp_path)
    shutil.rmtree(tmp_path / "var")
    encoder = refreshing._Encoder(settings, tmp_path, "7")
    with pytest.raises(ValueError, match=r"version 7 has no language model .* 2 new products"):
        encoder(["a kite", "a lamp"])
