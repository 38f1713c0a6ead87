"""The lists of a model in a week, compared with what the customers then bought."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.replay.shop import SeesTheFuture, Shop, target_of
from benchmarks.replay.training import of_rows
from components.arrays import Int32Array
from components.data.dataset import DAY, Catalogue, Histories, Prepared
from components.evaluation.metrics import coverage, ndcg
from components.recommenders.base import MISSING, Recommender
from components.recommenders.two_stage.hybrid import Hybrid

K = 10


@dataclass(frozen=True)
class InService:
    """A model as it serves in a week.

    catalogue: in the model's order. until: its newest training event, seconds since 1970.
    """

    model: Recommender
    catalogue: Catalogue
    until: int


def in_service(model: Hybrid, prepared: Prepared) -> InService:
    """Return a hybrid as the endpoint serves it: with the products that were added since.

    New products are known by their texts, as after ``PUT /items``.

    Raises:
        SeesTheFuture: the model knows products that the shop does not have yet.
    """
    own, now = pd.Index(model.catalogue.ids), pd.Index(prepared.catalogue.ids)
    place = now.get_indexer(own)
    if (place < 0).any():
        raise SeesTheFuture(f"the model knows {(place < 0).sum()} products of a later week")
    if len(own) < len(now):
        rows = np.concatenate([place, np.setdiff1d(np.arange(len(now)), place)])
        model = model.extended(of_rows(prepared.catalogue, rows))
    assert model.trained_until is not None
    return InService(model, model.catalogue, model.trained_until)


def judge(shop: Shop, week: int, served: InService) -> dict[str, Any]:
    """Return what the lists of a model are worth in ``week``.

    ndcg: of each customer with a history, in the order of ``users``. new_customers: mean NDCG of
    those without, all of whom get one list. coverage: of the catalogue. new_products: share of
    listed products that sold first in the four weeks before.

    Raises:
        SeesTheFuture: the model was trained on events of the week.
    """
    start = shop.begins(week)
    if served.until >= start:
        raise SeesTheFuture(
            f"the model was trained on events until {pd.Timestamp(served.until, unit='s')}, "
            f"and week {week} begins on {pd.Timestamp(start, unit='s')}"
        )
    before, after = shop.prepared(week), shop.prepared(week + 1)
    target = target_of(shop, week)
    own = pd.Index(served.catalogue.ids)
    codes = own.get_indexer(before.catalogue.ids).astype(np.int32)
    histories = target.histories
    histories = histories.where(np.ones(len(histories.items), bool), codes[histories.items])
    nobody = Histories.from_lists([[]], now=start)
    exclude = shop.settings.train.exclude_seen
    known, new = (
        _translated(served.model.recommend(one, K, exclude_seen=exclude)[0], own, after)
        for one in (histories, nobody)
    )
    n_new = len(target.users) - target.known
    of_new = ndcg(np.repeat(new, n_new, axis=0), target.bought[target.known :])
    return {
        "users": target.users[: target.known].tolist(),
        "ndcg": ndcg(known, target.bought[: target.known]).round(6).tolist(),
        "new_customers": n_new,
        "new_customers_ndcg": float(of_new.mean()) if n_new else 0.0,
        "coverage": coverage(known, len(before.catalogue)),
        "new_products": _share_of_new(known, after, start, shop),
    }


def _translated(ids: Int32Array, own: pd.Index, prepared: Prepared) -> Int32Array:
    """Return lists in the codes of ``prepared``; own: the ids of the model's codes."""
    codes = pd.Index(prepared.catalogue.ids).get_indexer(own).astype(np.int32)
    return np.where(ids == MISSING, MISSING, codes[np.maximum(ids, 0)])


def _share_of_new(lists: Int32Array, after: Prepared, start: int, shop: Shop) -> float:
    """Return the share of listed products that sold first in the weeks before ``start``."""
    x = after.interactions
    first = np.full(x.n_items, np.iinfo(np.int64).max)
    np.minimum.at(first, x.items, x.times)
    days = shop.settings.register_.guardrails.new_products_days
    new = (first >= start - days * DAY) & (first < start)
    listed = lists != MISSING
    return float((new[np.maximum(lists, 0)] & listed).sum() / max(listed.sum(), 1))
