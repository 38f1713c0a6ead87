"""A version's run and artifacts in MLflow: logged, downloaded for a repair, deleted.

In: an assembled version folder and the reports. Out: an MLflow run, and a model version whose
artifacts contain the served and the evaluated model.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
import warnings
from pathlib import Path
from typing import Any

import mlflow
from mlflow.models import ModelSignature
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository
from mlflow.types import ColSpec, DataType, ParamSchema, ParamSpec, Schema
from mlflow.types.schema import Array

from components.data.sources.inventory import INVENTORY
from components.lockfile import exact_requirements
from components.manifest import MANIFEST, ManifestError, verify_manifest, write_manifest
from components.registry.folders import EVALUATED, copy_evaluated, is_whole, put_in_place
from components.registry.versions import Registry, RegistryError, Version

LOCK = "data/dvc.lock"
"""The artifact with the digests of all stages' inputs and outputs, by which a version is
built again (``flows.rebuild``)."""
REPORTS = ("evaluation", "evaluation.csv", "calibration.json")
VALIDATION = Path("reports/validation.json")
_COMPONENTS = Path(__file__).resolve().parents[1]
_SIGNATURE = ModelSignature(
    inputs=Schema([ColSpec(Array(DataType.string), "recent_items")]),
    outputs=Schema(
        [ColSpec(Array(DataType.string), "item_ids"), ColSpec(Array(DataType.double), "scores")]
    ),
    params=ParamSchema([ParamSpec("k", DataType.long, 10)]),
)


def _without_samples(validation: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return the report of ``validate`` without its notes, its examples and its samples of ids.

    They may name customers, and a registered version outlives the erasure of one.

    >>> join = {"share": 0.9, "not_found": ["anna"], "listed": ["ben"]}
    >>> _without_samples({"interactions": {"rows": 3, "notes": ["'anna' …"], "known_users": join}})
    {'interactions': {'rows': 3, 'known_users': {'share': 0.9}}}
    """
    samples = {"examples", "notes", "not_found", "listed", "likely_cause"}
    return {
        table: {
            name: {key: part[key] for key in part if key not in samples}
            if isinstance(part, dict)
            else part
            for name, part in found.items()
            if name not in samples
        }
        for table, found in validation.items()
    }


def log_version(registry: Registry, folder: Path, card: str, facts: dict[str, Any]) -> str:
    """Log a run with parameters, metrics, reports and the model; return its new version.

    folder: of ``folders.assemble``. card: the model card. facts: data_version, digest (of the model
    folder) and commit.
    """
    root, settings = registry.root, registry.settings
    evaluation = json.loads((root / "reports/evaluation.json").read_text())
    tags = {
        "data_version": facts["data_version"],
        "digest": facts["digest"],
        "ndcg_at_10": f"{evaluation['hybrid']['ndcg@10']:.6f}",
    }
    with mlflow.start_run(experiment_id=registry.experiment()):
        parameters = flat(settings.model_dump(mode="json", by_alias=True))
        mlflow.log_params({name: str(value)[:6000] for name, value in parameters.items()})
        mlflow.log_metrics(
            {
                name.replace("@", "_at_"): value
                for name, value in flat(evaluation).items()
                if isinstance(value, int | float)
            }
        )
        mlflow.set_tags({**tags, "mlflow.source.git.commit": facts["commit"].rstrip("+")})
        mlflow.set_tag("mlflow.note.content", card)
        for name in REPORTS:
            place = root / "reports" / name
            if place.is_dir():
                mlflow.log_artifacts(str(place), f"reports/{name}")
            elif place.exists():
                mlflow.log_artifact(str(place), "reports")
        if (root / VALIDATION).exists():
            counts = json.loads((root / VALIDATION).read_text())
            mlflow.log_dict(_without_samples(counts), str(VALIDATION))
        if (inventory := root / INVENTORY).exists():
            mlflow.log_artifact(str(inventory), "data")
        if (lock := root / Path(LOCK).name).exists():
            mlflow.log_artifact(str(lock), "data")
        with tempfile.TemporaryDirectory(prefix="bowerbird-") as name:
            copy_evaluated(root, Path(name) / EVALUATED)
            mlflow.log_artifacts(name)
        return _log_model(registry, folder, card, tags)


def log_refreshed(registry: Registry, folder: Path, card: str, tags: dict[str, str]) -> str:
    """Log a run with the refreshed model alone; return its new version. tags: of both."""
    with mlflow.start_run(experiment_id=registry.experiment()):
        mlflow.set_tags(tags)
        mlflow.set_tag("mlflow.note.content", card)
        return _log_model(registry, folder, card, tags)


def _log_model(registry: Registry, folder: Path, card: str, tags: dict[str, str]) -> str:
    """Log a model folder in the active run and register it; return the version."""
    with warnings.catch_warnings():
        # An example would make MLflow load the model; the signature is given instead.
        warnings.filterwarnings(
            "ignore", ".*An input example was not provided", UserWarning, r"mlflow\.pyfunc"
        )
        logged = mlflow.pyfunc.log_model(
            name="model",
            python_model=str(_COMPONENTS / "registry/pyfunc_model.py"),
            artifacts={"model": str(folder)},
            code_paths=[str(_COMPONENTS)],
            signature=_SIGNATURE,
            # Without them, MLflow would load the model in another process to infer them.
            pip_requirements=exact_requirements(),
        )
    version = mlflow.register_model(logged.model_uri, registry.name, tags=tags)
    registry.client.update_model_version(registry.name, version.version, card)
    mlflow.set_tag("model_version", version.version)
    return str(version.version)


def delete_version(registry: Registry, version: Version) -> None:
    """Delete a version with its run and its artifacts from MLflow."""
    client = registry.client
    run = client.get_run(version.run_id)
    outputs = run.outputs.model_outputs if run.outputs else []
    models = [client.get_logged_model(one.model_id) for one in outputs]
    # Files first, which MLflow itself removes by `mlflow gc` only: if the process is killed, the
    # version is still there and is deleted again.
    for place in (run.info.artifact_uri, *(model.artifact_location for model in models)):
        get_artifact_repository(place).delete_artifacts()
    client.delete_model_version(registry.name, version.version)
    for model in models:
        client.delete_logged_model(model.model_id)
    client.delete_run(version.run_id)


def restore_served(registry: Registry, version: str) -> None:
    """Download a version's served folder from MLflow if it is missing or damaged.

    Raises:
        RegistryError: MLflow's copy is damaged too.
    """
    folder = registry.folders.served(version)
    if is_whole(folder):
        return
    with tempfile.TemporaryDirectory(prefix="bowerbird-") as name:
        downloaded = mlflow.artifacts.download_artifacts(
            f"models:/{registry.name}/{version}", dst_path=name
        )
        (model,) = Path(downloaded).glob("artifacts/*/model.json")
        _place(version, model.parent, folder)


def restore_evaluated(registry: Registry, version: str) -> None:
    """Download a version's evaluated model from MLflow if it is missing or damaged.

    Raises:
        RegistryError: MLflow's copy is damaged too.
    """
    folder = registry.folders.evaluated_copy(version)
    if is_whole(folder):
        return
    run_id = registry.client.get_model_version(registry.name, version).run_id
    if not run_id or not registry.client.list_artifacts(run_id, EVALUATED):
        restore_served(registry, version)  # registered before versions had an evaluated model
        return
    with tempfile.TemporaryDirectory(prefix="bowerbird-") as name:
        downloaded = mlflow.artifacts.download_artifacts(
            run_id=run_id, artifact_path=EVALUATED, dst_path=name
        )
        _place(version, Path(downloaded), folder)


def _place(version: str, downloaded: Path, folder: Path) -> None:
    """Copy downloaded files of a version to ``folder``, verified before they are in place."""
    partial = folder.with_name(f".{version}")
    shutil.rmtree(partial, ignore_errors=True)
    shutil.copytree(downloaded, partial)
    if not (partial / MANIFEST).exists():  # logged before model folders had a manifest
        write_manifest(partial)
    try:
        verify_manifest(partial)
    except ManifestError as error:
        raise RegistryError(f"MLflow's files of version {version}: {error}") from error
    write_manifest(partial)  # makes the copied files durable
    put_in_place(partial, folder)


def commit(root: Path) -> str:
    """Return the git commit of ``root``, with "+" if files were changed, "" without git."""

    def git(*arguments: str) -> str:
        done = subprocess.run(
            ["git", *arguments], cwd=root, capture_output=True, text=True, check=False
        )
        return done.stdout.strip() if done.returncode == 0 else ""

    try:
        head = git("rev-parse", "HEAD")
        return f"{head}+" if head and git("status", "--porcelain", "-uno") else head
    except OSError:
        return ""


def flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return a nested dictionary flattened, with keys joined by dots.

    >>> flat({"train": {"ease": {"decay": 0.99}}, "seed": 42})
    {'train.ease.decay': 0.99, 'seed': 42}
    """
    out: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, dict):
            out |= flat(value, f"{prefix}{name}.")
        else:
            out[prefix + name] = value
    return out
