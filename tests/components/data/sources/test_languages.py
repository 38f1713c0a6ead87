"""Files with one row for each language: one row of an item is used."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from components.settings import Settings
from tests.components.data.shop_files import COLUMNS, LINES, ingest

ITEMS = pd.DataFrame(
    [
        ("1", "Mug", "en"),
        ("1", "Becher", "de"),
        ("1", "Tasse", "fr"),
        ("2", "Teapot", "en"),
        ("2", "", "de"),
        ("3", "Théière", "fr"),
        ("4", "Glas", "de_AT"),
        ("4", "Glass", "en"),
        ("5", "Spoon", ""),
    ],
    columns=["i", "n", "l"],
)


def catalogue(settings: Settings, root: Path, items: pd.DataFrame, **source: Any) -> pd.DataFrame:
    LINES.to_csv(root / "lines.csv", index=False)
    items.to_csv(root / "items.csv", index=False)
    columns = {"item_id": "i", "title": "n", "language": "l"}
    return ingest(
        settings,
        root,
        interactions=[{"path": "lines.csv", "columns": COLUMNS}],
        items=[{"path": "items.csv", "columns": columns, **source}],
    )["items"]


def test_the_preferred_language_wins(
    settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = catalogue(settings, tmp_path, ITEMS, languages=["de", "en"])
    titles = ["Becher", "Teapot", "Théière", "Glas", "Spoon"]
    assert found["title"].tolist() == titles
    printed = capsys.readouterr().out
    assert "items: 4 rows in other languages are left out: en (2), " in printed


def test_the_languages_must_be_said(settings: Settings, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"items\.csv: 3 items have rows in several") as caught:
        catalogue(settings, tmp_path, ITEMS)
    assert "languages: [de, de-at, en, fr]" in str(caught.value)
    single = ITEMS.drop_duplicates("i")
    assert len(catalogue(settings, tmp_path, single)) == 5


def test_reviews_in_other_languages_are_left_out(
    settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    LINES.to_csv(tmp_path / "lines.csv", index=False)
    ITEMS.to_csv(tmp_path / "reviews.csv", index=False)
    source = {"path": "reviews.csv", "columns": {"item_id": "i", "text": "n", "language": "l"}}
    lines = [{"path": "lines.csv", "columns": COLUMNS}]
    both = {"interactions": lines, "reviews": [source]}
    assert len(ingest(settings, tmp_path, **both)["reviews"]) == len(ITEMS)
    source["languages"] = ["de"]
    found = ingest(settings, tmp_path, **both)["reviews"]
    assert found["text"].tolist() == ["Becher", None, "Glas"]
    assert "reviews.csv: 6 rows in other languages" in capsys.readouterr().out
