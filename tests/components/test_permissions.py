"""File modes: what the project writes is closed to other users."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.conftest import REPOSITORY

SCRIPT = """
import os
from pathlib import Path
from components.permissions import keep_private
keep_private(Path())
Path("var/new").mkdir()
Path("var/new/file").touch()
"""


def test_new_files_are_private_and_old_folders_are_closed(tmp_path: Path) -> None:
    for name in ("data", "var", "elsewhere"):
        (tmp_path / name).mkdir()
        (tmp_path / name).chmod(0o755)  # whatever this process' umask is
    (tmp_path / "data/old.parquet").touch()
    subprocess.run(
        [sys.executable, "-c", SCRIPT],
        cwd=tmp_path,
        env={"PYTHONPATH": str(REPOSITORY)},
        check=True,
    )
    assert {
        str(path.relative_to(tmp_path)): oct(path.stat().st_mode & 0o777)
        for path in tmp_path.rglob("*")
        if path.name != "old.parquet"  # below a closed folder
    } == {
        "data": "0o700",
        "var": "0o700",
        "var/new": "0o700",
        "var/new/file": "0o600",
        "elsewhere": "0o755",
    }


def test_a_command_writes_for_its_own_user_only(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text((REPOSITORY / "params.yaml").read_text())
    subprocess.run(
        [sys.executable, REPOSITORY / "bowerbird.py", "export-feedback"],
        cwd=tmp_path,
        check=True,
        capture_output=True,
    )
    made = [path for name in ("var", "data") for path in (tmp_path / name).rglob("*")]
    assert made
    assert [path for path in made if path.stat().st_mode & 0o077] == []
