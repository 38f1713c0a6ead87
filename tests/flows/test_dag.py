"""``dvc.yaml`` names the code that each stage imports and the settings that it reads."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from dvc.repo import Repo

from flows.dag import code_deps, command_modules, imported, is_code, shortest, write
from tests.conftest import REPOSITORY

STAGES: dict[str, dict[str, Any]] = yaml.safe_load((REPOSITORY / "dvc.yaml").read_text())["stages"]


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_depends_on_the_code_that_its_command_imports(stage: str) -> None:
    deps = {dep for dep in STAGES[stage]["deps"] if is_code(dep)}
    right = set(code_deps(stage, STAGES[stage]["cmd"]))
    wrong = [f"missing: {dep}" for dep in sorted(right - deps)]
    wrong += [f"too much: {dep}" for dep in sorted(deps - right)]
    assert not wrong, f"{stage} in dvc.yaml (make dag rewrites it): {', '.join(wrong)}"


def test_imports_of_imports_and_imports_in_functions_count() -> None:
    # encode → encoder → dataset (the texts) → schema; encoder imports int8 in a function.
    encode = imported(command_modules(REPOSITORY / "bowerbird.py")["encode"])
    for name in ("language/encoder", "data/dataset", "data/schema", "language/int8", "progress"):
        assert f"components/{name}.py" in encode
    assert not any(file.startswith("components/recommenders") for file in encode)


def test_a_folder_stands_for_its_files_where_all_are_there() -> None:
    kernels = {f"components/recommenders/kernels/{name}.py" for name in ("jit", "losses")}
    assert shortest(kernels) == sorted(kernels)
    rest = ("__init__", "sort_keys", "sparse", "standardise")
    kernels |= {f"components/recommenders/kernels/{name}.py" for name in rest}
    assert shortest(kernels | {"flows/dag.py"}) == [
        "components/recommenders/kernels",
        "flows/dag.py",
    ]


def test_it_writes_the_code_and_keeps_everything_else(tmp_path: Path) -> None:
    file = tmp_path / "dvc.yaml"
    text = (REPOSITORY / "dvc.yaml").read_text()
    file.write_text(
        text.replace("      - components/data/sources.py\n", "").replace(
            "      - data/erasures\n", "      - components/summary.py\n      - data/erasures\n", 1
        )
    )
    assert yaml.safe_load(file.read_text()) != yaml.safe_load(text)
    write(file)
    assert file.read_text() == text


def test_compiled_files_in_a_folder_of_code_change_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copy(REPOSITORY / ".dvcignore", tmp_path)
    (tmp_path / "code").mkdir()
    (tmp_path / "code/one.py").write_text("1")
    (tmp_path / "dvc.yaml").write_text(
        "stages: {one: {cmd: echo 1 > out, deps: [code], outs: [out]}}"
    )
    with Repo.init(str(tmp_path), no_scm=True) as repo:
        repo.reproduce()
        (tmp_path / "code/__pycache__").mkdir()
        (tmp_path / "code/__pycache__/one.cpython-311.pyc").write_text("1")
        assert repo.status() == {}
        (tmp_path / "code/one.py").write_text("2")
        assert list(repo.status()) == ["one"]
