"""The folder of the trained model."""

from __future__ import annotations

from pathlib import Path

import pytest

from components.settings import Settings


@pytest.fixture(scope="module")
def folder(trained: tuple[Path, Settings]) -> Path:
    return trained[0] / "models/hybrid"
