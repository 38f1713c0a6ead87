"""The hybrid: every candidate model proposes, a learned ranker orders what they proposed.

In: ``models/candidates`` (the fitted candidates), ``data/prepared``, ``models/vectors``.
Out: ``models/hybrid``, the self-contained folder that is evaluated, registered and served.

Two stages, as in Covington et al. (RecSys 2016): candidates from each model, then LambdaMART
(Burges 2010, here LightGBM) over the models' scores and what is known of the item, the history
and how the two fit. The ranker learns on the validation window with candidates that were fitted
before it, and is then put over candidates that were fitted before the test window.
"""

from __future__ import annotations

import copy
import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import lightgbm as lgb
import numpy as np
import pandas as pd
import scipy.sparse as sp
from tqdm import tqdm

from components.data.dataset import (
    DAY,
    Catalogue,
    Histories,
    Interactions,
    Prepared,
    load_prepared,
)
from components.recommenders.base import MISSING, Recommender
from components.recommenders.blends import Blend, fit_weights, forms
from components.recommenders.extended import Extended, extended, known_part
from components.recommenders.forest import Forest
from components.recommenders.nearest import Nearest
from components.recommenders.neighbours import ItemNeighbours
from components.recommenders.popularity import Popularity
from components.recommenders.training import load_model
from components.settings import Rank, Settings

RECENT_DAYS = (7, 28)
ITEM_STATISTICS = ("log_count", *(f"log_count_{days}d" for days in RECENT_DAYS), "age", "last_sale")
PAIR_FEATURES = ("log_price", "price_ratio", "category_affinity", "times_seen")
INDEXED = {"content": "vectors", "matrix_factorisation": "factors"}
"""Models with vectors that are indexed on large catalogues, and what the vectors are called."""
NUMBERS = 50_000_000
"""How many scores, of all models and histories, are held at once."""
HISTORY_FEATURES = ("history_events", "history_items", "days_since_last", "days_known")


@dataclass(frozen=True)
class Pairs:
    """Candidates of a batch: pair p is item ``items[p]`` for the batch's row ``rows[p]``.

    rows: int64 (pairs,) ascending. items: int32 (pairs,). features: float32 (pairs, features).
    """

    rows: np.ndarray
    items: np.ndarray
    features: np.ndarray


class Hybrid(Recommender):
    """LambdaMART over the candidates of several fitted recommenders.

    With ``rank.form`` another form than the ranker answers, made of the same candidates. weights:
    of the weighted form, by name of the model.
    """

    name = "hybrid"

    def __init__(
        self,
        settings: Rank,
        candidates: dict[str, Recommender],
        ranker: lgb.Booster | None = None,
        seed: int = 0,
        weights: dict[str, float] | None = None,
    ) -> None:
        self.settings = settings
        self.candidates = candidates
        self.ranker = ranker
        self.seed = seed
        self.weights = weights or {}
        self._forest: tuple[lgb.Booster, Forest | None] | None = None
        self.nearest: dict[str, Nearest] = {}
        self.count_proposed: Callable[[str, int], None] | None = None
        """Told how many items each model proposed, for whoever keeps such counts."""

    def forms(self) -> dict[str, Blend]:
        """Return what else these candidates can be: blends, and each model alone, by name."""
        return forms(self.settings, self.candidates, self.weights)

    def _form(self) -> Blend | None:
        """Return what answers instead of the ranker, None if the ranker does.

        Raises:
            ValueError: ``rank.form`` needs a model that is not among the candidates.
        """
        name = self.settings.form
        if name == "ranker":
            return None
        found = self.forms()
        if name not in found:
            raise ValueError(
                f"rank.form is {name}, which needs models that train.candidates does not have; "
                f"it has {', '.join(self.candidates)}"
            )
        return found[name]

    def feature_names(self) -> list[str]:
        """Return the names of the ranker's features, in the order of their columns."""
        models = [f"{name}_{kind}" for name in self.candidates for kind in ("score", "rank")]
        return [*models, *ITEM_STATISTICS, *PAIR_FEATURES, *HISTORY_FEATURES]

    def fit(self, train: Interactions, catalogue: Catalogue) -> Self:
        """Learn what is known of each item from ``train``, which the candidates were fitted on."""
        self.catalogue = catalogue
        end = int(train.times.max(initial=0))
        self.item_statistics = _item_statistics(train, len(catalogue), end)
        self._read_catalogue()
        if len(catalogue) > self.settings.exact_items:
            self.nearest = {
                name: Nearest.of(getattr(self.candidates[name], vectors))
                for name, vectors in INDEXED.items()
                if name in self.candidates
            }
        return self

    def _read_catalogue(self) -> None:
        self._indexed = len(self.catalogue)
        popularity = self.candidates.get("popularity")
        counts = self.item_statistics[:, 0]
        self._unsold = counts == 0
        if isinstance(popularity, Popularity):
            counts = popularity.popularity
        self._popular = np.argsort(-counts, kind="stable")
        table = self.catalogue.table
        price = table["price"].to_numpy(dtype=np.float32, na_value=np.nan)
        with np.errstate(divide="ignore", invalid="ignore"):
            self._log_price = np.log(np.where(price > 0, price, np.nan)).astype(np.float32)
        codes, names = pd.factorize(table["main_category"])
        self._n_categories = len(names)
        self._category = np.where(codes < 0, len(names), codes)

    def fit_ranker(self, histories: Histories, targets: sp.csr_matrix, exclude_seen: bool) -> Self:
        """Fit the ranker so that the targets come first among the candidates.

        histories: what each user had done. targets: CSR (users, items), nonzero where the user
        then bought the item. One user in five is held out to stop the trees early (on NDCG@10).
        A user who bought what had never been sold counts ``rank.unsold_weight`` times: those are
        few, and a ranker that takes them as they come puts all that sold before all that did not.
        """
        pairs = self._all_pairs(histories, exclude_seen)
        labels = _lookup(targets, pairs.rows, pairs.items) > 0
        # A user none of whose candidates was bought teaches the ranker nothing.
        hits = np.bincount(pairs.rows, weights=labels, minlength=len(histories)) > 0
        held_out = np.random.default_rng(self.seed).random(len(histories)) < 0.2
        unsold = (self.item_statistics[:, 0] == 0).astype(np.float32)
        weights = np.where(targets @ unsold > 0, self.settings.unsold_weight, 1.0)
        sets: list[lgb.Dataset] = []
        for users in (hits & ~held_out, hits & held_out):
            chosen = users[pairs.rows]
            groups = np.bincount(pairs.rows[chosen], minlength=len(histories))
            sets.append(
                lgb.Dataset(
                    pairs.features[chosen],
                    label=labels[chosen].astype(np.int8),
                    group=groups[groups > 0],
                    weight=weights[pairs.rows[chosen]],
                    feature_name=self.feature_names(),
                    reference=sets[0] if sets else None,
                    free_raw_data=False,
                )
            )
        if not (hits & ~held_out).any() or not (hits & held_out).any():
            raise ValueError(
                "the ranker has nothing to learn from: no candidate was bought in the validation "
                "window; use a longer preprocess.validation_days or more rank.candidates_per_model"
            )
        self.ranker = lgb.train(
            {
                "objective": "lambdarank",
                "metric": "ndcg",
                "eval_at": [10],
                "lambdarank_truncation_level": self.settings.truncation,
                "learning_rate": self.settings.learning_rate,
                "num_leaves": self.settings.leaves,
                "min_data_in_leaf": self.settings.min_leaf,
                "feature_fraction": 0.7,
                "bagging_fraction": 0.8,
                "bagging_freq": 1,
                "lambda_l2": 5.0,
                "seed": self.seed,
                "deterministic": True,
                "force_row_wise": True,
                "verbosity": -1,
            },
            sets[0],
            num_boost_round=self.settings.trees,
            valid_sets=[sets[1]],
            callbacks=[lgb.early_stopping(40, verbose=False)],
        )
        return self

    def score(self, histories: Histories) -> np.ndarray:
        """Return float32 (batch, items): the ranker's score, -inf for what nobody proposed."""
        if (form := self._form()) is not None:
            return form.score(histories)
        dense = np.full((len(histories), len(self.catalogue)), -np.inf, dtype=np.float32)
        pairs = self._pairs(histories, exclude_seen=False, available=None)
        dense[pairs.rows, pairs.items] = self._rank(pairs.features)
        return dense

    def score_items(self, histories: Histories, items: np.ndarray) -> np.ndarray:
        """Return float32 (batch, n): the ranker's score of each of ``items``, distinct codes (n,),
        proposed or not."""
        pairs = self._pairs(histories, exclude_seen=False, available=None, given=items)
        order = np.argsort(items)
        place = order[np.searchsorted(items, pairs.items, sorter=order)]
        scores = np.full((len(histories), len(items)), -np.inf, dtype=np.float32)
        scores[pairs.rows, place] = self._rank(pairs.features)
        return scores

    def extended(self, catalogue: Catalogue) -> Hybrid:
        """Return the hybrid for ``catalogue``: this one's items, maybe changed, then new ones.

        New items count as never sold: they are found by their text. Nothing is trained.
        """
        model = copy.copy(self)
        known, new = len(self.catalogue), len(catalogue) - len(self.catalogue)
        model.catalogue = catalogue
        model.candidates = {
            name: extended(candidate, known, catalogue)
            for name, candidate in self.candidates.items()
        }
        unsold = np.zeros((new, len(ITEM_STATISTICS)), dtype=np.float32)
        unsold[:, -2:] = np.nan  # age, last_sale
        model.item_statistics = np.vstack([self.item_statistics, unsold])
        model._read_catalogue()
        model._indexed = self._indexed
        return model

    def recommend(
        self,
        histories: Histories,
        k: int,
        exclude_seen: bool = True,
        available: np.ndarray | None = None,
        batch_size: int = 256,
    ) -> tuple[np.ndarray, np.ndarray]:
        """As ``Recommender.recommend``; excluded items do not take a candidate's place."""
        if (form := self._form()) is not None:
            return form.recommend(histories, k, exclude_seen, available, batch_size)
        ids = np.full((len(histories), k), MISSING, dtype=np.int32)
        scores = np.full((len(histories), k), -np.inf, dtype=np.float32)
        for start in range(0, len(histories), batch_size):
            batch = histories.take(slice(start, start + batch_size))
            pairs = self._pairs(batch, exclude_seen, available)
            ranked = self._rank(pairs.features)
            order = _ranking(pairs.rows, ranked, pairs.items, len(self.catalogue))
            rows = pairs.rows[order]
            position = np.arange(len(rows)) - np.searchsorted(rows, rows)
            best = order[position < k]
            at = (start + pairs.rows[best], position[position < k])
            ids[at], scores[at] = pairs.items[best], ranked[best]
        return ids, scores

    def _rank(self, features: np.ndarray) -> np.ndarray:
        if self.ranker is None:
            raise ValueError("the hybrid has no ranker yet: call fit_ranker first")
        if not len(features):
            return np.empty(0, dtype=np.float32)
        if self._forest is None or self._forest[0] is not self.ranker:
            self._forest = self.ranker, Forest.of(self.ranker)
        ranker, forest = self._forest
        return (forest or ranker).predict(features).astype(np.float32)

    def _all_pairs(self, histories: Histories, exclude_seen: bool, batch_size: int = 256) -> Pairs:
        parts = []
        for start in tqdm(range(0, len(histories), batch_size), desc="candidates", unit="batch"):
            batch = histories.take(slice(start, start + batch_size))
            pairs = self._pairs(batch, exclude_seen, None)
            parts.append(Pairs(pairs.rows + start, pairs.items, pairs.features))
        return _joined(parts)

    def _pairs(
        self,
        histories: Histories,
        exclude_seen: bool,
        available: np.ndarray | None,
        given: np.ndarray | None = None,
    ) -> Pairs:
        """Return every model's best items (or the ``given``) of each history, with features."""
        if not self.nearest:
            step = max(1, NUMBERS // (len(self.candidates) * len(self.catalogue)))
            if len(histories) <= step:
                return self._pairs_within(histories, exclude_seen, available, given, None)
            starts = range(0, len(histories), step)
            chunks = [histories.take(slice(start, start + step)) for start in starts]
            parts = [
                self._pairs_within(one, exclude_seen, available, given, None) for one in chunks
            ]
            return _joined(
                [
                    Pairs(part.rows + start, part.items, part.features)
                    for start, part in zip(starts, parts, strict=True)
                ]
            )
        none = np.empty((0, len(self.feature_names())), dtype=np.float32)
        parts = [Pairs(np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int32), none)]
        for row in range(len(histories)):
            one = histories.take(slice(row, row + 1))
            within = self.shortlist(one, available)
            if given is not None:
                within = np.union1d(within, given)
            if not len(within):
                continue
            part = self._pairs_within(one, exclude_seen, available, given, within)
            parts.append(Pairs(part.rows + row, part.items, part.features))
        return _joined(parts)

    def shortlist(self, history: Histories, available: np.ndarray | None) -> np.ndarray:
        """Return int64 (n,), ascending: the items worth scoring for one history.

        All that are available, where they are no more than ``exact_items``; else what the models
        find without scoring all: nearest vectors, neighbours, the most popular, and what came
        after the training.
        """
        s = self.settings
        if available is not None and np.count_nonzero(available) <= s.exact_items:
            return np.flatnonzero(available)
        if not self.nearest:
            return np.arange(len(self.catalogue))
        # Some of those found are refused later: seen, or not available.
        n = 3 * s.candidates_per_model + int(history.lengths()[0])
        found = [self._popular[:n], np.arange(self._indexed, len(self.catalogue))]
        for name, model in self.candidates.items():
            known = model.model if isinstance(model, Extended) else model
            asked = known_part(history, self._indexed)
            if name in self.nearest and len(asked.items):
                found.append(self.nearest[name].search(known.queries(asked)[0], n))
            elif isinstance(known, ItemNeighbours):
                near = known.near(asked)
                found.append(near.indices[np.argsort(-near.data, kind="stable")[:n]])
        items = np.unique(np.concatenate([*found, history.items]))
        return items if available is None else items[available[items]]

    def _pairs_within(
        self,
        histories: Histories,
        exclude_seen: bool,
        available: np.ndarray | None,
        given: np.ndarray | None,
        within: np.ndarray | None,
    ) -> Pairs:
        """As ``_pairs``, but of the items ``within`` only (ascending codes; None: all)."""
        batch = len(histories)
        everything = within is None
        within = np.arange(len(self.catalogue)) if within is None else within
        n_items = len(within)
        # All models' scores lie in one array, so that each step below is one call for all of them.
        scores = np.empty((len(self.candidates), batch, n_items), dtype=np.float32)
        for at, model in enumerate(self.candidates.values()):
            scores[at] = model.score(histories) if everything else model.score_at(histories, within)
        history_rows, history_places = _places(histories, within)
        refused = np.zeros((batch, n_items), dtype=bool)
        if exclude_seen:
            refused[history_rows, history_places] = True
        if available is not None:
            refused |= ~available[within]
        for at, model in enumerate(self.candidates.values()):
            if model.forbids:
                refused |= np.isneginf(scores[at])
        np.copyto(scores, -np.inf, where=refused)
        flat = scores.reshape(-1, n_items)  # (models · batch, items)
        finite = np.isfinite(flat)
        lowest = np.where(finite, flat, np.float32(np.inf)).min(axis=1, initial=np.inf)
        n = self.settings.candidates_per_model
        rows, best, position = _best(flat, n, lowest)
        if self.count_proposed is not None:
            counts = np.bincount(rows // batch, minlength=len(self.candidates))
            for name, count in zip(self.candidates, counts.tolist(), strict=True):
                self.count_proposed(name, count)
        proposed = np.zeros((batch, n_items), dtype=bool)
        proposed[rows % batch, best] = True
        unsold = np.flatnonzero(self._unsold if everything else self._unsold[within])
        if len(unsold):
            # What was never sold can only be found by its text: it gets places of its own,
            # or the sold items would always fill the list.
            of_unsold = flat[:, unsold]
            floor = np.where(finite[:, unsold], of_unsold, np.float32(np.inf))
            floor = floor.min(axis=1, initial=np.inf)
            fresh_rows, fresh, _ = _best(of_unsold, max(1, n // 5), floor)
            proposed[fresh_rows % batch, unsold[fresh]] = True
        if given is not None:
            proposed[:] = np.isin(within, given)
        pair = np.flatnonzero(proposed)
        pair_rows, places = np.divmod(pair, n_items)
        items = within[places].astype(np.int32)
        # A feature's values lie together: the trees are read feature by feature.
        features = np.empty((len(self.feature_names()), len(pair)), dtype=np.float32)
        models = len(self.candidates)
        features[0 : 2 * models : 2] = _standardised(scores, finite, pair_rows, pair)
        number = np.full(batch * n_items, -1, dtype=np.int32)
        number[pair] = np.arange(len(pair), dtype=np.int32)
        ranks = np.zeros((models, len(pair)), dtype=np.float32)
        of_best = number[rows % batch * n_items + best]
        there = of_best >= 0  # all, unless the items are given
        ranks[rows[there] // batch, of_best[there]] = 1.0 / (1.0 + position[there])
        features[1 : 2 * models : 2] = ranks
        own = features[2 * models :]
        own[: len(ITEM_STATISTICS)] = self.item_statistics[items].T
        own = own[len(ITEM_STATISTICS) :]
        seen = number[history_rows * n_items + history_places]
        times_seen = np.bincount(seen[seen >= 0], minlength=len(pair))
        fits = self._fit_to_history(histories, pair_rows, items)
        for at, column in enumerate((*fits, times_seen)):
            own[at] = column
        own[len(PAIR_FEATURES) :] = _history_features(histories)[:, pair_rows]
        return Pairs(pair_rows, items, features.T)

    def _fit_to_history(
        self, histories: Histories, rows: np.ndarray, items: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the first three of PAIR_FEATURES, each (pairs,)."""
        price = self._log_price[items]
        of_history = self._log_price[histories.items]
        known = ~np.isnan(of_history)
        history_rows = histories.rows()
        counts = np.bincount(history_rows[known], minlength=len(histories))
        sums = np.bincount(history_rows[known], weights=of_history[known], minlength=len(histories))
        with np.errstate(invalid="ignore", divide="ignore"):
            usual = (sums / counts).astype(np.float32)
        width = self._n_categories + 1  # the last one is for items without a category
        affinity = np.bincount(
            history_rows * width + self._category[histories.items],
            minlength=len(histories) * width,
        )
        share = affinity[rows * width + self._category[items]]
        share = share / np.maximum(histories.lengths(), 1)[rows]
        return price, price - usual[rows], share

    def arrays(self) -> dict[str, np.ndarray]:
        return {"item_statistics": self.item_statistics}

    def config(self) -> dict[str, Any]:
        return {
            "settings": self.settings.model_dump(),
            "candidates": list(self.candidates),
            "seed": self.seed,
            "weights": self.weights,
        }

    @classmethod
    def from_saved(cls, config: dict[str, Any], arrays: dict[str, np.ndarray]) -> Self:
        model = cls(
            Rank(**config["settings"]), {}, seed=config["seed"], weights=config.get("weights")
        )
        model.item_statistics = arrays["item_statistics"]
        return model

    def save(self, folder: str | Path) -> None:
        """Write the model folder: everything that serving needs, and nothing pickled."""
        folder = Path(folder)
        super().save(folder)
        if self.ranker is not None:
            self.ranker.save_model(folder / "ranker.txt")
        for name, model in self.candidates.items():
            model.save(folder / "candidates" / name)
        self.catalogue.table.to_parquet(folder / "items.parquet")
        if self.catalogue.vectors is not None:
            np.save(folder / "vectors.npy", self.catalogue.vectors)
        for name, nearest in self.nearest.items():
            nearest.save(folder / f"{name}.usearch")

    @classmethod
    def load(cls, folder: str | Path) -> Self:
        """Return the model of a folder that ``save`` wrote; vectors are memory-mapped."""
        folder = Path(folder)
        model = super().load(folder)
        names = json.loads((folder / "model.json").read_text())["candidates"]
        model.candidates = {name: load_model(folder / "candidates" / name) for name in names}
        if (folder / "ranker.txt").exists():
            model.ranker = lgb.Booster(model_file=folder / "ranker.txt")
        vectors = folder / "vectors.npy"
        model.catalogue = Catalogue(
            pd.read_parquet(folder / "items.parquet"),
            np.load(vectors, mmap_mode="r") if vectors.exists() else None,
        )
        model._read_catalogue()
        model.nearest = {
            name: Nearest.load(file)
            for name in INDEXED
            if (file := folder / f"{name}.usearch").exists()
        }
        return model


def _best(
    scores: np.ndarray, n: int, lowest: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return each row's at most n best items above ``lowest``: rows, items, positions, (found,).

    scores: float32 (rows, items). lowest: (rows,), each row's lowest finite score; an item with
    it is left out: the model has nothing to say of it, as a neighbour model of an item without
    common buyers, or any model of an empty history. Best first in each row; equal scores in order
    of the items, so that an answer does not depend on its company.
    """
    n_rows, n_items = scores.shape
    blocks = 4 * n
    if n_items > 2 * blocks:
        # The n-th best of the maxima of disjoint blocks is no better than the n-th best of all:
        # partitioning the maxima is many times cheaper, and lets hardly more through.
        whole = n_items - n_items % blocks
        maxima = scores[:, :whole].reshape(n_rows, -1, blocks).max(axis=1)
        nth = np.partition(maxima, blocks - n, axis=1)[:, blocks - n]
    elif n_items > n:
        nth = np.partition(scores, n_items - n, axis=1)[:, n_items - n]
    else:
        nth = np.full(n_rows, -np.inf, dtype=np.float32)
    above = scores >= np.where(nth > lowest, nth, np.nextafter(lowest, np.float32(np.inf)))[:, None]
    rows, items = np.divmod(np.flatnonzero(above), n_items)
    order = _ranking(rows, scores[rows, items], items, n_items)
    rows, items = rows[order], items[order]
    position = np.arange(len(rows)) - np.searchsorted(rows, np.arange(n_rows))[rows]
    kept = position < n
    return rows[kept], items[kept], position[kept]


def _ranking(rows: np.ndarray, scores: np.ndarray, items: np.ndarray, n_items: int) -> np.ndarray:
    """Return the order by row, then by score, the best first, then by item (less than ``n_items``).

    scores: float32. One sort of whole numbers, into which the three are packed: many times
    cheaper than three sorts. There may be 2³² / n_items rows.
    """
    bits = np.ascontiguousarray(scores, dtype=np.float32).view(np.int32)
    ascending = bits ^ ((bits >> 31) & 0x7FFFFFFF)  # as whole numbers floats are sign and size
    worse = (np.int64(2**31 - 1) - ascending).astype(np.uint64)
    shift = np.uint64(n_items.bit_length())
    key = (rows.astype(np.uint64) << np.uint64(32) | worse) << shift | items.astype(np.uint64)
    return np.argsort(key)


def _standardised(
    scores: np.ndarray, finite: np.ndarray, rows: np.ndarray, pairs: np.ndarray
) -> np.ndarray:
    """Return (models, pairs): the scores at the pairs as z-scores within their model's row.

    scores: float32 (models, batch, items). finite: bool (models · batch, items), where they are.
    rows: int (pairs,), of the batch. pairs: int (pairs,), in the flat (batch, items).
    Models score in units of their own; within a row only the order and the gaps mean something.
    """
    models, batch, n_items = scores.shape
    filled = np.where(finite, scores.reshape(-1, n_items), np.float32(0))
    count = np.maximum(np.count_nonzero(finite, axis=1), 1)
    mean = filled.sum(axis=1) / count
    variance = np.maximum(np.vecdot(filled, filled) / count - mean**2, 0.0)
    spread = np.sqrt(variance)
    scale = np.where(spread > 1e-9, spread, 1.0).reshape(models, batch).astype(np.float32)
    mean = mean.reshape(models, batch).astype(np.float32)
    z = scores.reshape(models, -1)[:, pairs]
    z -= mean[:, rows]
    z /= scale[:, rows]
    z[~np.isfinite(z)] = np.nan
    return z


def _lookup(matrix: sp.csr_matrix, rows: np.ndarray, items: np.ndarray) -> np.ndarray:
    """Return float32 (pairs,): the entries of a CSR matrix at the pairs, 0 where it has none."""
    return np.asarray(matrix[rows, items], dtype=np.float32).ravel()


def _item_statistics(train: Interactions, n_items: int, end: int) -> np.ndarray:
    """Return float32 (items, len(ITEM_STATISTICS)): how much and how lately each was bought.

    Counts are of events, as log(1 + n). Age and time since the last sale are in days before
    ``end``, NaN for what was never sold.
    """
    columns = [np.log1p(np.bincount(train.items, minlength=n_items))]
    for days in RECENT_DAYS:
        recent = train.items[train.times > end - days * DAY]
        columns.append(np.log1p(np.bincount(recent, minlength=n_items)))
    first = np.full(n_items, np.inf)
    last = np.full(n_items, -np.inf)
    np.minimum.at(first, train.items, train.times)
    np.maximum.at(last, train.items, train.times)
    for moment in (first, last):
        columns.append(np.where(np.isfinite(moment), (end - moment) / DAY, np.nan))
    return np.column_stack(columns).astype(np.float32)


def _history_features(histories: Histories) -> np.ndarray:
    """Return float32 (4, batch), the HISTORY_FEATURES."""
    lengths, items = histories.lengths(), histories.items
    known = np.flatnonzero(lengths)
    features = np.zeros((len(HISTORY_FEATURES), len(histories)), dtype=np.float32)
    features[0] = np.log1p(lengths)
    pairs = histories.rows() << 32 | items
    pairs.sort()
    distinct = np.append(pairs[1:] != pairs[:-1], True)[: len(pairs)]
    features[1] = np.log1p(np.bincount(pairs[distinct] >> 32, minlength=len(histories)))
    features[2:] = np.nan
    newest = histories.times[histories.offsets[1:][known] - 1]
    oldest = histories.times[histories.offsets[:-1][known]]
    features[2, known] = (histories.now[known] - newest) / DAY
    features[3, known] = (histories.now[known] - oldest) / DAY
    return features


def _places(histories: Histories, within: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return row and position in ``within`` (ascending) of each event whose item is there."""
    place = np.minimum(np.searchsorted(within, histories.items), max(0, len(within) - 1))
    there = within[place] == histories.items if len(within) else np.zeros(len(place), dtype=bool)
    return histories.rows()[there], place[there]


def _joined(parts: list[Pairs]) -> Pairs:
    return Pairs(
        np.concatenate([part.rows for part in parts]),
        np.concatenate([part.items for part in parts]),
        np.concatenate([part.features for part in parts]),
    )


def load_candidates(folder: str | Path, names: Sequence[str]) -> dict[str, Recommender]:
    """Return the fitted candidates of ``folder`` by name, in the order of ``names``.

    A policy that had no log to learn from was left out in training, and is here.
    """
    there = [name for name in names if name != "policy" or (Path(folder) / name).exists()]
    return {name: load_model(Path(folder) / name) for name in there}


def write_profiles(prepared: Prepared, file: Path) -> None:
    """Write what every user did, by the shop's ids, so that serving knows them from the start."""
    interactions = prepared.interactions
    pd.DataFrame(
        {
            "user_id": prepared.users["user_id"].to_numpy()[interactions.users],
            "item_id": prepared.catalogue.ids[interactions.items],
            "timestamp": pd.to_datetime(interactions.times, unit="s", utc=True),
        }
    ).to_parquet(file)


def run(settings: Settings, root: Path) -> None:
    """The stage ``rank``: models/candidates → models/hybrid."""
    from components.evaluation.protocol import ranker_task

    prepared = load_prepared(root / "data/prepared", root / "models/vectors")
    interactions, catalogue = prepared.interactions, prepared.catalogue
    names = list(settings.train.candidates)
    folder = root / "models/candidates"

    earlier = interactions.where(interactions.times < prepared.validation_start)
    learner = Hybrid(
        settings.rank, load_candidates(folder / "validation", names), seed=settings.seed
    ).fit(earlier, catalogue)
    histories, targets = ranker_task(prepared, "validation", settings.train.exclude_seen)
    learner.fit_ranker(histories, targets, settings.train.exclude_seen)
    weights = fit_weights(learner.candidates, histories, targets, settings.train.exclude_seen)

    until_test = interactions.where(interactions.times < prepared.test_start)
    model = Hybrid(
        settings.rank,
        load_candidates(folder / "test", names),
        ranker=learner.ranker,
        seed=settings.seed,
        weights=weights,
    ).fit(until_test, catalogue)

    partial = root / "models/.hybrid"
    shutil.rmtree(partial, ignore_errors=True)
    model.save(partial)
    write_profiles(prepared, partial / "profiles.parquet")
    out = root / "models/hybrid"
    shutil.rmtree(out, ignore_errors=True)
    partial.rename(out)
