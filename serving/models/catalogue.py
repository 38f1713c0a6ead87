"""Catalogue overlay: products added or changed since the model was trained.

In: the model's ``Hybrid`` and the products kept by ``PUT /items``. Out: a hybrid over all of them:
a new product is found by its text at once, without training.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from components.data.attributes import attribute_columns, kind_of, name_of
from components.data.dataset import Catalogue
from components.recommenders.two_stage.hybrid import Hybrid
from serving.recommend.engine import Engine

FIELDS = ("title", "description", "brand", "categories", "price", "currency", "available")


def overlaid(
    model: Hybrid,
    rows: Sequence[dict[str, Any]],
    vectors_of: Callable[[pd.DataFrame], np.ndarray] | None,
) -> Hybrid:
    """Return ``model`` with the changes of ``rows`` (as ``read_items``) and its new products.

    vectors_of: new products' table → float32 (products, width), in the space of the model's
    vectors. A new product without a title is left out. A known product keeps its place among the
    texts even if its title changed: its vector was trained.
    """
    old = model.catalogue.table
    place = pd.Index(old["item_id"].astype(str)).get_indexer([row["item_id"] for row in rows])
    changed = [(at, row) for at, row in zip(place, rows, strict=True) if at >= 0]
    fresh = [row for at, row in zip(place, rows, strict=True) if at < 0 and row["title"]]
    table = old.copy(deep=False)
    for name in FIELDS:
        values = [(at, row[name]) for at, row in changed if row[name] is not None]
        if values:
            column = table[name].astype(object) if name == "available" else table[name].copy()
            column = column.reset_index(drop=True)
            column.iloc[[at for at, _ in values]] = pd.Series(
                [value for _, value in values], dtype=column.dtype
            ).to_numpy()
            table[name] = column.to_numpy()
    attributes = attribute_columns(old.columns)
    for column in attributes:
        put = {at: row["attributes"] for at, row in changed if row.get("attributes")}
        values = [(at, one[name_of(column)]) for at, one in put.items() if name_of(column) in one]
        if values:
            cells = table[column].astype(object).reset_index(drop=True)
            for at, value in values:
                cells.iat[at] = value
            table[column] = _typed(column, cells).to_numpy()
    if any(row["categories"] is not None for _, row in changed):
        table["main_category"] = table["categories"].map(
            lambda names: names[-1] if names is not None and len(names) else None
        )
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
        }
    )
    for column in attributes:
        cells = [(row.get("attributes") or {}).get(name_of(column)) for row in fresh]
        new[column] = _typed(column, pd.Series(cells, dtype=object))
    vectors = model.catalogue.vectors
    if fresh:
        table = pd.concat([table, new], ignore_index=True)
        if vectors is not None:
            assert vectors_of is not None
            vectors = np.vstack([vectors, vectors_of(new)])
    return model.extended(Catalogue(table, vectors))


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
    model = overlaid(trained.model, rows, vectors_of)
    items = pd.Index(model.catalogue.table["item_id"].astype(str))
    codes = items.get_indexer([row["item_id"] for row in rows])
    codes = np.sort(codes[codes >= 0])
    return Engine(model, trained.version, trained, codes), codes
