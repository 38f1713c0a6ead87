"""A small shop with trained and evaluated models, to be registered."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from components.evaluation import report
from components.settings import Settings


@pytest.fixture
def shop(trained: tuple[Path, Settings], tmp_path: Path) -> tuple[Path, Settings]:
    """A root of its own with the trained model, evaluated."""
    source, settings = trained
    for name in ("data", "models"):
        shutil.copytree(source / name, tmp_path / name)
    (tmp_path / "reports").mkdir()
    evaluate = settings.evaluate.model_copy(update={"bootstrap_samples": 100})
    needs = settings.register_.model_copy(update={"min_users": 20})  # the shop is small
    settings = settings.model_copy(update={"evaluate": evaluate, "register_": needs})
    report.run(settings, tmp_path)
    return tmp_path, settings
