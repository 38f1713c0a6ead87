"""Model versions on disk: which one is the champion, the challenger, the previous champion.

In: ``var/serving/champion.json`` and ``challenger.json``, which name a folder, and
``var/serving/versions.json``, which lists the registered versions. Out: the ``ModelVersion`` to
load. Without a registered version, ``models/hybrid`` is served as version "unregistered".
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from components.manifest import MANIFEST
from serving import PACKAGED
from serving.json_files import read_json

IN_BENTO = (PACKAGED.parent / "bento.yaml").exists()

POINTER = Path("var/serving/champion.json")
CHALLENGER = Path("var/serving/challenger.json")
UNREGISTERED = Path("models/hybrid")
PROFILES = Path("var/serving/profiles")
UNREGISTERED_PROFILES = Path("models/profiles/profiles.parquet")
MODELS = Path("var/serving/models")
VERSIONS = Path("var/serving/versions.json")


@dataclass(frozen=True)
class ModelVersion:
    """A model folder on disk. stamp: changes when the folder's content does."""

    version: str
    folder: Path
    stamp: int


def find_champion(root: Path) -> ModelVersion:
    """Return the version that the pointer file names, else ``models/hybrid``.

    Looked for in ``root``, then in the Bento that this code is in, if it is in one. The
    unregistered model, which was never compared with a champion, is served only where no version
    was ever registered.

    Raises:
        FileNotFoundError: there is no model (``make run`` makes one), or the pointer file is gone.
        ValueError: the pointer file is damaged.
    """
    for place in (root, PACKAGED) if IN_BENTO else (root,):
        named = _read_pointer(place, POINTER)
        if named is not None:
            return named
        if versions := _registered_names(place):
            raise FileNotFoundError(
                f"{place / POINTER} is missing although versions are registered "
                f"({', '.join(versions)}): name the one to serve with `bowerbird promote VERSION`, "
                "or go back with `bowerbird rollback`"
            )
        if (place / UNREGISTERED / "model.json").exists():
            return ModelVersion("unregistered", place / UNREGISTERED, _stamp(place / UNREGISTERED))
    raise FileNotFoundError(f"no model in {root / UNREGISTERED}: run `make run` first")


def find_challenger(root: Path) -> ModelVersion | None:
    """Return the version that the challenger's pointer file names, None without the file.

    Raises:
        FileNotFoundError: the folder that it names holds no model.
        ValueError: the pointer file is damaged.
    """
    return _read_pointer(root, CHALLENGER)


def previous_champion(root: Path) -> ModelVersion | None:
    """Return the champion before the present one, None without one that has a folder."""
    for one in registered_versions(root):
        folder = root / MODELS / one["version"]
        if "previous" in one.get("aliases", []) and folder.is_dir():
            return ModelVersion(one["version"], folder, _stamp(folder))
    return None


def registered_versions(root: Path) -> list[dict[str, Any]]:
    """Return the versions as the registry last listed them, newest first."""
    found = read_json(root / VERSIONS)
    if not isinstance(found, list):
        return []
    return [one for one in found if isinstance(one, dict) and isinstance(one.get("version"), str)]


def profiles_file(root: Path, model: ModelVersion) -> Path | None:
    """Return the file of the users' histories for a model version, None if there is none.

    Histories lie outside model folders, Bentos and images; folders of earlier versions of
    Bowerbird still hold them.
    """
    for file in (
        root / PROFILES / f"{model.version}.parquet",
        root / UNREGISTERED_PROFILES,
        model.folder / "profiles.parquet",
    ):
        if file.exists():
            return file
    return None


def _registered_names(root: Path) -> list[str]:
    """Return the names of the versions that the registry lists or that have a folder."""
    found = {one["version"] for one in registered_versions(root)}
    found |= {one.name for one in (root / MODELS).glob("*") if one.name.isdecimal()}
    return sorted(found, key=lambda version: (len(version), version))


def _stamp(folder: Path) -> int:
    """Return when a model folder was finished: its manifest is written last; 0 without one."""
    try:
        return (folder / MANIFEST).stat().st_mtime_ns
    except FileNotFoundError:
        return 0


def _read_pointer(root: Path, pointer: Path) -> ModelVersion | None:
    """Return the version that a pointer file below ``root`` names, None without the file."""
    try:
        text = (root / pointer).read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    try:
        named = json.loads(text)
        version, folder = str(named["version"]), PurePosixPath(named["folder"])
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{pointer} must hold version and folder: {error!r}") from error
    if folder.is_absolute() or ".." in folder.parts:
        raise ValueError(f"{pointer} names {folder}, which is not a folder below {root}")
    if not (root / folder / "model.json").exists():
        raise FileNotFoundError(f"{pointer} names {root / folder}, where there is no model")
    return ModelVersion(version, root / folder, _stamp(root / folder))
