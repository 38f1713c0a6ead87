"""Outputs in DVC's remote: another machine continues where the first stopped."""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import mlflow
import pytest
import yaml
from dvc.config_schema import REMOTE_SCHEMAS
from dvc.repo import Repo
from prefect.logging import disable_run_logger

from components.project.folder import write_folder
from components.registry import Registry
from components.settings import Settings, load_settings
from flows.monitoring import pull_newest_models
from flows.remote import SECRETS, RemoteError, pull, push
from tests.conftest import REPOSITORY, absent
from tests.object_store import SECRET
from tests.processes import free_port, programs, run
from tests.repositories import git, pipeline, reproduce


@pytest.fixture
def dvc_s3() -> None:
    """Be without the test, or fail, where DVC cannot use a remote on S3."""
    if not find_spec("dvc_s3"):
        absent("no dvc-s3: make s3")


@pytest.fixture
def no_run_logger() -> Iterator[None]:
    """Log to Prefect outside a run."""
    with disable_run_logger():
        yield


@pytest.mark.slow
@pytest.mark.usefixtures("dvc_s3")
def test_a_clone_continues_after_the_finished_stages(
    bucket: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, clone = pipeline(tmp_path / "first"), tmp_path / "clone"
    assert reproduce(first, "one") == ["one"]
    assert push(first) == 2  # an output and a run
    assert "dvc.lock has changes that git does not have" in capsys.readouterr().out
    git(tmp_path, "clone", "--quiet", "first", "clone")  # without dvc.lock
    assert pull(clone) == 0  # no dvc.lock that names an output
    assert reproduce(clone, "--pull") == ["two"]  # the run cache has the first
    push(clone)

    git(first, "add", "dvc.lock")
    git(first, "commit", "--quiet", "-m", "one")
    push(first)
    assert "dvc.lock has changes" not in capsys.readouterr().out.splitlines()[-1]
    shutil.rmtree(clone)
    git(tmp_path, "clone", "--quiet", "first", "clone")
    pull(clone)
    assert (clone / "one").read_text() == "data"
    assert reproduce(clone, "--pull") == []  # the second was run, and pushed, elsewhere
    assert (clone / "two").read_text() == "data"


def test_what_a_clone_needs_is_in_the_cache() -> None:
    """An output outside the cache is missing in a clone, where its stage would run again."""
    uncached = set()
    for stage in yaml.safe_load((REPOSITORY / "dvc.yaml").read_text())["stages"].values():
        for kind in ("outs", "metrics", "plots"):
            for one in stage.get(kind, []):
                if isinstance(one, dict) and not next(iter(one.values())).get("cache", True):
                    uncached |= one.keys()
    # What runs each time, and what each machine's registry needs.
    assert uncached == {"data/code", "data/sources.json", "reports/registration.json"}


@pytest.mark.slow
@pytest.mark.usefixtures("dvc_s3")
def test_a_remote_that_cannot_be_used_is_one_line_with_the_remedy(
    bucket: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    said = []

    def refused(folder: Path, words: str) -> None:
        with pytest.raises(RemoteError, match=words) as caught:
            push(folder)
        said.append(str(caught.value))

    refused(tmp_path, "there is no DVC repository in")
    with Repo.init(str(tmp_path), no_scm=True):
        pass
    refused(tmp_path, "there is no remote: dvc remote add --default")
    shutil.rmtree(tmp_path / ".dvc")
    refused(pipeline(tmp_path / "bucket", "s3://shops/dvc"), "s3://shops/dvc .*make the bucket, or")
    refused(pipeline(tmp_path / "gs", "gs://shop/dvc"), r"pip install 'bowerbird\[gs\]'")
    folder = pipeline(tmp_path / "first")
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{free_port()}")
    refused(folder, "Could not connect .*: is AWS_ENDPOINT_URL right")
    with Repo(str(folder)) as repo, repo.config.edit("repo") as config:
        config["remote"]["storage"]["secret_access_key"] = SECRET
    refused(folder, r"\.dvc/config holds a credential \(secret_access_key of storage\)")
    assert SECRET not in " ".join([*said, *capfd.readouterr()])


def test_every_option_of_dvc_that_holds_a_credential_is_refused(tmp_path: Path) -> None:
    found = {str(option) for kind in REMOTE_SCHEMAS.values() for option in kind}
    assert found >= SECRETS
    doubtful = {one for one in found if re.search("pass|secret|token|key|cred|auth", one)}
    # Names of files, of headers and of algorithms, and whether to ask or to look somewhere.
    harmless = {
        *("ask_password", "ask_passphrase", "auth", "gss_auth", "custom_auth_header"),
        *("bearer_token_command", "key_path", "keyfile", "credentialpath", "sse_kms_key_id"),
        *("gdrive_user_credentials_file", "exclude_environment_credential"),
        *("exclude_managed_identity_credential", "exclude_shared_token_cache_credential"),
        "exclude_visual_studio_code_credential",
    }
    assert doubtful - harmless == SECRETS - {"connection_string"}

    folder = pipeline(tmp_path / "shop", str(tmp_path / "store"))
    push(folder)
    settings = {"ask_password": "true", "passphrase": SECRET}
    for option, value in settings.items():
        with Repo(str(folder)) as repo, repo.config.edit("repo") as config:
            config["remote"]["other"] = {"url": "ssh://host.example/dvc", option: value}
        if option == "ask_password":
            push(folder)
            continue
        with pytest.raises(RemoteError, match=r"credential \(passphrase of other\)") as caught:
            push(folder)
        assert SECRET not in str(caught.value)


MODELS = """\
stages:
  reference:
    cmd: mkdir -p models/reference && cp in models/reference
    deps: [in]
    outs: [models/reference]
  refit: {cmd: mkdir -p models/served && cp in models/served, deps: [in], outs: [models/served]}
"""


@pytest.mark.slow
@pytest.mark.usefixtures("no_run_logger")
def test_the_monitoring_has_the_newest_reference_of_any_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = pipeline(tmp_path / "first", str(tmp_path / "store"), MODELS)
    registry = f"sqlite:///{tmp_path / 'mlflow.db'}"
    monkeypatch.setenv("BOWERBIRD_REGISTER__TRACKING_URI", registry)
    monkeypatch.setenv("BOWERBIRD_REGISTER__ARTIFACTS", str(tmp_path / "artifacts"))
    (first / "params.yaml").write_text((REPOSITORY / "params.yaml").read_text())
    git(first, "add", ".")
    git(first, "commit", "--quiet", "-m", "settings")
    reproduce(first)
    git(tmp_path, "clone", "--quiet", "first", "clone")
    clone = tmp_path / "clone"
    shutil.copytree(first / "models", clone / "models")  # it trained the version before

    (first / "in").write_text("newest")
    reproduce(first)  # on another machine, which does not commit dvc.lock
    register(first)
    monkeypatch.chdir(clone)
    with pytest.raises(RemoteError, match=r"lacks a part of models/reference.*: run `bowerbird pu"):
        pull_newest_models.fn(tmp_path / "early")
    push(first)
    models = pull_newest_models.fn(tmp_path / "new")
    assert (models / "reference/in").read_text() == "newest"
    assert (models / "served/in").read_text() == "newest"
    assert (clone / "models/reference/in").read_text() == "data"  # a training may be using it


def register(folder: Path) -> None:
    """Register a version with the folder's ``dvc.lock``."""
    registry = Registry(load_settings(folder / "params.yaml"), folder)
    with mlflow.start_run(experiment_id=registry.experiment()) as run:
        mlflow.log_artifact(str(folder / "dvc.lock"), "data")
    registry.client.create_registered_model(registry.name)
    registry.client.create_model_version(registry.name, "none", run.info.run_id)


@pytest.mark.slow
@pytest.mark.usefixtures("dvc_s3")
def test_missing_credentials_are_named(no_credentials: None, tmp_path: Path) -> None:
    folder = pipeline(tmp_path / "first")
    with pytest.raises(RemoteError, match="set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"):
        pull(folder)


@pytest.mark.slow
@pytest.mark.usefixtures("dvc_s3")
def test_a_shop_is_handed_over_between_two_clones(
    bucket: Any, small_shop: tuple[Path, Settings], tmp_path: Path
) -> None:
    source = small_shop[0]
    first, clone = tmp_path / "first", tmp_path / "clone"
    for name in ("lines.parquet", "reviews.csv.gz"):
        (first / "datasets").mkdir(parents=True, exist_ok=True)
        shutil.copy(source / name, first / "datasets" / name)
    params = yaml.safe_load((REPOSITORY / "params.yaml").read_text())
    params["ingest"]["interactions"][0]["path"] = "datasets/lines.parquet"
    params["ingest"]["reviews"][0]["path"] = "datasets/reviews.csv.gz"
    params["understanding"] |= {"encoder": ""}
    write_folder(first, yaml.safe_dump(params, sort_keys=False))
    shutil.copy(REPOSITORY / "rules.yaml", first)

    def python(folder: Path, *command: str) -> str:
        # nothing of the first machine but git and the remote
        own = {"PATH": programs(), "DVC_SITE_CACHE_DIR": str(folder / ".site")}
        return run(folder, os.environ | own, sys.executable, "-m", *command).stdout

    python(first, "dvc", "remote", "add", "--default", "storage", "s3://shop/dvc")
    assert "Running stage 'ingest'" in python(first, "dvc", "repro", "ingest")
    git(first, "add", ".")
    git(first, "commit", "--quiet", "-m", "the shop")
    python(first, "bowerbird", "push")

    git(tmp_path, "clone", "--quiet", "first", "clone")
    python(clone, "bowerbird", "pull")
    said = python(clone, "dvc", "repro", "validate")
    assert "Stage 'ingest' didn't change, skipping" in said
    assert "Running stage 'validate'" in said
    git(clone, "commit", "--quiet", "-am", "validated")
    python(clone, "bowerbird", "push")

    git(first, "pull", "--quiet", str(clone))
    python(first, "bowerbird", "pull")
    assert (first / "reports/validation.json").exists()
    assert "Running stage 'validate'" not in python(first, "dvc", "repro", "validate")
