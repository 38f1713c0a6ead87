"""What a stage's log must be where stderr is no terminal."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.conftest import REPOSITORY


def assert_plain(output: bytes) -> None:
    """Fail for carriage returns, long lines, progress bars and warnings."""
    assert b"\r" not in output
    lines = output.decode().splitlines()
    assert [line for line in lines if len(line) > 200] == []
    assert [line for line in lines if "%|" in line] == []
    assert [line for line in lines if "Warning" in line] == []


def stage_log(stage: str, root: Path) -> list[str]:
    """Return the lines that a stage prints to pipes, after ``assert_plain``."""
    command = [sys.executable, "-m", "bowerbird", stage]
    # Warnings as a user sees them, not as pytest does.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONWARNINGS"}
    done = subprocess.run(
        command, cwd=root, env={**environment, "PYTHONPATH": str(REPOSITORY)}, capture_output=True
    )
    assert done.returncode == 0, done.stderr.decode()
    assert_plain(done.stdout + done.stderr)
    return (done.stdout + done.stderr).decode().splitlines()
