"""Items of item files and of the lines, and categories inferred from titles."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.data.dataset import category_texts
from components.data.sources.inferred_categories import infer_categories
from components.data.sources.items import ordered_sets
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


def test_lines_without_a_sale_make_an_empty_catalogue(settings: Settings, tmp_path: Path) -> None:
    LINES.assign(Pieces=-1).to_csv(tmp_path / "lines.csv", index=False)
    source = {"path": "lines.csv", "columns": {**COLUMNS, "quantity": "Pieces"}}
    tables = ingest(settings, tmp_path, interactions=[source])
    assert len(tables["interactions"]) == len(LINES)
    assert tables["items"].empty


GENRES = ["Drama"] * 12 + ["Drama|Crime"] * 5 + ["Crime|Drama"] * 6 + ["Noir|Drama|Crime", ""]


def test_a_set_has_no_order_of_the_shop(settings: Settings, tmp_path: Path) -> None:
    LINES.head(0).to_csv(tmp_path / "lines.csv", index=False)
    table = pd.DataFrame({"sku": range(len(GENRES)), "name": "Film", "genres": GENRES})
    table.to_csv(tmp_path / "items.csv", index=False)
    columns = {"item_id": "sku", "title": "name", "categories": "genres"}
    source = {"path": "items.csv", "columns": columns, "category_separator": "|"}
    lines = [{"path": "lines.csv", "columns": COLUMNS}]
    found = ingest(settings, tmp_path, interactions=lines, items=[{**source, "categories": "set"}])[
        "items"
    ]
    assert found["categories_set"].tolist() == [True] * 24 + [False]  # the last is inferred
    sets = found["categories"].map(list)
    # Crime is rarer than Drama; one film is Noir, which groups nothing.
    assert sets[12:23].tolist() == [["Drama", "Crime"]] * 11
    assert sets[23:].tolist() == [["Noir", "Drama", "Crime"], ["Film"]]
    assert category_texts(found)[12:].tolist() == ["Drama, Crime"] * 11 + ["Noir, Drama, Crime", ""]
    paths = ingest(settings, tmp_path, interactions=lines, items=[source])["items"]
    assert not paths["categories_set"].any()
    assert category_texts(paths)[16:18].tolist() == ["Drama > Crime", "Crime > Drama"]


def test_sets_of_the_lines(settings: Settings, tmp_path: Path) -> None:
    LINES.assign(Tags=["new, red", "blue, new", "new, blue"]).to_csv(
        tmp_path / "lines.csv", index=False
    )
    source = {
        "path": "lines.csv",
        "columns": {**COLUMNS, "categories": "Tags"},
        "categories": "set",
        "category_separator": ",",
    }
    items = ingest(settings, tmp_path, interactions=[source])["items"].set_index("item_id")
    assert items["categories_set"].all()
    assert sorted(items.loc["AB1", "categories"]) == ["blue", "new"]
    with pytest.raises(ValueError, match=r"a path in one source and a set in another"):
        ingest(settings, tmp_path, interactions=[source, {**source, "categories": "path"}])


@given(st.lists(st.lists(st.sampled_from("abcde"), unique=True, max_size=4), max_size=40))
def test_a_set_keeps_its_categories(sets: list[list[str]]) -> None:
    found = ordered_sets(pd.Series(sets, dtype=object))
    assert [sorted(one) for one in found] == [sorted(one) for one in sets]
    same = ordered_sets(pd.Series([one[::-1] for one in sets], dtype=object))
    assert found.tolist() == same.tolist()


@given(st.lists(st.text(max_size=30), max_size=30))
def test_inferring_categories_never_fails(titles: list[str]) -> None:
    found = infer_categories(pd.Series(titles, dtype=object))
    assert len(found) == len(titles)
    words = {word for title in titles for word in title.lower().split()}
    assert all(any(name.lower() in word for word in words) for name in found.dropna())
