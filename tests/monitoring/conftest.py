"""A small shop with the reference of its training data."""

from __future__ import annotations

import shutil
from pathlib import Path

import pandas as pd
import pytest

from components.data.dataset import load_prepared
from components.settings import Settings
from monitoring import reference
from monitoring.features import by_shop_ids


@pytest.fixture(scope="session")
def referenced(trained: tuple[Path, Settings], tmp_path_factory) -> tuple[Path, Settings]:
    """The trained small shop after the stage ``reference``; its windows are fortnights."""
    source, settings = trained
    root = tmp_path_factory.mktemp("referenced")
    for name in ("data", "models"):
        shutil.copytree(source / name, root / name)
    (root / "reports").mkdir()
    monitor = settings.monitor.model_copy(update={"window_days": 14, "reference_weeks": 4})
    settings = settings.model_copy(update={"monitor": monitor})
    reference.run(settings, root)
    return root, settings


@pytest.fixture(scope="session")
def newest(referenced) -> pd.DataFrame:
    """The newest fortnight as the contract's interactions."""
    prepared = load_prepared(referenced[0] / "data/prepared")
    frame = by_shop_ids(prepared)
    return frame[frame["timestamp"] > frame["timestamp"].max() - pd.Timedelta(days=14)]
