"""The wheel holds every file of the packages: modules, pages, templates and ``py.typed``."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

from tests.conftest import REPOSITORY

PACKAGES = ("components", "flows", "monitoring", "serving")
BUILD = "from setuptools.build_meta import build_wheel; build_wheel('dist')"


def test_the_wheel_holds_every_file_of_the_packages(tmp_path: Path) -> None:
    for name in ("pyproject.toml", "README.md", "LICENSE", "bowerbird.py"):
        shutil.copy(REPOSITORY / name, tmp_path)
    for name in PACKAGES:
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(REPOSITORY / name, tmp_path / name, ignore=ignored)
    done = subprocess.run(
        [sys.executable, "-c", BUILD], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    (wheel,) = (tmp_path / "dist").glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        held = set(archive.namelist())
    files = [file for name in PACKAGES for file in (REPOSITORY / name).rglob("*")]
    wanted = {
        file.relative_to(REPOSITORY).as_posix()
        for file in files
        if file.is_file() and "__pycache__" not in file.parts
    }
    assert {f"{name}/py.typed" for name in PACKAGES} <= wanted
    assert not wanted - held
