"""The examples in docstrings give what they say."""

from __future__ import annotations

import doctest
import importlib
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY

PACKAGES = ("components", "flows", "monitoring", "serving")


def modules() -> list[str]:
    """Return the modules with an example. The others are not imported."""
    files = [file for name in PACKAGES for file in sorted((REPOSITORY / name).rglob("*.py"))]
    files.append(REPOSITORY / "bowerbird.py")
    return [module_of(file) for file in files if ">>> " in file.read_text(encoding="utf-8")]


def module_of(file: Path) -> str:
    parts = file.relative_to(REPOSITORY).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@pytest.mark.parametrize("name", modules())
def test_the_examples_of_a_module_are_right(name: str) -> None:
    module = importlib.import_module(name)
    examples = [one for one in doctest.DocTestFinder().find(module) if one.examples]
    assert examples, f"{name} has '>>> ' outside of a docstring: nothing runs it"
    runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE)
    report: list[str] = []
    for one in examples:
        runner.run(one, out=report.append)
    assert not runner.failures, "".join(report)
