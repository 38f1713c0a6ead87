"""The cache of responses to recommendation requests.

A response depends on the model, the shopper's history and the request alone, so it is cached until
one of them changes. The impression, and the places that are drawn for exploration, are made for
each answer.
"""

from __future__ import annotations

from collections import OrderedDict
from hashlib import blake2b
from typing import Any

import orjson

from serving.languages import SOURCE
from serving.recommend.query import RecommendRequest
from serving.recommend.types import Response

Key = tuple[Any, ...]
"""Begins with the number of the model in memory."""


class PageCache:
    """Responses of at most ``max_bytes``; the least recently used is evicted first."""

    def __init__(self, max_bytes: float) -> None:
        self.max_bytes = max_bytes
        self._responses: OrderedDict[Key, Response] = OrderedDict()
        self._bytes = 0
        self._models: frozenset[int] = frozenset()
        self._erasure = 0

    def get(self, key: Key) -> Response | None:
        """Return the cached response, None on a cache miss."""
        response = self._responses.get(key)
        if response is not None:
            self._responses.move_to_end(key)
        return response

    def put(self, key: Key, response: Response, models: frozenset[int], erasure: int = 0) -> None:
        """Cache a response, and evict those of models that are not in ``models``.

        erasure: row of the newest erasure; a new one empties the cache, which may hold the erased
        person's history.
        """
        if erasure != self._erasure:
            self._erasure, self._bytes = erasure, 0
            self._responses.clear()
        if models != self._models:
            self._models = models
            for old in [old for old in self._responses if old[0] not in models]:
                self._bytes -= self._responses.pop(old).size
        if key in self._responses or key[0] not in models or response.size > self.max_bytes:
            return
        self._responses[key] = response
        self._bytes += response.size
        while self._bytes > self.max_bytes:
            self._bytes -= self._responses.popitem(last=False)[1].size


def cache_key(
    request: RecommendRequest,
    profile: str | None,
    state: object,
    model: int,
    arm: object,
    today: object,
    language: str = SOURCE,
) -> Key:
    """Return what the response to a request depends on.

    state: changes with the shopper's stored history. model: number of the model in memory. arm: of
    the shopper, where the pipeline depends on it. today: the date, where business rules or the
    filter do. language: of the reasons and of a surface's title; without them a response is the
    same in all languages.
    """
    return (
        model,
        arm,
        profile,
        state,
        request.k,
        _digest(request),
        request.page,
        request.category,
        request.min_price,
        request.max_price,
        request.available_only,
        request.exclude_seen,
        request.surface,
        request.country,
        (request.reasons or request.surface is not None) and language,
        today,
    )


def _digest(request: RecommendRequest) -> bytes:
    """Return a digest of the item ids, the filters by attributes and the filter expression of a
    request: they may take 400 kB, and a key stays."""
    lists = (request.recent, request.exclude, request.page_items, request.attributes)
    if not (any(lists) or request.filter):
        return b""
    attributes = request.filters().attributes
    named = orjson.dumps([*lists[:3], attributes, request.filter])
    return blake2b(named, digest_size=16).digest()
