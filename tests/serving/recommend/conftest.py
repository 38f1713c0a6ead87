"""The trained model: its folder, its most popular item."""

from __future__ import annotations

from pathlib import Path

import pytest

from components.settings import Settings
from serving.recommend.engine import Engine


@pytest.fixture(scope="module")
def folder(trained: tuple[Path, Settings]) -> Path:
    return trained[0] / "models/hybrid"


@pytest.fixture(scope="module")
def bestseller(engine: Engine) -> int:
    return int(engine.by_popularity[0])
