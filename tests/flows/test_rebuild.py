"""What ``bowerbird rebuild`` compares; tests/end_to_end builds a whole version again."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from components.registry import Registry, RegistryError
from components.settings import load_settings
from flows.rebuild import differences, other_code, rebuild
from tests.conftest import REPOSITORY


def test_files_that_differ_are_named(tmp_path: Path) -> None:
    for side in ("new", "registered"):
        (tmp_path / side / "candidates/ease").mkdir(parents=True)
        (tmp_path / side / "model.json").write_text("{}")
        (tmp_path / side / "manifest.json").write_text(side)
        (tmp_path / side / "candidates/ease/weights.npy").write_bytes(b"0" * 5000)
    new, registered = tmp_path / "new", tmp_path / "registered"
    (registered / "model_card.md").write_text("of the version, not of the model")
    assert differences(new, registered) == ()
    (new / "candidates/ease/weights.npy").write_bytes(b"0" * 4999 + b"1")
    (new / "more.json").write_text("{}")
    assert differences(new, registered) == ("candidates/ease/weights.npy", "more.json")


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
