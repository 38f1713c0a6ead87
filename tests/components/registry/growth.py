"""A shop's prepared tables a day later: purchases of known products and of a new one."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd

DAY = 86_400
PARTS = ("users", "interactions")


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


def attack(root: Path, n: int, item: int, name: str) -> list[str]:
    """Let ``n`` new profiles, that the shop does not know, buy the item (a code) and four others
    on the newest days; return their ids."""
    folder = root / "data/prepared"
    users, frame = (pd.read_parquet(folder / f"{part}.parquet") for part in PARTS)
    end = json.loads((folder / "split.json").read_text())["end"]
    ids = [f"session:{name}-{number}" for number in range(n)]
    new = users.iloc[[0] * n].assign(user_id=ids, verified=False)
    pd.concat([users, new], ignore_index=True).to_parquet(folder / "users.parquet")
    rng = np.random.default_rng(0)
    rows = frame.iloc[[0] * 5 * n].copy()
    rows["user"] = np.repeat(np.arange(len(users), len(users) + n), 5).astype(np.int32)
    others = rng.choice(frame["item"].to_numpy(), (n, 4))
    rows["item"] = np.column_stack([np.full(n, item), others]).ravel().astype(np.int32)
    rows["timestamp"] = end - rng.integers(1, 2 * DAY, n).repeat(5)
    rows["authenticated"] = False
    frame = pd.concat([frame, rows], ignore_index=True)
    frame = frame.sort_values(["user", "timestamp", "item"], ignore_index=True)
    frame.to_parquet(folder / "interactions.parquet")
    return ids
