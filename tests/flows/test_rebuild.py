"""What ``bowerbird rebuild`` compares; tests/end_to_end builds a whole version again."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import pytest

from components.registry import Registry, RegistryError
from components.registry.folders import assemble
from components.settings import Settings, load_settings
from flows.rebuild import differences, other_code, rebuild
from tests.conftest import REPOSITORY
from tests.encoders import write_small_encoder


def test_files_that_differ_are_named(tmp_path: Path) -> None:
    for side in ("new", "registered"):
        (tmp_path / side / "candidates/ease").mkdir(parents=True)
        (tmp_path / side / "model.json").write_text("{}")
        (tmp_path / side / "manifest.json").write_text(side)
        (tmp_path / side / "candidates/ease/weights.npy").write_bytes(b"0" * 5000)
    new, registered = tmp_path / "new", tmp_path / "registered"
    (registered / "model_card.md").write_text("of the version, not of the model")
    (registered / "encoder").mkdir()
    (registered / "encoder/model.safetensors").write_bytes(b"0")
    assert differences(new, registered) == ()
    (new / "candidates/ease/weights.npy").write_bytes(b"0" * 4999 + b"1")
    (new / "more.json").write_text("{}")
    assert differences(new, registered) == ("candidates/ease/weights.npy", "more.json")


def test_a_file_that_only_the_registered_version_has_is_a_difference(tmp_path: Path) -> None:
    for side in ("new", "registered"):
        (tmp_path / side / "candidates").mkdir(parents=True)
        (tmp_path / side / "model.json").write_text("{}")
    (tmp_path / "registered/candidates/metrics.json").write_text("{}")
    found = differences(tmp_path / "new", tmp_path / "registered")
    assert found == ("candidates/metrics.json",)


def test_what_register_adds_is_no_part_of_the_model(
    trained: tuple[Path, Settings], tmp_path: Path
) -> None:
    root, settings = trained
    (tmp_path / "models").mkdir()
    shutil.copytree(root / "models/served", tmp_path / "models/served")
    write_small_encoder(tmp_path / "models/language/finetuned")
    (tmp_path / "reports").mkdir()
    (tmp_path / "reports/evaluation.json").write_text("{}")
    assemble(settings, tmp_path, "the card", tmp_path / "version")
    assert differences(tmp_path / "models/served", tmp_path / "version") == ()


def test_stages_of_other_code_are_named(tmp_path: Path) -> None:
    (tmp_path / "data/code").mkdir(parents=True)
    stages = {}
    for name, locked in (("rank", "rank"), ("fit@all-ease", "before"), ("fit@test-ease", "before")):
        file = f"data/code/{name.partition('@')[0]}.json"
        (tmp_path / file).write_text(name.partition("@")[0])
        digest = hashlib.md5(locked.encode(), usedforsecurity=False).hexdigest()
        tables = {"path": "data/prepared", "md5": "0.dir"}
        stages[name] = {"deps": [{"path": file, "md5": digest}, tables]}
    assert other_code({"stages": stages}, tmp_path) == ("fit",)


def test_a_version_that_is_not_there_is_refused(tmp_path: Path) -> None:
    registry = Registry(load_settings(REPOSITORY / "params.yaml"), tmp_path)
    with pytest.raises(RegistryError, match="there is no version 7; there are: none yet"):
        rebuild(registry, "7", tmp_path / "again")
    assert not (tmp_path / "again").exists()
