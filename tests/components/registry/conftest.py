"""A small shop with trained and evaluated models, to be registered."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from components.evaluation import report
from components.settings import Settings


def evaluated_shop(trained: tuple[Path, Settings], root: Path) -> tuple[Path, Settings]:
    """Copy the trained model to ``root`` and evaluate it there; return both for a fixture."""
    source, settings = trained
    for name in ("data", "models"):
        shutil.copytree(source / name, root / name)
    (root / "reports").mkdir()
    evaluate = settings.evaluate.model_copy(update={"bootstrap_samples": 100})
    needs = settings.register_.model_copy(update={"min_users": 20})  # the shop is small
    settings = settings.model_copy(update={"evaluate": evaluate, "register_": needs})
    report.run(settings, root)
    return root, settings


@pytest.fixture
def shop(trained: tuple[Path, Settings], tmp_path: Path) -> tuple[Path, Settings]:
    """A root of its own with the trained model, evaluated."""
    return evaluated_shop(trained, tmp_path)
