"""Keep a loaded model's catalogue up to date with ``PUT /items``, ``DELETE /items`` and expiry.

In: a ``LoadedModel`` and the event store's table of products. Out: the same model over the changed
catalogue, in this worker and in its ranking process, without training.
"""

from __future__ import annotations

import logging
import time
from dataclasses import replace

import numpy as np

from components.settings import Serve
from serving.events.catalogue_table import catalogue_revision, read_items
from serving.events.database import Database
from serving.events.errors import StoreError
from serving.health import Health
from serving.models.catalogue import overlaid_engine
from serving.models.loaded import LoadedModel, next_number
from serving.models.retry import Retry
from serving.profiles.profiles import Profiles
from serving.recommend.facets import Facets
from serving.recommend.pipeline import Pipeline
from serving.recommend.ranking import Ranking, wait_until_loaded

logger = logging.getLogger("bentoml.bowerbird")


class CatalogueRefresh:
    """Takes products that were added, changed or deleted, or that expired, into loaded models."""

    def __init__(self, serve: Serve, database: Database, ranking: Ranking, health: Health) -> None:
        self._serve = serve
        self._database = database
        self._ranking = ranking
        self._health = health
        self._retry = Retry()

    def refreshed(self, loaded: LoadedModel) -> LoadedModel:
        """Return the model with the store's products if they changed.

        Returns ``loaded`` itself while the store cannot be read, and where the products cannot be
        taken in; the latter is reported and tried again a minute later.
        """
        revision = -1
        try:
            revision = catalogue_revision(self._database)
            expires = loaded.expires
            has_expired = expires is not None and expires <= time.time_ns() // 1000
            if loaded.revision == revision and not has_expired:
                made = loaded
            elif not self._retry.is_due(revision):
                return loaded
            else:
                made = self._with_products(loaded)
        except StoreError:  # unreachable: tried again every second
            return loaded
        except Exception as error:  # a model without the newest products is better than none
            self._retry.failed(revision)
            if "products" not in self._health.problems:
                logger.exception("the products of PUT /items failed: %s", type(error).__name__)
            self._health.report(
                "products", "the newest of PUT /items cannot be taken in: see the log"
            )
            return loaded
        if "products" in self._health.problems:
            self._health.report("products", None)
        return made

    def _with_products(self, loaded: LoadedModel) -> LoadedModel:
        """Return the trained model with the products of the store laid over its catalogue."""
        revision = catalogue_revision(self._database)
        now = time.time_ns() // 1000
        rows = read_items(self._database, now)
        later = [row["expires_at"] for row in rows if not row["deleted"] and row["expires_at"]]
        engine, codes = overlaid_engine(loaded.trained, rows, loaded.new_product_vectors)
        number = next_number()
        new = None if engine.vectors is None else engine.vectors[loaded.trained.n_items :]
        in_worker = self._ranking.overlay(number, loaded.trained_number, rows, new)
        search = loaded.search.extended(engine.model.catalogue.table, codes, engine.vectors)
        facets = Facets(engine)
        if loaded.facets.columns_read:
            facets.read_columns()
        known = loaded.profiles
        made = replace(
            loaded,
            engine=engine,
            facets=facets,
            profiles=Profiles(
                known.base, known.live, engine.items, known.max_history, known.spelling
            ),
            search=search,
            conversation=loaded.conversation.extended(engine, search),
            pipeline=Pipeline(engine, self._serve),
            revision=revision,
            expires=min(later, default=None),
            number=number,
            covered=np.zeros(engine.n_items, dtype=bool),
        )
        wait_until_loaded(in_worker)
        return made
