"""A model in memory, with everything that answers requests from it."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from serving.conversation.dialogue import Conversation
from serving.models.new_product_vectors import NewProductVectors
from serving.models.versions import ModelVersion
from serving.profiles.profiles import Profiles
from serving.recommend.engine import Engine
from serving.recommend.facets import Facets
from serving.recommend.pipeline import Pipeline
from serving.search import Search

_numbers = itertools.count()


def next_number() -> int:
    """Return a number that no other model in memory has, so that cached pages never mix models."""
    return next(_numbers)


class NotReady(RuntimeError):
    """No model is loaded yet."""


@dataclass(frozen=True)
class LoadedModel:
    """A model version in memory.

    engine, facets, profiles, search, conversation, pipeline: with the products of ``PUT /items``.
    trained: the engine without them, and trained_number its number. covered: bool (items,), which
    items were recommended since. revision: of the catalogue, 0 without products of ``PUT /items``.
    expires: when the next of these expires, microseconds since 1970; None: none does.
    """

    source: ModelVersion
    engine: Engine
    facets: Facets
    profiles: Profiles
    search: Search
    conversation: Conversation
    loaded_at: datetime
    trained: Engine
    new_product_vectors: NewProductVectors | None
    pipeline: Pipeline
    number: int
    trained_number: int
    covered: NDArray[np.bool_]
    revision: int = 0
    expires: int | None = None

    @property
    def version(self) -> str:
        return self.source.version
