"""A shop's folder that was moved or restored elsewhere."""

from __future__ import annotations

import shutil
from pathlib import Path

import mlflow
import pytest

from components.registry import Registry, promote, rollback
from tests.components.registry.registration import change_served_model, register


@pytest.mark.slow
def test_versions_are_promoted_and_registered_where_a_copy_was_restored(
    shop, tmp_path_factory
) -> None:
    root, settings = shop
    register(shop)
    change_served_model(root)
    assert register(shop)["version"] == "2"
    before = files(root / "var/mlflow/artifacts")
    place = tmp_path_factory.mktemp("elsewhere") / "größer shop 100%"
    shutil.copytree(root, place)
    hidden = root.with_name("gone")
    root.rename(hidden)
    try:
        shutil.rmtree(place / "var/serving/models")  # as after a backup without them
        shutil.rmtree(place / "var/serving/judged")
        registry = Registry(settings, place)
        promote(registry, "2")
        assert registry.folders.served("2").is_dir()
        assert rollback(registry) == "1"
        model = mlflow.pyfunc.load_model("models:/bowerbird/2")
        assert model.metadata.model_uuid
        change_served_model(place)
        assert register((place, settings))["version"] == "3"
        assert not root.exists(), "nothing is written to the old place"
        assert files(place / "var/mlflow/artifacts") > before
    finally:
        hidden.rename(root)


def test_a_copy_does_not_touch_the_original(settings, tmp_path: Path) -> None:
    root, place = tmp_path / "shop", tmp_path / "größer shop 100%"
    registry = Registry(settings, root)
    run = registry.client.create_run(registry.experiment()).info.run_id
    shutil.copytree(root, place)

    def artifacts(registry: Registry) -> list[str]:
        new = registry.client.create_run(registry.experiment()).info.run_id
        return [registry.client.get_run(one).info.artifact_uri for one in (run, new)]

    there, here = (place / "var").as_uri(), (root / "var").as_uri()
    assert all(one.startswith(there) for one in artifacts(Registry(settings, place)))
    assert all(one.startswith(here) for one in artifacts(Registry(settings, root)))
    changed = settings.register_.model_copy(update={"artifacts": Path("elsewhere")})
    registry = Registry(settings.model_copy(update={"register_": changed}), root)
    assert artifacts(registry)[0].startswith(here), "the setting changed, nothing was moved"


def files(folder: Path) -> set[str]:
    return {str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file()}
