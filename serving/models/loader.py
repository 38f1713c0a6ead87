"""Load a model folder: verify it, read the users' histories, open text search and conversation.

In: a ``ModelVersion``. Out: a ``LoadedModel``, also loaded by the ranking process. Optional parts
that are damaged are reported to ``Health`` and left out.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from safetensors import SafetensorError

from components.data.attributes import shown
from components.data.sources.spelling import ItemSpelling
from components.file_lock import file_lock
from components.language.writer import FillsSchema
from components.recommenders.two_stage.hybrid import OPTIONAL
from components.settings import Settings
from serving.conversation.dialogue import Conversation
from serving.conversation.grounding import open_understanding
from serving.events.errors import StoreError
from serving.events.history_table import share_histories
from serving.health import Health
from serving.memory import release_unused_memory
from serving.models.loaded import LoadedModel, next_number
from serving.models.new_product_vectors import NewProductVectors
from serving.models.versions import (
    PROFILES,
    UNREGISTERED_VERSION,
    ModelVersion,
    kept_versions,
    profiles_file,
)
from serving.profiles.profiles import BaseProfiles, LiveProfiles, PastHistories, Profiles
from serving.profiles.shared import SharedHistories, SharedProfiles
from serving.recommend.engine import Engine
from serving.recommend.facets import Facets
from serving.recommend.pipeline import Pipeline
from serving.recommend.ranking import Ranking, wait_until_loaded
from serving.search import Search, open_encoder

UNREADABLE = (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError)
"""Errors of files that are not what they should be."""
logger = logging.getLogger("bentoml.bowerbird")


class ModelLoader:
    """Loads model versions of one root folder into this worker and its ranking process."""

    def __init__(
        self,
        settings: Settings,
        root: Path,
        live: LiveProfiles,
        ranking: Ranking,
        health: Health,
        language_model: FillsSchema | None = None,
        shared: SharedHistories | None = None,
    ) -> None:
        """language_model: reads shoppers' messages. shared: histories that are read by customer."""
        self._shared = shared
        self._serve = settings.serve
        self._shown = shown(settings)
        self._spelling = ItemSpelling.of(settings.ingest)
        self._language_model = language_model
        self._root = root
        self._live = live
        self._ranking = ranking
        self._health = health

    def load(self, source: ModelVersion) -> LoadedModel:
        """Return the model in memory, without the products of ``PUT /items``.

        Raises:
            ManifestError: a required file of the folder is damaged.
            FileNotFoundError: the folder is not a complete model folder.
        """
        number = next_number()
        in_worker = self._ranking.load(number, source.folder, source.version, self._shown)
        engine = Engine.load(source.folder, source.version, self._shown)
        damaged = dict(engine.model.damaged)
        damaged.pop("profiles.parquet", None)  # of earlier versions; an erasure rewrites it
        base = self._past(source, engine)
        search, new_product_vectors = open_search(engine, source.folder, self._shown, damaged)
        understanding = None
        if "understanding" not in damaged:
            try:
                understanding = open_understanding(source.folder)
            except (
                OSError,
                ValueError,
                KeyError,
                TypeError,
                RuntimeError,
                SafetensorError,
            ) as error:
                damaged["understanding"] = f"it cannot be read: {error}"
        for part, problem in damaged.items():
            logger.error("%s of version %s is damaged: %s", part, source.version, problem)
        loaded = LoadedModel(
            source=source,
            engine=engine,
            facets=Facets(engine),
            profiles=Profiles(
                base, self._live, engine.items, self._serve.max_history, self._spelling
            ),
            search=search,
            conversation=Conversation(
                *(engine, search, understanding),
                *(self._serve.contact, self._serve.exchange_rates, self._language_model),
            ),
            loaded_at=datetime.now(UTC),
            trained=engine,
            new_product_vectors=new_product_vectors,
            pipeline=Pipeline(engine, self._serve),
            number=number,
            trained_number=number,
            covered=np.zeros(engine.n_items, dtype=bool),
        )
        release_unused_memory()
        wait_until_loaded(in_worker)
        problem = f"damaged in the folder of version {source.version}, served without it"
        for part in OPTIONAL:
            self._health.report(part, problem if part in damaged else None)
        return loaded

    def _past(self, source: ModelVersion, engine: Engine) -> PastHistories:
        """Return the users' histories for a model, empty without a readable file.

        With ``serve.histories: store`` they are written to the store first, where a file here has
        those of a version that the store has not.
        """
        shared = self._shared
        if shared is None or source.version == UNREGISTERED_VERSION:
            return self._base_profiles(source, engine)
        file = profiles_file(self._root, source)
        if source.version not in shared.versions and file is not None:
            try:
                with file_lock(self._root / PROFILES / ".share.lock"):
                    kept = kept_versions(self._root)
                    share_histories(self._live.store.database, file, source.version, kept)
                shared.watch()
            except (StoreError, *UNREADABLE) as error:
                logger.error("the histories of version %s: %s", source.version, error)
                return self._base_profiles(source, engine)
        trained_until = engine.model.trained_until or 0
        vocabulary = engine.model.attributes.users
        return SharedProfiles(shared, source.version, vocabulary, trained_until)

    def _base_profiles(self, source: ModelVersion, engine: Engine) -> BaseProfiles:
        """Return the users' histories in memory, empty without a readable file."""
        erasures = self._live.erasures
        erased_at = self._live.erased_at if erasures is not None and erasures.times else None
        file, problem = profiles_file(self._root, source), None
        if file is None:
            logger.warning(
                "no users' histories for version %s: mount them as %s below %s (docs/privacy.md)",
                source.version,
                PROFILES / f"{source.version}.parquet",
                self._root,
            )
        else:
            try:
                vocabulary = engine.model.attributes.users
                base = BaseProfiles.load(file, engine.items, erased_at, vocabulary)
                self._health.report("profiles", None)
                return base
            except (OSError, ValueError, KeyError) as error:
                logger.error("cannot read the users' histories in %s: %s", file, error)
                problem = f"users' histories of version {source.version} cannot be read: see log"
        self._health.report("profiles", problem)
        return BaseProfiles.empty(engine.items, engine.model.trained_until or 0)


def open_search(
    engine: Engine, folder: Path, shown: Sequence[str], damaged: dict[str, str]
) -> tuple[Search, NewProductVectors | None]:
    """Return the text search of a model, and what gives new products their vectors, None without.

    damaged: the folder's damaged parts; an encoder that cannot be read is added and left out.
    """
    encoder = None
    if engine.vectors is not None and "encoder" not in damaged:
        try:
            encoder = open_encoder(folder)
        except (OSError, ValueError, KeyError, RuntimeError) as error:
            damaged["encoder"] = f"it cannot be read: {error}"
    search = Search(engine.model.catalogue.table, engine.vectors, encoder, shown)
    if engine.vectors is None:
        return search, None
    return search, NewProductVectors(search, engine.vectors, search.encoder)
