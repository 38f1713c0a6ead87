"""The folders of versions: complete, without people, and the right ones removed."""

from __future__ import annotations

import shutil
from pathlib import Path

import pyarrow.parquet as pq

from components.data.item_table import read_item_table
from components.json_files import write_json
from components.manifest import write_manifest
from components.registry.folders import (
    VersionFolders,
    folder_digest,
    is_whole,
    put_in_place,
)
from tests.components.registry.registration import register


def test_no_version_holds_a_person(shop) -> None:
    root, _ = shop
    reference = root / "models/reference"
    reference.mkdir()
    for name in ("reference", "users", "scores"):
        shutil.copy(root / "models/profiles/profiles.parquet", reference / f"{name}.parquet")
    (reference / "calibration.json").write_text("{}")
    register(shop)
    places = [root / "var/serving/models", root / "var/serving/judged", root / "var/mlflow"]
    tables = [file for place in places for file in place.rglob("items.arrow")]
    assert tables
    assert [file for file in tables if "user_id" in read_item_table(file.parent)] == []
    others = [file for place in places for file in place.rglob("*.parquet")]
    assert [file for file in others if "user_id" in pq.read_schema(file).names] == []
    assert (root / "var/serving/models/1/reference/calibration.json").exists()
    profiles = root / "var/serving/profiles/1.parquet"
    readable = [path for path in (root / "var/serving").rglob("*") if path.stat().st_mode & 0o077]
    assert readable == []
    assert profiles.read_bytes() == (root / "models/profiles/profiles.parquet").read_bytes()


def model_folder(folder: Path, text: str) -> Path:
    """Make a folder with one file and its manifest."""
    folder.mkdir(parents=True)
    (folder / "model.json").write_text(text)
    write_manifest(folder)
    return folder


def test_versions_without_an_alias_are_removed_and_nothing_else(tmp_path: Path) -> None:
    folders = VersionFolders(tmp_path)
    for version in ("1", "2"):
        model_folder(folders.served(version), version)
        model_folder(folders.evaluated_copy(version), version)
        folders.profiles(version).parent.mkdir(exist_ok=True)
        folders.profiles(version).touch()
    model_folder(folders.served(".3"), "half written")
    model_folder(folders.served("by hand"), "not a version")
    folders.prune(["2"])
    left = {
        str(path.relative_to(tmp_path / "var/serving"))
        for path in tmp_path.rglob("*")
        if path.is_file() and path.name != "manifest.json"
    }
    assert left == {
        "models/2/model.json",
        "models/by hand/model.json",
        "judged/2/model.json",
        "profiles/2.parquet",
    }


def test_a_version_without_an_evaluated_model_is_compared_by_its_served_model(
    tmp_path: Path,
) -> None:
    folders = VersionFolders(tmp_path)
    model_folder(folders.served("1"), "served")
    assert folders.evaluated("1") == folders.served("1")
    model_folder(folders.evaluated_copy("1"), "judged")
    assert folders.evaluated("1") == folders.evaluated_copy("1")


def test_a_folder_is_replaced_as_a_whole(tmp_path: Path) -> None:
    old = model_folder(tmp_path / "1", "old")
    (old / "stale").touch()
    put_in_place(model_folder(tmp_path / ".1", "new"), old)
    assert {file.name for file in old.iterdir()} == {"model.json", "manifest.json"}
    assert (old / "model.json").read_text() == "new"
    assert is_whole(old)
    (old / "model.json").write_text("ne")
    assert not is_whole(old)
    assert not is_whole(tmp_path / "none")


def test_the_digest_is_of_names_and_content(tmp_path: Path) -> None:
    first = model_folder(tmp_path / "a", "x")
    same = model_folder(tmp_path / "b", "x")
    assert folder_digest(first) == folder_digest(same)
    assert folder_digest(first) != folder_digest(model_folder(tmp_path / "c", "y"))
    (same / "model.json").rename(same / "other.json")
    assert folder_digest(first) != folder_digest(same)


def test_an_equal_pointer_is_not_written_again(tmp_path: Path) -> None:
    file = tmp_path / "new/champion.json"
    write_json(file, {"version": "1"})
    before = file.stat()
    write_json(file, {"version": "1"})
    assert file.stat().st_ino == before.st_ino
    write_json(file, {"version": "2"})
    assert file.read_text() == '{"version": "2"}'
    assert [path.name for path in file.parent.iterdir()] == ["champion.json"]
