"""Cursors whose list is too long to be read on."""

from __future__ import annotations

import hashlib
import secrets

from serving.api.cursors import next_cursor, shown_before
from serving.fields import MAX_CURSOR, MAX_PAGED
from serving.recommend.query import RecommendRequest


def sign(content: bytes) -> bytes:
    return hashlib.sha256(content).digest()[:16]


def test_a_list_ends_where_its_cursor_would_be_refused() -> None:
    body = RecommendRequest(k=10)
    ids = [secrets.token_hex(100) for _ in range(MAX_PAGED - 10)]  # the longest ids
    short = next_cursor(body, "user:u", ids[:500], sign)
    assert short is not None
    again = RecommendRequest(k=10, cursor=short)  # what was given out is accepted
    assert shown_before(again, "user:u", sign, 60) == ids[:500]
    assert next_cursor(body, "user:u", ids, sign) is None
    small = next_cursor(body, "user:u", [str(n) for n in range(MAX_PAGED - 10)], sign)
    assert small is not None
    assert len(small) < MAX_CURSOR
    assert next_cursor(body, "user:u", [str(n) for n in range(MAX_PAGED)], sign) is None
