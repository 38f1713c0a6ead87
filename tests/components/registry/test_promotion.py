"""The registry: first champion, judged challengers, rollback, and nothing twice."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import lightgbm as lgb
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from mlflow.exceptions import MlflowException

from components import registry as registry_module
from components.credentials import Credential
from components.data.dataset import load_prepared
from components.evaluation import report
from components.evaluation.compare import SeenEvents, compare
from components.manifest import MANIFEST, ManifestError, verify_manifest, write_manifest
from components.recommenders.two_stage.hybrid import Hybrid
from components.registry import Registry, RegistryError
from components.settings import Settings
from flows.training import describe
from tests.conftest import REPOSITORY
from tests.logs import stage_log


@pytest.fixture
def shop(trained: tuple[Path, Settings], tmp_path: Path) -> tuple[Path, Settings]:
    """A root of its own with the trained model, evaluated."""
    source, settings = trained
    for name in ("data", "models"):
        shutil.copytree(source / name, tmp_path / name)
    (tmp_path / "reports").mkdir()
    evaluate = settings.evaluate.model_copy(update={"bootstrap_samples": 100})
    needs = settings.register_.model_copy(update={"min_users": 20})  # the shop is small
    settings = settings.model_copy(update={"evaluate": evaluate, "register_": needs})
    report.run(settings, tmp_path)
    return tmp_path, settings


def register(shop: tuple[Path, Settings]) -> dict:
    registry_module.run(shop[1], shop[0])
    return json.loads((shop[0] / "reports/registration.json").read_text())


def spoil(root: Path) -> None:
    """Put a ranker of one constant tree into both twins: lists in the order of item codes."""
    booster = lgb.Booster(model_file=root / "models/hybrid/ranker.txt")
    n = booster.num_feature()
    data = lgb.Dataset(np.zeros((50, n)), np.zeros(50), feature_name=booster.feature_name())
    constant = lgb.train({"verbosity": -1}, data, 1)
    for twin in ("hybrid", "served"):
        constant.save_model(root / "models" / twin / "ranker.txt")
        write_manifest(root / "models" / twin)


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


def test_the_log_of_a_registration_is_short(shop) -> None:
    root, _ = shop
    shutil.copy(REPOSITORY / "params.yaml", root)
    assert "version 1: champion" in stage_log("register", root)


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
    assert registry.rollback() == "1"
    assert json.loads((root / "var/serving/champion.json").read_text())["version"] == "1"
    assert registry.rollback() == "2"
    shutil.rmtree(registry.folder("1"))  # MLflow still has it
    registry.promote("1")
    assert (registry.folder("1") / "model.json").exists()
    with pytest.raises(RegistryError, match="there are: 2, 1"):
        registry.promote("7")


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
    assert "served twin" in card
    assert "judged twin" in card

    with pytest.raises(SeenEvents, match=r"preprocess\.test_days"):
        compare(served, judged, prepared, settings)


def test_versions_are_compared_by_their_judged_twins(shop) -> None:
    """A served twin has seen the test window: it would beat any honest challenger."""
    root, _ = shop
    register(shop)
    shutil.rmtree(root / "var/serving/judged/1")  # MLflow still has it
    change_served_twin(root)  # another version with the same twin to be judged by
    second = register(shop)
    assert second["version"] == "2"
    assert second["comparison"]["difference"] == 0
    assert (root / "var/serving/judged/1/model.json").exists()
    change_served_twin(root)
    lengthen_test_window(root)
    third = register(shop)
    assert (third["version"], third["alias"], third["comparison"]) == ("3", "challenger", None)
    assert "has learned from events" in third["not_compared"]
    assert "preprocess.test_days" in describe(third)


def change_served_twin(root: Path) -> None:
    file = root / "models/served/model.json"
    file.write_text(file.read_text() + " ")
    write_manifest(root / "models/served")


def lengthen_test_window(root: Path) -> None:
    """Let the test window begin before the judged twins' newest event."""
    file = root / "data/prepared/split.json"
    times = json.loads(file.read_text())
    file.write_text(json.dumps({**times, "test_start": times["test_start"] - 7 * 86_400}))


def three_versions(shop: tuple[Path, Settings]) -> Registry:
    """Register three versions: 3 is the champion, 2 the one before."""
    root, settings = shop
    register(shop)
    for _ in range(2):
        change_served_twin(root)
        register(shop)
    registry = Registry(settings, root)
    registry.promote("2")
    registry.promote("3")
    return registry


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
    assert Registry(settings, root).rollback() == "2"
    assert pointed() == "2"
    # Killed between the two aliases: who was champion before is lost.
    set_alias("previous", "2")
    with pytest.raises(RegistryError, match="bowerbird promote VERSION"):
        registry.rollback()
    registry.promote("1")
    assert (pointed(), registry.alias("previous")) == ("1", "2")


def test_an_unreachable_registry_ends_in_one_line_without_its_password(
    settings: Settings, tmp_path: Path
) -> None:
    (tmp_path / "params.yaml").write_text((REPOSITORY / "params.yaml").read_text())
    done = subprocess.run(
        [sys.executable, "-m", "bowerbird", "models"],
        cwd=tmp_path,
        env={
            **os.environ,
            "PYTHONPATH": str(REPOSITORY),
            "BOWERBIRD_REGISTER__TRACKING_URI": "http://shop:s3cretpw@127.0.0.1:9",
            "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    printed = done.stdout + done.stderr
    assert done.returncode == 1
    assert done.stderr.startswith("error: MLflow cannot be used (see register.tracking_uri)")
    assert "Traceback" not in printed
    assert "s3cretpw" not in printed


def test_mlflow_gets_a_servers_login_apart_from_its_address(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("USERNAME", "PASSWORD"):
        monkeypatch.setenv(f"MLFLOW_TRACKING_{name}", "")
    uri = Credential("https://shop:a%2Fb@mlflow.example:5000/base")
    changed = settings.register_.model_copy(update={"tracking_uri": uri})
    registry = Registry(settings.model_copy(update={"register_": changed}), tmp_path)
    assert registry.uri == "https://mlflow.example:5000/base"
    assert os.environ["MLFLOW_TRACKING_USERNAME"] == "shop"
    assert os.environ["MLFLOW_TRACKING_PASSWORD"] == "a/b"
    # No answer is not taken for "there is no champion", or any version would become it.
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    changed = changed.model_copy(update={"tracking_uri": Credential("http://127.0.0.1:9")})
    registry = Registry(settings.model_copy(update={"register_": changed}), tmp_path)
    with pytest.raises(MlflowException):
        registry.alias("champion")


def test_without_a_version_there_is_nothing_to_roll_back(tmp_path: Path, settings) -> None:
    registry = Registry(settings, tmp_path)
    assert registry.versions() == []
    with pytest.raises(RegistryError, match="no earlier champion"):
        registry.rollback()
    with pytest.raises(RegistryError, match="make run"):
        registry.promote("1")


def test_a_registration_killed_before_its_end_is_finished_by_the_next(shop) -> None:
    root, _ = shop
    register(shop)
    # As if killed after MLflow had the version and before its folder and the pointer were there.
    shutil.rmtree(root / "var/serving")
    (root / "reports/registration.json").unlink()
    again = register(shop)
    assert (again["version"], again["alias"]) == ("1", "champion")
    assert (root / "var/serving/models/1/model.json").exists()
    assert json.loads((root / "var/serving/champion.json").read_text())["version"] == "1"


def test_killed_while_mlflow_makes_its_database_the_next_makes_it(tmp_path: Path, settings) -> None:
    code = "\n".join(
        [
            "import os, sqlalchemy",
            "from components.registry import Registry",
            "from components.settings import load_settings",
            "@sqlalchemy.event.listens_for(sqlalchemy.Engine, 'before_cursor_execute')",
            "def watch(connection, cursor, statement, *_):",
            "    if statement.startswith('INSERT INTO _alembic_tmp_experiments'):",
            "        os._exit(9)",
            f"Registry(load_settings({str(REPOSITORY / 'params.yaml')!r}), '.')",
        ]
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=False).returncode == 9
    assert Registry(settings, tmp_path).versions() == []
    assert not (tmp_path / "var/mlflow/.new").exists()


def test_no_version_holds_a_person(shop) -> None:
    root, _ = shop
    reference = root / "models/reference"
    reference.mkdir()
    for name in ("reference", "users", "scores"):
        shutil.copy(root / "models/profiles/profiles.parquet", reference / f"{name}.parquet")
    (reference / "calibration.json").write_text("{}")
    register(shop)
    places = [root / "var/serving/models", root / "var/serving/judged", root / "var/mlflow"]
    tables = [file for place in places for file in place.rglob("*.parquet")]
    assert tables
    assert [file for file in tables if "user_id" in pq.read_schema(file).names] == []
    assert (root / "var/serving/models/1/reference/calibration.json").exists()
    profiles = root / "var/serving/profiles/1.parquet"
    readable = [path for path in (root / "var/serving").rglob("*") if path.stat().st_mode & 0o077]
    assert readable == []
    assert profiles.read_bytes() == (root / "models/profiles/profiles.parquet").read_bytes()


def test_the_run_bears_parameters_metrics_and_versions(shop) -> None:
    root, settings = shop
    found = register(shop)
    run = Registry(settings, root).client.get_run(found["run_id"])
    assert run.data.params["train.content.decay"] == str(settings.train.content.decay)
    table = pd.read_csv(root / "reports/evaluation.csv").set_index("model")
    assert run.data.metrics["hybrid.ndcg_at_10"] == pytest.approx(table.loc["hybrid", "ndcg@10"])
    assert run.data.tags["data_version"] == found["data_version"]
    client = Registry(settings, root).client
    page = client.download_artifacts(found["run_id"], "reports/evaluation/report.html")
    assert Path(page).read_bytes() == (root / "reports/evaluation/report.html").read_bytes()
    (root / "data/prepared/split.json").write_text(
        (root / "data/prepared/split.json").read_text() + " "
    )
    other = registry_module.folder_digest(root / "data/prepared")
    assert other != found["data_version"]


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
    table = pd.read_parquet(other / "items.parquet")
    table["item_id"] = [f"unknown {code}" for code in range(len(table))]
    table.to_parquet(other / "items.parquet")
    write_manifest(other)
    stranger = compare(other, folder, prepared, settings)
    assert stranger.champion == 0
    assert stranger.better


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
    registry.promote("1")
    assert ranker.read_bytes() == whole

    (kept,) = (root / "var/mlflow/artifacts/models").rglob("ranker.txt")  # not the judged twin
    manifest = kept.with_name(MANIFEST)
    before = manifest.read_bytes()
    manifest.unlink()  # as a version that was logged before there were manifests
    shutil.rmtree(models / "1")
    registry.promote("1")
    assert verify_manifest(models / "1") == {}

    manifest.write_bytes(before)
    kept.write_bytes(whole[:100])
    registry.promote("1")  # what is served is whole: nothing is downloaded
    shutil.rmtree(models / "1")
    with pytest.raises(RegistryError, match=r"MLflow.*version 1.*ranker.txt has 100 bytes"):
        registry.promote("1")

    (root / "models/hybrid/ranker.txt").write_bytes(whole[:-1])
    with pytest.raises(ManifestError, match=r"ranker.txt"):
        register(shop)
    prepared = load_prepared(root / "data/prepared", root / "models/vectors")
    with pytest.raises(ManifestError, match=r"ranker.txt"):
        compare(root / "models/hybrid", root / "models/hybrid", prepared, settings)
