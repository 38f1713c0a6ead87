"""Promotion: first champion, compared challengers, rollback, and nothing twice."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from components.data.dataset import load_prepared
from components.data.item_table import read_item_table, write_item_table
from components.evaluation.compare import SeenEvents, compare
from components.evaluation.promotion_hold import hold_promotions, release_promotions
from components.manifest import write_manifest
from components.recommenders.two_stage.hybrid import Hybrid
from components.registry import Registry, RegistryError, promote, rollback
from components.registry.versions import REFRESHED_FROM
from components.rollout import (
    ENDED,
    ROLLED_BACK,
    ROLLOUT,
    Release,
    Rollout,
    following,
    read_rollout,
    write_rollout,
)
from components.settings import Settings
from flows.training import describe
from tests.components.registry.registration import change_served_model, register, spoil


def test_first_champion_then_a_worse_challenger_that_is_not_promoted(shop) -> None:
    root, settings = shop
    first = register(shop)
    assert (first["version"], first["alias"], first["comparison"]) == ("1", "champion", None)
    folder = root / "var/serving/models/1"
    assert "NDCG@10" in (folder / "model_card.md").read_text()
    assert (folder / "params.yaml").exists()
    assert not list(folder.rglob("*.pkl"))

    again = register(shop)
    assert again == first
    assert len(Registry(settings, root).versions()) == 1

    spoil(root)
    second = register(shop)
    assert (second["version"], second["alias"]) == ("2", "challenger")
    assert second["comparison"]["difference"] < 0
    assert not second["comparison"]["better"]
    reason = second["comparison"]["reason"]
    assert reason.startswith("not promoted: the interval")
    found = Registry(settings, root).client.get_model_version("bowerbird", "2")
    assert found.tags["against_1.reason"] == reason
    assert reason in found.description
    pointer = json.loads((root / "var/serving/champion.json").read_text())
    assert pointer["version"] == "1"


def test_a_better_challenger_is_promoted_and_can_be_rolled_back(shop) -> None:
    root, settings = shop
    shutil.copytree(root / "models", root / "good")
    spoil(root)
    register(shop)
    shutil.rmtree(root / "models")
    (root / "good").rename(root / "models")
    second = register(shop)
    assert (second["version"], second["alias"]) == ("2", "champion")
    assert second["comparison"]["low"] > 0
    registry = Registry(settings, root)
    assert registry.alias("previous") == "1"
    assert rollback(registry) == "1"
    assert json.loads((root / "var/serving/champion.json").read_text())["version"] == "1"
    assert rollback(registry) == "2"
    shutil.rmtree(registry.folders.served("1"))  # MLflow still has it
    promote(registry, "1")
    assert (registry.folders.served("1") / "model.json").exists()
    with pytest.raises(RegistryError, match="there are: 2, 1"):
        promote(registry, "7")


@pytest.mark.slow
def test_no_version_is_promoted_while_promotions_are_held(shop) -> None:
    root, settings = shop
    hold_promotions(root, "signs of an attack on P1 by 9 profiles", ("P1",))
    assert register(shop)["alias"] == "champion"  # there is none that it could replace
    change_served_model(root)
    second = register(shop)
    assert (second["version"], second["alias"]) == ("2", "challenger")
    reason = second["comparison"]["reason"]
    assert reason.startswith("not promoted: promotions are held since")
    assert "attack on P1" in reason
    assert "without the hold: promoted" in reason
    release_promotions(root)
    promote(Registry(settings, root), "2")
    assert json.loads((root / "var/serving/champion.json").read_text())["version"] == "2"


def test_what_is_served_knows_all_data_and_what_is_judged_does_not(shop) -> None:
    root, settings = shop
    register(shop)
    prepared = load_prepared(root / "data/prepared")
    served, judged = (root / "var/serving" / place / "1" for place in ("models", "judged"))
    assert Hybrid.load(served).trained_until == prepared.interactions.times.max()
    assert Hybrid.load(judged).trained_until < prepared.test_start
    assert (served / "ranker.txt").read_bytes() == (judged / "ranker.txt").read_bytes()
    assert not (judged / "profiles.parquet").exists()
    card = (served / "model_card.md").read_text()
    assert "served model" in card
    assert "evaluated model" in card

    with pytest.raises(SeenEvents, match=r"preprocess\.test_days"):
        compare(served, judged, prepared, settings)


@pytest.mark.slow
def test_versions_are_compared_by_their_evaluated_models(shop) -> None:
    """A served model has seen the test window: it would beat any honest challenger."""
    root, _ = shop
    register(shop)
    shutil.rmtree(root / "var/serving/judged/1")  # MLflow still has it
    change_served_model(root)  # another version with the same evaluated model
    second = register(shop)
    assert second["version"] == "2"
    assert second["comparison"]["difference"] == 0
    assert (root / "var/serving/judged/1/model.json").exists()
    change_served_model(root)
    lengthen_test_window(root)
    third = register(shop)
    assert (third["version"], third["alias"], third["comparison"]) == ("3", "challenger", None)
    assert "was fitted on events" in third["not_compared"]
    assert "preprocess.test_days" in describe(third)


@pytest.mark.slow
def test_the_baseline_stays_while_nothing_better_was_promoted(shop) -> None:
    """Versions as good as the champion are promoted, and compared with the first one too."""
    root, settings = shop
    register(shop)
    registry = Registry(settings, root)
    assert registry.alias("baseline") is None
    for version in ("2", "3"):
        change_served_model(root)
        found = register(shop)
        assert (found["version"], found["alias"]) == (version, "champion")
        assert registry.alias("baseline") == "1"
        against = found["comparison"]["baseline"]
        assert (against is None) == (version == "2")
    assert against["difference"] == 0
    assert against["other"] == found["comparison"]["champion"]
    assert (root / "var/serving/judged/1/model.json").exists()  # for the next comparison
    assert "Against the baseline, NDCG@10" in describe(found)
    shown = json.loads((root / "var/serving/versions.json").read_text())
    assert [one["aliases"] for one in shown] == [["champion"], ["previous"], ["baseline"]]

    assert rollback(registry) == "2"
    assert registry.alias("baseline") == "1"
    promote(registry, "1")  # the baseline is the champion
    assert registry.alias("baseline") is None


@pytest.mark.slow
def test_a_version_promoted_by_hand_or_for_its_gain_is_the_new_baseline(shop) -> None:
    root, settings = shop
    shutil.copytree(root / "models", root / "good")
    spoil(root)
    register(shop)
    change_served_model(root)
    register(shop)
    registry = Registry(settings, root)
    assert (registry.alias("champion"), registry.alias("baseline")) == ("2", "1")
    shutil.rmtree(root / "models")
    (root / "good").rename(root / "models")
    third = register(shop)
    assert third["alias"] == "champion"
    assert third["comparison"]["baseline"]["low"] > 0
    assert registry.alias("baseline") is None

    change_served_model(root)
    assert register(shop)["alias"] == "champion"
    assert registry.alias("baseline") == "3"
    promote(registry, "1")
    assert registry.alias("baseline") is None
    spoil(root)  # as good as version 1, which was chosen by hand
    fifth = register(shop)
    assert (fifth["alias"], fifth["comparison"]["baseline"]) == ("champion", None)


@pytest.mark.slow
def test_every_figure_of_a_comparison_is_kept(shop) -> None:
    root, settings = shop
    register(shop)
    spoil(root)
    second = register(shop)
    found = second["comparison"]
    names = {"coverage", "new_products", "short_lists", "list_change"}
    assert names | {"latency_growth_ms", "latency_ms", "size_mb"} == found["guardrails"].keys()
    version = Registry(settings, root).client.get_model_version("bowerbird", "2")
    assert json.loads(version.tags["against_1.guardrails"]) == found["guardrails"]
    assert version.tags["against_1.rule"] == "non_inferior"
    assert float(version.tags["against_1.bound"]) == found["bound"] < found["required"] < 0
    for text in (version.description, describe(second)):
        for name, one in found["guardrails"].items():
            assert f"| {name} | {one['champion']:.3f} | {one['challenger']:.3f} |" in text


def lengthen_test_window(root: Path) -> None:
    """Let the test window begin before the newest event of the evaluated models."""
    file = root / "data/prepared/split.json"
    times = json.loads(file.read_text())
    file.write_text(json.dumps({**times, "test_start": times["test_start"] - 7 * 86_400}))


def three_versions(shop: tuple[Path, Settings]) -> Registry:
    """Register three versions: 3 is the champion, 2 the one before."""
    root, settings = shop
    register(shop)
    for _ in range(2):
        change_served_model(root)
        register(shop)
    registry = Registry(settings, root)
    promote(registry, "2")
    promote(registry, "3")
    return registry


@pytest.mark.slow
def test_a_rollback_killed_anywhere_ends_on_the_earlier_champion_or_says_what_to_do(shop) -> None:
    root, settings = shop
    registry = three_versions(shop)

    def pointed() -> str:
        return json.loads((root / "var/serving/champion.json").read_text())["version"]

    def set_alias(alias: str, version: str) -> None:
        registry.client.set_registered_model_alias(registry.name, alias, version)

    # Killed after both aliases were moved and before serving was told.
    set_alias("previous", "3")
    set_alias("champion", "2")
    assert pointed() == "3"
    assert rollback(Registry(settings, root)) == "2"
    assert pointed() == "2"
    # Killed between the two aliases: who was champion before is lost.
    set_alias("previous", "2")
    with pytest.raises(RegistryError, match="bowerbird promote VERSION"):
        rollback(registry)
    promote(registry, "1")
    assert (pointed(), registry.alias("previous")) == ("1", "2")


@pytest.mark.slow
def test_without_a_version_there_is_nothing_to_roll_back(tmp_path: Path, settings) -> None:
    registry = Registry(settings, tmp_path)
    assert registry.versions() == []
    with pytest.raises(RegistryError, match="no previous champion"):
        rollback(registry)
    with pytest.raises(RegistryError, match="make run"):
        promote(registry, "1")


def test_models_of_other_vocabularies_can_be_compared(shop) -> None:
    """The champion does not know an item: it is neither credited for it nor confused by it."""
    root, settings = shop
    folder = root / "models/hybrid"
    prepared = load_prepared(root / "data/prepared", root / "models/vectors")
    same = compare(folder, folder, prepared, settings)
    assert same.difference == 0
    assert same.users > 20
    other = root / "models/other"
    shutil.copytree(folder, other)
    table = read_item_table(other)
    table["item_id"] = [f"unknown {code}" for code in range(len(table))]
    write_item_table(table, other)
    write_manifest(other)
    stranger = compare(other, folder, prepared, settings)
    assert stranger.champion == 0
    assert stranger.better


def released(version: str) -> Release:
    return Release(version, f"var/serving/models/{version}", version)


@pytest.mark.slow
@pytest.mark.parametrize("in_canary", [True, False])
def test_a_rollback_brings_the_baseline_back(shop, in_canary: bool) -> None:
    """Without it, small losses of many promotions would add up unseen."""
    registry = three_versions(shop)
    promote(registry, "2")
    registry.set_alias("baseline", "1")
    promote(registry, "3")
    assert registry.alias("baseline") is None
    if in_canary:
        write_rollout(registry.root, following(Rollout(released("2")), released("3"), 5.0))
    assert rollback(registry) == "2"
    assert registry.alias("baseline") == "1"


@pytest.mark.slow
def test_a_champion_in_its_canary_goes_back_to_the_version_that_serves_all(shop) -> None:
    registry = three_versions(shop)
    root = registry.root
    canary = following(Rollout(released("1")), released("3"), 5.0)
    for rolled_back in (False, True):
        rollout = canary
        if rolled_back:
            done = canary.decided(ROLLED_BACK, "it hurts", 9.0)
            rollout = replace(done, canary=None, rejected=released("3"))
        promote(registry, "3")
        write_rollout(root, rollout)
        assert rollback(registry, of="2") == "3"  # another version was promoted since
        assert registry.alias("champion") == "3"
        assert rollback(registry, of="3") == "1"  # not to 2, which was the champion before
        assert (registry.alias("champion"), registry.alias("previous")) == ("1", None)
        assert json.loads((root / "var/serving/champion.json").read_text())["version"] == "1"
        tags = registry.client.get_model_version("bowerbird", "3").tags
        assert tags["rolled_back"] == ("it hurts" if rolled_back else "by the operator")
    with pytest.raises(RegistryError, match="no previous champion"):
        rollback(registry)


@pytest.mark.slow
def test_a_canary_that_was_just_refreshed_is_rolled_back_with_its_lineage(shop) -> None:
    registry = three_versions(shop)
    write_rollout(registry.root, following(Rollout(released("1")), released("2"), 5.0))
    registry.client.set_model_version_tag(registry.name, "3", REFRESHED_FROM, "2")
    promote(registry, "3")  # no endpoint has followed yet
    pointer = json.loads((registry.root / "var/serving/champion.json").read_text())
    assert not pointer.pop("promotion")["for_all"]
    assert pointer == asdict(Release("3", "var/serving/models/3", "2"))
    assert rollback(registry) == "1"


@pytest.mark.slow
def test_an_operator_skips_the_canary_or_allows_another_one(shop) -> None:
    registry = three_versions(shop)
    root = registry.root
    canary = following(Rollout(released("1")), released("3"), 5.0)
    write_rollout(root, canary)
    promote(registry, "3", now=True)
    after = read_rollout(root)
    assert after is not None
    assert (after.stable, after.canary) == (released("3"), None)
    assert after.decisions[-1]["result"] == ENDED
    assert rollback(registry) == "2"  # at once, too
    after = read_rollout(root)
    assert after is not None
    assert (after.stable, after.canary) == (released("2"), None)
    write_rollout(root, Rollout(released("2"), rejected=released("3")))
    promote(registry, "3")
    after = read_rollout(root)
    assert after is not None
    assert (after.stable, after.rejected) == (released("2"), None)
    (root / ROLLOUT).write_text("{")
    with pytest.raises(RegistryError, match=r"rollout\.json is damaged"):
        promote(registry, "3", now=True)


@pytest.mark.slow
def test_the_files_of_what_is_served_stay(shop) -> None:
    registry = three_versions(shop)
    write_rollout(registry.root, following(Rollout(released("1")), released("2"), 5.0))
    registry.folders.prune(["3"])
    assert all(registry.folders.served(version).exists() for version in ("1", "2", "3"))
    write_rollout(registry.root, Rollout(released("2")))
    registry.folders.prune(["3"])
    assert [registry.folders.served(version).exists() for version in ("1", "2", "3")] == [
        *(False, True, True),
    ]
