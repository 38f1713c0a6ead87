"""Items of item files and of the lines, and categories inferred from titles."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
from hypothesis import given
from hypothesis import strategies as st

from components.data.sources.items import infer_categories
from components.settings import Settings
from tests.components.data.shop_files import COLUMNS, LINES, ingest


def test_the_shops_own_catalogue_wins_over_the_lines(settings: Settings, tmp_path: Path) -> None:
    LINES.to_csv(tmp_path / "lines.csv", index=False)
    items = pd.DataFrame(
        {"sku": ["AB1", "NEW"], "name": ["Mug, blue", "Teapot"], "cat": "Home > Tea"}
    )
    items.to_csv(tmp_path / "items.csv", index=False)
    columns = {"item_id": "sku", "title": "name", "categories": "cat"}
    table = ingest(
        settings,
        tmp_path,
        interactions=[{"path": "lines.csv", "columns": COLUMNS}],
        items=[{"path": "items.csv", "columns": columns, "category_separator": ">"}],
        items_from_lines="always",
    )["items"].set_index("item_id")
    assert table.loc["AB1", "title"] == "Mug, blue"
    assert table.loc["NEW", "categories"].tolist() == ["Home", "Tea"]
    assert not table.loc["NEW", "categories_inferred"]
    assert table.loc["00123", "title"] == "Red Mug"  # the lines know it, the file does not


@given(st.lists(st.text(max_size=30), max_size=30))
def test_inferring_categories_never_fails(titles: list[str]) -> None:
    found = infer_categories(pd.Series(titles, dtype=object))
    assert len(found) == len(titles)
    words = {word for title in titles for word in title.lower().split()}
    assert all(any(name.lower() in word for word in words) for name in found.dropna())
