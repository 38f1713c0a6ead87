"""Simulated shoppers of a real endpoint, who click where a list has what they are known to buy."""

from __future__ import annotations

from pathlib import Path

import httpx
import pandas as pd


class Shoppers:
    """The shop's known customers; each looks at one list at a time.

    key: the header with the shop's key. k: products of a list.
    failed: the responses other than 200. seen: user → model version of the newest list.
    """

    def __init__(self, root: Path, key: dict[str, str], k: int = 20) -> None:
        self.key, self.k = key, k
        lines = pd.read_parquet(root / "data/prepared/interactions.parquet")
        users = pd.read_parquet(root / "data/prepared/users.parquet")["user_id"]
        items = pd.read_parquet(root / "data/prepared/items.parquet")["item_id"].to_numpy()
        of_user = lines.groupby("user")["item"].unique()
        self.likes = {users[user]: set(items[codes]) for user, codes in of_user.items()}
        self.failed: list[int] = []
        self.seen: dict[str, str] = {}

    def visit(self, client: httpx.Client, users: list[str]) -> None:
        """Have each of ``users`` look at a list, and click where it has what they like."""
        for user in users:
            wanted = {"user_id": user, "k": self.k, "exclude_seen": False, "reasons": False}
            answer = client.post("/recommend", json=wanted, headers=self.key)
            if answer.status_code != 200:
                self.failed.append(answer.status_code)
                continue
            shown = answer.json()
            self.seen[user] = shown["model_version"]
            ids = [one["item_id"] for one in shown["items"]]
            assert len(ids) == self.k
            liked = [item for item in ids if item in self.likes[user]]
            if liked:
                event = {"user_id": user, "item_id": liked[0], "event": "click"}
                named = {**event, "impression_id": shown["impression_id"]}
                kept = client.post("/feedback", json=named, headers=self.key)
                self.failed += [kept.status_code] * (kept.status_code != 200)
