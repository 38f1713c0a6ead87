"""Every stage of ``dvc.yaml`` depends on the code that its command imports, wherever it is."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from dvc.repo import Repo

from components.project.code import LISTED, digests, run
from components.settings import Settings
from flows.dag import code_of_stages, command_modules, imported, shortest, write
from tests.conftest import REPOSITORY

STAGES: dict[str, dict[str, Any]] = yaml.safe_load((REPOSITORY / "dvc.yaml").read_text())["stages"]


@pytest.fixture(scope="module")
def code() -> dict[str, list[str]]:
    return code_of_stages()


def test_every_stage_depends_on_its_code_or_runs_each_time() -> None:
    for name, stage in STAGES.items():
        on_its_code = digests(name).as_posix() in stage.get("deps", [])
        assert on_its_code != stage.get("always_changed", False), name


def test_the_listed_code_is_what_the_commands_import(code: dict[str, list[str]]) -> None:
    assert json.loads(LISTED.read_text()) == code, "make dag rewrites components/project/code.json"


def test_imports_of_imports_and_imports_in_functions_count() -> None:
    # encode → encoder → dataset (the texts) → schema; encoder imports int8 in a function.
    encode = imported(command_modules(REPOSITORY / "bowerbird.py")["encode"])
    for name in ("language/encoder", "data/dataset", "data/schema", "language/int8", "progress"):
        assert f"components/{name}.py" in encode
    assert not any(file.startswith("components/recommenders") for file in encode)


def test_a_folder_stands_for_its_files_where_all_are_there() -> None:
    kernels = {f"components/recommenders/kernels/{name}.py" for name in ("jit", "losses")}
    assert shortest(kernels) == sorted(kernels)
    rest = ("__init__", "lift", "repeats", "sort_keys", "sparse", "standardise")
    kernels |= {f"components/recommenders/kernels/{name}.py" for name in rest}
    assert shortest(kernels | {"flows/dag.py"}) == [
        "components/recommenders/kernels",
        "flows/dag.py",
    ]


def test_it_writes_the_list(tmp_path: Path) -> None:
    write(tmp_path / "code.json")
    assert (tmp_path / "code.json").read_text() == LISTED.read_text()


def test_the_digests_change_with_the_code_of_the_stage_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: Settings
) -> None:
    packages = tmp_path / "packages"
    for name in ("components", "flows", "monitoring", "serving"):
        shutil.copytree(REPOSITORY / name, packages / name)
    monkeypatch.setattr("components.project.code._PACKAGES", packages)

    def written() -> dict[str, str]:
        run(settings, tmp_path)
        return {file.stem: file.read_text() for file in (tmp_path / "data/code").iterdir()}

    before = written()
    assert set(before) == STAGES.keys() - {"code", "sources"}
    cache = packages / "components/recommenders/kernels/__pycache__"
    cache.mkdir(exist_ok=True)
    (cache / "one.cpython-311.pyc").write_text("1")
    assert written() == before
    split = packages / "components/data/split.py"
    split.write_text(split.read_text() + "\n# changed\n")
    after = written()
    changed = {stage for stage in before if after[stage] != before[stage]}
    assert changed == {"preprocess", "register"}  # a version has all of components


def test_dvc_runs_the_stages_whose_code_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "dvc.yaml").write_text(
        "stages:\n"
        "  code: {cmd: mkdir -p code && cp given code/one.json, always_changed: true,"
        " outs: [{code: {cache: false}}]}\n"
        "  one: {cmd: echo 1 > out, deps: [code/one.json], outs: [out]}\n"
    )
    (tmp_path / "given").write_text("1")
    Repo.init(str(tmp_path), no_scm=True).close()

    def reproduced() -> list[str]:
        with Repo() as repo:
            return [stage.name for stage in repo.reproduce()]

    reproduced()
    assert reproduced() == ["code"]
    (tmp_path / "given").write_text("2")
    assert reproduced() == ["code", "one"]
