"""Our figures from the pages of other benchmarks with the same users and targets.

In: ``benchmarks/results``. Out: records without costs and paired differences, for data on which our
models are not fitted here. The users are all of the test window (leave-one-out), or those that
``benchmarks.two_shops`` draws (``--users 1000``).
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pandas as pd

from benchmarks.side_by_side.contenders import HYBRID, OURS, title_of
from benchmarks.side_by_side.data import Data

Records = dict[str, dict[str, Any]]


def quoted_title(name: str) -> str:
    """Return the title of a quoted record.

    >>> quoted_title("cease")
    'Bowerbird cease, from its page'
    """
    return f"{title_of(name)}, from its page"


QUOTED = quoted_title(HYBRID)


def quoted(data: Data, results: Path) -> Records:
    """Return the records of the test window by title; none where no page has them."""
    found = (
        of_leave_one_out(results / f"leave_one_out_{data.name}.csv")
        if data.protocol == "leave-one-out"
        else of_two_shops(results / "two_shops.md", data)
    )
    return {
        quoted_title(name): {"library": "bowerbird", "test": found[name]}
        for name in OURS
        if name in found
    }


def of_leave_one_out(file: Path) -> Records:
    """Return the figures of the form in which models learn from the validation items, too."""
    if not file.exists():
        return {}
    found = {}
    for row in pd.read_csv(file).query("form == 'with'").to_dict("records"):
        score = {"mean": row["ndcg@10"], "low": row["low"], "high": row["high"]}
        rate = {"mean": row["hr@10"]}  # of one target, recall is the hit rate
        found[row["model"]] = {"ndcg": score, "recall": rate, "hit_rate": rate}
    return found


def of_two_shops(file: Path, data: Data) -> Records:
    """Return the figures of the shop's own rule for seen items, if the page has as many users."""
    kind = "new products only" if data.exclude_seen else "with seen products"
    users = f"{len(data.splits['test'].task.users):,} users"
    title = f"## {data.name}: {kind}, test window, {users}\n"
    part = file.read_text().partition(title)[2].partition("\n## ")[0] if file.exists() else ""
    found: Records = {}
    for name, *cells in re.findall(r"^\| ([\w ]+) \|(.*?)\|(.*?)\|", part, re.MULTILINE):
        values = [[float(one) for one in re.findall(r"\d+\.\d+", cell)] for cell in cells]
        if all(len(one) == 3 for one in values):
            found[name] = {
                metric: dict(zip(("mean", "low", "high"), one, strict=True))
                for metric, one in zip(("ndcg", "recall"), values, strict=True)
            }
    return found
