"""``.pre-commit-config.yaml``: the hooks run what ``make lint`` runs, and need no network."""

from __future__ import annotations

import re
import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.conftest import REPOSITORY, absent


def hooks() -> dict[str, dict[str, Any]]:
    """Return the hooks by their id."""
    configuration = yaml.safe_load((REPOSITORY / ".pre-commit-config.yaml").read_text())
    assert [one["repo"] for one in configuration["repos"]] == ["local"]  # nothing is cloned
    return {hook["id"]: hook for one in configuration["repos"] for hook in one["hooks"]}


HOOKS = hooks()
PROGRAMS = {name: hook for name, hook in HOOKS.items() if hook["language"] == "system"}
PATTERNS = {name: hook for name, hook in HOOKS.items() if hook["language"] == "pygrep"}


def test_the_hooks_are_programs_of_this_environment_or_patterns() -> None:
    assert PROGRAMS.keys() | PATTERNS.keys() == HOOKS.keys()
    for hook in PROGRAMS.values():
        assert shutil.which(hook["entry"].split()[0]), hook["entry"]


def test_make_lint_runs_the_same_programs() -> None:
    done = subprocess.run(
        ["make", "--dry-run", "lint"], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    lines = done.stdout.splitlines()
    for hook in PROGRAMS.values():
        command = " ".join(word for word in hook["entry"].split() if not word.startswith("-"))
        assert any(line.startswith(command) for line in lines), command


@pytest.mark.parametrize("name", ["ruff-check", "ruff-format"])
def test_the_hooks_of_files_take_them_as_arguments(name: str, tmp_path: Path) -> None:
    file = tmp_path / "module.py"
    for text, right in (("x = 1\n", True), ("import os\nx = ( 1 )\n", False)):
        file.write_text(text)
        command = [*HOOKS[name]["entry"].split(), str(file)]
        done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
        assert (done.returncode == 0 and file.read_text() == text) == right, done.stdout


def matches(hook: dict[str, Any], text: str) -> bool:
    """Return whether pre-commit's ``pygrep`` fails ``text``."""
    if "--multiline" in hook.get("args", []):
        return bool(re.search(hook["entry"], text, re.MULTILINE | re.DOTALL))
    return any(re.search(hook["entry"], line.rstrip("\r\n")) for line in text.splitlines(True))


@cache
def tracked() -> list[str]:
    done = subprocess.run(
        ["git", "ls-files"], cwd=REPOSITORY, capture_output=True, text=True, check=False
    )
    if done.returncode:
        absent("the files of the commit are not known: this is no git repository")
    return done.stdout.splitlines()


@pytest.mark.parametrize("name", PATTERNS)
def test_every_file_of_the_repository_passes_the_patterns(name: str) -> None:
    wrong = []
    for path in tracked():
        content = (REPOSITORY / path).read_bytes() if (REPOSITORY / path).is_file() else b""
        binary = b"\0" in content[:8000]
        if binary or not content or re.search(HOOKS[name]["exclude"], path):
            continue
        if matches(HOOKS[name], content.decode()):
            wrong.append(path)
    assert not wrong


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("trailing-whitespace", "a \nb\n"),
        ("trailing-whitespace", "a\n\t\nb\n"),
        ("end-of-file", "a"),
        ("end-of-file", "a\n\n"),
    ],
)
def test_the_patterns_find_what_they_are_for(name: str, wrong: str) -> None:
    assert matches(HOOKS[name], wrong)
    assert not matches(HOOKS[name], "a\n\nb\n")
