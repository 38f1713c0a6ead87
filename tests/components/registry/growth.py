"""A shop's prepared tables a day later: purchases of known products and of a new one."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd

DAY = 86_400


def grow(root: Path, title: str, buyers: int = 40) -> str:
    """Add a day to ``data/prepared`` and return the id of a new product, which sorts before all
    others: each of the most active ``buyers`` users buys it and one that is not new."""
    folder = root / "data/prepared"
    items = pd.read_parquet(folder / "items.parquet")
    frame = pd.read_parquet(folder / "interactions.parquet")
    times = json.loads((folder / "split.json").read_text())
    first = items["item_id"].min()
    item_id = f"{int(first) - 1:05}" if first.startswith("0000") else "00009"
    assert item_id < first
    new = items.iloc[[0]].assign(item_id=item_id, title=title, popularity=0)
    pd.concat([new, items], ignore_index=True).to_parquet(folder / "items.parquet")
    frame["item"] += 1
    users = frame["user"].value_counts().index[:buyers].to_numpy()
    bought = frame.sort_values("timestamp").iloc[-2 * buyers :].copy()
    bought["user"] = np.repeat(users, 2).astype(np.int32)
    bought.loc[bought.index[::2], "item"] = np.int32(0)
    bought["timestamp"] = times["end"] + np.arange(2 * buyers) * 60
    bought["authenticated"] = True
    frame = pd.concat([frame, bought], ignore_index=True)
    frame = frame.sort_values(["user", "timestamp", "item"], ignore_index=True)
    frame.to_parquet(folder / "interactions.parquet")
    later = {name: moment + DAY for name, moment in times.items()}
    (folder / "split.json").write_text(json.dumps(later))
    return item_id
