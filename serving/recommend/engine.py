"""The recommendation engine of one loaded model: ranking with filters, similar items.

In: a loaded ``Hybrid`` and requests in its codes. Out: ranked lists. Vectorised over the batch and
the catalogue; Python loops only over requests and the k items shown. ``fallbacks`` fills the places
that the hybrid leaves free, ``explanations`` makes the reasons.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import orjson
import pandas as pd
from numpy.typing import NDArray

from components.data.attributes import as_json, kind_of, name_of
from components.data.dataset import Histories
from components.data.item_table import rows_by_text
from components.recommenders.shelves.statistics import FOLDER as SHELVES
from components.recommenders.shelves.statistics import ShelfStatistics
from components.recommenders.two_stage.features import ITEM_STATISTICS
from components.recommenders.two_stage.hybrid import Hybrid
from components.web_addresses import is_web_address
from serving import metrics
from serving.columns import Ids, Lists, Texts
from serving.fields import LONGEST_TEXT, LONGEST_VALUE, MOST_VALUES
from serving.filters.conditions import All
from serving.profiles.history import History, stack
from serving.recommend.attribute_index import AttributeIndex
from serving.recommend.attribute_reasons import AttributeReasons
from serving.recommend.explanations import Explanations
from serving.recommend.fallbacks import HOLDOUT, Fallbacks
from serving.recommend.masks import Masks
from serving.recommend.types import Filters, Mask, RankedList, Request

logger = logging.getLogger("bentoml.bowerbird")

POPULAR_SHARE = 0.02
"""Share of the catalogue that is called popular in a reason."""

MASKS, DESCRIBED = 256, 100_000
"""Entries of the caches of filters' masks and of items' descriptions, at most."""
MASK_BYTES = 1 << 28
"""The most that masks of filters take."""

NO_FILTERS = Filters()

DELETED = "deleted"
"""Column of a catalogue with the products of ``DELETE /items``, bool: no product any more."""

Codes = NDArray[np.int32] | NDArray[np.int64]

Key = TypeVar("Key")
Made = TypeVar("Made")


class Engine:
    """Recommendations of one loaded model. Holds no state of users, so it is thread-safe."""

    def __init__(
        self,
        model: Hybrid,
        version: str,
        before: Engine | None = None,
        changed: Codes | None = None,
        shown: Sequence[str] = (),
        shelf_statistics: ShelfStatistics | None = None,
    ) -> None:
        """``before``: an engine of the same products except for those ``changed``, int codes (n,),
        and those added after it; everything else is copied from it. shown: columns of the
        attributes that answers may show, in their order; with ``before`` those of it.
        shelf_statistics: None: the model folder has none, or with ``before`` those of it."""
        self.model = model
        self.shelf_statistics: ShelfStatistics | None = (
            shelf_statistics if before is None else before.shelf_statistics
        )
        self._user_attributes = model.attributes.users
        self.version = version
        table = model.catalogue.table
        self.n_items = len(table)
        self.items: Ids = (
            Ids(table["item_id"]) if before is None else before._items_of(table["item_id"])
        )
        self.titles = Texts(table["title"])
        self.prices = table["price"].to_numpy(dtype=np.float64, na_value=np.nan)
        self.currencies = Texts(table["currency"])
        # False of what was deleted: in no list, whatever the filters.
        self.listed: Mask = np.ones(self.n_items, dtype=bool)
        if DELETED in table:
            self.listed = ~table[DELETED].to_numpy(dtype=bool)
        self.available = (
            table["available"].ne(False).fillna(True).to_numpy(dtype=bool) & self.listed
        )
        self.shown: tuple[str, ...] = tuple(shown) if before is None else before.shown
        self.attributes: AttributeIndex = AttributeIndex(
            table, None if before is None else before.attributes, changed
        )
        self._described_attributes = [column for column in self.shown if column in table]
        self.shown_attributes = [
            column for column in self._described_attributes if kind_of(column) != "text"
        ]
        self.categories = Lists(table["categories"])
        if before is None:
            self._category_items = rows_by_text(table["categories"])
        else:
            self._category_items = dict(before._category_items)
            self._move(before, [] if changed is None else changed.tolist())
        main = table["main_category"] if "main_category" in table else pd.Series(index=table.index)
        # As a plain view of the mapped file: numpy takes ten times as long to index a memmap.
        vectors = model.catalogue.vectors
        self.vectors = None if vectors is None else np.asarray(vectors)
        statistics = dict(zip(ITEM_STATISTICS, model.item_statistics.T, strict=True))
        order = (statistics["log_count"], statistics["log_count_28d"], statistics["log_count_7d"])
        self.by_popularity = np.lexsort(order)[::-1].astype(np.int32)
        lately = statistics["log_count_7d"] + statistics["log_count_28d"]
        self.sold = statistics["log_count"] > 0
        top = self.by_popularity[: max(1, int(self.n_items * POPULAR_SHARE))]
        popular = np.zeros(self.n_items, dtype=bool)
        popular[top] = lately[top] > 0
        self.explanations = Explanations(
            *(self.titles, self.categories, self.vectors, self.sold, popular),
            AttributeReasons(table, model.attributes, self.shown),
            model.repeat_model(),
        )
        main_category = pd.factorize(main)[0].astype(np.int32)
        self.fallbacks = Fallbacks(model, self.by_popularity, main_category)
        model.count_proposed(lambda name, n: metrics.CANDIDATES.labels(name).inc(n))
        flags = {"available": self.available, "new": ~self.sold}
        self.masks = Masks(self.items, self.attributes, self._category_items, self.prices, flags)
        self._masks: dict[Filters, Mask] = {}
        self._max_masks = int(np.clip(MASK_BYTES // max(1, self.n_items), 8, MASKS))
        self._described: dict[int, bytes] = {}
        scored = model.settings.exact_items if model.generator.indexes else self.n_items
        self.max_batch = int(np.clip(4_000_000 // max(1, scored), 1, 32))

    @classmethod
    def load(cls, folder: str | Path, version: str, shown: Sequence[str] = ()) -> Engine:
        """Return the engine of a model folder after one recommendation, which warms it up.

        shown: columns of the attributes that answers may show, in their order.

        Raises:
            FileNotFoundError: the folder is not a complete model folder.
        """
        if not (Path(folder) / "model.json").exists():
            raise FileNotFoundError(f"no model in {folder}: run `make run` first")
        model = Hybrid.load(folder)
        statistics = None
        shelves = Path(folder) / SHELVES
        if shelves.exists() and SHELVES not in model.damaged:
            statistics = ShelfStatistics.load(shelves)
        engine = cls(model, version, shown=shown, shelf_statistics=statistics)
        empty = History(np.empty(0, np.int32), np.empty(0, np.int64))
        engine.recommend([Request(empty, 10)])
        return engine

    @property
    def ids(self) -> Ids:
        """The products' ids by their codes: ``items``."""
        return self.items

    def _items_of(self, column: pd.Series) -> Ids:
        """Return the ids of this engine's products and of those after them in the column."""
        return self.items.extended(Texts(column.iloc[self.n_items :])[:])

    def _move(self, before: Engine, changed: list[int]) -> None:
        """Put the products ``changed`` since ``before`` into the categories that they have now."""
        moved: dict[str, dict[int, bool]] = {}  # category → code → whether it is in it
        for code in changed:
            old = before.categories[code] if code < before.n_items else []
            inside = dict.fromkeys((name.casefold() for name in old), False)
            inside |= dict.fromkeys((name.casefold() for name in self.categories[code]), True)
            for name, there in inside.items():
                moved.setdefault(name, {})[code] = there
        for name, codes in moved.items():
            stay = np.setdiff1d(self._category_items.get(name, []), list(codes)).astype(np.int32)
            come = [code for code, there in codes.items() if there]
            self._category_items[name] = np.union1d(stay, come).astype(np.int32)
            if not len(self._category_items[name]):
                del self._category_items[name]

    def category_names(self) -> list[tuple[str, int]]:
        """Return (category, number of items), the largest first."""
        names = ((name, len(codes)) for name, codes in self._category_items.items())
        return sorted(names, key=lambda pair: (-pair[1], pair[0]))

    def mask(self, filters: Filters) -> Mask:
        """Return bool (items,): true where an item meets the filters."""
        return cached(self._masks, filters, self.uncached_mask, self._max_masks)

    def uncached_mask(self, filters: Filters) -> Mask:
        """Return ``mask(filters)``, computed and not kept."""
        allowed = self.available if filters.available_only else self.listed
        mask = self.masks.of(All(tuple(filters.conditions())), allowed)
        mask.flags.writeable = False
        return mask

    def stacked(self, histories: Sequence[History]) -> Histories:
        """Return the histories as the model takes them, with the shoppers' attributes."""
        return stack(histories, self._user_attributes)

    def recommend(self, requests: Sequence[Request], among: Mask | None = None) -> list[RankedList]:
        """Return one list a request; requests with the same filters are scored as a batch.

        among: bool (items,), the only items of all lists; None: no limit.
        """
        lists: dict[int, RankedList] = {}
        groups: dict[tuple[Filters, bool], list[int]] = {}
        for at, request in enumerate(requests):
            if request.popular:
                mask = self.mask(request.filters)
                lists[at] = self.fallbacks.popular(request, mask if among is None else mask & among)
                continue
            groups.setdefault((request.filters, request.exclude_seen), []).append(at)
        for (filters, exclude_seen), places in groups.items():
            mask = self.mask(filters) if among is None else self.mask(filters) & among
            group = [requests[at] for at in places]
            width = max(request.k + len(request.exclude) for request in group)
            histories = self.stacked([request.history for request in group])
            try:
                items, scores = self.model.recommend(histories, width, exclude_seen, mask)
            except (ValueError, IndexError, FloatingPointError) as error:
                # Popular products are better than an error; /metrics counts it.
                logger.exception("the hybrid failed: %s", type(error).__name__)
                items = np.full((len(group), 0), -1, dtype=np.int32)
                scores = np.empty((len(group), 0), dtype=np.float32)
            for row, (at, request) in enumerate(zip(places, group, strict=True)):
                lists[at] = self._complete(request, mask, items[row], scores[row])
        return [lists[at] for at in range(len(requests))]

    def _complete(
        self, request: Request, mask: Mask, items: Codes, scores: NDArray[np.float32]
    ) -> RankedList:
        """Return the hybrid's items without excluded ones; fallbacks fill the free places."""
        keep = items >= 0
        if request.exclude:
            keep &= ~np.isin(items, request.exclude)
        codes = items[keep][: request.k].tolist()
        ranked = RankedList(codes, scores[keep][: request.k].tolist(), ["hybrid"] * len(codes))
        if len(codes) < request.k:
            self.fallbacks.fill(request, mask, ranked)
        return ranked

    def rerank(self, history: History, items: Sequence[int], popular: bool = False) -> RankedList:
        """Return ``items`` (distinct codes) best first for the history.

        Ranked in the form of the model (``rank.form``), as ``recommend``. An item that a rule
        forbids comes last, 1 below the lowest score. popular: by popularity, as in the holdout.
        """
        codes = np.array(items, dtype=np.int64)
        if popular:
            best = self.by_popularity[np.isin(self.by_popularity, codes)].tolist()
            return RankedList(best, [0.0] * len(best), [HOLDOUT] * len(best))
        scores = self.model.score_items(self.stacked([history]), codes)[0]
        finite = np.isfinite(scores)
        scores = np.where(finite, scores, scores[finite].min(initial=0.0) - 1)
        order = np.argsort(-scores, kind="stable")
        return RankedList(codes[order].tolist(), scores[order].tolist(), ["rerank"] * len(order))

    def similar(self, items: Sequence[int], k: int, filters: Filters = NO_FILTERS) -> RankedList:
        """Return ``similar_among`` of the items that meet the filters; fallbacks fill the list."""
        mask = self.mask(filters).copy()
        mask[list(items)] = False
        ranked = self.similar_among(items, k, mask)
        if len(ranked.items) < k:
            codes = np.array(items, dtype=np.int32)
            history = History(codes, np.zeros(len(codes), np.int64))
            request = Request(history, k, filters, exclude=tuple(items))
            self.fallbacks.fill(request, mask, ranked)
        return ranked

    def similar_among(self, items: Sequence[int], k: int, mask: Mask) -> RankedList:
        """Return items of ``mask`` similar to ``items`` (codes), by reciprocal rank fusion of the
        models.

        Fusion: the sum of 1 / (60 + rank) over the candidates that find similar items (Cormack et
        al., SIGIR 2009).
        """
        codes = np.array(items, dtype=np.int32)
        history = History(codes, np.zeros(len(codes), np.int64))
        batch = stack([history])
        among = self.model.shortlist(batch, mask)
        fused = np.zeros(len(among))
        for model in self.model.similar_models().values() if len(among) else ():
            scores = model.score_similar(batch, among)[0]
            best = _top(scores, 200)
            # The lowest score of a model means "not similar".
            best = best[scores[best] > scores[np.isfinite(scores)].min(initial=np.inf)]
            fused[best] += 1.0 / (60.0 + np.arange(len(best)))
        best = _top(fused, k) if len(among) else np.empty(0, dtype=np.int64)
        best = best[fused[best] > 0]
        return RankedList(among[best].tolist(), fused[best].tolist(), ["similar"] * len(best))

    def render(self, ranked: RankedList, reasons: Sequence[str | None] | None = None) -> RankedList:
        """Return the list with each item's JSON, the only place where codes become item ids.

        reasons: one an item; None: no reasons.
        """
        texts = [None] * len(ranked.items) if reasons is None else reasons
        rendered = [
            cached(self._described, code, self._describe_json, DESCRIBED)
            + orjson.dumps(
                {
                    "score": score,
                    "source": source,
                    "reason": reason,
                    "evidence": ranked.evidence.get(code),
                }
            )[1:]
            for code, score, source, reason in zip(
                ranked.items, ranked.scores, ranked.sources, texts, strict=True
            )
        ]
        return replace(ranked, rendered=rendered)

    def json_of(self, ranked: RankedList, **rest: object) -> bytes:
        """Return the JSON of an answer: ``items``, then ``rest``."""
        items = b",".join(self.render(ranked).rendered)
        return b'{"items":[%b],%b' % (items, orjson.dumps(rest)[1:])

    def _describe_json(self, code: int) -> bytes:
        return orjson.dumps(self.describe(code))[:-1] + b","

    def describe(self, code: int) -> dict[str, Any]:
        """Return the fields of an item that a page shows."""
        price = self.prices[code]
        return {
            "item_id": self.ids[code],
            "title": self.titles[code],
            "price": None if np.isnan(price) else round(float(price), 4),
            "currency": self.currencies[code],
            "categories": self.categories[code],
            "image": self._address_of(code, "image"),
            "url": self._address_of(code, "url"),
            "attributes": self._attributes_of(code),
        }

    def _address_of(self, code: int, name: str) -> str | None:
        """Return the address of an item's image or page, None where there is none to be shown."""
        table = self.model.catalogue.table
        found = table[name].iloc[code] if name in table else None
        return found if isinstance(found, str) and is_web_address(found) else None

    def _attributes_of(self, code: int) -> dict[str, float | str | list[str]]:
        """Return the shown attributes that are known of an item, by their names."""
        table = self.model.catalogue.table
        row = {column: table[column].iloc[code] for column in self._described_attributes}
        found = {
            name_of(column): _brief(
                as_json(column, cell), LONGEST_TEXT if kind_of(column) == "text" else LONGEST_VALUE
            )
            for column, cell in row.items()
        }
        return {name: value for name, value in found.items() if value is not None}


def cached(cache: dict[Key, Made], key: Key, make: Callable[[Key], Made], most: int) -> Made:
    """Return ``make(key)`` from the cache of at most ``most`` entries; the oldest is evicted first.

    Not ``lru_cache``: around a method it is a reference cycle, which would keep a replaced model in
    memory, since the garbage collector's objects are frozen (``gc.freeze``).
    """
    found = cache.get(key)
    if found is None:
        if len(cache) >= most:
            cache.pop(next(iter(cache)), None)
        found = cache[key] = make(key)
    return found


def _brief(value: float | str | list[str] | None, longest: int) -> float | str | list[str] | None:
    """Return an attribute's value within the limits of ``fields``, None if nothing is left.

    longest: most characters of a text.
    """
    if isinstance(value, list):
        return [one for one in value if len(one) <= longest][:MOST_VALUES] or None
    return None if isinstance(value, str) and len(value) > longest else value


def _top(scores: NDArray[Any], n: int) -> NDArray[np.int64]:
    """Return the positions of the n best finite scores, best first."""
    n = min(n, len(scores))
    part = np.argpartition(-scores, n - 1)[:n]
    best = part[np.lexsort((part, -scores[part]))]
    return best[np.isfinite(scores[best])]
