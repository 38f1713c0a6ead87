"""mypy over all packages, as ``[tool.mypy]`` says."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from tests.conftest import REPOSITORY


def mypy(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "mypy", *arguments]
    return subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)


def test_mypy_finds_nothing() -> None:
    done = mypy()
    assert done.returncode == 0, done.stdout + done.stderr


WRONG = """
from components.arrays import FloatArray, IntArray


def double(x):
    return 2 * x


def first(values: list) -> int:
    return int(values[0])


def codes(scores: FloatArray) -> IntArray:
    return scores
"""


def test_it_is_strict_about_functions_and_arrays(tmp_path: Path) -> None:
    file = tmp_path / "wrong.py"
    file.write_text(WRONG)
    done = mypy(str(file))
    errors = re.findall(r"\[([a-z-]+)\]$", done.stdout, re.MULTILINE)
    assert errors == ["no-untyped-def", "type-arg", "return-value"], done.stdout + done.stderr
