"""Ranks requests in the process that a ``Ranker`` is sent to by an engine of ``parallel``.

In: chunks of requests, in the codes of one model. Out: their responses, in the same order, by the
pipeline of the endpoint's ranking process. What is sent has no credentials: the event store stays
with the process that sends.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from threadpoolctl import threadpool_limits

from components.data.attributes import shown
from components.settings import Serve, Settings
from serving.events.catalogue_table import read_items
from serving.events.database import Database
from serving.models.catalogue import overlaid_engine
from serving.models.loader import open_search
from serving.models.versions import ModelVersion
from serving.recommend.engine import Engine
from serving.recommend.pipeline import Pipeline
from serving.recommend.types import Request, Response

Chunk = Sequence[Request]

_loaded: dict[str, Pipeline] = {}
"""The pipeline of the newest run in this process, by the run's key."""


@dataclass(frozen=True)
class Ranker:
    """What a process needs to rank: the model folder and the changes to its catalogue.

    key: of the run; a process loads the model once for each. folder: absolute; every machine that
    ranks has it there. shown: see ``Engine``. serve: the business rules and the exploration, and
    the defaults otherwise. products: as ``read_items``. vectors: float32 (new products, width)
    of those, None where the model has no vectors.
    """

    key: str
    folder: Path
    version: str
    shown: tuple[str, ...]
    serve: Serve
    products: tuple[dict[str, Any], ...] = ()
    vectors: Any = None

    def pipeline(self) -> Pipeline:
        """Return the pipeline, loaded in this process."""
        found = _loaded.get(self.key)
        if found is None:
            engine = Engine.load(self.folder, self.version, self.shown)
            if self.products:
                vectors = self.vectors
                engine, _ = overlaid_engine(engine, self.products, lambda _: vectors)
            found = self.use(engine)
        return found

    def use(self, engine: Engine) -> Pipeline:
        """Return the pipeline of an engine that this process has loaded; it is used from now on."""
        threadpool_limits(1)  # as in the ranking process
        _loaded.clear()
        found = _loaded[self.key] = Pipeline(engine, self.serve)
        return found

    def responses(self, chunk: Chunk) -> list[Response]:
        """Return the response to each request, ranked in this process."""
        pipeline = self.pipeline()
        size = pipeline.engine.max_batch  # as many at once as the endpoint would
        return [
            response
            for start in range(0, len(chunk), size)
            for response in pipeline.run(chunk[start : start + size])
        ]


def ranker_of(settings: Settings, database: Database, source: ModelVersion) -> Ranker:
    """Return the ranker of a model version with the products of ``PUT /items``, as the endpoint
    serves it; loaded in this process.

    Raises:
        ManifestError: the model folder is damaged.
        StoreError: the database failed.
    """
    serve, columns = settings.serve, shown(settings)
    engine = Engine.load(source.folder, source.version, columns)
    products, vectors = read_items(database), None
    if products:
        trained = engine
        _, vectors_of = open_search(engine, source.folder, columns, dict(engine.model.damaged))
        engine, _ = overlaid_engine(trained, products, vectors_of)
        if engine.vectors is not None:
            vectors = engine.vectors[trained.n_items :]
    ranker = Ranker(
        *(uuid.uuid4().hex, source.folder.resolve(), source.version, columns),
        # Without the event store's address and other credentials: it is sent to executors.
        Serve(rules=serve.rules, exploration=serve.exploration, surfaces=serve.surfaces),
        *(tuple(products), vectors),
    )
    ranker.use(engine)
    return ranker
