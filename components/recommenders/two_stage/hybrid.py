"""The hybrid: candidate generation, features and a form of ranking, in one model folder.

In: fitted candidates and the interactions they were fitted on. Out: a recommender whose folder
holds all that serving needs, and no personal data: user histories lie outside it
(``data.profiles``), so that erasing a user leaves the models as they are.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import numpy as np
import scipy.sparse as sp

from components.arrays import AnyArray, BoolArray, FloatArray, Int32Array, Int64Array, IntArray
from components.data.dataset import Catalogue, Histories, Interactions
from components.data.item_table import read_item_table, write_item_table
from components.manifest import verify_manifest, write_manifest
from components.progress import progress
from components.recommenders.base import (
    FindsSimilarItems,
    KnowsRepeats,
    Recommender,
)
from components.recommenders.factory import load_models
from components.recommenders.two_stage import cold_start
from components.recommenders.two_stage.ann import VectorIndex
from components.recommenders.two_stage.attribute_features import (
    AttributeFeatures,
    AttributeStatistics,
)
from components.recommenders.two_stage.blending import Blend
from components.recommenders.two_stage.candidates import CandidateGenerator
from components.recommenders.two_stage.features import (
    ITEM_STATISTICS,
    FeatureBuilder,
    ItemFacts,
    feature_names,
    item_statistics,
    joined,
)
from components.recommenders.two_stage.forms import (
    LearnedRanking,
    RankingForm,
    blends,
    newcomers_apart,
)
from components.recommenders.two_stage.ranker import Ranker, fit_ranker
from components.recommenders.two_stage.repeat_features import RepeatFeatures
from components.settings import Rank, current_model_name, rank_with_current_names

OPTIONAL = (
    "encoder",
    "metrics.json",
    "model_card.md",
    "params.yaml",
    "profiles.parquet",
    "reference",
    "shelves",
    "understanding",
)
"""Parts of a model folder that the model does not read; their readers look at ``damaged``."""
BATCH = 256


class Hybrid(Recommender):
    """Several fitted recommenders, ranked in the form that ``rank.form`` names.

    candidates: by name. weights: of the weighted form, by name. Everything else about the
    candidates is in ``generator`` and ``features`` once ``fit`` or ``load`` set the catalogue.
    """

    name = "hybrid"
    generator: CandidateGenerator
    features: FeatureBuilder
    catalogue: Catalogue
    item_statistics: FloatArray
    attributes: AttributeStatistics

    def __init__(
        self,
        settings: Rank,
        candidates: dict[str, Recommender],
        ranker: Ranker | None = None,
        seed: int = 0,
        weights: dict[str, float] | None = None,
        ranked_attributes: AttributeStatistics | None = None,
    ) -> None:
        """ranked_attributes: of the model that the ranker was fitted in, None without a ranker."""
        super().__init__(settings, seed)
        self._ranked_attributes = ranked_attributes
        self.candidates = candidates
        self.ranker = ranker
        self.weights = weights or {}
        self.trained_until: int | None = None
        """Time of the newest interaction that ``fit`` saw, seconds since 1970; None: not known."""
        self.damaged: dict[str, str] = {}
        """Damaged parts of the folder it was loaded from (see OPTIONAL) → what is wrong."""

    def forms(self) -> dict[str, Blend]:
        """Return the forms without the learned ranker: blends, and each model alone, by name."""
        return blends(self.settings, self.candidates, self.weights)

    def form(self) -> RankingForm:
        """Return the form that ``rank.form`` names.

        Raises:
            ValueError: it needs the ranker, which is not fitted, or a model that is not among the
                candidates.
        """
        name = self.settings.form
        if name == "ranker":
            if self.ranker is None:
                raise ValueError("the hybrid has no ranker yet: call fit_ranker first")
            ranking = LearnedRanking(self.generator, self.features, self.ranker)
            return newcomers_apart(ranking, self.candidates)
        found = self.forms()
        if name not in found:
            raise ValueError(
                f"rank.form is {name}, which needs models that train.candidates does not have; "
                f"it has {', '.join(self.candidates)}"
            )
        return found[name]

    def fit(self, train: Interactions, catalogue: Catalogue) -> Self:
        """Compute the item statistics of ``train``, which the candidates were fitted on, and
        index large catalogues."""
        self.trained_until = int(train.times.max(initial=0))
        self.attributes = AttributeStatistics.of(train, catalogue, self._ranked_attributes)
        self._set_catalogue(catalogue, item_statistics(train, len(catalogue)))
        self.generator = self.generator.with_indexes()
        return self

    def _set_catalogue(
        self,
        catalogue: Catalogue,
        statistics: FloatArray,
        indexes: dict[str, VectorIndex] | None = None,
        n_trained: int | None = None,
        nearest_warm: IntArray | None = None,
    ) -> None:
        self.catalogue = catalogue
        self.item_statistics = statistics
        self.features = FeatureBuilder(
            ItemFacts.of(catalogue, statistics),
            AttributeFeatures(catalogue, self.attributes.only(self.settings.attributes)),
            RepeatFeatures(self.repeat_model()),
        )
        self.generator = CandidateGenerator(
            self.settings, self.candidates, statistics[:, 0], indexes, n_trained, nearest_warm
        )

    def fit_ranker(self, histories: Histories, targets: sp.csr_matrix, exclude_seen: bool) -> Self:
        """Fit the ranker so that the targets come first among the candidates.

        histories: before the purchases. targets: CSR (users, items), nonzero where the user then
        bought the item. Of more than ``rank.max_users`` users a random sample is taken, since all
        their pairs are held in memory.

        Raises:
            ValueError: too few users bought one of their candidates.
        """
        most = self.settings.max_users
        if 0 < most < len(histories):
            random = np.random.default_rng(self.seed)
            users = np.sort(random.choice(len(histories), most, replace=False))
            histories, targets = histories.pick(users), targets[users]
        parts = []
        for start in progress(range(0, len(histories), BATCH), desc="candidates", unit="batch"):
            batch = histories.take(slice(start, start + BATCH))
            pieces = self.generator.generate(batch, exclude_seen)
            parts.append(self.features.pairs((start + offset, piece) for offset, piece in pieces))
        names = feature_names(self.candidates, self.features.more_names)
        unsold = self.item_statistics[:, 0] == 0
        self.ranker = fit_ranker(joined(parts), targets, unsold, names, self.settings, self.seed)
        return self

    def recommend(
        self,
        histories: Histories,
        k: int,
        exclude_seen: bool = True,
        available: BoolArray | None = None,
        batch_size: int = BATCH,
    ) -> tuple[Int32Array, FloatArray]:
        """As ``Recommender.recommend``, in the form of the settings."""
        return self.form().recommend(histories, k, exclude_seen, available, batch_size)

    def score(self, histories: Histories) -> FloatArray:
        """Return float32 (batch, items) in the form of the settings; of the learned ranker -inf
        for items that no model proposed."""
        return self.form().score(histories)

    def score_items(self, histories: Histories, items: IntArray) -> FloatArray:
        """Return float32 (batch, n): the score of each of ``items``, distinct codes (n,), in the
        form of the settings, proposed or not."""
        return self.form().score_items(histories, items)

    def shortlist(self, history: Histories, available: BoolArray | None) -> Int64Array:
        """Return int64 (n,), ascending: the items worth scoring for a batch of one history."""
        return self.generator.shortlist(history, available)

    def similar_models(self) -> dict[str, FindsSimilarItems]:
        """Return the candidates that tell similar items, by name."""
        return {
            name: model
            for name, model in self.candidates.items()
            if isinstance(model, FindsSimilarItems)
        }

    def text_model(self) -> Recommender | None:
        """Return the candidate that scores items by their text alone, None if there is none."""
        found = self.generator.text_model()
        return None if found is None else found[1]

    def repeat_model(self) -> KnowsRepeats | None:
        """Return the candidate that knows of repeat purchases, None if there is none."""
        models = self.candidates.values()
        return next((one for one in models if isinstance(one, KnowsRepeats)), None)

    def count_proposed(self, count: Callable[[str, int], None]) -> None:
        """Have ``count`` called with a model's name and how many items it proposed."""
        self.generator.count_proposed = count

    def extended(self, catalogue: Catalogue) -> Hybrid:
        """Return the hybrid for ``catalogue``: this one's items, maybe changed, then new ones.

        New items count as unsold: they are found by their text, and by the scores of their nearest
        warm items. Nothing is trained.
        """
        model = copy.copy(self)
        n_trained, n_new = len(self.catalogue), len(catalogue) - len(self.catalogue)
        text_name, text_model = self.generator.text_model() or ("", None)
        nearest_warm = cold_start.nearest_warm_items(
            catalogue,
            self.item_statistics[:, 0] > 0,
            text_model,
            self.generator.indexes.get(text_name),
            self.settings.exact_items,
        )
        model.candidates = {
            name: cold_start.extended(candidate, n_trained, catalogue, nearest_warm)
            for name, candidate in self.candidates.items()
        }
        new = np.zeros((n_new, len(ITEM_STATISTICS)), dtype=np.float32)
        new[:, -2:] = np.nan  # age, last_sale
        model.attributes = self.attributes.extended(n_new)
        model._set_catalogue(
            catalogue,
            np.vstack([self.item_statistics, new]),
            self.generator.indexes,
            self.generator.n_trained,
            nearest_warm,
        )
        return model

    def arrays(self) -> dict[str, AnyArray]:
        arrays: dict[str, AnyArray] = {"item_statistics": self.item_statistics}
        if len(self.attributes.lift):
            arrays["attribute_lift"] = self.attributes.lift
        return arrays

    def config(self) -> dict[str, Any]:
        config = {
            "settings": self.settings.model_dump(),
            "candidates": list(self.candidates),
            "seed": self.seed,
            "weights": self.weights,
            "trained_until": self.trained_until,
        }
        if self.attributes.items.values or self.attributes.users.values:
            config["attributes"] = self.attributes.config()
        return config

    @classmethod
    def from_saved(cls, config: dict[str, Any], arrays: dict[str, AnyArray]) -> Self:
        settings = Rank(**rank_with_current_names(config["settings"], set()))
        weights = config.get("weights") or {}
        model = cls(
            settings,
            {},
            seed=config["seed"],
            weights={current_model_name(name): weight for name, weight in weights.items()},
        )
        model.item_statistics = arrays["item_statistics"]
        model.trained_until = config.get("trained_until")
        none = AttributeStatistics.none(len(model.item_statistics))
        lift = arrays.get("attribute_lift", none.lift)
        named = config.get("attributes")
        model.attributes = none if named is None else AttributeStatistics.from_saved(named, lift)
        return model

    def save(self, folder: str | Path) -> None:
        """Write the model folder: everything that serving needs, and nothing pickled.

        Its manifest comes last. After further files are added: ``write_manifest`` again.
        """
        folder = Path(folder)
        super().save(folder)
        if self.ranker is not None:
            self.ranker.save(folder / "ranker.txt")
        for name, model in self.candidates.items():
            model.save(folder / "candidates" / name)
        write_item_table(self.catalogue.table, folder)
        if self.catalogue.vectors is not None:
            np.save(folder / "vectors.npy", self.catalogue.vectors)
        for name, index in self.generator.indexes.items():
            index.save(folder / f"{name}.usearch")
        write_manifest(folder)

    @classmethod
    def load(cls, folder: str | Path) -> Self:
        """Return the model of a folder that ``save`` wrote; vectors and texts are memory-mapped.

        Folders with the candidates' names of the version before are read, with one warning.

        Raises:
            ManifestError: the folder is damaged, apart from its OPTIONAL parts.
            FileNotFoundError: it has no ranker, and ``rank.form`` needs it.
        """
        folder = Path(folder)
        damaged = verify_manifest(folder, OPTIONAL)
        model = super().load(folder)
        model.damaged = damaged
        names = json.loads((folder / "model.json").read_text())["candidates"]
        model.candidates = load_models(folder / "candidates", names)
        if (folder / "ranker.txt").exists():
            model.ranker = Ranker.load(folder / "ranker.txt")
        elif model.settings.form == "ranker":
            raise FileNotFoundError(f"{folder} has no ranker.txt, and its rank.form is ranker")
        vectors = folder / "vectors.npy"
        catalogue = Catalogue(
            read_item_table(folder),
            np.load(vectors, mmap_mode="r") if vectors.exists() else None,
        )
        indexes = {
            name: VectorIndex.load(file)
            for name in model.candidates
            if (file := folder / f"{name}.usearch").exists()
        }
        model._set_catalogue(catalogue, model.item_statistics, indexes)
        return model
