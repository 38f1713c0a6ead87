"""What MLflow keeps of a version, and repairs from it."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import mlflow
import pandas as pd
import pytest

from components.data.dataset import load_prepared
from components.evaluation.compare import compare
from components.manifest import MANIFEST, ManifestError, verify_manifest
from components.registry import Registry, RegistryError, promote
from components.registry.artifacts import (
    commit,
    delete_version,
    restore_evaluated,
    restore_served,
)
from components.registry.folders import folder_digest
from tests.components.registry.registration import register, stored_at
from tests.postgres import new_database


def test_the_run_bears_parameters_metrics_and_versions(shop) -> None:
    root, settings = shop
    counts = {"interactions": {"rows": 3, "notes": ["customer 'anna' has 90% of the events"]}}
    (root / "reports/validation.json").write_text(json.dumps(counts))
    found = register(shop)
    run = Registry(settings, root).client.get_run(found["run_id"])
    assert run.data.params["train.content.decay"] == str(settings.train.content.decay)
    table = pd.read_csv(root / "reports/evaluation.csv").set_index("model")
    assert run.data.metrics["hybrid.ndcg_at_10"] == pytest.approx(table.loc["hybrid", "ndcg@10"])
    assert run.data.tags["data_version"] == found["data_version"]
    client = Registry(settings, root).client
    page = client.download_artifacts(found["run_id"], "reports/evaluation/report.html")
    assert Path(page).read_bytes() == (root / "reports/evaluation/report.html").read_bytes()
    kept = client.download_artifacts(found["run_id"], "reports/validation.json")
    assert json.loads(Path(kept).read_text()) == {"interactions": {"rows": 3}}
    (root / "data/prepared/split.json").write_text(
        (root / "data/prepared/split.json").read_text() + " "
    )
    other = folder_digest(root / "data/prepared")
    assert other != found["data_version"]


def test_damage_is_found_repaired_from_mlflow_and_never_registered(shop) -> None:
    """With a name that holds an apostrophe, and files among the models that are none."""
    root, settings = shop
    section = settings.register_.model_copy(update={"model_name": "the owner's"})
    settings = settings.model_copy(update={"register_": section})
    shop = root, settings
    models = root / "var/serving/models"
    models.mkdir(parents=True)
    (models / "notes.txt").write_text("keep me")
    (models / "by hand").mkdir()
    (models / "99").symlink_to(root / "data")
    assert (register(shop)["version"], register(shop)["version"]) == ("1", "1")
    assert {one.name for one in models.iterdir()} == {"1", "notes.txt", "by hand", "99"}
    assert verify_manifest(models / "1") == {}
    registry = Registry(settings, root)

    ranker = models / "1/ranker.txt"
    whole = ranker.read_bytes()
    ranker.write_bytes(whole[: len(whole) // 2])
    promote(registry, "1")
    assert ranker.read_bytes() == whole

    (kept,) = (root / "var/mlflow/artifacts/models").rglob("ranker.txt")  # not the evaluated model
    manifest = kept.with_name(MANIFEST)
    before = manifest.read_bytes()
    manifest.unlink()  # as a version that was logged before there were manifests
    shutil.rmtree(models / "1")
    promote(registry, "1")
    assert verify_manifest(models / "1") == {}

    manifest.write_bytes(before)
    kept.write_bytes(whole[:100])
    promote(registry, "1")  # what is served is whole: nothing is downloaded
    shutil.rmtree(models / "1")
    with pytest.raises(RegistryError, match=r"MLflow.*version 1.*ranker.txt has 100 bytes"):
        promote(registry, "1")

    (root / "models/hybrid/ranker.txt").write_bytes(whole[:-1])
    with pytest.raises(ManifestError, match=r"ranker.txt"):
        register(shop)
    prepared = load_prepared(root / "data/prepared", root / "models/vectors")
    with pytest.raises(ManifestError, match=r"ranker.txt"):
        compare(root / "models/hybrid", root / "models/hybrid", prepared, settings)


def test_the_commit_says_whether_files_were_changed(tmp_path: Path) -> None:
    assert commit(tmp_path) == ""

    def git(*arguments: str) -> str:
        identity = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
        done = subprocess.run(
            ["git", *identity, *arguments], cwd=tmp_path, capture_output=True, text=True, check=True
        )
        return done.stdout.strip()

    git("init", "--quiet")
    (tmp_path / "params.yaml").write_text("seed: 1")
    git("add", "params.yaml")
    git("commit", "--quiet", "-m", "first")
    head = git("rev-parse", "HEAD")
    assert commit(tmp_path) == head
    (tmp_path / "params.yaml").write_text("seed: 2")
    assert commit(tmp_path) == f"{head}+"


@pytest.mark.slow
def test_a_model_registers_to_s3_and_is_restored_on_another_machine(
    shop, bucket, postgres: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    root = shop[0]
    settings = stored_at(shop[1], Path("s3://shop/mlflow"), new_database(postgres))
    shop = root, settings
    inventory = {"s3://shop/orders.csv": {"etag": "4711", "size": 1}}
    (root / "data/sources.json").write_text(json.dumps(inventory))
    found = register(shop)
    objects = [one["Key"] for one in bucket.list_objects_v2(Bucket="shop")["Contents"]]
    assert any(key.startswith("mlflow/") and key.endswith("ranker.txt") for key in objects)
    assert not list(root.glob("s3:*"))
    with_sources = f"runs:/{found['run_id']}/data/sources.json"
    assert json.loads(mlflow.artifacts.load_text(with_sources)) == inventory

    elsewhere = tmp_path_factory.mktemp("elsewhere")
    registry = Registry(settings, elsewhere)
    restore_served(registry, "1")
    restore_evaluated(registry, "1")
    for place in ("models/1", "judged/1"):
        there, here = (one / "var/serving" / place for one in (root, elsewhere))
        assert verify_manifest(here) == {}
        assert folder_digest(here) == folder_digest(there)
    delete_version(registry, registry.get("1"))
    assert "Contents" not in bucket.list_objects_v2(Bucket="shop")
