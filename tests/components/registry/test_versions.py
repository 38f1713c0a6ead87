"""Access to MLflow: its database, its login, and errors in one line."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import mlflow
import pytest
from mlflow.exceptions import MlflowException

from components.credentials import Credential
from components.registry import Registry, RegistryError, reachable
from components.settings import Settings, SettingsError, load_settings
from tests.components.registry.registration import stored_at
from tests.conftest import REPOSITORY
from tests.object_store import KEYS, SECRET


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


@pytest.mark.slow
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


def test_object_storage_that_is_set_later_is_used(settings: Settings, tmp_path: Path) -> None:
    local = Registry(settings, tmp_path)
    first = local.client.get_experiment(local.experiment())
    assert first.artifact_location == (tmp_path / "var/mlflow/artifacts").as_uri()
    stored = Registry(stored_at(settings, Path("s3://shop/mlflow")), tmp_path)
    second = stored.client.get_experiment(stored.experiment())
    assert second.artifact_location == "s3://shop/mlflow"
    assert stored.experiment() == second.experiment_id
    assert local.experiment() == first.experiment_id


def test_a_store_that_refuses_is_one_line_with_the_remedy(
    no_credentials: None, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(bucket: str, words: str) -> None:
        changed = stored_at(settings, Path(f"s3://{bucket}/mlflow"))
        with pytest.raises(RegistryError, match=words) as caught, reachable():  # noqa: PT012
            experiment = Registry(changed, tmp_path).experiment()
            with mlflow.start_run(experiment_id=experiment):
                mlflow.log_dict({}, "some.json")
        assert "see register.artifacts" in str(caught.value)
        assert "\n" not in str(caught.value)
        assert SECRET not in str(caught.value)

    # Another name of the server: MLflow keeps the client of the first, with its credentials.
    url = os.environ["AWS_ENDPOINT_URL"].replace("127.0.0.1", "localhost")
    monkeypatch.setenv("MLFLOW_S3_ENDPOINT_URL", url)
    refused("shop", "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY")
    for name, value in KEYS.items():
        monkeypatch.setenv(name.upper(), value)
    monkeypatch.delenv("MLFLOW_S3_ENDPOINT_URL")
    refused("shops", "bucket does not exist: make the bucket")


def test_a_store_without_its_package_is_named(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "google.cloud", None)  # as if it is not installed
    changed = stored_at(settings, Path("gs://shop/mlflow"))
    with pytest.raises(RegistryError) as caught, reachable():  # noqa: PT012
        experiment = Registry(changed, tmp_path).experiment()
        with mlflow.start_run(experiment_id=experiment):
            mlflow.log_dict({}, "some.json")
    assert str(caught.value) == (
        "MLflow's artifacts cannot be used (see register.artifacts): "
        "a package is missing: pip install 'bowerbird[gs]'"
    )


@pytest.mark.parametrize(
    ("module", "words"),
    [
        ("google.auth.exceptions", "not found: set GOOGLE_APPLICATION_CREDENTIALS in the env"),
        ("botocore.exceptions", "not found: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"),
    ],
)
def test_the_remedy_is_that_of_the_store(module: str, words: str) -> None:
    error = type("CredentialsError", (Exception,), {"__module__": module})
    match = f"register.artifacts.*credentials were {words}"
    with pytest.raises(RegistryError, match=match), reachable():
        raise error("Your default credentials were not found")


@pytest.mark.parametrize("place", ["azure://shop/models", "wasbs://models@shop", "abfss://m@shop"])
def test_a_store_of_no_artifacts_is_named_with_its_key(place: str, tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text(f"register: {{artifacts: '{place}'}}\n")
    with pytest.raises(SettingsError, match=r"register\.artifacts.*folders, s3:// and gs://"):
        load_settings(tmp_path / "params.yaml")
