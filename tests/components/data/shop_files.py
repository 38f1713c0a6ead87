"""A small shop's lines as a file, and the stages ``ingest`` and ``validate`` on files of a test."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd

from components.data import ingest as stage
from components.data import validation
from components.data.schema import TABLES
from components.settings import Ingest, Settings

LINES = pd.DataFrame(
    {
        "Customer": [12345.0, None, 7.0],
        "Code": ["00123", " ab1 ", "AB1"],
        "When": ["2020-01-01 10:00", "2020-07-01 10:00", "never"],
        "Name": ["Red Mug", "Blue Mug", "Blue Mug"],
        "Cost": ["2.5", "0", "3.5"],
    }
)
COLUMNS = {
    "user_id": "Customer",
    "item_id": "Code",
    "timestamp": "When",
    "title": "Name",
    "price": "Cost",
}


def ingest(settings: Settings, root: Path, **changes: object) -> dict[str, pd.DataFrame]:
    """Run the stage in ``root`` with these ingest settings and return the raw tables."""
    section = Ingest.model_validate({"reviews": [], "items": [], "users": [], **changes})
    stage.run(settings.model_copy(update={"ingest": section}), root)
    return {name: pd.read_parquet(root / "data/raw" / f"{name}.parquet") for name in TABLES}


def validate(settings: Settings, root: Path, **limits: object) -> dict[str, Any]:
    """Run the stage in ``root`` with these validate settings, without its pages; return
    reports/validation.json."""
    (root / "reports").mkdir(exist_ok=True)
    section = settings.validate_.model_copy(update=limits)
    validation.run(settings.model_copy(update={"validate_": section}), root, pages=False)
    report: dict[str, Any] = json.loads((root / "reports/validation.json").read_text())
    return report


def quarantined(root: Path, table: str = "interactions") -> pd.DataFrame:
    """Return the rows of a table that ``validate`` put in quarantine."""
    return pd.read_parquet(root / "data/quarantine" / f"{table}.parquet")
