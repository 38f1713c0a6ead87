"""What the order of purchases and of ids says.

In: interactions in the order of their users' purchases. Out: whether ids ascend along sequences,
whether a list of the next ids is above chance, the same data under other ids, and the same data
with the newest two purchases of users in the other order.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.audit.targets import ALPHA, Chance, shares_of
from benchmarks.leave_one_out import mean
from components.arrays import BoolArray, DoubleArray, Int32Array, IntArray
from components.data.dataset import Catalogue, Histories, Interactions
from components.data.holdout import Task
from components.evaluation.metrics import ndcg
from components.evaluation.protocol import paired_p_value
from components.recommenders.base import MISSING

LOOK = 40
"""Ids in a row that a list of the next ids is drawn from."""
FAR = 4
"""Steps after which two purchases are taken not to be of one day."""


def ascending(x: Interactions, order: IntArray, apart: int) -> tuple[float, int]:
    """Return the share of pairs of a user's events, ``apart`` steps apart, whose items ascend in
    ``order`` (items,), and the number of pairs: 0.5 if the order says nothing."""
    places = order[x.items]
    same = x.users[apart:] == x.users[:-apart]
    up = places[apart:] > places[:-apart]
    return float(up[same].mean()), int(same.sum())


def next_ids(histories: Histories, order: IntArray, step: int, k: int = 10) -> Int32Array:
    """Return int32 (batch, k): the items that follow the newest one in ``order``, without those of
    the history. step: 1 upwards, -1 downwards."""
    n_items = len(order)
    at = np.argsort(order)  # the item at each place
    newest = histories.items[histories.offsets[1:] - 1]
    places = order[newest][:, None] + step * np.arange(1, LOOK + 1)
    inside = (places >= 0) & (places < n_items)
    items = at[np.clip(places, 0, n_items - 1)]
    seen = histories.seen(n_items)
    rows = np.broadcast_to(np.arange(len(items))[:, None], items.shape)
    usable = inside & (np.asarray(seen[rows, items].todense()) == 0)
    first = np.argsort(~usable, axis=1, kind="stable")[:, :k]
    ids = np.take_along_axis(items, first, axis=1).astype(np.int32)
    ids[~np.take_along_axis(usable, first, axis=1)] = MISSING
    return ids


def readers(task: Task, orders: Mapping[str, IntArray]) -> list[dict[str, Any]]:
    """Return a row for each order and direction: the figure of lists that follow the order."""
    rows = []
    for name, order in orders.items():
        for step, way in ((1, "up"), (-1, "down")):
            ids = next_ids(task.histories, order, step)
            each = ndcg(ids, task.targets)
            expected = Chance.of(ids, task, shares_of(task.targets))
            p = expected.p_above(each)
            rows.append(
                {
                    "order": f"{name}, {way}",
                    **mean(each),
                    "chance": float(expected.means.mean()),
                    "p": p,
                    "leak": p < ALPHA,
                }
            )
    return rows


def relabelled(
    x: Interactions, catalogue: Catalogue, seed: int
) -> tuple[Interactions, Catalogue, IntArray]:
    """Return the same data with item codes in a random order, and the new code of each item."""
    new = np.random.default_rng(seed).permutation(x.n_items)
    old = np.argsort(new)
    vectors = None if catalogue.vectors is None else catalogue.vectors[old]
    table = catalogue.table.iloc[old].reset_index(drop=True)
    items = new[x.items].astype(np.int32)
    return replace(x, items=items), Catalogue(table, vectors), new


def same_figures(
    first: dict[str, Int32Array], task: Task, second: dict[str, Int32Array], other: Task
) -> list[dict[str, Any]]:
    """Return a row for each model: its figures under two codings of the items.

    first, second: lists by model, with the task in the same coding. ``leak``: the figures differ
    by more than ties that a model breaks by the code can explain by chance.
    """
    rows = []
    for name, ids in first.items():
        before, after = ndcg(ids, task.targets), ndcg(second[name], other.targets)
        p = paired_p_value(before, after)
        rows.append(
            {
                "model": name,
                "before": float(before.mean()),
                **mean(after),
                "same": float((before == after).mean()),
                "p": p,
                "leak": p < ALPHA,
            }
        )
    return rows


def days_tied(frame: pd.DataFrame) -> BoolArray | None:
    """Return bool (users,): whether the newest two purchases of a user are of one day; None if the
    data has no ``timestamp`` (seconds or a date).

    frame: user_id, position and, optional, timestamp.
    """
    if "timestamp" not in frame:
        return None
    when = frame["timestamp"]
    if pd.api.types.is_numeric_dtype(when):
        when = pd.to_datetime(when, unit="s")
    users = pd.factorize(frame["user_id"])[0]
    table = pd.DataFrame(
        {"user": users, "position": frame["position"], "day": pd.to_datetime(when).dt.floor("D")}
    ).sort_values(["user", "position"])
    newest = table.groupby("user")["day"].nth([-1, -2])
    tied = newest.groupby(table["user"]).nunique().eq(1) & table.groupby("user").size().gt(1)
    return tied.to_numpy()


def swapped(x: Interactions, users: BoolArray) -> Interactions:
    """Return interactions with the newest two items of ``users`` (bool (users,)) exchanged."""
    last = (x.offsets[1:] - 1)[users & (np.diff(x.offsets) > 1)]
    items = x.items.copy()
    items[last], items[last - 1] = x.items[last - 1], x.items[last]
    return replace(x, items=items)


def shuffled(given: DoubleArray, other: DoubleArray, tied: BoolArray) -> DoubleArray:
    """Return (users,): the expected figure if the tied users' order is drawn at random.

    given, other: the figures in the order of the data and in the other one.
    """
    return np.where(tied, (given + other) / 2, given)
