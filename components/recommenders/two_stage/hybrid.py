"""The hybrid: every candidate model proposes, a learned ranker orders what they proposed.

In: ``models/candidates`` (the fitted candidates), ``data/prepared``, ``models/vectors``.
Out: ``models/hybrid``, the self-contained folder that is evaluated (what is served is its twin, see
``refit``), and ``models/profiles``: what each user did. No model folder holds that, so that
erasing a person leaves the models as they are.

Two stages, as in Covington et al. (RecSys 2016): candidates from each model, then LambdaMART
(Burges 2010, here LightGBM) over the models' scores and what is known of the item, the history
and how the two fit. The ranker learns on the validation window with candidates that were fitted
before it, and is then put over candidates that were fitted before the test window.
"""

from __future__ import annotations

import copy
import json
import math
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Self

import lightgbm as lgb
import numpy as np
import pandas as pd
import pyarrow as pa
import scipy.sparse as sp

from components.data.dataset import (
    Catalogue,
    Histories,
    Interactions,
    Prepared,
    load_prepared,
)
from components.erasure import replace_table
from components.manifest import verify_manifest, write_manifest
from components.progress import progress
from components.recommenders.base import MISSING, Recommender, top_k
from components.recommenders.factory import load_model
from components.recommenders.models.content import Content, whitened
from components.recommenders.models.knn import ItemNeighbours
from components.recommenders.models.popularity import Popularity
from components.recommenders.two_stage.ann import Nearest
from components.recommenders.two_stage.blending import Blend, fit_weights, forms
from components.recommenders.two_stage.cold_start import Extended, extended, with_stand_ins
from components.recommenders.two_stage.features import (
    HISTORY_FEATURES,
    ITEM_STATISTICS,
    PAIR_FEATURES,
    ItemFacts,
    Pairs,
    item_statistics,
    joined,
    propose,
)
from components.recommenders.two_stage.tree_inference import Forest
from components.settings import Rank, Settings

OPTIONAL = (
    "encoder",
    "metrics.json",
    "model_card.md",
    "params.yaml",
    "profiles.parquet",
    "reference",
)
"""Parts of a model folder that the model does not read: those who do look at ``damaged``."""
INDEXED = {"content": "vectors", "matrix_factorisation": "factors"}
"""Models with vectors that are indexed on large catalogues, and what the vectors are called."""
ALIKE = 5
"""How many sold items stand for an item that came after the training."""
FOLDS = 5
"""Parts of the users in the cross-validation of the ranker."""
MANY_USERS = 20_000
"""So many say enough when one of the parts is judged, instead of each in turn."""
OVERSAMPLING = 1.2
"""How many times as many items as a model proposes are looked for in an index, of those that may
be shown."""
NUMBERS = 50_000_000
"""How many scores, of all models and histories, are held at once."""


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
        self.trained_until: int | None = None
        """Time of the newest interaction that ``fit`` saw, seconds since 1970; None: not known."""
        self._forest: tuple[lgb.Booster, Forest | None] | None = None
        self.nearest: dict[str, Nearest] = {}
        self.damaged: dict[str, str] = {}
        """Damaged parts of the folder it was loaded from (see OPTIONAL) → what is wrong."""
        self._alike: np.ndarray | None = None  # of items that came after the training
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
        self.trained_until = int(train.times.max(initial=0))
        self.item_statistics = item_statistics(train, len(catalogue))
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
        if isinstance(popularity, Popularity):
            counts = popularity.popularity
        self._popular = np.argsort(-counts, kind="stable")
        self._facts = ItemFacts.of(self.catalogue, self.item_statistics)

    def fit_ranker(self, histories: Histories, targets: sp.csr_matrix, exclude_seen: bool) -> Self:
        """Fit the ranker so that the targets come first among the candidates.

        histories: what each user had done. targets: CSR (users, items), nonzero where the user
        then bought the item. How many trees (at most ``rank.trees``) is found by cross-validation
        over the users (NDCG@10); then all users teach that many. Chosen on a fifth of the users,
        held out from the rest, the number is chance: 5 to 215 trees on the embedded shop.
        A user who bought what had never been sold counts ``rank.unsold_weight`` times: those are
        few, and a ranker that takes them as they come puts all that sold before all that did not.

        Raises:
            ValueError: too few users bought one of their candidates.
        """
        pairs = self._all_pairs(histories, exclude_seen)
        labels = _lookup(targets, pairs.rows, pairs.items) > 0
        # A user none of whose candidates was bought teaches the ranker nothing.
        hits = np.bincount(pairs.rows, weights=labels, minlength=len(histories)) > 0
        if np.count_nonzero(hits) < FOLDS:
            raise ValueError(
                "the ranker has nothing to learn from: hardly a candidate was bought in the "
                "validation window; use a longer preprocess.validation_days or more "
                "rank.candidates_per_model"
            )
        unsold = (self.item_statistics[:, 0] == 0).astype(np.float32)
        weights = np.where(targets @ unsold > 0, self.settings.unsold_weight, 1.0)
        chosen = hits[pairs.rows]
        rows = pairs.rows[chosen]
        data = lgb.Dataset(
            pairs.features[chosen],
            label=labels[chosen].astype(np.int8),
            group=np.bincount(rows, minlength=len(histories))[hits],
            weight=weights[rows],
            feature_name=self.feature_names(),
            free_raw_data=False,
        )
        parameters = {
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
        }
        fold = np.zeros(len(histories), dtype=np.int64)
        dealt = np.random.default_rng(self.seed).permutation(np.count_nonzero(hits))
        fold[hits] = dealt % FOLDS  # none of them is empty
        judged = lgb.cv(
            parameters,
            data,
            num_boost_round=self.settings.trees,
            folds=[
                (np.flatnonzero(fold[rows] != one), np.flatnonzero(fold[rows] == one))
                for one in range(FOLDS if np.count_nonzero(hits) < MANY_USERS else 1)
            ],
            callbacks=[lgb.early_stopping(40, verbose=False)],
        )
        best = len(judged["valid ndcg@10-mean"])
        self.ranker = lgb.train(parameters, data, num_boost_round=best)
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

        New items count as never sold: they are found by their text, and by what is known of the
        sold items most alike to them. Nothing is trained.
        """
        model = copy.copy(self)
        known, new = len(self.catalogue), len(catalogue) - len(self.catalogue)
        model.catalogue = catalogue
        model._alike = self._most_alike(catalogue)
        model.candidates = {
            name: extended(candidate, known, catalogue, model._alike)
            for name, candidate in self.candidates.items()
        }
        unsold = np.zeros((new, len(ITEM_STATISTICS)), dtype=np.float32)
        unsold[:, -2:] = np.nan  # age, last_sale
        model.item_statistics = np.vstack([self.item_statistics, unsold])
        model._read_catalogue()
        model._indexed = self._indexed
        return model

    def _most_alike(self, catalogue: Catalogue) -> np.ndarray | None:
        """Return int (new, ALIKE): the sold items most alike by text to each item after this
        model's, a row of MISSING where none is; None where there are no text vectors, or too many
        without an index."""
        known, sold = len(self.catalogue), self.item_statistics[:, 0] > 0
        if catalogue.vectors is None or np.count_nonzero(sold) < ALIKE:
            return None
        vectors = np.asarray(catalogue.vectors[known:])
        alike = np.full((len(vectors), ALIKE), MISSING, dtype=np.int64)
        described = np.flatnonzero(vectors.any(axis=1))  # a text without a known word is at 0
        if "content" in self.nearest:
            content = self.candidates["content"]
            assert isinstance(content, Content)
            queries = whitened(vectors[described], content.mean, content.projection)
            for at, query in zip(described, queries, strict=True):
                near = self.nearest["content"].search(query, 20 * ALIKE)
                if sold[near].any():
                    alike[at] = np.resize(near[sold[near]], ALIKE)  # again from the first, if few
            return alike
        if known > self.settings.exact_items:
            return None
        for some in np.array_split(described, math.ceil(len(described) / 64) or 1):
            cosines = vectors[some] @ catalogue.vectors[:known].T
            alike[some] = top_k(np.where(sold, cosines, -np.inf), ALIKE)[0]
        return alike

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
        starts = range(0, len(histories), batch_size)
        for start in progress(starts, desc="candidates", unit="batch"):
            batch = histories.take(slice(start, start + batch_size))
            parts.append(self._pairs(batch, exclude_seen, None))
        return joined(parts, list(range(0, len(histories), batch_size)))

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
            starts = list(range(0, len(histories), step))
            chunks = [histories.take(slice(start, start + step)) for start in starts]
            return joined(
                [self._pairs_within(one, exclude_seen, available, given, None) for one in chunks],
                starts,
            )
        parts = []
        n_available = self._count(available)
        for row in range(len(histories)):
            one = histories.take(slice(row, row + 1))
            within = self.shortlist(one, available, n_available)
            if given is not None:
                within = np.union1d(within, given)
            parts.append(self._pairs_within(one, exclude_seen, available, given, within))
        return joined(parts, list(range(len(parts))))

    def _count(self, available: np.ndarray | None) -> int:
        return len(self.catalogue) if available is None else np.count_nonzero(available)

    def shortlist(
        self, history: Histories, available: np.ndarray | None, n_available: int | None = None
    ) -> np.ndarray:
        """Return int64 (n,), ascending: the items worth scoring for one history.

        All that are available, where they are no more than ``exact_items``; else what the models
        find without scoring all: nearest vectors, neighbours, the most popular, and the nearest of
        what came after the training. n_available: how many are, for who has counted.
        """
        s = self.settings
        if n_available is None:
            n_available = self._count(available)
        if available is not None and n_available <= s.exact_items:
            return np.flatnonzero(available)
        if not self.nearest:
            return np.arange(len(self.catalogue))
        # Some of those found are refused later: seen, or not available.
        met = OVERSAMPLING * s.candidates_per_model * len(self.catalogue) / n_available
        n = math.ceil(met) + int(history.lengths()[0])
        found = [self._popular[:n], self._newcomers(history, n)]
        asked = with_stand_ins(history, self._indexed, self._alike)
        for name, model in self.candidates.items():
            known = model.model if isinstance(model, Extended) else model
            if name in self.nearest and len(asked.items):
                found.append(self.nearest[name].search(known.queries(asked)[0], n))
            elif isinstance(known, ItemNeighbours):
                found.append(known.near(asked, n))
        items = np.unique(np.concatenate([*found, history.items]))
        return items if available is None else items[available[items]]

    def _newcomers(self, history: Histories, n: int) -> np.ndarray:
        """Return codes of items that came after the training: all, or the n nearest by their text,
        or the n newest where texts say nothing."""
        codes = np.arange(self._indexed, len(self.catalogue))
        if len(codes) <= n:
            return codes
        content = self.candidates.get("content")
        if content is None or not len(history.items):
            return codes[-n:]
        return codes[np.argpartition(-content.score_at(history, codes)[0], n)[:n]]

    def _pairs_within(
        self,
        histories: Histories,
        exclude_seen: bool,
        available: np.ndarray | None,
        given: np.ndarray | None,
        within: np.ndarray | None,
    ) -> Pairs:
        """As ``_pairs``, but of the items ``within`` only (ascending codes; None: all)."""
        n_within = len(self.catalogue) if within is None else len(within)
        # All models' scores lie in one array: what follows is one call for all of them.
        scores = np.empty((len(self.candidates), len(histories), n_within), dtype=np.float32)
        for at, model in enumerate(self.candidates.values()):
            scores[at] = (
                model.score(histories) if within is None else model.score_at(histories, within)
            )
        chosen = given
        if given is not None:
            chosen = np.isin(np.arange(n_within) if within is None else within, given)
        pairs = propose(
            scores,
            np.array([model.forbids for model in self.candidates.values()]),
            histories,
            self._facts,
            self.settings.candidates_per_model,
            exclude_seen,
            available,
            within,
            chosen,
        )
        if self.count_proposed is not None:
            for name, count in zip(self.candidates, pairs.proposed.tolist(), strict=True):
                self.count_proposed(name, count)
        return pairs

    def arrays(self) -> dict[str, np.ndarray]:
        return {"item_statistics": self.item_statistics}

    def config(self) -> dict[str, Any]:
        return {
            "settings": self.settings.model_dump(),
            "candidates": list(self.candidates),
            "seed": self.seed,
            "weights": self.weights,
            "trained_until": self.trained_until,
        }

    @classmethod
    def from_saved(cls, config: dict[str, Any], arrays: dict[str, np.ndarray]) -> Self:
        model = cls(
            Rank(**config["settings"]), {}, seed=config["seed"], weights=config.get("weights")
        )
        model.item_statistics = arrays["item_statistics"]
        model.trained_until = config.get("trained_until")
        return model

    def save(self, folder: str | Path) -> None:
        """Write the model folder: everything that serving needs, and nothing pickled.

        Its manifest comes last. Files added later need another one: ``write_manifest``.
        """
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
        write_manifest(folder)

    @classmethod
    def load(cls, folder: str | Path) -> Self:
        """Return the model of a folder that ``save`` wrote; vectors are memory-mapped.

        Raises:
            ManifestError: the folder is damaged, apart from its OPTIONAL parts.
            FileNotFoundError: it has no ranker, and nothing else may answer (``rank.form``).
        """
        folder = Path(folder)
        damaged = verify_manifest(folder, OPTIONAL)
        model = super().load(folder)
        model.damaged = damaged
        names = json.loads((folder / "model.json").read_text())["candidates"]
        model.candidates = {name: load_model(folder / "candidates" / name) for name in names}
        if (folder / "ranker.txt").exists():
            model.ranker = lgb.Booster(model_file=folder / "ranker.txt")
        elif model.settings.form == "ranker":
            raise FileNotFoundError(f"{folder} has no ranker.txt, and its rank.form is ranker")
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


def _lookup(matrix: sp.csr_matrix, rows: np.ndarray, items: np.ndarray) -> np.ndarray:
    """Return float32 (pairs,): the entries of a CSR matrix at the pairs, 0 where it has none."""
    return np.asarray(matrix[rows, items], dtype=np.float32).ravel()


def load_candidates(folder: str | Path, names: Sequence[str]) -> dict[str, Recommender]:
    """Return the fitted candidates of ``folder`` by name, in the order of ``names``.

    A policy that had no log to learn from was left out in training, and is here.
    """
    there = [name for name in names if name != "policy" or (Path(folder) / name).exists()]
    return {name: load_model(Path(folder) / name) for name in there}


PROFILES = Path("models/profiles/profiles.parquet")


def profiles_file(root: Path, model: Path) -> Path:
    """Return the file of the users' histories for a model folder below ``root``.

    Model folders of earlier versions hold it themselves.
    """
    file = root / PROFILES
    return file if file.exists() else model / "profiles.parquet"


def write_profiles(prepared: Prepared, file: Path) -> None:
    """Write what every user did, by the shop's ids, so that serving knows them from the start."""
    file.parent.mkdir(parents=True, exist_ok=True)
    interactions = prepared.interactions
    frame = pd.DataFrame(
        {
            "user_id": prepared.users["user_id"].to_numpy()[interactions.users],
            "item_id": prepared.catalogue.ids[interactions.items],
            "timestamp": pd.to_datetime(interactions.times, unit="s", utc=True),
        }
    )
    replace_table(file, pa.Table.from_pandas(frame, preserve_index=False))


def run(settings: Settings, root: Path) -> None:
    """The stage ``rank``: models/candidates → models/hybrid and models/profiles."""
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
    write_manifest(partial)
    write_profiles(prepared, root / PROFILES)
    out = root / "models/hybrid"
    shutil.rmtree(out, ignore_errors=True)
    partial.rename(out)
