"""A registered version trained again from its data, settings and code: ``bowerbird rebuild``.

In: the version's ``dvc.lock`` and settings in MLflow, its prepared tables in DVC's cache. Out: a
folder with the models trained again, and which of their files differ from the registered ones.

The tables come from the cache, so that the version is built from the data that it learned from and
not from the shop's newer files. The stages run without DVC: it would take their outputs from its
cache, too.
"""

from __future__ import annotations

import filecmp
import hashlib
import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mlflow
import yaml
from dvc.repo import Repo

from components.project.folder import write_folder
from components.recommenders.inputs import INPUTS
from components.recommenders.train import IMPRESSIONS
from components.registry import Registry, RegistryError, Version
from components.registry.artifacts import LOCK, restore_served
from components.registry.folders import ADDED, folder_digest
from flows.stages import StageFailed

TABLES = ("data/prepared", "data/valid", INPUTS)
"""What the stages below read, by the version's ``dvc.lock``."""
STAGES = ("corpus", "pretrain", "finetune", "encode", "train", "rank", "refit", "evaluate")
"""The commands that train and evaluate a model, in their order."""


@dataclass(frozen=True)
class Rebuilt:
    """What became of a version that was trained again.

    different: files of the served model that differ from the registered ones. ndcg, registered:
    NDCG@10 of the evaluated model, of this training and of the version. code: stages whose
    installed code is not the version's.
    """

    different: tuple[str, ...]
    ndcg: float
    registered: float
    code: tuple[str, ...]


def rebuild(registry: Registry, version: str, folder: Path) -> Rebuilt:
    """Train ``version`` again in ``folder``, a new folder.

    Raises:
        RegistryError: there is no such version, it was registered without a ``dvc.lock``, or its
            data are not in DVC's cache any more.
        ValueError: ``folder`` is a shop's folder.
        StageFailed: a stage failed; it printed why.
    """
    registered = registry.get(version)
    if registered.refreshed_from is not None:
        raise RegistryError(
            f"version {version} is a refreshed form of {registered.refreshed_from}: rebuild that"
        )
    restore_served(registry, version)
    served = registry.folders.served(version)
    lock = registered_lock(registry, registered)
    write_folder(folder, (served / "params.yaml").read_text(encoding="utf-8"))
    (folder / "dvc.lock").write_text(lock, encoding="utf-8")
    _checkout(registry, registered, folder)
    _place_inputs(folder)
    if (impressions := registry.root / IMPRESSIONS).is_dir():
        shutil.copytree(impressions, folder / IMPRESSIONS, dirs_exist_ok=True)
    (folder / "reports").mkdir()  # which the stage validate makes
    _run(folder, "code")
    code = other_code(yaml.safe_load(lock), folder)
    for stage in STAGES:
        _run(folder, stage)
    evaluation = json.loads((folder / "reports/evaluation.json").read_text())
    before = json.loads((served / "metrics.json").read_text())
    return Rebuilt(
        differences(folder / "models/served", served),
        evaluation["hybrid"]["ndcg@10"],
        before["hybrid"]["ndcg@10"],
        code,
    )


def registered_lock(registry: Registry, version: Version) -> str:
    """Return the text of the ``dvc.lock`` that a version was registered with.

    Raises:
        RegistryError: it was registered without one.
    """
    logged = registry.client.list_artifacts(version.run_id, Path(LOCK).parent.name)
    if LOCK not in [one.path for one in logged]:
        raise RegistryError(
            f"version {version.version} was registered without its dvc.lock, so it is not known "
            "which data it learned from: train a new one"
        )
    return mlflow.artifacts.load_text(f"runs:/{version.run_id}/{LOCK}")


def _checkout(registry: Registry, version: Version, folder: Path) -> None:
    """Put the version's tables into ``folder``, from the cache of the shop's folder."""
    with Repo(str(registry.root)) as repo:
        cache = repo.cache.local_cache_dir
    with (folder / ".dvc/config").open("a", encoding="utf-8") as config:
        config.write(f"[cache]\n    dir = {cache}\n")
    done = subprocess.run(
        [sys.executable, "-m", "dvc", "checkout", *TABLES],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    expected = version.data_version
    if done.returncode or folder_digest(folder / "data/prepared") != expected:
        raise RegistryError(
            f"the data of version {version.version} ({expected}) are not in DVC's cache, {cache}: "
            "they were removed, or a person in them was erased. With a remote, run `dvc pull` first"
        )


def _place_inputs(folder: Path) -> None:
    """Copy the files that the candidates read to the places where the settings name them."""
    for listed in (folder / INPUTS).glob("*/files.json"):
        for name in json.loads(listed.read_text()):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(listed.parent / name, folder / name)


def _run(folder: Path, stage: str) -> None:
    # The version's settings are whole: variables of today's shop must not change them.
    environment = {k: v for k, v in os.environ.items() if not k.startswith("BOWERBIRD_")}
    command = [sys.executable, "-m", "bowerbird", stage]
    if code := subprocess.run(command, cwd=folder, env=environment, check=False).returncode:
        raise StageFailed(f"the stage {stage} ended with code {code} in {folder}, see above")


def other_code(lock: dict[str, Any], folder: Path) -> tuple[str, ...]:
    """Return the stages whose installed code is not that of a ``dvc.lock``.

    folder: where the stage ``code`` ran.
    """
    found = set()
    for name, stage in lock["stages"].items():
        for dependency in stage.get("deps", []):
            file = folder / dependency["path"]
            if file.parent.name == "code" and file.exists():
                digest = hashlib.md5(file.read_bytes(), usedforsecurity=False).hexdigest()
                if digest != dependency["md5"]:
                    found.add(name.partition("@")[0])
    return tuple(sorted(found))


def differences(new: Path, registered: Path) -> tuple[str, ...]:
    """Return the files of a served model below ``new`` and a version's folder, ``registered``, that
    only one of them has or that have another content.

    What ``register`` adds to the model (``folders.ADDED``) is not compared.
    """
    ours, theirs = _files(new), _files(registered)
    _, different, unreadable = filecmp.cmpfiles(new, registered, ours & theirs, shallow=False)
    return tuple(sorted((ours ^ theirs) | {*different, *unreadable}))


def _files(folder: Path) -> set[str]:
    """Return the model's files below a folder, relative to it."""
    files = (file.relative_to(folder) for file in folder.rglob("*") if file.is_file())
    return {str(file) for file in files if file.parts[0] not in ADDED}
