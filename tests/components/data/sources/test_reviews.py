"""Reviews of review files."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from components.settings import Settings
from tests.components.data.shop_files import COLUMNS, LINES, ingest


def test_a_review_has_the_most_specific_category(settings: Settings, tmp_path: Path) -> None:
    LINES.to_csv(tmp_path / "lines.csv", index=False)
    pd.DataFrame(
        {"sku": ["1", "2", "3"], "body": ["a", None, "c"], "group": ["Home > Tea/Coffee", "", "B"]}
    ).to_csv(tmp_path / "reviews.csv", index=False)
    reviews = ingest(
        settings,
        tmp_path,
        interactions=[{"path": "lines.csv", "columns": COLUMNS}],
        reviews=[
            {
                "path": "reviews.csv",
                "columns": {"item_id": "sku", "text": "body", "category": "group"},
                "item_prefix": "other:",
                "category_separator": ">",
            }
        ],
    )["reviews"]
    assert reviews["item_id"].tolist() == ["other:1", "other:2", "other:3"]
    assert reviews["category"].tolist() == ["Tea/Coffee", None, "B"]
    assert reviews["text"].tolist() == ["a", None, "c"]  # kept, for the quarantine
    assert reviews["rating"].isna().all()
