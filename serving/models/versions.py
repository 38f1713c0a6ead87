"""Model versions on disk: which one is the champion, the challenger, the previous champion.

In: ``var/serving/champion.json`` and ``challenger.json``, which name a folder,
``var/serving/versions.json``, which lists the registered versions, and
``var/serving/rollout.json``, which says whether the champion serves all shoppers yet. Out: the
``ModelVersion`` to load. Without a registered version, ``models/hybrid`` is served as version
"unregistered".
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from components.manifest import MANIFEST
from components.rollout import Promotion, Release, read_rollout
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
UNREGISTERED_VERSION = "unregistered"


@dataclass(frozen=True)
class ModelVersion:
    """A model folder on disk. stamp: changes when the folder's content does.

    lineage: the trained version that a refreshed one goes back to, else the version itself.
    """

    version: str
    folder: Path
    stamp: int
    lineage: str


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
            return _version(UNREGISTERED_VERSION, place / UNREGISTERED)
    raise FileNotFoundError(f"no model in {root / UNREGISTERED}: run `make run` first")


def find_promotion(root: Path) -> Promotion:
    """Return what the pointer file says of the champion's promotion; nothing without one."""
    found = read_json(root / POINTER)
    named = found.get("promotion") if isinstance(found, dict) else None
    try:
        return Promotion(**named) if named else Promotion()
    except TypeError:  # written by a later release
        return Promotion()


def find_challenger(root: Path) -> ModelVersion | None:
    """Return the version that the challenger's pointer file names, None without the file.

    Raises:
        FileNotFoundError: the folder that it names holds no model.
        ValueError: the pointer file is damaged.
    """
    return _read_pointer(root, CHALLENGER)


def find_served(root: Path) -> tuple[ModelVersion, ModelVersion | None]:
    """Return the version that serves all shoppers, and the one in its canary, None without one.

    Raises:
        FileNotFoundError: there is no model, or the folder of the version that serves all is gone.
        ValueError: the pointer or the rollout is damaged.
    """
    rollout = read_rollout(root)
    if rollout is None:
        return find_champion(root), None
    stable = find_release(root, rollout.stable)
    if stable is None:
        raise FileNotFoundError(f"the folder of version {rollout.stable.version} is gone")
    canary = rollout.canary
    return stable, None if canary is None else find_release(root, canary.release)


def find_release(root: Path, release: Release) -> ModelVersion | None:
    """Return the version of a rollout, None where its folder is gone."""
    for place in (root, PACKAGED) if IN_BENTO else (root,):
        if (place / release.folder / "model.json").exists():
            return _version(release.version, place / release.folder, release.lineage)
    return None


def release_of(root: Path, model: ModelVersion) -> Release:
    """Return a version as a rollout names it."""
    place = root if model.folder.is_relative_to(root) else PACKAGED
    return Release(model.version, model.folder.relative_to(place).as_posix(), model.lineage)


def previous_champion(root: Path) -> ModelVersion | None:
    """Return the champion before the present one, None without one that has a folder."""
    for one in registered_versions(root):
        folder = root / MODELS / one["version"]
        if "previous" in one.get("aliases", []) and folder.is_dir():
            return _version(one["version"], folder)
    return None


def registered_versions(root: Path) -> list[dict[str, Any]]:
    """Return the versions as the registry last listed them, newest first."""
    found = read_json(root / VERSIONS)
    if not isinstance(found, list):
        return []
    return [one for one in found if isinstance(one, dict) and isinstance(one.get("version"), str)]


def kept_versions(root: Path) -> set[str]:
    """Return the versions that are served, or may be served again by one command."""
    found = {one["version"] for one in registered_versions(root) if one.get("aliases")}
    try:
        rollout = read_rollout(root)
    except ValueError:  # the canary's control reports it
        return found
    return found | (rollout.versions if rollout else set())


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


def histories_of(root: Path, version: str | None) -> tuple[str, Path]:
    """Return a registered version, by default the champion, and the file of its histories.

    Raises:
        FileNotFoundError: there is no champion, or no such file.
    """
    version = version or find_champion(root).version
    file = root / PROFILES / f"{version}.parquet"
    if not file.exists():
        raise FileNotFoundError(
            f"{file} is missing: call this where version {version} was trained or refreshed"
        )
    return version, file


def _registered_names(root: Path) -> list[str]:
    """Return the names of the versions that the registry lists or that have a folder."""
    found = {one["version"] for one in registered_versions(root)}
    found |= {one.name for one in (root / MODELS).glob("*") if one.name.isdecimal()}
    return sorted(found, key=lambda version: (len(version), version))


def _version(version: str, folder: Path, lineage: str | None = None) -> ModelVersion:
    return ModelVersion(version, folder, _stamp(folder), lineage or version)


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
        lineage = str(named.get("lineage", version))
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{pointer} must hold version and folder: {error!r}") from error
    if folder.is_absolute() or ".." in folder.parts:
        raise ValueError(f"{pointer} names {folder}, which is not a folder below {root}")
    if not (root / folder / "model.json").exists():
        raise FileNotFoundError(f"{pointer} names {root / folder}, where there is no model")
    return _version(version, root / folder, lineage)
