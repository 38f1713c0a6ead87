"""The recommendation engine of one loaded model: ranking, filters, fallbacks, reasons.

In: a loaded ``Hybrid`` and users' ``History``. Out: items with scores, their source and a reason.
Vectorised over the batch and the catalogue; Python loops only over requests and the k items shown.

Fallbacks fill the places that the hybrid leaves free, in this order: items nearest to the history
by text, popular items in the history's categories, popular items. While any product meets the
filters, the result is not empty.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import orjson
import pandas as pd

from components.recommenders.two_stage.features import ITEM_STATISTICS
from components.recommenders.two_stage.hybrid import Hybrid
from serving import metrics
from serving.profiles.history import EXPLAINED, History, stack

logger = logging.getLogger("bentoml.bowerbird")

RELATED = 0.5
"""Cosine from which on two products' texts are called similar in a reason."""

POPULAR_SHARE = 0.02
"""The share of the catalogue that is called popular in a reason."""

VERBS = {
    "view": "looked at",
    "click": "looked at",
    "cart": "put into your basket",
    "purchase": "bought",
    "rating": "rated",
}


MASKS, DESCRIBED = 256, 100_000
"""Entries of the caches of filters' masks and of items' descriptions."""

Key, Made = TypeVar("Key"), TypeVar("Made")


@dataclass(frozen=True)
class Filters:
    """What an item must meet to be shown. category: compared without case, any level."""

    category: str | None = None
    min_price: float | None = None
    max_price: float | None = None
    available_only: bool = True


@dataclass(frozen=True)
class Ask:
    """One request for k items. exclude: int (n,) item codes that must not be shown."""

    history: History
    k: int
    filters: Filters = Filters()
    exclude_seen: bool = True
    exclude: tuple[int, ...] = ()


@dataclass(frozen=True)
class Answer:
    """items: int (n,) codes, best first; n ≤ k. scores: float (n,), comparable within a source.

    sources: "hybrid", "content", "segment" (popular in the history's categories) or "popular",
    one an item.
    """

    items: list[int]
    scores: list[float]
    sources: list[str]

    def first(self, k: int) -> Answer:
        """Return the answer cut to its first ``k`` items."""
        return Answer(self.items[:k], self.scores[:k], self.sources[:k])


class Engine:
    """Recommendations of one loaded model. Holds no state of users, so it is thread-safe."""

    def __init__(
        self,
        model: Hybrid,
        version: str,
        before: Engine | None = None,
        changed: np.ndarray | None = None,
    ) -> None:
        """``before``: an engine of the same products except for those ``changed``, int codes (n,),
        and those added after it; what has not changed is copied from it."""
        self.model = model
        self.version = version
        table = model.catalogue.table
        self.n_items = len(table)
        self.items = pd.Index(table["item_id"].astype(str))
        self.ids: list[str] = self.items.tolist()
        self.titles: list[str] = table["title"].fillna("").astype(str).tolist()
        self.prices = table["price"].to_numpy(dtype=np.float64, na_value=np.nan)
        self.currencies: list[str] = table["currency"].fillna("").astype(str).tolist()
        self.available = table["available"].fillna(True).to_numpy(dtype=bool)
        self.categories: list[list[str]]
        if before is None:
            self.categories = [_names(names) for names in table["categories"]]
            self._category_items = _inverted(self.categories)
        else:
            self.categories = [*before.categories, *([] for _ in range(before.n_items, len(table)))]
            self._category_items = dict(before._category_items)
            self._move([] if changed is None else changed.tolist())
        main = table["main_category"] if "main_category" in table else pd.Series(index=table.index)
        self._main_category = pd.factorize(main)[0]
        # As a plain view of the mapped file: numpy takes ten times as long to index a memmap.
        vectors = model.catalogue.vectors
        self.vectors = None if vectors is None else np.asarray(vectors)
        statistics = dict(zip(ITEM_STATISTICS, model.item_statistics.T, strict=True))
        order = (statistics["log_count"], statistics["log_count_28d"], statistics["log_count_7d"])
        self.by_popularity = np.lexsort(order)[::-1]
        lately = statistics["log_count_7d"] + statistics["log_count_28d"]
        self.sold = statistics["log_count"] > 0
        top = self.by_popularity[: max(1, int(self.n_items * POPULAR_SHARE))]
        self._popular = np.zeros(self.n_items, dtype=bool)
        self._popular[top] = lately[top] > 0
        model.count_proposed(lambda name, n: metrics.CANDIDATES.labels(name).inc(n))
        self._masks: dict[Filters, np.ndarray] = {}
        self._described: dict[int, bytes] = {}
        scored = model.settings.exact_items if model.generator.indexes else self.n_items
        self.max_batch = int(np.clip(4_000_000 // max(1, scored), 1, 32))

    @classmethod
    def load(cls, folder: str | Path, version: str) -> Engine:
        """Return the engine of a model folder after one recommendation, so that all is in memory.

        Raises:
            FileNotFoundError: the folder is not a whole model folder.
        """
        if not (Path(folder) / "model.json").exists():
            raise FileNotFoundError(f"no model in {folder}: run `make run` first")
        engine = cls(Hybrid.load(folder), version)
        empty = History(np.empty(0, np.int32), np.empty(0, np.int64), 0, {})
        engine.recommend([Ask(empty, 10)])
        return engine

    def _move(self, changed: list[int]) -> None:
        """Put the products ``changed`` into the categories that the table now names."""
        column = self.model.catalogue.table["categories"]
        moved: dict[str, dict[int, bool]] = {}  # category → code → whether it is in it
        for code in changed:
            old, self.categories[code] = self.categories[code], _names(column.iloc[code])
            inside = dict.fromkeys((name.casefold() for name in old), False)
            inside |= dict.fromkeys((name.casefold() for name in self.categories[code]), True)
            for name, there in inside.items():
                moved.setdefault(name, {})[code] = there
        for name, codes in moved.items():
            stay = np.setdiff1d(self._category_items.get(name, []), list(codes)).astype(np.int64)
            come = [code for code, there in codes.items() if there]
            self._category_items[name] = np.union1d(stay, come).astype(np.int64)
            if not len(self._category_items[name]):
                del self._category_items[name]

    def category_names(self) -> list[tuple[str, int]]:
        """Return (category, number of items), the largest first."""
        names = ((name, len(codes)) for name, codes in self._category_items.items())
        return sorted(names, key=lambda pair: (-pair[1], pair[0]))

    def mask(self, filters: Filters) -> np.ndarray:
        """Return bool (items,): true where an item meets the filters."""
        return _kept(self._masks, filters, self._make_mask, MASKS)

    def _make_mask(self, filters: Filters) -> np.ndarray:
        mask = self.available.copy() if filters.available_only else np.ones(self.n_items, bool)
        if filters.category is not None:
            inside = np.zeros(self.n_items, dtype=bool)
            inside[self._category_items.get(filters.category.casefold(), [])] = True
            mask &= inside
        # A product without a price is not known to meet a limit.
        with np.errstate(invalid="ignore"):
            if filters.min_price is not None:
                mask &= self.prices >= filters.min_price
            if filters.max_price is not None:
                mask &= self.prices <= filters.max_price
        mask.flags.writeable = False
        return mask

    def recommend(self, asks: Sequence[Ask]) -> list[Answer]:
        """Return one answer a request; requests with the same filters are scored as a batch."""
        answers: list[Answer | None] = [None] * len(asks)
        groups: dict[tuple[Filters, bool], list[int]] = {}
        for position, ask in enumerate(asks):
            groups.setdefault((ask.filters, ask.exclude_seen), []).append(position)
        for (filters, exclude_seen), positions in groups.items():
            mask = self.mask(filters)
            width = max(asks[at].k + len(asks[at].exclude) for at in positions)
            histories = stack([asks[at].history for at in positions])
            try:
                ids, scores = self.model.recommend(histories, width, exclude_seen, mask)
            except (ValueError, IndexError, FloatingPointError) as error:
                # Popular products are better than an error; /metrics counts it.
                logger.exception("the hybrid failed: %s", type(error).__name__)
                ids = np.full((len(positions), 0), -1, dtype=np.int32)
                scores = np.empty((len(positions), 0), dtype=np.float32)
            for row, at in enumerate(positions):
                answers[at] = self._finish(asks[at], mask, ids[row], scores[row])
        return [answer for answer in answers if answer is not None]

    def _finish(self, ask: Ask, mask: np.ndarray, ids: np.ndarray, scores: np.ndarray) -> Answer:
        """Return the hybrid's items without excluded ones; fallbacks fill the free places."""
        keep = ids >= 0
        if ask.exclude:
            keep &= ~np.isin(ids, ask.exclude)
        items = ids[keep][: ask.k].tolist()
        answer = Answer(items, scores[keep][: ask.k].tolist(), ["hybrid"] * len(items))
        if len(items) < ask.k:
            self._fall_back(ask, mask, answer)
        return answer

    def _fall_back(self, ask: Ask, mask: np.ndarray, answer: Answer) -> None:
        free = mask.copy()
        free[answer.items] = False
        free[list(ask.exclude)] = False
        if ask.exclude_seen:
            free[ask.history.items] = False
        text_model = self.model.text_model()
        if text_model is not None and len(ask.history.items) and free.any():
            scores = text_model.score(stack([ask.history]))[0]
            best = np.argsort(np.where(free, -scores, np.inf), kind="stable")
            best = best[: ask.k - len(answer.items)]
            best = best[free[best] & np.isfinite(scores[best])]
            self._append(answer, best, scores[best], "content")
            free[best] = False
        if len(ask.history.items) and len(answer.items) < ask.k:
            own = np.unique(self._main_category[ask.history.items])
            inside = free & np.isin(self._main_category, own[own >= 0])
            self._append_popular(answer, inside, ask.k, "segment")
            free[answer.items] = False
        self._append_popular(answer, free, ask.k, "popular")
        if not answer.items:
            # Only items of the history are left: better than an empty list.
            seen = mask.copy()
            seen[list(ask.exclude)] = False
            self._append_popular(answer, seen, ask.k, "popular")

    def _append_popular(self, answer: Answer, free: np.ndarray, k: int, source: str) -> None:
        popular = self.by_popularity[free[self.by_popularity]][: k - len(answer.items)]
        self._append(answer, popular, np.zeros(len(popular)), source)

    def rerank(self, history: History, items: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
        """Return ``items`` (distinct codes) best first for the history, and their scores.

        Ranked in the form of the model (``rank.form``), as ``recommend``. An item that a rule
        forbids comes last, 1 below the lowest score.
        """
        codes = np.array(items, dtype=np.int64)
        scores = self.model.score_items(stack([history]), codes)[0]
        finite = np.isfinite(scores)
        scores = np.where(finite, scores, scores[finite].min(initial=0.0) - 1)
        order = np.argsort(-scores, kind="stable")
        return codes[order], scores[order]

    @staticmethod
    def _append(answer: Answer, items: np.ndarray, scores: np.ndarray, source: str) -> None:
        answer.items.extend(items.tolist())
        answer.scores.extend(scores.tolist())
        answer.sources.extend([source] * len(items))

    def similar(self, items: Sequence[int], k: int, filters: Filters = Filters()) -> Answer:
        """Return items similar to ``items`` (codes), by reciprocal rank fusion of the models.

        Fusion: the sum of 1 / (60 + rank) over the candidates that find similar items (Cormack et
        al., SIGIR 2009).
        """
        mask = self.mask(filters).copy()
        mask[list(items)] = False
        codes = np.array(items, dtype=np.int32)
        history = History(codes, np.zeros(len(codes), np.int64), 0, {})
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
        answer = Answer(among[best].tolist(), fused[best].tolist(), ["similar"] * len(best))
        if len(best) < k:
            self._fall_back(Ask(history, k, filters, True, tuple(items)), mask, answer)
        return answer

    def reasons(self, answer: Answer, history: History, recent: Iterable[int] = ()) -> list[str]:
        """Return one short text an item, each of a fact: the history, popularity, newness."""
        texts = ["" for _ in answer.items]
        if not answer.items:
            return texts
        own = history.items[
            : -EXPLAINED - 1 : -1
        ]  # newest first: of two equally near items it is named
        if len(own) and self.vectors is not None:
            cosine = self.vectors[answer.items] @ self.vectors[own].T
            nearest = cosine.argmax(axis=1)
            fresh = set(recent)
            for row in np.flatnonzero(cosine.max(axis=1) >= RELATED):
                code = int(own[nearest[row]])
                done = "just chose" if code in fresh else VERBS.get(history.events.get(code, ""))
                because = f"because you {done}" if done else "like something you had before:"
                texts[row] = f"{because} {self.titles[code]}"
        for row, item in enumerate(answer.items):
            if texts[row]:
                continue
            if not self.sold[item]:
                texts[row] = "new in the shop"
            elif self._popular[item]:
                texts[row] = "popular lately"
            elif answer.sources[row] == "segment":
                texts[row] = f"popular in {self.categories[item][-1]}"
            elif answer.sources[row] == "hybrid" and len(own):
                texts[row] = "chosen by your history as a whole"
            else:
                texts[row] = "often bought"
        return texts

    def described(self, code: int) -> bytes:
        """Return ``describe`` as JSON."""
        return _kept(self._described, code, lambda one: orjson.dumps(self.describe(one)), DESCRIBED)

    def describe(self, code: int) -> dict[str, Any]:
        """Return what a page shows of an item."""
        price = self.prices[code]
        return {
            "item_id": self.ids[code],
            "title": self.titles[code],
            "price": None if np.isnan(price) else round(float(price), 4),
            "currency": self.currencies[code],
            "categories": self.categories[code],
        }


def _kept(cache: dict[Key, Made], key: Key, make: Callable[[Key], Made], most: int) -> Made:
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


def _names(names: Iterable[Any] | None) -> list[str]:
    return [] if names is None else [str(name) for name in names]


def _inverted(categories: list[list[str]]) -> dict[str, np.ndarray]:
    """Return casefolded category → item codes."""
    found: dict[str, list[int]] = {}
    for code, names in enumerate(categories):
        for name in {name.casefold() for name in names}:
            found.setdefault(name, []).append(code)
    return {name: np.array(codes) for name, codes in found.items()}


def _top(scores: np.ndarray, n: int) -> np.ndarray:
    """Return the positions of the n best finite scores, best first."""
    n = min(n, len(scores))
    part = np.argpartition(-scores, n - 1)[:n]
    best = part[np.lexsort((part, -scores[part]))]
    return best[np.isfinite(scores[best])]
