"""Served lists and their outcomes, coded: the training and test data of off-policy methods.

In: ``data/impressions`` as ``bowerbird export-feedback`` writes it, the valid interactions, and the
prepared tables, whose vocabularies and histories are used. Out: a ``Log``.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from components.arrays import BoolArray, DoubleArray, Int32Array, IntArray
from components.data.dataset import Histories, Prepared
from components.data.held_days import HeldDays
from components.data.schema import SESSION, SHOP
from components.settings import Event

VALID_INTERACTIONS = "data/valid/interactions.parquet"

COLUMNS = ("impression_id", "user_id", "item_ids", "propensities", "timestamp")
RULES = "rules"
"""Column with the merchandising rules of a list; files of earlier versions lack it."""


@dataclass(frozen=True)
class Log:
    """n decisions, one list of up to k items each.

    histories: of the user at each decision. ids: int32 (n, k) item codes by place, -1 where there
    is none. propensities: float64 (n, k), the marginal probability with which the served
    policy put this item at this place, NaN where it was not logged. rewards: float64 (n, k), 0 at
    ``placed``. placed: bool (n, k), places that a merchandising rule decided, which say nothing of
    the policy; None: there are none.
    """

    histories: Histories
    ids: Int32Array
    propensities: DoubleArray
    rewards: DoubleArray
    placed: BoolArray | None = None

    def __len__(self) -> int:
        return len(self.ids)

    def pick(self, rows: IntArray) -> Log:
        """Return the decisions ``rows`` (int), in that order."""
        return Log(
            self.histories.pick(rows),
            self.ids[rows],
            self.propensities[rows],
            self.rewards[rows],
            None if self.placed is None else self.placed[rows],
        )

    def without_placed(self) -> Log:
        """Return the log in which nothing was shown at the places that rules decided."""
        if self.placed is None:
            return self
        ids = np.where(self.placed, np.int32(-1), self.ids)
        return replace(self, ids=ids, propensities=np.where(self.placed, np.nan, self.propensities))

    def before(self, moment: int) -> Log:
        """Return the decisions strictly before ``moment`` (seconds since 1970)."""
        return self.pick(np.flatnonzero(self.histories.now < moment))


def read_exported(
    files: Iterable[Path], columns: tuple[str, ...], optional: tuple[str, ...] = ()
) -> pd.DataFrame:
    """Return ``columns`` of exported Parquet files, one below the other; no rows without files.

    optional: further columns, null in the rows of files without them.

    Raises:
        ValueError: a file cannot be read or lacks a column.
    """
    parts = []
    for file in files:
        try:
            there = pq.read_schema(file).names
            wanted = [*columns, *(name for name in optional if name in there)]
            parts.append(pd.read_parquet(file, columns=wanted))
        except (OSError, ValueError) as error:  # pyarrow's own errors are among these
            reason = str(error).splitlines()[0]
            raise ValueError(
                f"{file} does not have the columns {', '.join(columns)} that `bowerbird "
                f"export-feedback` writes ({reason}): take it away or export again"
            ) from error
    if not parts:
        return pd.DataFrame(columns=[*columns, *optional])
    found = pd.concat(parts, ignore_index=True)
    return found.reindex(columns=[*columns, *optional])


def load_log(
    impressions: str | Path,
    interactions: str | Path,
    prepared: Prepared,
    rewards: dict[Event, float],
    held: HeldDays = HeldDays(),
) -> Log:
    """Return the log of a folder of exported impressions; it may be empty.

    interactions: the file of valid interactions, whose feedback met the limits of ``validate``.
    An event of the shop's own files is a reward, and feedback with its key or a signed session.
    rewards: what an event on a shown item is worth ({"click": 1, …}); of several events on one
    item the most valuable counts. Items that the prepared tables do not know are -1; a
    history is what the prepared tables know of the user before the list was shown. held: lists of
    held days are left out, because their events are in quarantine. Clicks at the places that
    merchandising rules decided are no rewards: the policy did not choose what was there.

    Raises:
        ValueError: a file lacks columns, or an impression has not as many propensities as items.
    """
    files = sorted(Path(impressions).rglob("*.parquet"))
    shown = read_exported(files, COLUMNS, (RULES,)).drop_duplicates("impression_id")
    seconds = pd.to_datetime(shown["timestamp"], utc=True).astype("int64") // 10**9
    shown = shown.assign(seconds=seconds).sort_values(["seconds", "impression_id"])
    on_held_day = pd.to_datetime(shown["timestamp"], utc=True).dt.date.isin(list(held.reasons()))
    if on_held_day.any():
        print(f"{int(on_held_day.sum()):,} served lists of held days are left out")
        shown = shown[~on_held_day]
    lengths = shown["item_ids"].map(len).to_numpy(dtype=np.int64)
    wrong = lengths != shown["propensities"].map(len).to_numpy(dtype=np.int64)
    if wrong.any():
        raise ValueError(
            f"impression {shown['impression_id'].to_numpy()[wrong][0]} in {impressions}: "
            "propensities must be as many as item_ids"
        )
    n, k = len(shown), int(lengths.max(initial=0))
    filled = np.arange(k) < lengths[:, None]
    items = pd.Index(prepared.catalogue.ids)
    flat = np.concatenate([[], *shown["item_ids"]]).astype(object)
    ids = np.full((n, k), -1, dtype=np.int32)
    ids[filled] = items.get_indexer(flat)
    propensities = np.full((n, k), np.nan)
    propensities[filled] = np.concatenate([[], *shown["propensities"]]).astype(np.float64)

    placed = np.zeros((n, k), dtype=bool)
    for row, rules in enumerate(shown[RULES]):
        if isinstance(rules, str):
            placed[row, np.array(json.loads(rules)["placed"], dtype=np.int64) - 1] = True

    columns = ["impression_id", "item_id", "event", "authentication"]
    events = pd.read_parquet(interactions, columns=columns) if n else pd.DataFrame(columns=columns)
    sender = events["authentication"]
    events = events[sender.isna() | sender.isin((SHOP, SESSION))]
    events = events.assign(worth=events["event"].map(rewards).astype(float))
    events = events.dropna(subset=["impression_id", "item_id", "worth"])
    best = events.groupby(["impression_id", "item_id"])["worth"].max()
    keys = pd.MultiIndex.from_arrays([np.repeat(shown["impression_id"], lengths), flat])
    earned = np.zeros((n, k))
    earned[filled] = best.reindex(keys).fillna(0.0).to_numpy()
    earned[placed] = 0.0

    users = pd.Index(prepared.users["user_id"]).get_indexer(shown["user_id"])
    now = shown["seconds"].to_numpy(dtype=np.int64)
    known = np.flatnonzero(users >= 0)
    past = prepared.interactions.histories(users[known], now[known])
    counts = np.zeros(n, dtype=np.int64)
    counts[known] = past.lengths()
    offsets = np.concatenate([[0], np.cumsum(counts)])
    histories = replace(past, offsets=offsets, now=now)
    return Log(histories, ids, propensities, earned, placed if placed.any() else None)
