"""The cache of responses: its key, its size, what empties it."""

from __future__ import annotations

from typing import Any

import pytest

from serving.recommend.page_cache import PageCache, cache_key
from serving.recommend.query import RecommendRequest
from serving.recommend.types import RankedList, Response


def response(text: str = "x") -> Response:
    ranked = RankedList([0], [1.0], ["hybrid"], [text.encode()])
    return Response.of(ranked, [1.0], ["a"], json_tail=b"}", version="1", cold=False)


def test_the_least_recently_used_is_evicted_first() -> None:
    cache = PageCache(3.5 * response().size)
    for n in range(3):
        cache.put((1, n), response(), frozenset([1]))
    assert cache.get((1, 0)) is not None
    cache.put((1, 3), response(), frozenset([1]))
    assert cache.get((1, 1)) is None
    assert all(cache.get((1, n)) is not None for n in (0, 2, 3))


def test_what_is_larger_than_the_cache_is_not_kept() -> None:
    cache = PageCache(5000)
    cache.put((1,), response("x" * 5000), frozenset([1]))
    assert cache.get((1,)) is None


def test_another_model_or_erasure_evicts() -> None:
    cache = PageCache(1e6)
    cache.put((1,), response(), frozenset([1]))
    cache.put((2,), response(), frozenset([1, 2]))
    cache.put((3,), response(), frozenset([2, 3]))
    assert cache.get((1,)) is None
    assert cache.get((2,)) is not None
    cache.put((4,), response(), frozenset([2, 3]))  # of a model that is no longer in service
    assert cache.get((4,)) is None
    cache.put((2, "b"), response(), frozenset([2, 3]), erasure=9)
    assert cache.get((2,)) is None
    assert cache.get((2, "b")) is not None


@pytest.mark.parametrize(
    "changed",
    [
        {"k": 3},
        {"recent": ["a"]},
        {"exclude": ["a"]},
        {"page": "product", "page_items": ["a"]},
        {"category": "mugs"},
        {"min_price": 1.0},
        {"max_price": 1.0},
        {"available_only": False},
        {"exclude_seen": True},
        {"reasons": False},
    ],
)
def test_every_field_of_a_request_is_in_the_key(changed: dict[str, Any]) -> None:
    one, other = RecommendRequest(user_id="u"), RecommendRequest(user_id="u", **changed)
    same = ("user:u", (1, None), 7, None, None)
    assert cache_key(one, *same) == cache_key(RecommendRequest(user_id="u"), *same)
    assert cache_key(one, *same) != cache_key(other, *same)


def test_the_language_is_in_the_key_where_there_are_reasons() -> None:
    same = ("user:u", (1, None), 7, None, None)
    with_reasons = RecommendRequest(user_id="u")
    assert cache_key(with_reasons, *same, "de") != cache_key(with_reasons, *same, "fr")
    assert cache_key(with_reasons, *same, "en") == cache_key(with_reasons, *same)
    without = RecommendRequest(user_id="u", reasons=False)
    assert cache_key(without, *same, "de") == cache_key(without, *same, "fr")
