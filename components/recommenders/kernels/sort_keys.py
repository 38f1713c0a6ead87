"""Sort keys: a float32 score and a place packed into one integer.

Integers are partitioned and sorted several times faster than pairs of arrays, and ties are broken
by the place, so that two runs agree.
"""

from __future__ import annotations

import numpy as np

from components.arrays import FloatArray, Int64Array, IntArray
from components.recommenders.kernels.jit import compiled

LOWEST = np.iinfo(np.int64).min
FIRST_OF_SCORES = LOWEST + 2**32
"""Keys from here on are of scores. A place that is not a candidate has LOWEST + the place: a
partition takes three times as long where many keys are equal."""


def largest(keys: Int64Array, n: int) -> Int64Array:
    """Return the (at most) n largest of the last axis, ascending; ``keys`` are reordered."""
    if keys.shape[-1] > n:
        keys.partition(keys.shape[-1] - n, axis=-1)
    return np.sort(keys[..., max(0, keys.shape[-1] - n) :], axis=-1)


def ranking(rows: IntArray, scores: FloatArray, items: IntArray, n_items: int) -> Int64Array:
    """Return the order by row, then by score, the best first, then by item (less than ``n_items``).

    scores: float32. One sort of integers into which the three are packed: many times cheaper than
    three sorts. There may be 2³² / n_items rows.
    """
    bits = np.ascontiguousarray(scores, dtype=np.float32).view(np.int32)
    as_integers = bits ^ ((bits >> 31) & 0x7FFFFFFF)  # float32 has a sign and a magnitude
    worse = (np.int64(2**31 - 1) - as_integers).astype(np.uint64)
    shift = np.uint64(n_items.bit_length())
    key = (rows.astype(np.uint64) << np.uint64(32) | worse) << shift | items.astype(np.uint64)
    return np.argsort(key)


@compiled
def ascending(bits):  # type: ignore[no-untyped-def]
    """Return int32 that orders as float32 do, of their bits (int32); its own inverse."""
    return np.int32(bits ^ ((bits >> np.int32(31)) & np.int32(0x7FFFFFFF)))  # sign and magnitude


@compiled
def key_of(bits, place):  # type: ignore[no-untyped-def]
    """Return int64 that orders as (score, -place) does. bits: of a float32 score, as int32."""
    return (np.int64(ascending(bits)) << 32) | (np.int64(0xFFFFFFFF) - place)


@compiled
def place_of(key):  # type: ignore[no-untyped-def]
    """Return the place of a key."""
    return np.int64(0xFFFFFFFF) - (key & np.int64(0xFFFFFFFF))
