"""Folders and files of the registered versions below ``var/serving``.

In: the stages' outputs below ``models`` and ``reports``. Out: complete folders with a manifest,
each put in place atomically.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Collection
from pathlib import Path

import pyarrow.parquet as pq
import yaml

from components.data.profiles import PROFILES, attributes_file
from components.file_erasure import write_table
from components.file_lock import folder_lock
from components.manifest import MANIFEST, ManifestError, sync, verify_manifest, write_manifest
from components.rollout import read_rollout
from components.settings import Settings

SERVING = Path("var/serving")
MODELS = SERVING / "models"
EVALUATED = "judged"
"""Name of the folder of evaluated models, in MLflow's artifacts and below SERVING."""

PERSONAL = ("reference.parquet", "users.parquet", "scores.parquet")
"""Tables of the drift reference with people's ids: they are not part of a version."""


class VersionFolders:
    """Where the files of each version are, below ``root``."""

    def __init__(self, root: Path) -> None:
        self.root = Path(root)

    def served(self, version: str) -> Path:
        """Return the folder that is served."""
        return self.root / MODELS / version

    def new(self) -> Path:
        """Return where a version's folder is assembled before it has a number."""
        return self.root / MODELS / ".new"

    def evaluated_copy(self, version: str) -> Path:
        """Return the folder of the evaluated model."""
        return self.root / SERVING / EVALUATED / version

    def evaluated(self, version: str) -> Path:
        """Return the model folder by which a version is compared.

        Older versions have no separate evaluated model: their served model was evaluated.
        """
        folder = self.evaluated_copy(version)
        return folder if folder.exists() else self.served(version)

    def profiles(self, version: str) -> Path:
        """Return the file of the users' histories, which are outside the model folder."""
        return self.root / SERVING / "profiles" / f"{version}.parquet"

    def prune(self, kept: Collection[str]) -> None:
        """Remove the files of versions that are neither in ``kept`` nor served; MLflow still has
        copies.

        Raises:
            ValueError: the endpoint's rollout cannot be read, so what is served is not known.
        """
        rollout = read_rollout(self.root)
        kept = {*kept, *(rollout.versions if rollout else ())}
        for place in (MODELS, SERVING / EVALUATED):
            for folder in (self.root / place).glob("*"):
                if is_version_folder(folder) and folder.name not in kept:
                    shutil.rmtree(folder)
        for file in (self.root / SERVING / "profiles").glob("*.parquet"):
            if file.name.partition(".")[0] not in kept:  # 3.parquet, 3.attributes.parquet
                file.unlink()

    def place_profiles(self, version: str) -> None:
        """Write the users' histories and attributes of ``models/profiles`` to a version's files."""
        source, file = self.root / PROFILES, self.profiles(version)
        if not source.exists():
            return
        file.parent.mkdir(parents=True, exist_ok=True)
        with folder_lock(file.parent):
            write_table(file, pq.read_table(source))
            if attributes_file(source).exists():
                write_table(attributes_file(file), pq.read_table(attributes_file(source)))

    def place_evaluated(self, version: str) -> None:
        """Copy the evaluated model, ``models/hybrid``, to its folder."""
        folder = self.evaluated_copy(version)
        partial = folder.with_name(f".{version}")
        copy_evaluated(self.root, partial)
        put_in_place(partial, folder)


ADDED = (
    "encoder",
    "understanding",
    "reference",
    "metrics.json",
    "params.yaml",
    "model_card.md",
    MANIFEST,
)
"""Names in a version's folder that are not of the served model."""


def assemble(settings: Settings, root: Path, card: str, out: Path) -> None:
    """Write a version's folder: the served model, encoder, drift reference, settings and card.

    Raises:
        ManifestError: ``models/served`` is damaged.
    """
    shutil.rmtree(out, ignore_errors=True)
    shutil.copytree(root / "models/served", out)
    verify_manifest(out)
    for source, name in (
        ("models/language/finetuned", "encoder"),
        ("models/understanding", "understanding"),
        ("models/reference", "reference"),
    ):
        if (root / source).is_dir():
            shutil.copytree(root / source, out / name, ignore=shutil.ignore_patterns(*PERSONAL))
    shutil.copy(root / "reports/evaluation.json", out / "metrics.json")
    values = settings.model_dump(mode="json", by_alias=True)
    (out / "params.yaml").write_text(yaml.safe_dump(values, sort_keys=False), encoding="utf-8")
    (out / "model_card.md").write_text(card, encoding="utf-8")
    write_manifest(out)


def copy_evaluated(root: Path, folder: Path) -> None:
    """Copy the evaluated model, ``models/hybrid`` below ``root``, to ``folder``.

    Raises:
        ManifestError: ``models/hybrid`` is damaged.
    """
    verify_manifest(root / "models/hybrid")
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(root / "models/hybrid", folder)
    write_manifest(folder)


def put_in_place(new: Path, folder: Path) -> None:
    """Replace ``folder`` by a complete folder; durable on return."""
    shutil.rmtree(folder, ignore_errors=True)
    new.rename(folder)
    sync(folder.parent)


def is_whole(folder: Path) -> bool:
    """Return whether a model folder exists and matches its manifest."""
    try:
        verify_manifest(folder)
    except (ManifestError, FileNotFoundError):
        return False
    return True


def is_version_folder(path: Path) -> bool:
    """Return whether a path among the served models is a version's folder, complete or not."""
    name = path.name.removeprefix(".")
    return path.is_dir() and not path.is_symlink() and (name.isdecimal() or path.name == ".new")


def folder_digest(folder: Path) -> str:
    """Return a digest of the names and the content of all files in ``folder``."""
    total = hashlib.blake2b(digest_size=16)
    for file in sorted(path for path in folder.rglob("*") if path.is_file()):
        total.update(str(file.relative_to(folder)).encode() + b"\0")
        with file.open("rb") as stream:
            total.update(hashlib.file_digest(stream, "sha256").digest())
    return total.hexdigest()
