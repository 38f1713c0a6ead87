"""Catalogue overlay: products added, changed or deleted since the model was trained.

In: the model's ``Hybrid`` and the rows of ``PUT /items`` and ``DELETE /items``. Out: a hybrid over
all of them: a new product is found by its text at once, without training. A deleted one keeps its
code, since histories have it, but not its categories, and no list has it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from components.data.attributes import attribute_columns, kind_of, name_of
from components.data.dataset import Catalogue
from components.data.item_table import TEXT, TEXTS, with_rows, with_values
from components.recommenders.two_stage.hybrid import Hybrid
from serving.columns import Ids
from serving.recommend.engine import DELETED, Engine

ADDRESSES = ("image", "url")
"""Fields that models of earlier versions do not have."""
FIELDS = (
    *("title", "description", "brand", "categories", "price", "currency", "available"),
    *ADDRESSES,
)


def overlaid(
    model: Hybrid,
    rows: Sequence[dict[str, Any]],
    vectors_of: Callable[[pd.DataFrame], np.ndarray] | None,
    ids: Ids | None = None,
) -> Hybrid:
    """Return ``model`` with the changes of ``rows`` (as ``read_items``) and its new products.

    vectors_of: new products' table → float32 (products, width), in the space of the model's
    vectors. ids: of the model's products; None: they are read. A new product without a title is
    left out, and so is a deleted one. A known product keeps its place among the texts even if its
    title changed: its vector was trained.
    """
    old = model.catalogue.table
    if ids is None:
        ids = Ids(old["item_id"])
    place = ids.get_indexer([row["item_id"] for row in rows]).tolist()
    changed = {at: row for at, row in zip(place, rows, strict=True) if at >= 0}
    fresh = [
        row
        for at, row in zip(place, rows, strict=True)
        if at < 0 and row["title"] and not row["deleted"]
    ]
    table = old.copy(deep=False)
    for name in FIELDS:
        values = {
            at: row[name]
            for at, row in changed.items()
            if row[name] is not None or name in (row["cleared"] or ())
        }
        if name == "categories":
            values |= {at: [] for at, row in changed.items() if row["deleted"]}
        if values or (name in ADDRESSES and name not in table):
            table[name] = with_values(_column(table, name), values)
        if name == "categories" and values and "main_category" in table:
            last = {at: names[-1] if names else None for at, names in values.items()}
            table["main_category"] = with_values(table["main_category"], last)
    attributes = attribute_columns(old.columns)
    for column in attributes:
        name = name_of(column)
        values = {
            at: (row["attributes"] or {}).get(name)
            for at, row in changed.items()
            if name in (row["attributes"] or ()) or "attributes" in (row["cleared"] or ())
        }
        if values:
            table[column] = _with_attributes(table[column], values)
    gone = np.zeros(len(table), dtype=bool)
    gone[[at for at, row in changed.items() if row["deleted"]]] = True
    table[DELETED] = gone
    new = pd.DataFrame(
        {
            "item_id": [row["item_id"] for row in fresh],
            "title": [row["title"] for row in fresh],
            "description": [row["description"] for row in fresh],
            "brand": [row["brand"] for row in fresh],
            "categories": [row["categories"] or [] for row in fresh],
            "categories_inferred": [False] * len(fresh),
            "main_category": [
                row["categories"][-1] if row["categories"] else None for row in fresh
            ],
            "price": np.array([row["price"] for row in fresh], dtype=np.float32),
            "currency": [row["currency"] for row in fresh],
            "available": [row["available"] is not False for row in fresh],
            "image": [row["image"] for row in fresh],
            "url": [row["url"] for row in fresh],
            DELETED: [False] * len(fresh),
        }
    )
    for column in attributes:
        cells = [(row["attributes"] or {}).get(name_of(column)) for row in fresh]
        new[column] = _typed(column, pd.Series(cells, dtype=object))
    if "categories_set" in table:
        new["categories_set"] = False
    vectors = model.catalogue.vectors
    if fresh:
        table = with_rows(table, new)
        if vectors is not None:
            assert vectors_of is not None
            vectors = np.vstack([vectors, vectors_of(new)])
    return model.extended(Catalogue(table, vectors))


def _column(table: pd.DataFrame, name: str) -> pd.Series:
    """Return a column of the catalogue, without values where the table has none."""
    if name not in table:
        dtype = TEXT if name in ADDRESSES else object
        return pd.Series(None, index=table.index, dtype=dtype)
    return table[name].astype(object) if name == "available" else table[name]


def _with_attributes(column: pd.Series, values: Mapping[int, Any]) -> pd.Series:
    """Return an attribute's column with the values of requests at some rows."""
    if column.dtype in (TEXT, TEXTS):
        return with_values(column, values)
    cells = with_values(column.astype(object), values)
    return _typed(str(column.name), cells)


def _typed(column: str, cells: pd.Series) -> pd.Series:
    """Return an attribute's values, of the table or of requests, as its column in the table."""
    kind = kind_of(column)
    if kind == "number":
        return pd.to_numeric(cells, errors="coerce").astype(np.float32)
    if kind == "date":
        return pd.to_datetime(cells, utc=True, format="ISO8601", errors="coerce")
    return cells


def overlaid_engine(
    trained: Engine,
    rows: Sequence[dict[str, Any]],
    vectors_of: Callable[[pd.DataFrame], np.ndarray] | None,
) -> tuple[Engine, np.ndarray]:
    """Return the engine over ``overlaid``, and the codes of the products added or changed."""
    model = overlaid(trained.model, rows, vectors_of, trained.items)
    table = model.catalogue.table
    known = trained.items.get_indexer([row["item_id"] for row in rows])
    codes = np.union1d(known[known >= 0], np.arange(trained.n_items, len(table)))
    return Engine(model, trained.version, trained, codes), codes
