"""Manifests of model folders: every kind of damage is found before a file is parsed."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from components.manifest import MANIFEST, ManifestError, verify_manifest, write_manifest
from components.recommenders.two_stage.hybrid import Hybrid
from components.settings import Settings


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with files on two levels and its manifest."""
    made = tmp_path / "model"
    (made / "candidates/popularity").mkdir(parents=True)
    (made / "model.json").write_text("{}")
    (made / "candidates/popularity/model.safetensors").write_bytes(bytes(5000))
    (made / "encoder").mkdir()
    (made / "encoder/weights").write_bytes(bytes(100))
    write_manifest(made)
    return made


def test_a_whole_folder_is_as_its_manifest_says(folder: Path) -> None:
    assert verify_manifest(folder) == {}
    write_manifest(folder)  # the manifest is no file of itself
    files = json.loads((folder / MANIFEST).read_text())["files"]
    assert sorted(files) == [
        "candidates/popularity/model.safetensors",
        "encoder/weights",
        "model.json",
    ]
    shutil.copytree(folder, folder.with_name("copy"))
    assert verify_manifest(folder.with_name("copy")) == {}


def flip(file: Path) -> None:
    """Change one bit in the middle of a file."""
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


DAMAGE: dict[str, tuple[Callable[[Path], object], str]] = {
    "missing": (lambda f: (f / "model.json").unlink(), "model.json is missing"),
    "extra": (lambda f: (f / "more").write_text(""), "more is not in the manifest"),
    "truncated": (
        lambda f: os.truncate(f / "candidates/popularity/model.safetensors", 2500),
        "model.safetensors has 2500 bytes instead of 5000",
    ),
    "changed": (
        lambda f: flip(f / "candidates/popularity/model.safetensors"),
        "model.safetensors was changed",
    ),
    "without a manifest": (lambda f: (f / MANIFEST).unlink(), "written last"),
    "half a manifest": (lambda f: os.truncate(f / MANIFEST, 40), "cannot be read"),
    "another format": (lambda f: (f / MANIFEST).write_text('{"format": 9, "files": {}}'), "format"),
    "no object": (lambda f: (f / MANIFEST).write_text("[]"), "cannot be read"),
    "a link to a file": (lambda f: (f / "link").symlink_to("/etc/passwd"), "symbolic link"),
    "a link to a folder": (lambda f: (f / "link").symlink_to("/etc"), "symbolic link"),
    "a pipe": (lambda f: os.mkfifo(f / "pipe"), "special file"),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_damage_is_named(folder: Path, kind: str) -> None:
    do, said = DAMAGE[kind]
    do(folder)
    with pytest.raises(ManifestError, match=said):
        verify_manifest(folder, optional=("encoder",))


@pytest.mark.parametrize(
    "name", ["../model.json", "/etc/passwd", "a/../model.json", "./model.json"]
)
def test_a_manifest_names_files_of_its_folder_only(folder: Path, name: str) -> None:
    content = json.loads((folder / MANIFEST).read_text())
    content["files"][name] = content["files"]["model.json"]
    (folder / MANIFEST).write_text(json.dumps(content))
    with pytest.raises(ManifestError, match="not a file of the folder"):
        verify_manifest(folder)


def test_an_optional_part_is_reported_and_does_not_hide_the_rest(folder: Path) -> None:
    flip(folder / "encoder/weights")
    assert list(verify_manifest(folder, optional=("encoder",))) == ["encoder"]
    shutil.rmtree(folder / "encoder")
    found = verify_manifest(folder, optional=("encoder",))
    assert found == {"encoder": "encoder/weights is missing"}
    with pytest.raises(ManifestError):
        verify_manifest(folder)


def test_nothing_is_written_over_a_link(folder: Path) -> None:
    (folder / "link").symlink_to("model.json")
    with pytest.raises(ManifestError, match="symbolic link"):
        write_manifest(folder)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_a_truncated_ranker_is_an_error_and_not_the_end_of_the_process(
    trained: tuple[Path, Settings], tmp_path: Path, share: float
) -> None:
    folder = tmp_path / "model"
    shutil.copytree(trained[0] / "models/hybrid", folder)
    file = folder / "ranker.txt"
    os.truncate(file, int(file.stat().st_size * share))
    with pytest.raises(ManifestError, match=r"ranker.txt has"):
        Hybrid.load(folder)


def test_without_its_ranker_no_other_ranking_answers(
    trained: tuple[Path, Settings], tmp_path: Path
) -> None:
    folder = tmp_path / "model"
    shutil.copytree(trained[0] / "models/hybrid", folder)
    (folder / "ranker.txt").unlink()
    with pytest.raises(ManifestError, match=r"ranker.txt is missing"):
        Hybrid.load(folder)
    write_manifest(folder)  # a folder that never had one
    with pytest.raises(FileNotFoundError, match=r"rank\.form"):
        Hybrid.load(folder)
