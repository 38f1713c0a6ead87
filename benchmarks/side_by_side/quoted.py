"""The hybrid's figures from the page of another benchmark with the same users and targets.

In: ``benchmarks/results``. Out: a record without costs, for data on which the hybrid is not fitted
here. Its users are all of the test window (leave-one-out), or those that
``benchmarks.two_shops`` draws (``--users 1000``).
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pandas as pd

from benchmarks.side_by_side.data import Data

QUOTED = "Bowerbird hybrid, from its page"


def quoted(data: Data, results: Path) -> dict[str, Any] | None:
    """Return the record of the test window; None where no page has it."""
    test = (
        of_leave_one_out(results / f"leave_one_out_{data.name}.csv")
        if data.protocol == "leave-one-out"
        else of_two_shops(results / "two_shops.md", data)
    )
    return None if test is None else {"library": "bowerbird", "test": test}


def of_leave_one_out(file: Path) -> dict[str, Any] | None:
    """Return the figures of the hybrid whose models learned from the validation items, too."""
    if not file.exists():
        return None
    table = pd.read_csv(file).query("model == 'hybrid' and form == 'with'")
    if table.empty:
        return None
    row = table.iloc[0]
    score = {"mean": float(row["ndcg@10"]), "low": float(row["low"]), "high": float(row["high"])}
    rate = {"mean": float(row["hr@10"])}
    return {"ndcg": score, "recall": rate, "hit_rate": rate}  # of one target they are equal


def of_two_shops(file: Path, data: Data) -> dict[str, Any] | None:
    """Return the hybrid's figures of the shop's own rule for seen items, if as many users."""
    kind = "new products only" if data.exclude_seen else "with seen products"
    users = f"{len(data.splits['test'].task.users):,} users"
    title = f"## {data.name}: {kind}, test window, {users}\n"
    part = file.read_text().partition(title)[2].partition("\n## ")[0] if file.exists() else ""
    line = re.search(r"^\| hybrid \|(.*?)\|(.*?)\|", part, re.MULTILINE)
    if line is None:
        return None
    found = [[float(one) for one in re.findall(r"[\d.]+", cell)] for cell in line.groups()]
    return {
        metric: dict(zip(("mean", "low", "high"), values, strict=True))
        for metric, values in zip(("ndcg", "recall"), found, strict=True)
    }
