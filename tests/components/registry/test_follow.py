"""A folder follows the champion of a registry that other machines share."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from components.registry import Registry, RegistryError, follow, promote
from components.registry.folders import is_whole
from components.registry.follow import CopyFailed, Follower
from components.rollout import (
    TAKEN_OVER,
    Promotion,
    Release,
    Rollout,
    following,
    read_rollout,
    write_rollout,
)
from components.settings import Experiment, Settings
from tests.components.registry.conftest import evaluated_shop
from tests.components.registry.registration import change_served_model, register, stored_at
from tests.processes import free_port


@pytest.fixture(scope="module")
def two_versions(
    trained: tuple[Path, Settings], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Settings]:
    """The machine that trains: version 1 is the champion, version 2 is not. Read only."""
    root, settings = evaluated_shop(trained, tmp_path_factory.mktemp("registered"))
    settings = stored_at(settings, root / "artifacts", f"sqlite:///{root}/mlflow.db")
    register((root, settings))
    change_served_model(root)
    assert register((root, settings))["version"] == "2"
    registry = Registry(settings, root)
    if registry.alias("champion") != "1":
        promote(registry, "1", now=True)
    return root, settings


@pytest.fixture
def trainer(two_versions: tuple[Path, Settings], monkeypatch: pytest.MonkeyPatch) -> Registry:
    """The registry of the machine that trains, whose champion is version 1, served to all."""
    root, settings = two_versions
    registry = Registry(settings, root)
    if registry.alias("champion") != "1":
        promote(registry, "1", now=True)
    monkeypatch.setattr(follow, "RETRY_SECONDS", 0.0)
    return registry


@pytest.fixture
def replica(trainer: Registry, tmp_path: Path) -> Callable[[str], Follower]:
    """Make followers, each with an empty folder of its own."""
    return lambda name: Follower(trainer.settings, tmp_path / name)


def pointer(one: Follower) -> dict:
    return json.loads((one.root / "var/serving/champion.json").read_text())


def served(one: Follower, version: str) -> Path:
    return one.root / "var/serving/models" / version


def test_an_empty_folder_gets_the_champion_and_then_each_promotion(
    trainer: Registry, replica: Callable[[str], Follower]
) -> None:
    one, other = replica("one"), replica("other")
    assert one.look() == "1"
    assert pointer(one)["version"] == "1"
    assert is_whole(served(one, "1"))
    assert not served(one, "2").exists()
    before = (one.root / "var/serving/champion.json").stat().st_mtime_ns
    one.look()
    assert (one.root / "var/serving/champion.json").stat().st_mtime_ns == before
    other.look()
    promote(trainer, "2")
    assert one.look() == other.look() == "2"
    assert is_whole(served(one, "2"))
    # The promotion has one moment everywhere, so that canaries have one name.
    assert pointer(one)["promotion"] == pointer(other)["promotion"]
    assert pointer(one)["promotion"]["at"] is not None
    assert not pointer(one)["promotion"]["for_all"]
    listed = json.loads((one.root / "var/serving/versions.json").read_text())
    assert {v["version"]: v["aliases"] for v in listed}["1"] == ["previous"]
    shutil.rmtree(served(one, "2"))  # a disk that lost it
    one.look()
    assert is_whole(served(one, "2"))


def test_files_that_are_not_whole_leave_the_last_good_version(
    trainer: Registry, replica: Callable[[str], Follower]
) -> None:
    one = replica("one")
    one.look()
    promote(trainer, "2")
    (file,) = (
        path
        for path in Path(trainer.settings.register_.artifacts).rglob("ranker.txt")
        if path.parent != served(one, "1") and _is_of_version(trainer, path, "2")
    )
    content = file.read_bytes()
    for damaged in (content[: len(content) // 2], None):
        if damaged is None:
            file.unlink()
        else:
            file.write_bytes(damaged)
        with pytest.raises(CopyFailed, match="version 2 cannot be copied"):
            one.look()
        assert pointer(one)["version"] == "1"
        assert not served(one, "2").exists()
        assert is_whole(served(one, "1"))
    file.write_bytes(content)
    assert one.look() == "2"
    assert is_whole(served(one, "2"))


def test_a_challenger_that_cannot_be_copied_holds_no_champion_up(
    trainer: Registry, tmp_path: Path
) -> None:
    tested = Experiment(name="spring", model="challenger")
    serve = trainer.settings.serve.model_copy(update={"experiment": tested})
    one = Follower(trainer.settings.model_copy(update={"serve": serve}), tmp_path / "one")
    trainer.set_alias("challenger", "2")
    source = trainer.client.get_model_version(trainer.name, "2").source.rsplit("/", 1)[-1]
    (place,) = Path(trainer.settings.register_.artifacts).rglob(source)
    away = place.rename(place.with_name("away"))
    with pytest.raises(CopyFailed, match="version 2"):
        one.look()
    assert pointer(one)["version"] == "1"
    away.rename(place)
    one.look()
    challenger = json.loads((one.root / "var/serving/challenger.json").read_text())
    assert challenger["version"] == "2"
    assert is_whole(served(one, "2"))
    trainer.delete_alias("challenger")
    one.look()
    assert not (one.root / "var/serving/challenger.json").exists()


def _is_of_version(registry: Registry, path: Path, version: str) -> bool:
    source = registry.client.get_model_version(registry.name, version).source
    return source.rsplit("/", 1)[-1] in path.parts


def test_a_copy_that_failed_is_not_begun_at_each_look(
    trainer: Registry, replica: Callable[[str], Follower], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(follow, "RETRY_SECONDS", 1e9)
    one = replica("one")
    one.look()
    promote(trainer, "2")
    artifacts = Path(trainer.settings.register_.artifacts)
    away = artifacts.with_name("away")
    artifacts.rename(away)
    with pytest.raises(CopyFailed):
        one.look()
    away.rename(artifacts)
    with pytest.raises(CopyFailed):
        one.look()
    assert pointer(one)["version"] == "1"


def test_a_registry_that_is_gone_is_named_and_followed_again_later(
    trainer: Registry, replica: Callable[[str], Follower], monkeypatch: pytest.MonkeyPatch
) -> None:
    one = replica("one")
    one.look()
    for name in ("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "MLFLOW_HTTP_REQUEST_TIMEOUT"):
        monkeypatch.setenv(name, "1")
    gone = stored_at(trainer.settings, Path("nowhere"), f"http://127.0.0.1:{free_port()}")
    with pytest.raises(RegistryError, match="MLflow cannot be used") as raised:
        Follower(gone, one.root).look()
    assert follow.problem_of(raised.value, 0.0) == (
        "the registry cannot be read since 1970-01-01T00:00:00Z: see the log"
    )
    assert pointer(one)["version"] == "1"
    promote(trainer, "2")
    assert Follower(trainer.settings, one.root).look() == "2"


def test_a_canary_that_takes_over_on_one_machine_does_so_on_all(
    trainer: Registry, replica: Callable[[str], Follower]
) -> None:
    one, other = replica("one"), replica("other")
    for follower in (one, other):
        follower.look()
        write_rollout(follower.root, Rollout(_release(follower)))
    promote(trainer, "2")
    names = set()
    for follower, now in ((one, 100.0), (other, 200.0)):
        follower.look()
        rollout = _step(follower, now)
        assert rollout.canary is not None
        names.add(rollout.canary.name)
    assert len(names) == 1
    ended = _step(one, 300.0).decided(TAKEN_OVER, "it is as good", 300.0)
    write_rollout(one.root, ended.serving_all(_release(one)))
    assert _step(other, 301.0).canary is not None
    one.look()
    other.look()
    rollout = _step(other, 302.0)
    assert rollout.canary is None
    assert rollout.stable.version == "2"


def test_an_empty_folder_joins_a_canary_that_runs(
    trainer: Registry, replica: Callable[[str], Follower]
) -> None:
    promote(trainer, "2")
    new = replica("new")
    new.look()
    rollout = _step(new, 5.0)
    assert rollout.stable.version == "1"
    assert rollout.canary is not None
    assert rollout.canary.release.version == "2"
    assert is_whole(served(new, "1"))
    promote(trainer, "1", now=True)
    promote(trainer, "2", now=True)
    late = replica("late")
    late.look()
    assert read_rollout(late.root) is None


def _release(one: Follower) -> Release:
    return Release(**{name: pointer(one)[name] for name in ("version", "folder", "lineage")})


def _step(one: Follower, now: float) -> Rollout:
    """Follow the pointer as the endpoint does."""
    promotion = Promotion(**pointer(one)["promotion"])
    rollout = following(read_rollout(one.root), _release(one), now, promotion)
    write_rollout(one.root, replace(rollout))
    return rollout
