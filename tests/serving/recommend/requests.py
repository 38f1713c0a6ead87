"""Requests in the codes of a model."""

from __future__ import annotations

from typing import Any

import numpy as np

from serving.profiles.history import History
from serving.recommend.types import Request


def ask_for(*items: int, **more: Any) -> Request:
    codes = np.array(items, dtype=np.int32)
    times = np.arange(len(codes), dtype=np.int64) + 1_290_000_000
    return Request(History(codes, times, now=1_290_000_100), more.pop("k", 5), **more)


def history_of(*codes: int) -> History:
    n = len(codes)
    return History(np.array(codes, np.int32), np.arange(n, dtype=np.int64), now=n)
