"""Cursors: how a client reads a list page by page.

A cursor holds the ids that were shown, signed for one shopper and one list. The next page has the
best products that are not among them, in the order of that moment. So no product comes twice, and
none is skipped, whatever the shopper does in between and whichever worker or model answers; nothing
is stored. It grows with the list, up to ``MAX_PAGED`` products.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import time
import zlib
from collections.abc import Callable, Sequence

import orjson

from serving.api.middleware import Refused
from serving.fields import MAX_CURSOR, MAX_PAGED
from serving.recommend.query import RecommendRequest

DIGEST = 16
"""Bytes of a cursor's signature."""
MAY_CHANGE = {"cursor", "k", "reasons"}
"""Fields that two pages of a list may differ in."""

Sign = Callable[[bytes], bytes]


def shown_before(
    body: RecommendRequest, profile: str | None, sign: Sign, minutes: float
) -> list[str]:
    """Return the item ids of the pages before, none for the first page.

    profile: of the shopper, None of an anonymous one. sign: → DIGEST bytes. minutes: a cursor's
    lifetime.

    Raises:
        Refused: 422 if the cursor is not of this shopper and list, 410 if it expired.
    """
    if not body.cursor:
        return []
    try:
        raw = base64.urlsafe_b64decode(body.cursor.encode("ascii"))
    except (binascii.Error, ValueError):
        raw = b""
    signature, packed = raw[:DIGEST], raw[DIGEST:]
    if not hmac.compare_digest(signature, sign(_identity(body, profile) + packed)):
        raise Refused(
            422,
            "the cursor is not of this list: send it for the same shopper and with the same fields "
            'as the page before, or begin with ""',
            "cursor",
        )
    made_at, *ids = orjson.loads(zlib.decompress(packed))
    if time.time() - made_at > 60 * minutes:
        raise Refused(410, 'the cursor has expired: begin again with cursor ""', "cursor")
    return [str(one) for one in ids]


def next_cursor(
    body: RecommendRequest, profile: str | None, shown: Sequence[str], sign: Sign
) -> str | None:
    """Return the cursor of the page after ``shown``, the ids of all pages so far; None: that was
    the last one that can be requested, since a further cursor would be too long."""
    if len(shown) + body.k > MAX_PAGED:
        return None
    packed = zlib.compress(orjson.dumps([int(time.time()), *shown]))
    signature = sign(_identity(body, profile) + packed)
    cursor = base64.urlsafe_b64encode(signature + packed).decode("ascii")
    return cursor if len(cursor) <= MAX_CURSOR else None


def _identity(body: RecommendRequest, profile: str | None) -> bytes:
    """Return what a cursor is bound to."""
    fields = body.model_dump_json(exclude=MAY_CHANGE).encode()
    return (profile or "").encode() + b"\0" + fields + b"\0"
