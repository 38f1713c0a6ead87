"""Feature table of a window of interactions, one row for each event.

In: interactions by the shop's ids (``schema.INTERACTIONS``), and the ``Vocabulary`` of the
reference. Out: the table that ``statistics`` compares with that of the reference.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from components.arrays import DoubleArray, FloatArray, IntArray
from components.data.dataset import Prepared
from components.data.schema import EVENTS

ITEM, USER = "item: ", "user: "
"""Before the names of attributes in a feature table."""
REQUIRED = ("user_id", "item_id", "event", "timestamp")


@dataclass(frozen=True)
class Vocabulary:
    """Items and users that were known when the reference was built.

    items: item ids, position = code. categories: object (n_items,), None without a category.
    projected: float32 (n_items, components), the item vectors on their principal components,
    NaN rows for items without a vector; None before the encoder ran. countries: country by
    user id. item_attributes: object (n_items, attributes). user_attributes: the same by user id.
    """

    items: pd.Index
    categories: IntArray
    projected: FloatArray | None
    countries: pd.Series
    item_attributes: pd.DataFrame = field(default_factory=pd.DataFrame)
    user_attributes: pd.DataFrame = field(default_factory=pd.DataFrame)


def by_shop_ids(prepared: Prepared) -> pd.DataFrame:
    """Return the prepared interactions with the shop's own ids: REQUIRED, price and quantity."""
    interactions = prepared.interactions
    return pd.DataFrame(
        {
            "user_id": prepared.users["user_id"].to_numpy()[interactions.users],
            "item_id": prepared.catalogue.ids[interactions.items],
            "event": np.array(EVENTS, dtype=object)[interactions.events],
            "timestamp": pd.to_datetime(interactions.times, unit="s", utc=True),
            "quantity": interactions.quantities,
            "price": interactions.prices,
        }
    )


def clean_window(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the valid rows, sorted by time, with the columns price and quantity.

    As in the prepared tables, there is one row for each user, item, event and time. Rows without
    user, item or time are dropped.

    Raises:
        ValueError: a column of REQUIRED is missing.
    """
    missing = [name for name in REQUIRED if name not in frame]
    if missing:
        raise ValueError(
            f"the window has no column {', '.join(missing)}; monitoring reads the contract's "
            f"interactions, which have {', '.join(REQUIRED)}"
        )
    frame = frame.dropna(subset=list(REQUIRED)).drop_duplicates(
        ["user_id", "item_id", "event", "timestamp"]
    )
    frame = frame.assign(
        user_id=frame["user_id"].astype(str),
        item_id=frame["item_id"].astype(str),
        timestamp=pd.to_datetime(frame["timestamp"], utc=True),
        **{name: np.nan for name in ("price", "quantity") if name not in frame},
    )
    return frame.sort_values(["timestamp", "user_id", "item_id"], ignore_index=True)


def feature_table(frame: pd.DataFrame, vocabulary: Vocabulary) -> pd.DataFrame:
    """Return one row for each event of a ``clean_window``.

    Columns: visit (a user's events of one UTC day, int), user_id, item (id), day, price and
    quantity (natural logarithms), basket (log of a visit's rows, in its first row only, else
    NaN), hour, weekday (0 = Monday), country (the frame's column if it has one, else the
    user's known country), category, text_0, text_1, … (principal components), new_text (bool), and
    ``item: `` or ``user: `` with the name of each attribute.
    """
    code = vocabulary.items.get_indexer(frame["item_id"])
    known = code >= 0
    day = frame["timestamp"].dt.floor("D")
    visit = frame.groupby([frame["user_id"], day], sort=False).ngroup().to_numpy()
    lines = np.bincount(visit)[visit]
    first = ~pd.Series(visit).duplicated().to_numpy()
    country = frame["user_id"].map(vocabulary.countries)
    if "country" in frame:
        country = frame["country"].where(frame["country"].notna(), country)
    columns = {
        "visit": visit,
        "user_id": frame["user_id"].to_numpy(),
        "item": frame["item_id"].to_numpy(),
        "day": day.to_numpy(),
        "price": _log(frame["price"]),
        "quantity": _log(frame["quantity"]),
        "basket": np.where(first, np.log(lines), np.nan),
        "hour": frame["timestamp"].dt.hour.to_numpy(),
        "weekday": frame["timestamp"].dt.weekday.to_numpy(),
        "country": country.to_numpy(dtype=object),
        "category": np.where(known, vocabulary.categories[code], None),
        "new_text": ~known,
    }
    if vocabulary.projected is not None:
        points = np.where(known[:, None], vocabulary.projected[code], np.nan)  # (rows, components)
        columns |= {name_of_component(i): points[:, i] for i in range(points.shape[1])}
        columns["new_text"] = np.isnan(points[:, 0])
    for name, values in vocabulary.item_attributes.items():
        columns[f"{ITEM}{name}"] = np.where(known, values.to_numpy(dtype=object)[code], None)
    for name, values in vocabulary.user_attributes.items():
        columns[f"{USER}{name}"] = frame["user_id"].map(values).to_numpy(dtype=object)
    return pd.DataFrame(columns)


def attributes_of(names: Iterable[str], prefix: str = "") -> list[str]:
    """Return a feature table's columns of attributes. prefix: only those of ITEM or USER."""
    return [name for name in names if name.startswith(prefix or (ITEM, USER))]


def name_of_component(i: int) -> str:
    """Return the feature table's column of the i-th principal component."""
    return f"text_{i}"


def components_of(table: pd.DataFrame) -> list[str]:
    """Return the names of a feature table's principal components."""
    return [name for name in table if name.startswith("text_")]


def draw_visits(table: pd.DataFrame, visits: int, rng: np.random.Generator) -> pd.DataFrame:
    """Return the rows of ``visits`` visits, drawn without replacement (all if there are fewer)."""
    every = table["visit"].unique()
    if visits >= len(every):
        return table
    return table[table["visit"].isin(rng.choice(every, visits, replace=False))]


def cap_rows(table: pd.DataFrame, rows: int, seed: int) -> pd.DataFrame:
    """Return at most ``rows`` rows of a feature table: whole visits, drawn at random."""
    if len(table) <= rows:
        return table
    sizes = table.groupby("visit").size().sample(frac=1, random_state=seed)
    keep = sizes.index[sizes.cumsum() <= rows]
    return table[table["visit"].isin(keep)]


def _log(column: pd.Series) -> DoubleArray:
    values = column.to_numpy(dtype=np.float64, na_value=np.nan)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(values > 0, np.log(values), np.nan)
